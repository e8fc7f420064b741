"""top_1 and top_k: which of the values along the last axis are the largest; what is as good as tied wins too."""

from dataclasses import dataclass

import numpy as np

from steelyard.rollout.rules.breach import ROUNDING, Breach, another
from steelyard.rollout.sides import Floats, Sides


@dataclass(frozen=True, slots=True)
class TopOne:
    """The candidate's winner, the first of its largest values, is within the tolerance of the primary's winner.

    The tolerance is held against the primary's values: where two classes are as good as tied there, either may win.
    """

    name: str
    absolute: float
    relative: float

    def check(self, sides: Sides) -> Breach | None:
        changed, count = 0, 0
        for primary, candidate in sides.vectors(last_axis=True):
            count += len(primary)
            best = primary.max(axis=1, keepdims=True)
            chosen = np.take_along_axis(primary, candidate.argmax(axis=1, keepdims=True), axis=1)
            changed += int(np.count_nonzero(chosen < best - slack(best, self.absolute, self.relative)))
        if not changed:
            return None
        return Breach(another(changed / count), f"{changed} of {count} winners changed")


@dataclass(frozen=True, slots=True)
class TopK:
    """Of the candidate's k largest, at least a share is among the primary's, in any order.

    Among the primary's are those within the tolerance of its k-th; of the candidate's that are tied at its k-th place,
    those that the primary has count first. A candidate whose values are all the same has chosen none.
    """

    name: str
    k: int
    least: float
    absolute: float
    relative: float

    def check(self, sides: Sides) -> Breach | None:
        lowest, short, count = 1.0, 0, 0
        for primary, candidate in sides.vectors(last_axis=True):
            count += len(primary)
            shares = self._shares(primary, candidate)
            below = int(np.count_nonzero(shares < self.least - ROUNDING))
            if below:
                short += below
                lowest = min(lowest, float(shares.min()))
        if not short:
            return None
        return Breach(
            2 - lowest, f"{short} of {count} have less than {self.least:g} in common, at least {lowest:.3g}"
        )

    def _shares(self, primary: Floats, candidate: Floats) -> Floats:
        """The share of the k largest that vectors of shape [n, values] have in common: [n]."""
        width = primary.shape[1]
        if self.k >= width:
            return np.ones(len(primary))
        place = width - self.k
        last = np.partition(primary, place, axis=1)[:, place : place + 1]
        among = primary >= last - slack(last, self.absolute, self.relative)
        last = np.partition(candidate, place, axis=1)[:, place : place + 1]
        above, tied = candidate > last, candidate == last
        open_places = self.k - np.count_nonzero(above, axis=1)
        common = np.count_nonzero(above & among, axis=1)
        common = common + np.minimum(open_places, np.count_nonzero(tied & among, axis=1))
        nothing_chosen = tied.all(axis=1) & ~among.all(axis=1)
        shares: Floats = np.where(nothing_chosen, 0, common) / self.k
        return shares


def slack(values: Floats, absolute: float, relative: float) -> Floats:
    """How far below each of `values` is as good as tied with it; nothing below an infinity is."""
    finite = np.isfinite(values)
    return np.where(finite, absolute + relative * np.absolute(np.where(finite, values, 0.0)), 0.0)
