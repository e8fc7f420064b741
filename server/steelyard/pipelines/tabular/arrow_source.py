"""Columns from one BYTES element that holds an Arrow IPC stream or file of one record batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard._native import tabular as native
from steelyard.errors import InvalidRequest
from steelyard.pipelines.problems import ProblemList
from steelyard.pipelines.tabular.arrow_batch import Array, Batch
from steelyard.pipelines.tabular.cells import as_kind, check_rows, dates_of, nothing, time_in_us
from steelyard.pipelines.tabular.columns import MAX_ROWS, Column, Columns, Kind, Mask, TextColumn
from steelyard.pipelines.tabular.declaration import ColumnTable
from steelyard.pipelines.tabular.missing import MissingTexts
from steelyard.toml import did_you_mean
from steelyard.wire.types import InputTensor

_NUMBERS = {
    "halffloat": "<f2",
    "float": "<f4",
    "double": "<f8",
    **{f"{sign}int{bits}": f"<{sign or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_TEXTS = {"string": "<i4", "large_string": "<i8"}
# Dates and times: how many microseconds one is, or how many make one where it is finer, and the dtype.
_TIMES = {
    "date32[day]": (86_400_000_000, 1, "<i4"),
    "date64[ms]": (1000, 1, "<i8"),
    "timestamp[s]": (1_000_000, 1, "<i8"),
    "timestamp[ms]": (1000, 1, "<i8"),
    "timestamp[us]": (1, 1, "<i8"),
    "timestamp[ns]": (1, 1000, "<i8"),
}
_ALLOWED: Mapping[Kind, tuple[frozenset[str], str]] = {
    Kind.NUMBER: (frozenset(_NUMBERS), "a float or integer type"),
    Kind.INTEGER: (frozenset(_NUMBERS), "an integer or float type"),
    Kind.BOOLEAN: (frozenset({"bool"}), "bool"),
    Kind.TEXT: (frozenset(_TEXTS), "string or large_string"),
    Kind.DATE: (frozenset({*_TIMES, *_TEXTS, "int64"}), "a date, timestamp, string or int64"),
}


class ArrowSource:
    """Reads requests' record batches; any number of threads may use one."""

    def __init__(self, columns: Sequence[ColumnTable], max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._columns = {column.name: column for column in columns}
        self._missing = {column.name: MissingTexts(column.missing_texts) for column in columns}

    def read(self, tensor: InputTensor) -> Columns:
        """The rows of the record batch in the only element of a BYTES tensor.

        Raises InvalidRequest where it is another tensor or no such batch, where columns are missing, unknown, there
        twice or of other types; what is wrong with single rows is in `problems`.
        """
        if tensor.datatype != "BYTES" or any(dim != 1 for dim in tensor.shape):
            raise InvalidRequest(
                f"input '{tensor.name}': expected BYTES [1] of one Arrow IPC stream, "
                f"came {tensor.datatype} {list(tensor.shape)}"
            )
        # Behind the length of the only element.
        batch = Batch(tensor.data[4:], tensor.name, 2 * len(self._columns) + 16)
        check_rows(batch.rows, len(self._columns), self._max_rows)
        self._check_fields(batch)
        arrays = {
            field.name: (field.type, array) for field, array in zip(batch.fields, batch.arrays(), strict=True)
        }
        by_name: dict[str, Column] = {}
        problems = ProblemList()
        for name, column in self._columns.items():
            kind = column.column_kind
            if name in arrays:
                by_name[name] = self._read(name, kind, *arrays[name], batch.rows, problems)
            else:
                by_name[name] = nothing(kind, batch.rows)
        return Columns(batch.rows, by_name, problems.items)

    def _check_fields(self, batch: Batch) -> None:
        """Every field is a column, once, and of a type that its kind takes; every column that must be is there."""
        seen: set[str] = set()
        for field in batch.fields:
            name = field.name
            column = self._columns.get(name)
            if column is None:
                raise InvalidRequest(
                    f"expected only columns, came field '{name:.80}'{did_you_mean(name, self._columns)}"
                )
            if name in seen:
                raise InvalidRequest(f"column '{name}': expected one field, came two")
            seen.add(name)
            allowed, expected = _ALLOWED[column.column_kind]
            if not field.flat or field.type not in allowed:
                raise InvalidRequest(
                    f"column '{name}': expected {expected} for kind {column.kind}, came {field.type}"
                )
        for name, column in self._columns.items():
            if column.required and name not in seen:
                raise InvalidRequest(f"expected a field for column '{name}', came none")

    def _read(
        self, name: str, kind: Kind, type_: str, array: Array, rows: int, problems: ProblemList
    ) -> Column:
        missing = _missing(array, rows, name)
        if type_ in _TEXTS:
            column = self._texts(name, _TEXTS[type_], array, missing, problems)
            return dates_of(name, column, problems) if kind is Kind.DATE else column
        if type_ == "bool":
            return as_kind(name, kind, _bits(array.buffers[0], rows, name), missing, problems)
        if type_ in _TIMES:
            times, unit, dtype = _TIMES[type_]
            counts = _values(array.buffers[0], dtype, rows, name)
            values: NDArray[Any] = time_in_us(name, counts, times, unit, missing, problems)
        else:
            values = _values(array.buffers[0], _NUMBERS[type_], rows, name)
        return as_kind(name, kind, values, missing, problems)

    def _texts(self, name: str, dtype: str, array: Array, missing: Mask, problems: ProblemList) -> TextColumn:
        rows = len(missing)
        offsets, data = array.buffers
        # A batch without rows may leave out even the first offset.
        bounds = _values(offsets, dtype, rows + 1 if rows else 0, name).astype(np.int64)
        starts, lengths = bounds[:-1].copy(), np.diff(bounds)
        starts[missing], lengths[missing] = 0, 0
        try:
            wrong = native.check_texts(data, starts, lengths, missing)
        except ValueError:
            raise InvalidRequest(f"column '{name}': expected offsets within the data of the texts") from None
        for row in wrong:
            problems.add(
                row, name, "utf8", "UTF-8", bytes(data[starts[row] : starts[row] + min(lengths[row], 512)])
            )
        self._missing[name].mark(starts, lengths, data, missing)
        return TextColumn(starts, lengths, missing, data)


def _values(buffer: memoryview, dtype: str, count: int, name: str) -> NDArray[Any]:
    size = np.dtype(dtype).itemsize
    if count > len(buffer) // size:
        raise InvalidRequest(f"column '{name}': expected {count * size} bytes of values, came {len(buffer)}")
    return np.frombuffer(buffer, dtype, count)


def _missing(array: Array, rows: int, name: str) -> Mask:
    return ~_bits(array.validity, rows, name) if len(array.validity) else np.zeros(rows, np.bool_)


def _bits(packed: memoryview, count: int, name: str) -> Mask:
    """The first bits, least significant first."""
    if count > 8 * len(packed):
        raise InvalidRequest(f"column '{name}': expected a bitmap of {count} bits, came {8 * len(packed)}")
    return np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little", count=count).view(np.bool_)
