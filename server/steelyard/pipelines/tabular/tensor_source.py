"""Columns from one tensor a column."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from steelyard._native import tabular as native
from steelyard.errors import InvalidRequest
from steelyard.models.datatypes import BY_NAME
from steelyard.pipelines.problems import ProblemList
from steelyard.pipelines.tabular.cells import as_kind, check_rows, dates_of, nothing
from steelyard.pipelines.tabular.columns import MAX_ROWS, Column, Columns, Kind, TextColumn, ValueColumn
from steelyard.pipelines.tabular.declaration import ColumnTable
from steelyard.pipelines.tabular.missing import MissingTexts
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


@dataclass(frozen=True, slots=True)
class _Expected:
    """A column, with what each request asks of it."""

    name: str
    kind: Kind
    required: bool
    datatypes: tuple[str, ...]
    missing: MissingTexts

    @classmethod
    def of(cls, column: ColumnTable) -> "_Expected":
        kind = column.column_kind
        return cls(column.name, kind, column.required, DATATYPES[kind], MissingTexts(column.missing_texts))


class TensorSource:
    """Reads requests whose tensors are columns; any number of threads may use one."""

    def __init__(self, columns: Sequence[ColumnTable], max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._columns = {column.name: _Expected.of(column) for column in columns}

    def read(self, tensors: Iterable[InputTensor]) -> Columns:
        """The rows of tensors of shape [rows] or [rows, 1] each; NaN in a float tensor is a missing value.

        Raises InvalidRequest where a column is missing, unknown, there twice, of another datatype or of other rows
        than the first; what is wrong with single rows is in `problems`.
        """
        given = self._by_name(tensors)
        rows = next(iter(given.values())).shape[0] if given else 0
        check_rows(rows, len(self._columns), self._max_rows)
        by_name: dict[str, Column] = {}
        problems = ProblemList()
        for name, column in self._columns.items():
            tensor = given.get(name)
            if tensor is not None:
                if tensor.shape[0] != rows:
                    raise InvalidRequest(f"column '{name}': expected {rows} rows, came {tensor.shape[0]}")
                by_name[name] = _read(column, tensor, problems)
            elif column.required:
                raise InvalidRequest(f"expected a tensor for column '{name}', came none")
            else:
                by_name[name] = nothing(column.kind, rows)
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
            if tensor.datatype not in column.datatypes:
                raise InvalidRequest(
                    f"column '{name}': expected {' or '.join(column.datatypes)} for kind {column.kind.name.lower()}, "
                    f"came {tensor.datatype}"
                )
            given[name] = tensor
        return given


def _read(column: _Expected, tensor: InputTensor, problems: ProblemList) -> Column:
    name, kind, rows, data = column.name, column.kind, tensor.shape[0], tensor.data
    if tensor.datatype != "BYTES":
        if kind is Kind.NUMBER and tensor.datatype in ("FP64", "FP32"):
            numbers = np.empty(rows, np.float64)
            missing = np.empty(rows, np.bool_)
            if not native.copy_floats(data, numbers, missing):
                return ValueColumn(kind, numbers, missing)
        return as_kind(name, kind, np.frombuffer(data, BY_NAME[tensor.datatype].dtype), None, problems)
    starts = np.empty(rows, np.int64)
    lengths = np.empty(rows, np.int64)
    missing = np.empty(rows, np.bool_)
    for row in native.split_texts(data, starts, lengths, missing):
        element = bytes(data[starts[row] : starts[row] + min(lengths[row], 512)])
        problems.add(row, name, "utf8", "UTF-8", element)
    column.missing.mark(starts, lengths, data, missing)
    texts = TextColumn(starts, lengths, missing, data)
    return dates_of(name, texts, problems) if kind is Kind.DATE else texts
