"""Filters over captured payloads: terms such as `version=3 and reason=error`, all of which hold."""

import operator
import re
from collections.abc import Callable
from typing import Any

from steelyard.errors import InvalidRequest
from steelyard.evidence.payload import Payload

# What people type on a command line.
MAX_FILTER_CHARS = 1000

_TERM = re.compile(r"\s*(\w+)\s*(=|!=|<=|>=|<|>)\s*('[^']*'|\"[^\"]*\"|\S+)\s*")

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

# By name, what a payload says of it; a list holds the value that is asked for, or does not.
_FIELDS: dict[str, Callable[[Payload], str | int | tuple[str, ...]]] = {
    "version": lambda payload: payload.version,
    "status": lambda payload: payload.status,
    "bytes": lambda payload: len(payload.request) + len(payload.answer),
    "digest": lambda payload: payload.digest,
    "request_id": lambda payload: payload.request_id,
    "key": lambda payload: payload.key,
    "reason": lambda payload: payload.reasons,
    "masked": lambda payload: payload.masked,
}
_NUMBERS = ("version", "status", "bytes")

Filter = Callable[[Payload], bool]


def parse_filter(text: str) -> Filter:
    """Whether a payload keeps every term. Raises InvalidRequest that names what it cannot read."""
    if len(text) > MAX_FILTER_CHARS:
        raise InvalidRequest(f"filter: expected at most {MAX_FILTER_CHARS} characters, got {len(text)}")
    terms = [_term(part) for part in re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE)]
    return lambda payload: all(term(payload) for term in terms)


def _term(text: str) -> Filter:
    found = _TERM.fullmatch(text)
    if found is None:
        raise InvalidRequest(f"filter: expected NAME=VALUE, or with != < <= > >=, got {text[:80]!r}")
    name, sign, written = found.groups()
    field = _FIELDS.get(name)
    if field is None:
        raise InvalidRequest(f"filter: no field {name!r}; there are {', '.join(_FIELDS)}")
    compare = _COMPARE[sign]
    if name in _NUMBERS:
        try:
            number = int(written)
        except ValueError:
            raise InvalidRequest(f"filter: {name}: expected a whole number, got {written[:80]!r}") from None
        return lambda payload: compare(field(payload), number)
    if sign not in ("=", "!="):
        raise InvalidRequest(f"filter: {name}: expected = or !=, got {sign}")
    value = written[1:-1] if written[0] in "'\"" else written
    if name in ("reason", "masked"):
        return lambda payload: (value in field(payload)) == (sign == "=")  # type: ignore[operator]
    return lambda payload: compare(field(payload), value)
