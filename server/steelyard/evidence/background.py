"""Rows such as a training profile has them: drawn column by column, and the one in the middle."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from steelyard.evidence.attribution import Rows
from steelyard.models.profile import ColumnProfile, Profile

# Edges between tenths.
_DECILES = 9


class Background:
    """The columns of a profile that have values to draw from."""

    def __init__(self, profile: Profile) -> None:
        self._columns = {column.name: column for column in profile.columns if _has_values(column)}

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    @property
    def numbers(self) -> list[str]:
        """The columns of numbers, in the profile's order."""
        return [name for name, column in self._columns.items() if column.kind in ("number", "integer")]

    def draw(self, names: Sequence[str], rows: int, seed: int) -> Rows:
        """`rows` rows, object [rows, columns]; None is a missing value. Each column by itself."""
        rng = np.random.default_rng(seed)
        found = np.empty((rows, len(names)), object)
        for place, name in enumerate(names):
            column = self._columns[name]
            found[:, place] = _drawn(column, rows, rng)
            if column.missing_share:
                found[rng.random(rows) < column.missing_share, place] = None
        return found

    def middle(self, names: Sequence[str]) -> list[Any]:
        """The median of numbers, the most frequent value of everything else."""
        return [_middle(self._columns[name]) for name in names]


def _has_values(column: ColumnProfile) -> bool:
    return column.kind != "date" and (
        bool(column.values and column.values.counts) or column.numbers is not None
    )


def _drawn(column: ColumnProfile, rows: int, rng: np.random.Generator) -> list[Any]:
    if column.values is not None and column.values.counts:
        values = [value for value, _ in column.values.counts]
        counts = np.array([count for _, count in column.values.counts], np.float64)
        if counts.sum():
            return [values[place] for place in rng.choice(len(values), rows, p=counts / counts.sum())]
        return [values[0]] * rows
    numbers = column.numbers
    assert numbers is not None
    # By the quantiles and not by the bins of equal width, of which one outlier puts all the rest into the first.
    points = dict(numbers.quantiles) | {0.0: float(numbers.min), 1.0: float(numbers.max)}
    if len(numbers.deciles.edges) == _DECILES:
        points |= {(place + 1) / (_DECILES + 1): edge for place, edge in enumerate(numbers.deciles.edges)}
    shares = sorted(points)
    values_at = np.maximum.accumulate([points[share] for share in shares])
    drawn = np.interp(rng.random(rows), shares, values_at)
    if column.kind == "integer":
        return [round(one) for one in drawn.tolist()]
    return list(drawn.tolist())


def _middle(column: ColumnProfile) -> Any:
    if column.kind in ("number", "integer") and column.numbers is not None:
        median = column.numbers.median
        return round(median) if column.kind == "integer" else float(median)
    assert column.values is not None
    return column.values.counts[0][0]
