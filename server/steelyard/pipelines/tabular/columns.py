"""A request's rows as named columns: values and a mask of those that are missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard.pipelines.problems import Problem

# As many as a batch can have. It bounds what one request's columns and problems take.
MAX_ROWS = 65_536
# An object without keys is six bytes on the wire, and a cell 17 in memory for each column: 285 MB at this bound.
MAX_CELLS = 1 << 24

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Kind(IntEnum):
    """What a column holds, numbered as the native reader of JSON rows numbers it."""

    NUMBER = 0
    """float64."""
    INTEGER = 1
    """int64."""
    BOOLEAN = 2
    """0 or 1, as int64."""
    TEXT = 3
    """UTF-8."""
    DATE = 4
    """Microseconds from 1970 in UTC, as int64."""


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """A column of any kind but text."""

    kind: Kind
    values: NDArray[Any]
    """float64 [rows] of NUMBER, int64 [rows] of the others; C-contiguous. What a missing one holds means nothing."""
    missing: Mask
    """[rows]."""

    @property
    def buffers(self) -> tuple[Any, ...]:
        """What a program takes."""
        return self.values, self.missing

    def value(self, row: int) -> object:
        """The value of a row, None where it is missing."""
        if self.missing[row]:
            return None
        value = self.values[row].item()
        return bool(value) if self.kind is Kind.BOOLEAN else value

    def select(self, rows: Integers) -> "ValueColumn":
        return ValueColumn(self.kind, self.values[rows], self.missing[rows])


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of texts that lie anywhere in one buffer, checked to be UTF-8 within it."""

    starts: Integers
    """[rows], C-contiguous, as are the others."""
    lengths: Integers
    """[rows], bytes."""
    missing: Mask
    data: Any
    """A buffer of bytes, kept alive by this column."""

    @property
    def kind(self) -> Kind:
        return Kind.TEXT

    @property
    def buffers(self) -> tuple[Any, ...]:
        """What a program takes."""
        return self.starts, self.missing, self.lengths, self.data

    def value(self, row: int) -> str | None:
        """The text of a row, None where it is missing."""
        if self.missing[row]:
            return None
        start = int(self.starts[row])
        return str(memoryview(self.data).cast("B")[start : start + int(self.lengths[row])], "utf-8")

    def select(self, rows: Integers) -> "TextColumn":
        return TextColumn(self.starts[rows], self.lengths[rows], self.missing[rows], self.data)


Column = ValueColumn | TextColumn


class Columns:
    """The columns of a request in the order of its declaration, and what is wrong with single rows."""

    __slots__ = ("by_name", "problems", "rows", "sources")

    def __init__(self, rows: int, by_name: Mapping[str, Column], problems: list[Problem]) -> None:
        self.rows = rows
        self.by_name = by_name
        self.problems = problems
        """Cells that they name are missing in their columns; of a row that is wrong as a whole, all are."""
        self.sources = [column.buffers for column in by_name.values()]
        """For each column what `Program.run` takes."""

    def select(self, rows: Integers) -> "Columns":
        """Only these rows, in this order; without problems, which have other numbers."""
        chosen = {name: column.select(rows) for name, column in self.by_name.items()}
        return Columns(len(rows), chosen, [])
