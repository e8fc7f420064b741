"""Confidence sequences: bounds on a running mean that hold at every look at once."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Self

import numpy as np

# How much is known before the first observation, in units of the variance process V: the mixture's only parameter. The
# boundary is narrowest about V = 60 at α = 0.05. It is not tuned to a gate: V grows with the same events that the mean
# is made of, so that verdicts fall between V = 10 and V = 1000 whatever the margins are, and there the boundary is
# within a tenth of the one that is best for that V.
PRIOR_VARIANCE = 10.0

# Where a part of the integrand is e^-50 of its greatest value, nothing of it shows in a double.
_NEGLIGIBLE = 50.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(100)

# Beyond it a float no longer counts by one.
MAX_COUNT = 1 << 53


def log_tail(a: float, x: float) -> float:
    """log of the integral of t^(a-1) e^(x(1-t)) over t in [0, 1], for a >= 4 and any finite x.

    It is log γ(a, x) - a log x + x, with the lower incomplete gamma function γ, and goes on where x <= 0.
    Gauss-Legendre quadrature about the peak, right to 1e-10: the series would need √a terms, and the continued fraction
    is for one side of x = a only.
    """
    shape = a - 1.0
    if x <= shape:
        # Highest at t = 1, from where the exponent falls by at least (shape - x) d + shape d²/2.
        slope = shape - x
        peak, beyond = 1.0, 0.0
        before = 2.0 * _NEGLIGIBLE / (slope + math.sqrt(slope * slope + 2.0 * _NEGLIGIBLE * shape))
    else:
        # Highest at t = shape / x; at t = (1 + e) shape / x it has fallen by shape (e - log(1 + e)).
        peak, drop = shape / x, _NEGLIGIBLE / shape
        before = math.sqrt(2.0 * drop)
        beyond = min(drop + math.sqrt(drop * drop + 2.0 * drop), (x - shape) / shape)
    before = min(before, 1.0)
    e = 0.5 * (before + beyond) * (_NODES + 1.0) - before
    integral = float(_WEIGHTS @ np.exp(shape * np.log1p(e) - x * peak * e)) * 0.5 * (before + beyond)
    height = shape * math.log(peak) + x - x * peak
    return height + math.log(peak * integral)


@lru_cache(maxsize=256)
def _log_prior(prior: float) -> float:
    return log_tail(prior, prior)


def log_evidence(s: float, v: float, scale: float, prior: float) -> float:
    """log of the gamma-exponential mixture martingale at a sum `s` of deviations with the variance process `v`.

    The mixture over λ in [0, 1/scale) of exp(λ s - ψ(λ) v) with ψ(λ) = (-log(1 - scale λ) - scale λ) / scale²
    (Howard, Ramdas, McAuliffe, Sekhon 2021, proposition 9). Under what it is evidence against its mean is at most 1, so
    that it ever reaches log(1/α) has a chance of at most α. `prior` is in the unit of `v`.
    """
    square = scale * scale
    return log_tail((v + prior) / square, (scale * s + v + prior) / square) - _log_prior(prior / square)


def crossed(s: float, v: float, scale: float, prior: float, alpha: float) -> bool:
    """Whether the mixture martingale is at least 1/α."""
    threshold = -math.log(alpha)
    # No single λ makes more than exp(s²/2v) of it, and so no mixture does: most looks end here.
    if s <= 0.0 or (v > 0.0 and s * s < 2.0 * v * threshold):
        return False
    return log_evidence(s, v, scale, prior) >= threshold


def boundary(v: float, scale: float, prior: float, alpha: float) -> float:
    """The sum of deviations at which the mixture martingale is 1/α, by bisection."""
    threshold = -math.log(alpha)
    high = math.sqrt(2.0 * (v + prior) * threshold) + scale * threshold
    while not crossed(high, v, scale, prior, alpha):
        high *= 2.0
    return _bisect(lambda s: not crossed(s, v, scale, prior, alpha), 0.0, high)


def _bisect(below: Callable[[float], bool], low: float, high: float) -> float:
    """Where `below` turns false, to a part in 1e12 of the width, from the side where it is false."""
    width = high - low
    while high - low > 1e-12 * width:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if below(middle):
            low = middle
        else:
            high = middle
    return high


class MeanSequence:
    """An empirical-Bernstein confidence sequence of the running mean of bounded observations that come as counts.

    What is bounded at every look at once is the mean of the observations' conditional means so far, each given all that
    came before it: these may drift (Howard et al. 2021, theorem 4; Choe and Ramdas 2023). V = Σ (x - centre)², where
    all of a batch is held against the centre that was there before it; any centre that does not look ahead is allowed,
    so a look costs nothing per observation. `centre` bounds the centre: an observation lies at most `scale_below` under
    it, which is what counts for the lower bound, and at most `scale_above` over it, which counts for the upper one.
    Observations that are rare events have their centre near 0, so that the lower bound is much the tighter one.
    """

    def __init__(
        self, least: float, greatest: float, centre: tuple[float, float], prior: float = PRIOR_VARIANCE
    ) -> None:
        """Observations are in [least, greatest]; `centre` is a range in it that has 0, where the centre starts."""
        low, high = centre
        if not least <= low <= 0.0 <= high <= greatest or least == greatest:
            raise ValueError(f"centre: expected {least} <= {low} <= 0 <= {high} <= {greatest}")
        self.least, self.greatest = least, greatest
        self._centre_low, self._centre_high = low, high
        self.prior = prior
        self.scale_below = high - least
        self.scale_above = greatest - low
        if prior < 4.0 * max(self.scale_below, self.scale_above) ** 2:
            raise ValueError(f"prior: expected at least four times the square of the range, got {prior:g}")
        self.n = 0
        self.total = 0.0
        self.variance = 0.0
        """The variance process V."""

    @property
    def centre(self) -> float:
        """Against which the next batch is held."""
        return min(max(self.total / (self.n + 1), self._centre_low), self._centre_high)

    @property
    def mean(self) -> float:
        """Of the observations; 0 before the first."""
        return self.total / self.n if self.n else 0.0

    def observe(self, counts: Mapping[float, int]) -> None:
        """Takes a batch, as how often each value came. Raises ValueError for a value out of range or a bad count."""
        for value, count in counts.items():
            if not self.least <= value <= self.greatest:
                raise ValueError(
                    f"expected observations in [{self.least:g}, {self.greatest:g}], got {value:g}"
                )
            if count < 0 or self.n + count > MAX_COUNT:
                raise ValueError(f"expected a count of 0 to {MAX_COUNT - self.n}, got {count}")
        centre = self.centre
        for value, count in counts.items():
            self.n += count
            self.total += value * count
            self.variance += (value - centre) ** 2 * count

    def over(self, mean: float, alpha: float) -> bool:
        """Whether the lower bound at `alpha` is over `mean`; needs no root."""
        return crossed(self.total - self.n * mean, self.variance, self.scale_below, self.prior, alpha)

    def under(self, mean: float, alpha: float) -> bool:
        """Whether the upper bound at `alpha` is under `mean`; needs no root."""
        return crossed(self.n * mean - self.total, self.variance, self.scale_above, self.prior, alpha)

    def lower(self, alpha: float) -> float:
        """The lower bound at `alpha`, no less than the least that an observation may be."""
        if not self.n:
            return self.least
        u = boundary(self.variance, self.scale_below, self.prior, alpha)
        return max((self.total - u) / self.n, self.least)

    def upper(self, alpha: float) -> float:
        """The upper bound at `alpha`, no more than the greatest that an observation may be."""
        if not self.n:
            return self.greatest
        u = boundary(self.variance, self.scale_above, self.prior, alpha)
        return min((self.total + u) / self.n, self.greatest)

    def to_json(self) -> dict[str, float]:
        """What `restore` takes; floats go there and back exactly."""
        return {"n": self.n, "total": self.total, "variance": self.variance}

    def restore(self, state: object) -> Self:
        """Takes up a state that `to_json` gave, and returns itself. Raises ValueError for what is none."""
        if not isinstance(state, dict) or state.keys() != {"n", "total", "variance"}:
            raise ValueError(f"expected a sequence's n, total and variance, got {_short(state)}")
        n, total, variance = state["n"], state["total"], state["variance"]
        widest = max(self.scale_below, self.scale_above) ** 2
        if (
            type(n) is not int
            or type(total) is not float
            or type(variance) is not float
            or not 0 <= n <= MAX_COUNT
            or not self.least * n <= total <= self.greatest * n
            or not 0.0 <= variance <= widest * n * (1.0 + 1e-9)
        ):
            raise ValueError(
                f"expected counts of observations in [{self.least:g}, {self.greatest:g}], got {_short(state)}"
            )
        self.n, self.total, self.variance = n, total, variance
        return self


def _short(value: object) -> str:
    return repr(value)[:200]
