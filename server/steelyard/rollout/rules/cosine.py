"""cosine: the similarity of each row's values, taken as one vector."""

from dataclasses import dataclass

import numpy as np

from steelyard.rollout.rules.breach import ROUNDING, Breach, short_of
from steelyard.rollout.sides import Floats, Sides


@dataclass(frozen=True, slots=True)
class Cosine:
    name: str
    least: float

    def check(self, sides: Sides) -> Breach | None:
        lowest, count = 1.0, 0
        for primary, candidate in sides.vectors(last_axis=False):
            similarity = cosines(scaled(primary), scaled(candidate))
            short = similarity < self.least - ROUNDING
            if short.any():
                count += int(np.count_nonzero(short))
                lowest = min(lowest, float(similarity.min()))
        if not count:
            return None
        return Breach(
            short_of(lowest, self.least),
            f"{count} rows less similar than {self.least:g}, the least similar by {lowest:.6g}",
        )


def scaled(vectors: Floats) -> Floats:
    """Vectors of shape [n, values] whose largest magnitude is 1, so that no square overflows; infinities count as 0.

    They stand at the same places on both sides, and a direction with one has no angle.
    """
    magnitudes = np.absolute(vectors)
    largest = magnitudes.max(axis=1, keepdims=True)
    if not np.isfinite(largest).all():
        vectors = np.where(np.isfinite(vectors), vectors, 0.0)
        largest = np.absolute(vectors).max(axis=1, keepdims=True)
    return vectors / np.where(largest > 0, largest, 1.0)


def cosines(primary: Floats, candidate: Floats) -> Floats:
    """The cosine of each pair of vectors, of shape [n]: 1 where both are zero vectors, 0 where one is."""
    dots = np.einsum("ij,ij->i", primary, candidate)
    squares = np.einsum("ij,ij->i", primary, primary) * np.einsum("ij,ij->i", candidate, candidate)
    zero = ~primary.any(axis=1) & ~candidate.any(axis=1)
    found = np.clip(np.where(squares > 0, dots / np.sqrt(squares), 0.0), -1.0, 1.0)
    return np.where(zero, 1.0, found)
