"""Log-linear histograms over nanoseconds: buckets, merging, quantiles; the twin of `native/histogram.h`."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

FIRST_EXPONENT = 7
LAST_EXPONENT = 37
SUB_BUCKETS = 16
BUCKETS = (LAST_EXPONENT - FIRST_EXPONENT) * SUB_BUCKETS + 2


def bucket_of(ns: int) -> int:
    """The index of the bucket (low, high] that a duration falls into; negative ones fall into the first."""
    if ns <= 1 << FIRST_EXPONENT:
        return 0
    if ns > 1 << LAST_EXPONENT:
        return BUCKETS - 1
    exponent = (ns - 1).bit_length() - 1
    width = 1 << (exponent - SUB_BUCKETS.bit_length() + 1)
    return 1 + (exponent - FIRST_EXPONENT) * SUB_BUCKETS + (ns - 1 - (1 << exponent)) // width


def bounds(bucket: int) -> tuple[int, int | None]:
    """The bounds (low, high] of a bucket in ns; the last one has no high bound.

    Raises:
        IndexError: there is no such bucket.
    """
    if not 0 <= bucket < BUCKETS:
        raise IndexError(f"bucket {bucket} is not among 0..{BUCKETS - 1}")
    if bucket == 0:
        return 0, 1 << FIRST_EXPONENT
    if bucket == BUCKETS - 1:
        return 1 << LAST_EXPONENT, None
    octave, sub = divmod(bucket - 1, SUB_BUCKETS)
    low = 1 << (FIRST_EXPONENT + octave)
    return low + low // SUB_BUCKETS * sub, low + low // SUB_BUCKETS * (sub + 1)


@dataclass(frozen=True, slots=True, eq=False)
class HistogramCounts:
    """What a histogram has seen: `buckets` is uint64 of shape [BUCKETS], `sum_ns` the exact sum."""

    buckets: NDArray[np.uint64]
    sum_ns: int

    @classmethod
    def empty(cls) -> Self:
        buckets = np.zeros(BUCKETS, np.uint64)
        buckets.flags.writeable = False
        return cls(buckets, 0)

    @property
    def count(self) -> int:
        return int(self.buckets.sum())

    def __add__(self, other: "HistogramCounts") -> "HistogramCounts":
        return HistogramCounts(self.buckets + other.buckets, self.sum_ns + other.sum_ns)

    def __sub__(self, earlier: "HistogramCounts") -> "HistogramCounts":
        """What came between an earlier reading of the same histogram and this one."""
        return HistogramCounts(self.buckets - earlier.buckets, self.sum_ns - earlier.sum_ns)

    @property
    def mean_ns(self) -> float:
        """The exact mean, or 0.0 where nothing was seen."""
        count = self.count
        return self.sum_ns / count if count else 0.0

    def quantile(self, q: float) -> float:
        """An estimate of the q-quantile in ns, linear within its bucket: off by 6.25 % at most; 0.0 if empty.

        What lies above the last bound is reported as that bound.

        Raises:
            ValueError: `q` is not within [0, 1].
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile lies within [0, 1], got {q}")
        cumulative = np.cumsum(self.buckets)
        count = int(cumulative[-1])
        if count == 0:
            return 0.0
        rank = max(q * count, 1.0)
        bucket = int(np.searchsorted(cumulative, rank))
        low, high = bounds(bucket)
        if high is None:
            return float(low)
        inside = int(self.buckets[bucket])
        below = int(cumulative[bucket]) - inside
        return low + (high - low) * (rank - below) / inside

    def octaves(self) -> list[int]:
        """How many were at most 2**e ns, exactly, for each e from FIRST_EXPONENT to LAST_EXPONENT."""
        cumulative: list[int] = np.cumsum(self.buckets)[:-1:SUB_BUCKETS].tolist()
        return cumulative
