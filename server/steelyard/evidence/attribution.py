"""What each input of a tabular model had to do with one answer: Shapley values and occlusion, as approximations.

A Shapley value (Shapley 1953; for models: Štrumbelj and Kononenko 2014) is a feature's mean contribution over all
orders in which features may come to be known; a feature that is not known yet has a value drawn from a background.
Here the background is a training profile, whose columns are drawn one by one: how they hang together is not in it.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from steelyard.errors import InvalidRequest

Rows = npt.NDArray[np.object_]
"""[rows, features], any values."""
Floats = npt.NDArray[np.float64]
Score = Callable[[Rows], Floats]
"""The number that is explained, for each row: float64 [rows]."""

# All subsets of so many features are 256 rows for each row of the background; of one more, permutations cost less.
MAX_EXACT_FEATURES = 8

# Rows that are scored together: of a thousand features a few megabytes.
SCORED_ROWS = 1024

# More is a tensor, and no table that people read row by row.
MAX_FEATURES = 1024

# What one explanation may cost: at ten microseconds a row, some seconds.
MAX_EVALUATIONS = 1 << 19


@dataclass(frozen=True, slots=True)
class Share:
    """One feature's part of the answer."""

    name: str
    value: Any
    """What it was."""
    contribution: float
    """By how much it moved the answer, in the answer's own unit."""
    error: float
    """The standard error of that; 0 where nothing was drawn."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """An answer, divided among the features: an approximation, which says how good it is."""

    method: Literal["permutation", "subsets", "occlusion"]
    value: float
    """What is explained."""
    base: float
    """What the model says where nothing is known: the mean over the background, or its answer to the baseline."""
    base_error: float
    """The standard error of that mean."""
    shares: tuple[Share, ...]
    """In the order of features."""
    gap: float
    """`value` less `base` less the sum of contributions: 0 for Shapley values that are exact."""
    evaluations: int
    """Rows that the model was asked."""
    draws: int
    """Rows of the background that contributions were taken over; 1 for a baseline."""


def shapley(
    score: Score, names: Sequence[str], row: Sequence[Any], background: Rows, spare: Rows, seed: int = 0
) -> Attribution:
    """Shapley values of `row`, by all subsets where there are few features, else by permutations.

    background: one row for each draw; of permutations, each is gone through forwards and backwards (Mitchell et al.
    2022), and the standard error is over these pairs. spare: more rows, for the base alone: what contributions leave
    unexplained against it is the completeness gap.

    Raises InvalidRequest where there is nothing to explain, or it would cost too much.
    """
    features = len(names)
    check_size(features, len(background))
    exact = features <= MAX_EXACT_FEATURES
    per_draw = 1 << features if exact else 2 * features
    if per_draw * len(background) > MAX_EVALUATIONS:
        raise InvalidRequest(
            f"attribution: {features} features and {len(background)} draws are {per_draw * len(background)} runs, "
            f"expected at most {MAX_EVALUATIONS}"
        )
    counted = _Counted(score)
    known = _objects(row)
    value = float(counted(known[None, :])[0])
    contributions = (
        _by_subsets(counted, known, background)
        if exact
        else _by_permutations(counted, known, background, value, np.random.default_rng(seed))
    )
    bases = counted(spare)
    base = float(bases.mean())
    means = contributions.mean(axis=0)
    errors = _errors(contributions)
    return Attribution(
        method="subsets" if exact else "permutation",
        value=value,
        base=base,
        base_error=float(_errors(bases[:, None])[0]),
        shares=tuple(
            Share(name, was, float(mean), float(error))
            for name, was, mean, error in zip(names, row, means, errors, strict=True)
        ),
        gap=value - base - float(means.sum()),
        evaluations=counted.rows,
        draws=len(background),
    )


def occlusion(score: Score, names: Sequence[str], row: Sequence[Any], baseline: Sequence[Any]) -> Attribution:
    """By how much the answer changes where one feature alone has its baseline's value.

    Features that act together are counted more than once or not at all: the gap says how much.
    """
    check_size(len(names), 1)
    counted = _Counted(score)
    known, other = _objects(row), _objects(baseline)
    rows = np.tile(known, (len(names) + 2, 1))
    for place in range(len(names)):
        rows[place, place] = other[place]
    rows[-1] = other
    found = counted(rows)
    value, base = float(found[-2]), float(found[-1])
    contributions = value - found[:-2]
    return Attribution(
        method="occlusion",
        value=value,
        base=base,
        base_error=0.0,
        shares=tuple(
            Share(name, was, float(one), 0.0)
            for name, was, one in zip(names, row, contributions, strict=True)
        ),
        gap=value - base - float(contributions.sum()),
        evaluations=counted.rows,
        draws=1,
    )


def check_size(features: int, draws: int) -> None:
    """Raises InvalidRequest where there is nothing to explain, or too much."""
    if not 1 <= features <= MAX_FEATURES:
        raise InvalidRequest(f"attribution: expected 1 to {MAX_FEATURES} features, got {features}")
    if draws < 1:
        raise InvalidRequest("attribution: expected at least one row of background, got none")


def _by_subsets(score: Score, row: Rows, background: Rows) -> Floats:
    """The Shapley values against each row of the background: [draws, features]."""
    features = len(row)
    subsets = np.array(list(itertools.product((False, True), repeat=features)))
    sizes = subsets.sum(axis=1)
    # A subset without the feature weighs |S|! (n - |S| - 1)! / n!.
    weights = np.array(
        [
            math.factorial(size) * math.factorial(max(features - size - 1, 0)) / math.factorial(features)
            for size in range(features + 1)
        ]
    )
    rows = np.where(subsets[None, :, :], row, background[:, None, :])
    values = score(rows.reshape(-1, features)).reshape(len(background), len(subsets))
    found = np.empty((len(background), features))
    for place in range(features):
        without = np.flatnonzero(~subsets[:, place])
        with_it = without + (1 << (features - 1 - place))
        found[:, place] = (values[:, with_it] - values[:, without]) @ weights[sizes[without]]
    return found


def _by_permutations(
    score: Score, row: Rows, background: Rows, value: float, rng: np.random.Generator
) -> Floats:
    """Contributions along one order and its reverse, for each row of the background: [draws, features]."""
    features = len(row)
    found = np.empty((len(background), features))
    # All that is known at each step but the last, which is the row itself.
    steps = np.tri(features, features, -1, dtype=bool)
    for draw, unknown in enumerate(background):
        order = rng.permutation(features)
        rank = np.empty(features, np.intp)
        rank[order] = np.arange(features)
        forwards, backwards = steps[:, rank], steps[:, features - 1 - rank]
        values = score(np.where(np.concatenate((forwards, backwards)), row, unknown))
        there = np.diff(np.append(values[:features], value))
        back = np.diff(np.append(values[features:], value))
        found[draw] = (there[rank] + back[features - 1 - rank]) / 2
    return found


class _Counted:
    """A score that counts what it is asked, and asks in parts. Raises InvalidRequest where it is no number."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self.rows = 0

    def __call__(self, rows: Rows) -> Floats:
        found = np.empty(len(rows))
        for start in range(0, len(rows), SCORED_ROWS):
            part = rows[start : start + SCORED_ROWS]
            found[start : start + len(part)] = self._score(part)
        self.rows += len(rows)
        if not np.isfinite(found).all():
            raise InvalidRequest("attribution: the model gives no finite number for some of the background")
        return found


def _objects(values: Sequence[Any]) -> Rows:
    row = np.empty(len(values), object)
    row[:] = values
    return row


def _errors(samples: Floats) -> Floats:
    """The standard error of each column's mean; 0 of a single sample, which says nothing of it."""
    if len(samples) < 2:
        return np.zeros(samples.shape[1])
    found: Floats = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    return found
