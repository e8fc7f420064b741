"""What one stretch of load saw of a candidate, and several of them together."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One candidate under one load for a while."""

    answers_per_s: float
    p50_ms: float
    """Infinite where nothing was answered, as `p99_ms`."""
    p99_ms: float
    answered: int
    failed: int
    """Refused, failed, or without an answer when the load was over."""


def sample_of(latencies_ms: Sequence[float], seconds: float, failed: int) -> Sample:
    """latencies_ms: of what was answered within `seconds`."""
    ordered = sorted(latencies_ms)
    return Sample(
        len(ordered) / seconds if seconds > 0 else 0.0,
        at_rank(ordered, 50),
        at_rank(ordered, 99),
        len(ordered),
        failed,
    )


def at_rank(ordered: Sequence[float], percent: float) -> float:
    """The least of the ascending values that so many percent of them do not exceed; infinite where there are none."""
    if not ordered:
        return math.inf
    rank = math.ceil(round(percent / 100 * len(ordered), 6))
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def together(samples: Sequence[Sample]) -> Sample:
    """The median of each figure; counts are summed."""
    return Sample(
        statistics.median(one.answers_per_s for one in samples),
        statistics.median(one.p50_ms for one in samples),
        statistics.median(one.p99_ms for one in samples),
        sum(one.answered for one in samples),
        sum(one.failed for one in samples),
    )
