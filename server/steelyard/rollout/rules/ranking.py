"""ranking: Spearman's correlation of the ranks of each row's values.

Spearman's rather than Kendall's: it is a sort, where Kendall's is a count of all pairs or a sort that has to be written
in Python. Tied values share the mean of their ranks, which makes it Pearson's correlation of the ranks.
"""

from dataclasses import dataclass

import numpy as np

from steelyard.rollout.rules.breach import ROUNDING, Breach, short_of
from steelyard.rollout.sides import Floats, Sides


@dataclass(frozen=True, slots=True)
class Ranking:
    name: str
    least: float

    def check(self, sides: Sides) -> Breach | None:
        lowest, count = 1.0, 0
        for primary, candidate in sides.vectors(last_axis=False):
            found = correlations(ranks(primary), ranks(candidate))
            short = found < self.least - ROUNDING
            if short.any():
                count += int(np.count_nonzero(short))
                lowest = min(lowest, float(found.min()))
        if not count:
            return None
        return Breach(
            short_of(lowest, self.least),
            f"{count} rows with a rank correlation below {self.least:g}, the lowest {lowest:.6g}",
        )


def ranks(vectors: Floats) -> Floats:
    """The rank of each value in its vector, from 0; tied ones share the mean. Shapes [n, values]."""
    order = vectors.argsort(axis=1)
    ascending = np.take_along_axis(vectors, order, axis=1)
    places = np.broadcast_to(np.arange(vectors.shape[1]), vectors.shape)
    begins = np.ones(vectors.shape, np.bool_)
    begins[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    ends = np.ones(vectors.shape, np.bool_)
    ends[:, :-1] = begins[:, 1:]
    first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, places, vectors.shape[1])[:, ::-1], axis=1)[:, ::-1]
    found = np.empty(vectors.shape)
    np.put_along_axis(found, order, (first + last) / 2, axis=1)
    return found


def correlations(primary: Floats, candidate: Floats) -> Floats:
    """Pearson's correlation of ranks, of shape [n]: 1 where both vectors are all tied, 0 where one is."""
    middle = (primary.shape[1] - 1) / 2
    p, c = primary - middle, candidate - middle
    spread_p, spread_c = np.einsum("ij,ij->i", p, p), np.einsum("ij,ij->i", c, c)
    spread = np.sqrt(spread_p * spread_c)
    found = np.clip(np.where(spread > 0, np.einsum("ij,ij->i", p, c) / spread, 0.0), -1.0, 1.0)
    return np.where((spread_p == 0) & (spread_c == 0), 1.0, found)
