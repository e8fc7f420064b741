"""The twin of the native checks of a data contract: a cell at a time, in Python."""

from typing import Any

import numpy as np

from steelyard.pipelines.tabular.operations import CellCheck, CellRule, State


class Checks:
    """Compiled checks of some columns."""

    def __init__(self, checks: list[CellCheck]) -> None:
        for number, check in enumerate(checks):
            if check.state is State.TEXT and (check.least is not None or check.greatest is not None):
                raise ValueError(f"check {number}: texts have no range")
        self._checks = checks

    def run(self, sources: list[tuple[Any, ...]], rows: int, broken: Any) -> int:
        """Writes into `broken` [columns, rows] the rule that each cell breaks, 0 for none; how many break one."""
        found = 0
        for place, (check, source) in enumerate(zip(self._checks, sources, strict=True)):
            missing = np.frombuffer(source[1], "u1")
            for row in range(rows):
                rule = _missing(check) if missing[row] else _value(check, source, row)
                broken[place, row] = rule
                found += rule != 0
        return found


def _missing(check: CellCheck) -> int:
    if check.refuses_missing:
        return CellRule.MISSING
    return CellRule.HOLE if check.fills_missing else 0


def _value(check: CellCheck, source: tuple[Any, ...], row: int) -> int:
    words: Any = check.words
    if check.state is State.TEXT:
        start, size = (int(np.frombuffer(source[part], "<i8")[row]) for part in (0, 2))
        text = bytes(source[3])[start : start + size]
        if check.max_bytes is not None and size > check.max_bytes:
            return CellRule.SIZE
        return CellRule.UNKNOWN if words is not None and words.find(text) is None else 0
    dtype = "<f8" if check.state is State.NUMBER else "<i8"
    value = np.frombuffer(source[0], dtype)[row]
    if check.least is not None and value < check.least:
        return CellRule.BELOW
    if check.greatest is not None and value > check.greatest:
        return CellRule.ABOVE
    key = (value + 0.0 if check.state is State.NUMBER else value).tobytes()
    return CellRule.UNKNOWN if words is not None and words.find(key) is None else 0
