"""What is known of a column of numbers: in one reading of it their range, in a second all else."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard.models.profile import (
    HISTOGRAM_BINS,
    MAX_VALUES,
    QUANTILES,
    Deciles,
    Histogram,
    Number,
    NumberProfile,
    ValueCounts,
)
from steelyard.pipelines.profiling.sample import Sample
from steelyard.pipelines.tabular.columns import Kind

# Whole numbers within so wide a range are counted one by one: half a mebibyte a column.
MAX_COUNTED_RANGE = 65_536
# Above it the difference of two numbers may be beyond a double.
_LARGE = 1e307


class Range:
    """How many numbers there are, the least and the greatest."""

    def __init__(self) -> None:
        self.count = 0
        self.low: Number = 0
        self.high: Number = 0

    def add(self, values: NDArray[Any]) -> None:
        """values: [n] of int64 or float64, all finite."""
        if not len(values):
            return
        low, high = _plain(values.min()), _plain(values.max())
        self.low = min(self.low, low) if self.count else low
        self.high = max(self.high, high) if self.count else high
        self.count += len(values)


class Numbers:
    """The figures of a column whose range is known."""

    def __init__(self, kind: Kind, known: Range, sample_values: int) -> None:
        self._kind = kind
        self._range = known
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._edges = _edges(float(known.low), float(known.high))
        self._bins = np.zeros(len(self._edges) - 1, np.int64)
        self._sample = Sample(
            min(sample_values, known.count), np.float64 if kind is Kind.NUMBER else np.int64
        )
        counted = kind is Kind.INTEGER and known.high - known.low < MAX_COUNTED_RANGE
        self._counts = np.zeros(int(known.high - known.low) + 1, np.int64) if counted else None

    def add(self, values: NDArray[Any]) -> None:
        """values: [n] of int64 or float64, within the range."""
        if not len(values):
            return
        self._sample.add(values)
        if self._counts is not None:
            self._counts += np.bincount(values - self._range.low, minlength=len(self._counts))
        numbers = values.astype(np.float64, copy=False)
        inner = np.searchsorted(self._edges[1:-1], numbers, side="right")
        self._bins += np.bincount(inner, minlength=len(self._bins))
        self._add_moments(numbers)

    def _add_moments(self, numbers: NDArray[np.float64]) -> None:
        """By the formula of Chan, Golub and LeVeque for two parts of a sample."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(numbers.mean())
            squares = float(np.square(numbers - mean).sum())
        count = self._count + len(numbers)
        apart = mean - self._mean
        self._squares += squares + apart * apart * (self._count / count) * len(numbers)
        self._mean += apart * (len(numbers) / count)
        self._count = count

    def profile(self) -> NumberProfile:
        """Of at least one value."""
        ordered = np.sort(self._sample.values)
        quantiles = _quantiles(ordered, QUANTILES)
        deciles = np.unique(_quantiles(ordered, [tenth / 10 for tenth in range(1, 10)]))
        shares = np.bincount(
            np.searchsorted(deciles, ordered.astype(np.float64), side="right"), minlength=len(deciles) + 1
        )
        std = math.sqrt(self._squares / self._count) if math.isfinite(self._squares) else None
        return NumberProfile(
            min=self._range.low,
            max=self._range.high,
            mean=self._mean if math.isfinite(self._mean) else None,
            std=std,
            median=self._median(ordered),
            mode=self._mode(ordered),
            quantiles=tuple(zip(QUANTILES, quantiles.tolist(), strict=True)),
            histogram=Histogram(edges=tuple(self._edges.tolist()), counts=tuple(self._bins.tolist())),
            deciles=Deciles(edges=tuple(deciles.tolist()), counts=tuple(shares.tolist())),
            sample=None if self._sample.complete else len(ordered),
        )

    def _median(self, ordered: NDArray[Any]) -> Number:
        low, high = _plain(ordered[(len(ordered) - 1) // 2]), _plain(ordered[len(ordered) // 2])
        if self._kind is Kind.NUMBER:
            return float(_quantiles(ordered, [0.5])[0])
        twice = low + high
        # A date has no half a microsecond.
        return twice // 2 if self._kind is Kind.DATE or twice % 2 == 0 else twice / 2

    def _mode(self, ordered: NDArray[Any]) -> Number:
        if self._counts is not None:
            return int(self._range.low) + int(self._counts.argmax())
        values, counts = np.unique(ordered, return_counts=True)
        return _plain(values[counts.argmax()])

    def values(self) -> ValueCounts | None:
        """How often each of few whole numbers is there; None where they are not few."""
        if self._counts is None or np.count_nonzero(self._counts) > MAX_VALUES:
            return None
        pairs = [
            (int(self._range.low) + int(at), int(self._counts[at])) for at in np.flatnonzero(self._counts)
        ]
        pairs.sort(key=lambda pair: (-pair[1], pair[0]))
        return ValueCounts(distinct=len(pairs), exact=True, counts=tuple(pairs), short_by=0, rest=0)


def _plain(value: Any) -> Number:
    """A NumPy number as Python's own."""
    number: Number = value.item()
    return number


def _edges(low: float, high: float) -> NDArray[np.float64]:
    """HISTOGRAM_BINS + 1 of them, evenly from `low` to `high`; two where these are the same."""
    if low == high:
        return np.array([low, high])
    if max(-low, high) > _LARGE:
        return np.linspace(low / 4, high / 4, HISTOGRAM_BINS + 1) * 4
    return np.linspace(low, high, HISTOGRAM_BINS + 1)


def _quantiles(ordered: NDArray[Any], probabilities: Any) -> NDArray[np.float64]:
    """With linear interpolation, between numbers of any size."""
    numbers = ordered.astype(np.float64)
    if max(-numbers[0], numbers[-1]) > _LARGE:
        return np.asarray(np.quantile(numbers / 4, probabilities) * 4)
    return np.asarray(np.quantile(numbers, probabilities))
