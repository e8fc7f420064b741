"""A training profile to a first contract: the columns of a manifest that the training data would have kept to."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from steelyard.models.profile import ColumnProfile, Number, NumberProfile, Profile
from steelyard.pipelines.tabular.cells import FIRST_US, LAST_US

# A column of texts that are seen less often than this on average is not one of categories, however short it is.
MIN_ROWS_A_VALUE = 2

_INT64 = (-(1 << 63), (1 << 63) - 1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GREATEST = 1.7976931348623157e308


def infer_columns(
    profile: Profile, missing_texts: Mapping[str, Sequence[str]], *, allowed: int, slack: float
) -> list[dict[str, Any]]:
    """`column` of a table step, as `ColumnTable` reads it.

    allowed: the most different texts that are listed. slack: by what share of their range the bounds of numbers and
    dates are wider than the data, and of its length that of texts; 0 or more.
    """
    return [_column(column, missing_texts.get(column.name, ()), allowed, slack) for column in profile.columns]


def notes_on(profile: Profile) -> list[str]:
    """What the data says of columns that a contract cannot."""
    notes = []
    for column in profile.columns:
        if column.numbers is None and column.values is None and not column.infinite:
            notes.append(f"column '{column.name}': has no value, so its kind {column.kind} is a guess")
        if column.infinite:
            notes.append(f"column '{column.name}': {column.infinite} infinities, which no request may hold")
    return notes


def _column(
    column: ColumnProfile, missing_texts: Sequence[str], allowed: int, slack: float
) -> dict[str, Any]:
    document: dict[str, Any] = {"name": column.name, "kind": column.kind}
    if column.kind == "text" and missing_texts:
        document["missing_texts"] = list(missing_texts)
    if column.missing_share == 1:
        document["required"] = False
    contract: dict[str, Any] = {}
    if column.numbers is not None:
        contract["min"], contract["max"] = _bounds(column.kind, column.numbers, slack)
    if column.kind == "text":
        contract |= _text_rules(column, allowed, slack)
    contract["missing"] = "null" if column.missing else "refuse"
    return document | {"contract": contract}


def _bounds(kind: str, numbers: NumberProfile, slack: float) -> tuple[Any, Any]:
    low, high = numbers.min, numbers.max
    if kind == "number":
        # Halves, because the range itself may be beyond a double.
        wider = (high / 2 - low / 2) * slack * 2 if slack else 0.0
        return max(-_GREATEST, low - wider), min(_GREATEST, high + wider)
    least, greatest = _INT64 if kind == "integer" else (FIRST_US, LAST_US)
    more = _share(high - low, slack)
    low, high = max(least, int(low) - more), min(greatest, int(high) + more)
    return (low, high) if kind == "integer" else (_date(low), _date(high))


def _share(of: Number, slack: float) -> int:
    """`slack` of a whole number, rounded up; exact where nothing is added."""
    return math.ceil(of * slack) if slack else 0


def _date(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _text_rules(column: ColumnProfile, allowed: int, slack: float) -> dict[str, Any]:
    values = column.values
    if values is None or column.bytes is None:
        return {}
    total = sum(count for _, count in values.counts)
    few = values.exact and not values.rest and values.distinct <= allowed
    if few and total >= MIN_ROWS_A_VALUE * values.distinct:
        return {"allowed": sorted(str(value) for value, _ in values.counts)}
    return {"max_bytes": column.bytes.max + _share(column.bytes.max, slack)}
