"""One output of both answers, made ready for what rules need: numbers as float64, in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.models.bfloat16 import from_bfloat16

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# Values that are looked at together: 512 KiB of float64 a side, so that the largest answer takes no more memory to
# compare than a small one, and stays in a cache.
BLOCK_VALUES = 1 << 16

LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, slots=True)
class OutputError:
    """How far two answers lie apart in one output, over the values that are finite on both sides."""

    max_absolute: float
    """The largest |candidate - primary|; 0.0 where there are no such values."""
    max_relative: float
    """The largest |candidate - primary| / |primary| over values where the primary's is not 0; else 0.0."""


@dataclass(frozen=True, slots=True)
class Block:
    """Values of both sides that are finite, in order: float64 of shape [n]."""

    primary: Floats
    candidate: Floats
    difference: Floats
    """|candidate - primary|, at most the largest float64; of whole numbers exact before it is rounded once."""
    magnitude: Floats
    """|primary|."""
    max_absolute: float
    alike: bool
    """Whether the same values are NaN, and the same infinite, on both sides."""


class Sides:
    """One output of a pair: two arrays of the same shape and dtype. The caller turns NumPy's warnings off.

    `rows` is how many rows the first axis counts, or None where it counts none and all is one row. `bfloat16` says
    that uint16 are the bits of BF16.
    """

    __slots__ = ("_bfloat16", "_blocks", "candidate", "primary", "rows")

    def __init__(self, primary: Array, candidate: Array, rows: int | None, bfloat16: bool) -> None:
        self.primary = primary
        self.candidate = candidate
        self.rows = rows if rows is not None and primary.ndim and primary.shape[0] == rows else None
        self._bfloat16 = bfloat16
        self._blocks: list[Block] | None = None

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers, and can lie apart by more or less."""
        return self.primary.dtype.kind in "iuf"

    def blocks(self) -> Iterator[Block]:
        """The numbers of both sides, block by block; the only block of a small output is made once."""
        if self._blocks is None and self.primary.size <= BLOCK_VALUES:
            self._blocks = [self._block(self.primary.reshape(-1), self.candidate.reshape(-1))]
        if self._blocks is not None:
            yield from self._blocks
            return
        primary, candidate = self.primary.reshape(-1), self.candidate.reshape(-1)
        for start in range(0, primary.size, BLOCK_VALUES):
            yield self._block(primary[start : start + BLOCK_VALUES], candidate[start : start + BLOCK_VALUES])

    def _block(self, primary: Array, candidate: Array) -> Block:
        if primary.dtype.kind != "f" and not self._bfloat16:
            return whole_block(primary, candidate)
        p, c = self.widened(primary), self.widened(candidate)
        difference = np.subtract(c, p)
        np.absolute(difference, out=difference)
        largest = float(difference.max()) if difference.size else 0.0
        if isfinite(largest):
            return Block(p, c, difference, np.absolute(p), largest, True)
        finite = np.isfinite(p) & np.isfinite(c)
        alike = bool((finite | (p == c) | (np.isnan(p) & np.isnan(c))).all())
        p, c = p[finite], c[finite]
        difference = np.minimum(np.absolute(c - p), LARGEST)
        largest = float(difference.max()) if difference.size else 0.0
        return Block(p, c, difference, np.absolute(p), largest, alike)

    def widened(self, values: Array) -> Floats:
        """Values of a side as float64 of the same shape."""
        return widened(values, self._bfloat16)

    def vectors(self, last_axis: bool) -> Iterator[tuple[Floats, Floats]]:
        """Both sides as float64 of shape [vectors, values], vectors with at least one value, block by block.

        A vector is what lies along the last axis, or a whole row. NaN, which both sides have at the same places, stand
        below all numbers, as -inf.
        """
        shape = self.primary.shape
        if not self.primary.size:
            return
        axes = shape[1:] if self.rows is not None else shape
        width = (axes[-1] if axes else 1) if last_axis else prod(axes)
        primary, candidate = self.primary.reshape(-1, width), self.candidate.reshape(-1, width)
        step = max(BLOCK_VALUES // width, 1)
        for start in range(0, len(primary), step):
            p, c = self.widened(primary[start : start + step]), self.widened(candidate[start : start + step])
            missing = np.isnan(p)
            if missing.any():
                p[missing] = c[missing] = -np.inf
            yield p, c

    def error(self) -> tuple[OutputError, bool]:
        """The errors, and whether both sides have the same NaN and infinities."""
        absolute, relative, alike = 0.0, 0.0, True
        for block in self.blocks():
            alike = alike and block.alike
            if block.max_absolute > 0:
                absolute = max(absolute, block.max_absolute)
                difference, magnitude = block.difference, block.magnitude
                if not magnitude.all():
                    somewhere = magnitude > 0
                    difference, magnitude = difference[somewhere], magnitude[somewhere]
                if difference.size:
                    relative = max(relative, min(float((difference / magnitude).max()), LARGEST))
        return OutputError(absolute, relative), alike


def whole_block(primary: Array, candidate: Array) -> Block:
    """A block of whole numbers, whose difference is exact: 64 bits modulo 2**64 hold the larger less the smaller."""
    low, high = (
        np.minimum(primary, candidate).astype(np.uint64),
        np.maximum(primary, candidate).astype(np.uint64),
    )
    difference = (high - low).astype(np.float64)
    p = primary.astype(np.float64)
    largest = float(difference.max()) if difference.size else 0.0
    return Block(p, candidate.astype(np.float64), difference, np.absolute(p), largest, True)


def widened(values: Array, bfloat16: bool) -> Floats:
    """Numbers as float64 of the same shape; `bfloat16` says that they are the bits of BF16."""
    return (from_bfloat16(values) if bfloat16 else values).astype(np.float64)
