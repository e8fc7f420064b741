"""What preparing a request gives: the model's tensors, some of them not computed before the batch has room for them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from steelyard.pipelines.problems import Problem
from steelyard.wire.types import InputTensor

Array = npt.NDArray[Any]

# More than any request can have.
HEAVY = 1 << 40

# What a row that is bad may cost: a message of some microseconds, where bytes that preparing looks at are counted.
BAD_ROW_BYTES = 1024
# A pattern takes longer for each byte than anything else.
PATTERN_WEIGHT = 16


class PreparedTensor(Protocol):
    """One of the model's inputs for the rows of one request."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The batch axis included."""
        ...

    @property
    def held_bytes(self) -> int:
        """What it keeps in memory while it waits, bytes."""
        ...

    def fill(self, target: Array) -> None:
        """Writes the rows into `target`: C-contiguous, of `shape` and of the model's element type; for strings, of
        objects (str). Runs on an executor thread, and gives up the GIL where it takes long."""
        ...

    def select(self, rows: Sequence[int]) -> "PreparedTensor":
        """Only these rows, in this order."""
        ...


class PlacedImages(PreparedTensor, Protocol):
    """Images of the caller's that were put into slots of the model's input."""

    def ways_back(self) -> Array:
        """How pixels of each row's slot become pixels of its image: float64 [rows, 6], `Placement.way_back` a row."""
        ...


@dataclass(frozen=True, slots=True)
class ReadyTensor:
    """A tensor that is computed already: a C-contiguous array of the model's element type."""

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def held_bytes(self) -> int:
        return self.array.nbytes

    def fill(self, target: Array) -> None:
        np.copyto(target, self.array)

    def select(self, rows: Sequence[int]) -> "ReadyTensor":
        return ReadyTensor(self.array[list(rows)])


@dataclass(frozen=True, slots=True)
class Preparation:
    """What one preparer made of one request. `tensors` stand in the order of the preparer's targets.

    Rows that have a problem are in the tensors as well, filled with anything that the model can take: what happens to
    them is for the data contract to say.
    """

    tensors: tuple[PreparedTensor, ...]
    problems: tuple[Problem, ...] = ()
    imputed: Mapping[str, int] = field(default_factory=dict)
    """How many values a contract put in, by the rule that they would have broken."""


class Preparer(Protocol):
    """From some of the caller's tensors to some of the model's inputs. Compiled once, used by several threads."""

    @property
    def sources(self) -> Sequence[str]:
        """Names of the caller's tensors that it reads."""
        ...

    @property
    def targets(self) -> Sequence[str]:
        """Names of the model's inputs that it makes."""
        ...

    @property
    def optional(self) -> Collection[str]:
        """Those of `sources` that a request may leave out."""
        ...

    def looks_at(self, size: int, rows: int) -> int:
        """Bytes that preparing a request of `size` bytes and `rows` rows reads or writes, a nanosecond each at worst;
        HEAVY where it takes longer, so that the event loop must not do it."""
        ...

    def prepare(self, tensors: Sequence[InputTensor], rows: int) -> Preparation:
        """Prepares one request; `tensors` are the sources that it has, checked against what was declared.

        Raises `InvalidRequest` for what concerns the whole request; what concerns a row is a problem.
        """
        ...


@dataclass(frozen=True, slots=True)
class OneToOne:
    """What preparers of one of the caller's tensors, and for one of the model's, have in common."""

    source: str
    target: str

    @property
    def sources(self) -> Sequence[str]:
        return (self.source,)

    @property
    def targets(self) -> Sequence[str]:
        return (self.target,)

    @property
    def optional(self) -> Collection[str]:
        return ()

    def looks_at(self, size: int, rows: int) -> int:
        return size
