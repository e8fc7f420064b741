"""What is wrong with single rows of a request: one record each, so that rows can be refused, marked or flagged."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# What came is quoted up to so many characters: enough to find it, and no log filled by one value.
MAX_VALUE_CHARS = 80
# Each problem is a few hundred bytes in memory, for as little as five on the wire.
MAX_PROBLEMS = 16_384
# A refusal names so many rows; a caller with more bad rows than that has one mistake, not many.
MAX_ROWS_NAMED = 16


@dataclass(frozen=True, slots=True)
class Problem:
    """One rule that one row breaks."""

    row: int
    """From 0 in the request."""
    column: str
    """Empty where the row as a whole is wrong."""
    rule: str
    """Such as "range", "category", "missing", "json", "image"; a label of the metrics, so one of few."""
    expected: str
    value: str
    """What came, at most MAX_VALUE_CHARS characters of it."""

    def __str__(self) -> str:
        column = f", column '{self.column}'" if self.column else ""
        return f"row {self.row}{column}: expected {self.expected}, came {self.value}"


class ProblemList:
    """Problems as they are found: all of them up to a bound, and from there on the first of each row."""

    __slots__ = ("_rows", "items")

    def __init__(self) -> None:
        self.items: list[Problem] = []
        self._rows: set[int] | None = None

    def add(self, row: int, column: str, rule: str, expected: str, value: object) -> None:
        """Keeps a problem; `value` is what came, of any type, bytes as text."""
        if len(self.items) >= MAX_PROBLEMS:
            if self._rows is None:
                self._rows = {problem.row for problem in self.items}
            if row in self._rows:
                return
            self._rows.add(row)
        self.items.append(Problem(row, column, rule, expected, shown(value)))


def shown(value: object) -> str:
    """A value as a problem quotes it."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 3] + "..."


def describe(problems: Sequence[Problem]) -> str:
    """A refusal that names every bad row with column, rule and value; of more than 16 rows, the first ones."""
    rows = sorted({problem.row for problem in problems})
    named = set(rows[:MAX_ROWS_NAMED])
    lines = [str(problem) for problem in in_order(problems) if problem.row in named][: 4 * MAX_ROWS_NAMED]
    more = len(rows) - len(named)
    return f"{len(rows)} bad rows: " + "; ".join(lines) + (f"; and {more} rows more" if more else "")


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """By row; within a row as found."""
    return sorted(problems, key=lambda problem: problem.row)
