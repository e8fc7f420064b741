"""Columns from one tensor a column."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from steelyard._native import tabular as native
from steelyard.errors import InvalidRequest
from steelyard.models.datatypes import BY_NAME
from steelyard.pipelines.tabular.cells import as_kind, check_rows, dates_of, nothing
from steelyard.pipelines.tabular.columns import MAX_ROWS, Column, Columns, Kind, TextColumn
from steelyard.pipelines.tabular.declaration import ColumnTable
from steelyard.pipelines.tabular.missing import MissingTexts
from steelyard.pipelines.tabular.problems import ProblemList
from steelyard.toml import did_you_mean
from steelyard.wire.types import InputTensor

_FLOATS = ("FP64", "FP32", "FP16")
_INTEGERS = ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")

# Datatypes that a column of a kind may come in.
DATATYPES: Mapping[Kind, tuple[str, ...]] = {
    Kind.NUMBER: _FLOATS + _INTEGERS,
    Kind.INTEGER: _INTEGERS + _FLOATS,
    Kind.BOOLEAN: ("BOOL",),
    Kind.TEXT: ("BYTES",),
    Kind.DATE: ("INT64", "BYTES"),
}


class TensorSource:
    """Reads requests whose tensors are columns; any number of threads may use one."""

    def __init__(self, columns: Sequence[ColumnTable], max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._columns = {column.name: column for column in columns}
        self._missing = {column.name: MissingTexts(column.missing_texts) for column in columns}

    def read(self, tensors: Iterable[InputTensor]) -> Columns:
        """The rows of tensors of shape [rows] or [rows, 1] each; NaN in a float tensor is a missing value.

        Raises InvalidRequest where a column is missing, unknown, there twice, of another datatype or of other rows
        than the first; what is wrong with single rows is in `problems`.
        """
        given = self._by_name(tensors)
        rows = next(iter(given.values())).shape[0] if given else 0
        check_rows(rows, self._max_rows)
        by_name: dict[str, Column] = {}
        problems = ProblemList()
        for name, column in self._columns.items():
            kind = column.column_kind
            tensor = given.get(name)
            if tensor is not None:
                if tensor.shape[0] != rows:
                    raise InvalidRequest(f"column '{name}': expected {rows} rows, came {tensor.shape[0]}")
                by_name[name] = self._read(name, kind, tensor, problems)
            elif column.required:
                raise InvalidRequest(f"expected a tensor for column '{name}', came none")
            else:
                by_name[name] = nothing(kind, rows)
        return Columns(rows, by_name, problems.items)

    def _by_name(self, tensors: Iterable[InputTensor]) -> dict[str, InputTensor]:
        given: dict[str, InputTensor] = {}
        for tensor in tensors:
            name, shape = tensor.name, tensor.shape
            column = self._columns.get(name)
            if column is None:
                raise InvalidRequest(
                    f"expected only columns, came tensor '{name:.80}'{did_you_mean(name, self._columns)}"
                )
            if name in given:
                raise InvalidRequest(f"column '{name}': expected one tensor, came two")
            if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
                raise InvalidRequest(
                    f"column '{name}': expected shape [rows] or [rows, 1], came {list(shape)}"
                )
            allowed = DATATYPES[column.column_kind]
            if tensor.datatype not in allowed:
                raise InvalidRequest(
                    f"column '{name}': expected {' or '.join(allowed)} for kind {column.kind}, came {tensor.datatype}"
                )
            given[name] = tensor
        return given

    def _read(self, name: str, kind: Kind, tensor: InputTensor, problems: ProblemList) -> Column:
        rows = tensor.shape[0]
        if tensor.datatype == "BYTES":
            starts = np.empty(rows, np.int64)
            lengths = np.empty(rows, np.int64)
            missing = np.empty(rows, np.bool_)
            wrong = native.split_texts(tensor.data, starts, lengths, missing)
            for row in wrong:
                element = bytes(tensor.data[starts[row] : starts[row] + min(lengths[row], 512)])
                problems.add(row, name, "utf8", "UTF-8", element)
            self._missing[name].mark(starts, lengths, tensor.data, missing)
            column = TextColumn(starts, lengths, missing, tensor.data)
            return dates_of(name, column, problems) if kind is Kind.DATE else column
        values = np.frombuffer(tensor.data, BY_NAME[tensor.datatype].dtype)
        return as_kind(name, kind, values, None, problems)
