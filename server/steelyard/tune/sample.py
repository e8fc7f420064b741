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
    delivered: float = 1.0
    """How fast answers came, as a share of how fast requests really came; less than 1 where they fell behind."""


def sample_of(
    latencies_ms: Sequence[float], seconds: float, failed: int, offered_s: float | None = None
) -> Sample:
    """latencies_ms: of what was answered within `seconds`. offered_s: when the last request was due, where they were
    sent whatever became of those before."""
    ordered = sorted(latencies_ms)
    delivered = 1.0
    if offered_s and ordered:
        # Answers come a latency after their requests however well a server keeps up; low ones have no queue in them.
        delivered = offered_s / max(offered_s, seconds - at_rank(ordered, 5) / 1e3)
    return Sample(
        len(ordered) / seconds if seconds > 0 else 0.0,
        at_rank(ordered, 50),
        at_rank(ordered, 99),
        len(ordered),
        failed,
        delivered,
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
        statistics.median(one.delivered for one in samples),
    )
