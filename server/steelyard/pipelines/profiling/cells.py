"""Arrow columns as the values that a server would make of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from steelyard.errors import DataError
from steelyard.pipelines.tabular.cells import FIRST_US, LAST_US
from steelyard.pipelines.tabular.columns import Kind

_DAY_US = 86_400_000_000
# Microseconds in a count of each unit; below one, counts in a microsecond.
_UNIT_US = {"s": 1_000_000, "ms": 1000, "us": 1}


@dataclass(frozen=True, slots=True)
class Cells:
    """The values of one column in some rows."""

    values: Any
    """Those that are there: float64 of NUMBER, int64 of INTEGER and DATE, bool of BOOLEAN, large_string of Arrow."""
    missing: int
    infinite: int = 0
    """Infinities, which are not among the values."""


def kind_of(name: str, arrow_type: Any) -> Kind:
    """The kind that holds values of an Arrow type. Raises DataError where none does."""
    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    for kind, tests in _KINDS.items():
        if any(test(arrow_type) for test in tests):
            return kind
    raise DataError(
        f"column '{name}': expected numbers, texts, booleans or dates, came {arrow_type}; "
        "leave it out with --target"
    )


def _is_text(arrow_type: Any) -> bool:
    # A column of nulls alone has a type of its own; any kind would do for it.
    return bool(pa.types.is_large_string(arrow_type) or pa.types.is_string_view(arrow_type)) or bool(
        pa.types.is_string(arrow_type) or pa.types.is_null(arrow_type)
    )


_KINDS = {
    Kind.BOOLEAN: (pa.types.is_boolean,),
    Kind.INTEGER: (pa.types.is_integer,),
    Kind.NUMBER: (pa.types.is_floating, pa.types.is_decimal),
    Kind.TEXT: (_is_text,),
    Kind.DATE: (pa.types.is_date, pa.types.is_timestamp),
}


def cells_of(name: str, kind: Kind, column: Any) -> Cells:
    """The values of an Arrow array. Raises DataError that names the column."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    present = column.drop_null()
    missing = len(column) - len(present)
    if kind is Kind.TEXT:
        return Cells(present.cast(pa.large_string()), missing)
    if kind is Kind.BOOLEAN:
        return Cells(np.asarray(present.to_numpy(zero_copy_only=False), np.bool_), missing)
    if kind is Kind.DATE:
        return Cells(_microseconds(name, present), missing)
    if kind is Kind.INTEGER:
        return Cells(present.cast(pa.int64()).to_numpy(), missing)
    if pa.types.is_decimal(present.type):
        # By way of text, which is rounded once, as a decimal in JSON is.
        present = present.cast(pa.string())
    return numbers_of(present.cast(pa.float64(), safe=False).to_numpy(), missing)


def numbers_of(values: NDArray[np.float64], missing: int) -> Cells:
    """Numbers without NaN, which is missing, and without infinities."""
    finite = np.isfinite(values)
    if finite.all():
        return Cells(values, missing)
    nan = int(np.isnan(values).sum())
    return Cells(values[finite], missing + nan, len(values) - nan - int(finite.sum()))


def _microseconds(name: str, present: Any) -> NDArray[np.int64]:
    if pa.types.is_date32(present.type):
        counts, times = np.asarray(present.cast(pa.int32()).to_numpy(), np.int64), _DAY_US
    else:
        unit = "ms" if pa.types.is_date64(present.type) else present.type.unit
        counts = np.asarray(present.cast(pa.int64()).to_numpy(), np.int64)
        if unit == "ns":
            return counts // 1000
        times = _UNIT_US[unit]
    if len(counts) and not FIRST_US // times <= counts.min() <= counts.max() <= LAST_US // times:
        raise DataError(f"column '{name}': expected dates within the years 1 to 9999, came others")
    return counts * times


def fits_int64(column: Any) -> bool:
    """Whether whole numbers of 64 bits with a sign can hold an Arrow array of those without."""
    greatest = pc.max(column).as_py()
    return greatest is None or greatest < 1 << 63
