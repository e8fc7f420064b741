"""The twin of the native reader of JSON rows, on the standard library's parser."""

import json
import math
import re
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from steelyard.pipelines.tabular.columns import Kind
from steelyard.pipelines.tabular.problems import JSON_RULES
from steelyard.wire.plain.elements import decode_bytes_tensor

MAX_DEPTH = 32
MAX_NUMBER_CHARS = 1024
MAX_BREACHES = 16384
_RULE = {name: number for number, (name, _) in enumerate(JSON_RULES)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US, _LAST_US = -62135596800000000, 253402300799999999
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


class _Literal(str):
    """A number as it was written."""


class _Object(list[tuple[str, object]]):
    """An object's pairs, all of them."""


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_Literal, parse_float=_Literal, parse_constant=_refuse_constant
)


class RowReader:
    """Reads rows of named columns, as the native one."""

    def __init__(self, names: list[bytes], kinds: Sequence[int], required: Sequence[bool]) -> None:
        self._columns = {name.decode(): i for i, name in enumerate(names)}
        if len(self._columns) != len(names):
            raise ValueError("a column is listed twice")
        self._kinds = [Kind(kind) for kind in kinds]
        self._required = list(required)

    def read(
        self, data: Any, rows: int, values: Any, lengths: Any, missing: Any, arena: Any
    ) -> list[tuple[int, int, str, object]]:
        """As the native one's, but what came stands in a breach itself: (row, column or -1, rule, what came)."""
        elements = decode_bytes_tensor(data)
        if len(elements) != rows:
            raise ValueError(f"expected {rows} elements, came {len(elements)}")
        values[:], lengths[:], missing[:] = 0, 0, True
        used = 0
        breaches: list[tuple[int, int, str, object]] = []
        for row, element in enumerate(elements):
            found, cells = self._row(element)
            for column, value in cells.items():
                missing[column, row] = False
                if isinstance(value, bytes):
                    values[column, row], lengths[column, row] = used, len(value)
                    arena[used : used + len(value)] = np.frombuffer(value, "u1")
                    used += len(value)
                else:
                    packed = struct.pack("<d" if isinstance(value, float) else "<q", value)
                    values[column, row] = int.from_bytes(packed, "little", signed=True)
            for first, (column, rule, came) in enumerate(found):
                if len(breaches) < MAX_BREACHES or first == 0:
                    breaches.append((row, column, rule, came))
        return breaches

    def _row(self, element: bytes) -> tuple[list[tuple[int, str, object]], dict[int, Any]]:
        """What the row breaks, and its values by column."""
        try:
            text = element.decode("utf-8")
        except UnicodeDecodeError:
            return [(-1, "utf8", element)], {}
        try:
            value, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip(" \t\n\r")))
            if text[end:].strip(" \t\n\r") or not isinstance(value, _Object):
                raise ValueError("not one object")
            _check(value, 1)
        except (ValueError, RecursionError):
            return [(-1, "json", element)], {}
        return self._pairs(value, element)

    def _pairs(self, pairs: _Object, element: bytes) -> tuple[list[tuple[int, str, object]], dict[int, Any]]:
        found: list[tuple[int, str, object]] = []
        cells: dict[int, Any] = {}
        met: set[int] = set()
        unknown = False
        for key, value in pairs:
            column = self._columns.get(key)
            if column is None:
                if not unknown:
                    found.append((-1, "unknown_key", key))
                unknown = True
            elif column in met:
                cells.pop(column, None)
                found.append((column, "duplicate_key", value))
            else:
                met.add(column)
                rule, cell = _cell(value, self._kinds[column])
                if rule:
                    found.append((column, rule, value))
                elif cell is not None:
                    cells[column] = cell
        found += [
            (column, "missing_key", element)
            for column, required in enumerate(self._required)
            if required and column not in met
        ]
        return found, cells


def _check(value: object, depth: int) -> None:
    """Raises ValueError where it is nested too deeply, or holds half a surrogate pair."""
    if isinstance(value, _Object | list):
        if depth > MAX_DEPTH:
            raise ValueError("too deep")
        for item in value:
            if isinstance(value, _Object):
                key, item = item
                key.encode()
            _check(item, depth + 1)
    elif isinstance(value, str):
        value.encode()


def _cell(value: object, kind: Kind) -> tuple[str, Any]:
    """The rule that a value breaks, or "" and what its cell holds; None: missing."""
    if value is None:
        return "", None
    if isinstance(value, _Literal):
        return _number(value, kind) if kind in (Kind.NUMBER, Kind.INTEGER, Kind.DATE) else ("type", None)
    if isinstance(value, bool) and kind is Kind.BOOLEAN:
        return "", int(value)
    if isinstance(value, str) and kind is Kind.TEXT:
        return "", value.encode()
    if isinstance(value, str) and kind is Kind.DATE:
        us = microseconds(value)
        return ("date", None) if us is None else ("", us)
    return "type", None


def _number(text: str, kind: Kind) -> tuple[str, Any]:
    if len(text) > MAX_NUMBER_CHARS or math.isinf(real := float(text)):
        return "range", None
    if kind is Kind.NUMBER:
        return "", real
    if text.lstrip("-").isdigit():
        whole = int(text)
    elif real != math.floor(real):
        return "whole", None
    elif abs(real) > 2**53:
        return "range", None
    else:
        whole = int(real)
    low, high = (_FIRST_US, _LAST_US) if kind is Kind.DATE else (-(2**63), 2**63 - 1)
    return ("", whole) if low <= whole <= high else ("range", None)


def microseconds(text: str) -> int | None:
    """Microseconds from 1970 of a date of ISO 8601, or None."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups()[:3])
    hour, minute, second = (int(part or 0) for part in match.groups()[3:6])
    try:
        time = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    us = (time - _EPOCH) // timedelta(microseconds=1) + int((match[7] or "").ljust(6, "0")[:6])
    if match[8] and match[8] != "Z":
        offset_hour, offset_minute = int(match[8][1:3]), int(match[8][4:6])
        if offset_hour > 23 or offset_minute > 59:
            return None
        offset = (offset_hour * 60 + offset_minute) * 60_000_000
        us += offset if match[8][0] == "-" else -offset
    return us if _FIRST_US <= us <= _LAST_US else None
