"""Arrays of any numeric dtype as columns of a kind, and what single cells of them break."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard._native import tabular as native
from steelyard.errors import InvalidRequest
from steelyard.pipelines.problems import ProblemList
from steelyard.pipelines.tabular.columns import MAX_CELLS, Column, Kind, Mask, TextColumn, ValueColumn

# 0001-01-01 and the last microsecond of 9999.
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
# Whole numbers above it are not all doubles.
MAX_EXACT = 2.0**53


def check_rows(rows: int, columns: int, max_rows: int) -> None:
    """Raises InvalidRequest where a request has too many rows."""
    most = min(max_rows, MAX_CELLS // max(1, columns))
    if rows > most:
        raise InvalidRequest(f"expected at most {most} rows of {columns} columns, came {rows}")


def as_kind(
    name: str, kind: Kind, values: NDArray[Any], missing: Mask | None, problems: ProblemList
) -> ValueColumn:
    """The column that an array [rows] of a numeric dtype makes; NaN is a missing value, and so is what is wrong.

    kind: not TEXT. missing: [rows], taken over; None: no more than NaN says.
    """
    if missing is None:
        missing = np.zeros(len(values), np.bool_)
    if kind is Kind.BOOLEAN:
        return _booleans(name, values, missing, problems)
    if kind is Kind.NUMBER:
        return _numbers(name, values, missing, problems)
    if values.dtype.kind == "f":
        values = _whole(name, values, missing, problems)
    elif values.dtype == np.uint64:
        _refuse(name, values > np.uint64(2**63 - 1), values, missing, problems, "range", "at most 2**63 - 1")
    values = np.require(values.astype(np.int64, copy=False), requirements="A")
    if kind is Kind.DATE:
        outside = (values < FIRST_US) | (values > LAST_US)
        expected = "microseconds from 1970 within the years 1 to 9999"
        _refuse(name, outside, values, missing, problems, "range", expected)
    return ValueColumn(kind, values, missing)


def _numbers(name: str, values: NDArray[Any], missing: Mask, problems: ProblemList) -> ValueColumn:
    if values.dtype.kind != "f":
        return ValueColumn(Kind.NUMBER, values.astype(np.float64), missing)
    if values.itemsize == 2:
        values = values.astype(np.float32)
    numbers = np.empty(len(values), np.float64)
    nan = np.empty(len(values), np.bool_)
    if native.copy_floats(values, numbers, nan):
        _refuse(name, np.isinf(numbers), values, missing, problems, "finite", "a finite number")
    return ValueColumn(Kind.NUMBER, numbers, missing | nan)


def _whole(name: str, values: NDArray[Any], missing: Mask, problems: ProblemList) -> NDArray[Any]:
    numbers = values.astype(np.float64)
    missing |= np.isnan(numbers)
    _refuse(name, np.isinf(numbers), values, missing, problems, "finite", "a finite number")
    with np.errstate(invalid="ignore"):
        _refuse(name, numbers != np.floor(numbers), values, missing, problems, "whole", "a whole number")
        beyond = np.abs(numbers) > MAX_EXACT
    _refuse(
        name, beyond, values, missing, problems, "range", "a whole number of at most 2**53, exact in a float"
    )
    numbers[missing] = 0.0
    return numbers


def _booleans(name: str, values: NDArray[Any], missing: Mask, problems: ProblemList) -> ValueColumn:
    stored = values.view(np.uint8)
    _refuse(name, stored > 1, stored, missing, problems, "type", "a byte of 0 or 1")
    return ValueColumn(Kind.BOOLEAN, stored.astype(np.int64), missing)


def _refuse(
    name: str,
    wrong: Any,
    values: NDArray[Any],
    missing: Mask,
    problems: ProblemList,
    rule: str,
    expected: str,
) -> None:
    """Notes the rows where `wrong`, unless they are missing already; they are then."""
    if not wrong.any():
        return
    for row in np.flatnonzero(wrong & ~missing).tolist():
        problems.add(row, name, rule, expected, values[row].item())
    missing |= wrong


def dates_of(name: str, column: TextColumn, problems: ProblemList) -> ValueColumn:
    """Texts of ISO 8601 as dates."""
    values = np.zeros(len(column.missing), np.int64)
    missing = column.missing.copy()
    wrong = native.read_dates(column.data, column.starts, column.lengths, missing, values)
    for row in wrong:
        problems.add(row, name, "date", "a date such as 2027-03-31T08:30:00Z", column.value(row))
    return ValueColumn(Kind.DATE, values, missing)


def time_in_us(
    name: str, values: NDArray[Any], times: int, unit: int, missing: Mask, problems: ProblemList
) -> NDArray[np.int64]:
    """Counts of another unit as microseconds: `times` of them, or one for each `unit` of it, rounded down."""
    counts = values.astype(np.int64)
    if times > 1:
        # Before the product, which could overflow.
        outside = (counts < FIRST_US // times) | (counts > LAST_US // times)
        expected = "a time within the years 1 to 9999"
        _refuse(name, outside, counts, missing, problems, "range", expected)
        counts[missing] = 0
        return counts * times
    return counts // unit


def nothing(kind: Kind, rows: int) -> Column:
    """A column that a request left out: all its values are missing."""
    missing = np.ones(rows, np.bool_)
    zeros: NDArray[Any] = np.zeros(rows, np.float64 if kind is Kind.NUMBER else np.int64)
    if kind is Kind.TEXT:
        return TextColumn(zeros, zeros, missing, b"")
    return ValueColumn(kind, zeros, missing)
