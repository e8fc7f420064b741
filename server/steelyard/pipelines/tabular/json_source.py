"""Columns from one BYTES tensor of JSON objects, one a row."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from steelyard._native import json_rows as native
from steelyard.errors import InvalidRequest
from steelyard.pipelines.problems import Problem, shown
from steelyard.pipelines.tabular.cells import check_rows
from steelyard.pipelines.tabular.columns import MAX_ROWS, Column, Columns, Kind, TextColumn, ValueColumn
from steelyard.pipelines.tabular.declaration import ColumnTable
from steelyard.pipelines.tabular.missing import MissingTexts
from steelyard.pipelines.tabular.problems import JSON_RULES
from steelyard.wire.types import InputTensor

_EXPECTED = {
    ("type", Kind.NUMBER): "a number",
    ("type", Kind.INTEGER): "a whole number",
    ("type", Kind.BOOLEAN): "true or false",
    ("type", Kind.TEXT): "text",
    ("type", Kind.DATE): "a date as text, or microseconds from 1970",
    ("range", Kind.NUMBER): "a number that a double can hold, in at most 1024 characters",
    ("range", Kind.INTEGER): "a whole number of 64 bits, exact",
    ("range", Kind.DATE): "microseconds from 1970 within the years 1 to 9999",
}


class JsonSource:
    """Reads requests' rows; any number of threads may use one."""

    def __init__(
        self,
        columns: Sequence[ColumnTable],
        max_rows: int = MAX_ROWS,
        reader: Callable[[list[bytes], list[int], list[bool]], Any] = native.RowReader,
    ) -> None:
        """reader: the native one, or its twin."""
        self._max_rows = max_rows
        self._columns = [
            (column.name, column.column_kind, MissingTexts(column.missing_texts)) for column in columns
        ]
        self._reader = reader(
            [column.name.encode() for column in columns],
            [int(kind) for _, kind, _ in self._columns],
            [column.required for column in columns],
        )

    def read(self, tensor: InputTensor) -> Columns:
        """The rows of a BYTES tensor of shape [rows] or [rows, 1].

        Raises InvalidRequest where the tensor is another; what is wrong with single rows is in `problems`.
        """
        shape = tensor.shape
        if tensor.datatype != "BYTES" or not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
            raise InvalidRequest(
                f"input '{tensor.name}': expected BYTES [rows] of JSON objects, came {tensor.datatype} {list(shape)}"
            )
        rows = shape[0]
        check_rows(rows, len(self._columns), self._max_rows)
        data = tensor.data
        count = len(self._columns)
        values = np.empty((count, rows), np.int64)
        lengths = np.empty((count, rows), np.int64)
        missing = np.empty((count, rows), np.bool_)
        arena = np.empty(len(data), np.uint8)
        found = self._reader.read(data, rows, values, lengths, missing, arena)
        by_name: dict[str, Column] = {}
        cells = zip(self._columns, values, values.view(np.float64), lengths, missing, strict=True)
        for (name, kind, texts), integers, numbers, sizes, gone in cells:
            if kind is Kind.TEXT:
                texts.mark(integers, sizes, arena, gone)
                by_name[name] = TextColumn(integers, sizes, gone, arena)
            else:
                by_name[name] = ValueColumn(kind, numbers if kind is Kind.NUMBER else integers, gone)
        return Columns(rows, by_name, [self._problem(data, *breach) for breach in found])

    def _problem(self, data: memoryview, row: int, column: int, rule: int, start: int, size: int) -> Problem:
        name, expected = JSON_RULES[rule]
        if not expected:
            expected = _EXPECTED[name, self._columns[column][1]]
        # A character may be cut at the end: what is shown replaces it, and is cut before it.
        value = shown(bytes(data[start : start + min(size, 512)]))
        return Problem(row, self._columns[column][0] if column >= 0 else "", name, expected, value)
