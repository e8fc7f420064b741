"""What is wrong with single rows of a request: one record each, so that rows can be refused, marked or flagged."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from steelyard.models.contract import OnBreach

# What came is quoted up to so many characters: enough to find it, and no log filled by one value.
MAX_VALUE_CHARS = 80
# Each problem is a few hundred bytes in memory, for as little as five on the wire.
MAX_PROBLEMS = 16_384
PROBLEM_BYTES = 256
# A refusal names so many rows; a caller with more bad rows than that has one mistake, not many.
MAX_ROWS_NAMED = 16

# Every rule that a row can break, by the name under which it is counted. The places are in shared memory: add at the
# end, never reorder.
RULES = (
    "missing",
    "range",
    "allowed",
    "pattern",
    "size",
    "type",
    "whole",
    "finite",
    "date",
    "utf8",
    "json",
    "unknown_key",
    "duplicate_key",
    "missing_key",
    "unknown_category",
    "image",
    "length",
    "text",
)

# What is done about a row that breaks a rule, and about a value that would have: places as above.
ACTIONS = ("refuse", "mark", "flag", "impute")


@dataclass(frozen=True, slots=True)
class Problem:
    """One rule that one row breaks."""

    row: int
    """From 0 in the request."""
    column: str
    """Empty where the row as a whole is wrong."""
    rule: str
    """One of RULES."""
    expected: str
    value: str
    """What came, at most MAX_VALUE_CHARS characters of it."""
    action: OnBreach | None = None
    """What is done about the row; None: there is no value to serve, and the input decides on the row."""

    def __str__(self) -> str:
        column = f", column '{self.column}'" if self.column else ""
        return f"row {self.row}{column}: expected {self.expected}, came {self.value}"


def unservable(action: OnBreach) -> OnBreach:
    """What is done about a row that has no value to serve, where `action` is wanted: there is nothing to flag."""
    return "mark" if action == "mark" else "refuse"


class ProblemList:
    """Problems as they are found: all of them up to a bound, and from there on the first of each row."""

    __slots__ = ("_rows", "items")

    def __init__(self) -> None:
        self.items: list[Problem] = []
        self._rows: set[int] | None = None

    def add(
        self, row: int, column: str, rule: str, expected: str, value: object, action: OnBreach | None = None
    ) -> None:
        """Keeps a problem; `value` is what came, of any type, bytes as text."""
        self.add_shown(row, column, rule, expected, shown(value), action)

    def add_shown(
        self, row: int, column: str, rule: str, expected: str, value: str, action: OnBreach | None = None
    ) -> None:
        """The same of a value that is written already, as long as it may be."""
        if len(self.items) >= MAX_PROBLEMS:
            if self._rows is None:
                self._rows = {problem.row for problem in self.items}
            if row in self._rows:
                return
            self._rows.add(row)
        self.items.append(Problem(row, column, rule, expected, cut(value), action))


def shown(value: object) -> str:
    """A value as a problem quotes it."""
    return cut(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else repr(value))


def cut(text: str) -> str:
    """The text, or as much of it as a problem quotes."""
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 3] + "..."


def describe(problems: Sequence[Problem]) -> str:
    """A refusal that names every bad row with column, rule and value; of more than 16 rows, the first ones."""
    rows = by_row(problems)
    named = list(rows.values())[:MAX_ROWS_NAMED]
    lines = [f"{problem} (rule '{problem.rule}')" for row in named for problem in row][: 4 * MAX_ROWS_NAMED]
    more = len(rows) - len(named)
    return f"{len(rows)} bad rows: " + "; ".join(lines) + (f"; and {more} rows more" if more else "")


def by_row(problems: Iterable[Problem]) -> dict[int, list[Problem]]:
    """The problems of each row that has any, in the order of rows; within a row as found."""
    rows: dict[int, list[Problem]] = {}
    for problem in sorted(problems, key=lambda problem: problem.row):
        rows.setdefault(problem.row, []).append(problem)
    return rows
