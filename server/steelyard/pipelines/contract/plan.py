"""Columns of a request held against their contracts: problems found, missing and unknown values replaced."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard._native import tabular as native
from steelyard.pipelines.contract.rules import RULE_NAMES, Rules
from steelyard.pipelines.problems import Problem, ProblemList, unservable
from steelyard.pipelines.tabular.columns import Column, Kind, Mask, TextColumn, ValueColumn
from steelyard.pipelines.tabular.operations import CellCheck, CellRule

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Held:
    """What came of holding columns against their contracts."""

    columns: Mapping[str, Column]
    """Those that were changed."""
    problems: tuple[Problem, ...]
    imputed: Mapping[str, int]
    """How many values were put in, by the rule that they would have broken."""


NOTHING = Held({}, (), {})


class ContractPlan:
    """The contracts of some columns, compiled; immutable, so threads may share it."""

    def __init__(
        self, rules: Sequence[Rules], checks: Callable[[list[CellCheck]], Any] = native.Checks
    ) -> None:
        """checks: the native ones, or their twin."""
        self._rules = [rule for rule in rules if not rule.is_empty]
        self._checks = checks([rule.check for rule in self._rules])
        self.has_pattern = any(rule.matches is not None for rule in self._rules)
        self.actions: Mapping[str, str] = {rule.name: rule.action for rule in rules}
        """What each column says of rows that break a rule."""

    @property
    def is_empty(self) -> bool:
        """Whether no column has a contract."""
        return not self._rules

    def hold(self, columns: Mapping[str, Column], cells: int, width: int = 1) -> Held:
        """Checks all columns, each of `cells` cells, `width` of them a row."""
        rules = self._rules
        if not rules:
            return NOTHING
        broken = np.empty((len(rules), cells), np.uint8)
        found = self._checks.run([columns[rule.name].buffers for rule in rules], cells, broken)
        if not found and not self.has_pattern:
            return NOTHING
        changed: dict[str, Column] = {}
        problems = ProblemList()
        imputed: Counter[str] = Counter()
        for rule, own in zip(rules, broken, strict=True):
            if rule.matches is None and not own.any():
                continue
            column = columns[rule.name]
            after = _hold(rule, column, own, width, problems, imputed)
            if after is not column:
                changed[rule.name] = after
        return Held(changed, tuple(problems.items), imputed)


def _hold(
    rule: Rules,
    column: Column,
    broken: NDArray[np.uint8],
    width: int,
    problems: ProblemList,
    imputed: Counter[str],
) -> Column:
    """The column as it is served; adds what is wrong with it to `problems`, and what was put in to `imputed`."""
    after = column
    holes, unknown = broken == CellRule.HOLE, broken == CellRule.UNKNOWN
    broken[holes] = 0
    if rule.unknown_value is not None:
        broken[unknown] = 0
        after = _with(after, unknown, rule.unknown_value)
        _count(imputed, "allowed", unknown)
    elif rule.nulls_unknown:
        broken[unknown] = CellRule.MISSING if rule.check.refuses_missing else 0
        after = _without(after, unknown)
        holes |= unknown
    for cell, code in _first_of_rows(broken, width):
        name, expected, came = _described(rule, column, cell, CellRule(code))
        value = f"{came} at {cell % width}" if width > 1 else came
        problems.add_shown(cell // width, rule.name, name, expected, value, rule.action)
    if rule.matches is not None:
        _match(rule, column, ~after.missing & (broken == 0) & ~unknown, width, problems)
    if rule.missing_value is not None:
        after = _with(after, holes, rule.missing_value)
        _count(imputed, "missing", holes)
    return after


def _first_of_rows(broken: NDArray[np.uint8], width: int) -> Iterable[tuple[int, int]]:
    """The first broken cell of each row, with the rule that it breaks."""
    if width == 1:
        cells = np.flatnonzero(broken)
    else:
        table = broken.reshape(-1, width) != 0
        rows = np.flatnonzero(table.any(axis=1))
        cells = rows * width + table[rows].argmax(axis=1)
    return zip(cells.tolist(), broken[cells].tolist(), strict=True)


def _match(rule: Rules, column: Column, there: Mask, width: int, problems: ProblemList) -> None:
    assert rule.matches is not None
    last = -1
    for cell in np.flatnonzero(there).tolist():
        if cell // width == last:
            continue
        try:
            text = column.value(cell)
        except UnicodeDecodeError:
            action = unservable(rule.action)
            problems.add(cell // width, rule.name, "utf8", "UTF-8", raw(column, cell), action)
            last = cell // width
            continue
        if not rule.matches(str(text)):
            problems.add(cell // width, rule.name, "pattern", rule.expected["pattern"], text, rule.action)
            last = cell // width


def _described(rule: Rules, column: Column, cell: int, code: CellRule) -> tuple[str, str, str]:
    """Name of the rule, what it expects, and what came."""
    name = RULE_NAMES[code]
    if code is CellRule.SIZE:
        assert isinstance(column, TextColumn)
        return name, rule.expected["size"], f"{int(column.lengths[cell])} bytes"
    key = {CellRule.BELOW: "least", CellRule.ABOVE: "greatest"}.get(code, name)
    return name, rule.expected[key], _value(column, cell)


def _value(column: Column, cell: int) -> str:
    """A cell as a message shows it."""
    if column.missing[cell]:
        return "null"
    if isinstance(column, TextColumn):
        return raw(column, cell).decode("utf-8", "backslashreplace")
    value = column.value(cell)
    if column.kind is Kind.DATE and isinstance(value, int):
        return (_EPOCH + timedelta(microseconds=value)).isoformat()
    return str(value)


def raw(column: Column, cell: int) -> bytes:
    """The first bytes of a text."""
    assert isinstance(column, TextColumn)
    start = int(column.starts[cell])
    return bytes(memoryview(column.data).cast("B")[start : start + min(int(column.lengths[cell]), 512)])


def _with(column: Column, where: Mask, value: Any) -> Column:
    """The column with `value` where `where`, not missing there."""
    if not where.any():
        return column
    missing = column.missing & ~where
    if isinstance(column, ValueColumn):
        values = column.values.copy()
        values[where] = value
        return ValueColumn(column.kind, values, missing)
    data = bytes(column.data)
    starts, lengths = column.starts.copy(), column.lengths.copy()
    starts[where], lengths[where] = len(data), len(value)
    return TextColumn(starts, lengths, missing, data + value)


def _without(column: Column, where: Mask) -> Column:
    """The column, missing where `where`."""
    if not where.any():
        return column
    missing = column.missing | where
    if isinstance(column, ValueColumn):
        return ValueColumn(column.kind, column.values, missing)
    return TextColumn(column.starts, column.lengths, missing, column.data)


def _count(imputed: Counter[str], rule: str, where: Mask) -> None:
    times = int(np.count_nonzero(where))
    if times:
        imputed[rule] += times
