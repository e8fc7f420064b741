"""What one stretch of load saw of a candidate, and several of them together."""

import math
import statistics
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

# Of fewer answers than this the p99 is the slowest of them: one disturbance, or its absence, says what it is.
FEW_ANSWERS = 100


@dataclass(frozen=True, slots=True)
class Sample:
    """One candidate under one load for a while."""

    answers_per_s: float
    p50_ms: float
    """Infinite where nothing was answered, as `p99_ms`."""
    p99_ms: float
    answered: int
    """How many answers the percentiles are of."""
    failed: int
    """Refused, failed, or without an answer when the load was over."""
    delivered: float = 1.0
    """How fast answers came, as a share of how fast requests really came; less than 1 where they fell behind."""
    latencies_ms: "array[float]" = field(default_factory=lambda: array("d"), compare=False, repr=False)
    """Of every answer, ascending."""

    @property
    def few(self) -> bool:
        """Whether the p99 is of fewer answers than it takes to say anything of one in a hundred."""
        return self.answered < FEW_ANSWERS


def sample_of(
    latencies_ms: Sequence[float], seconds: float, failed: int, offered_s: float | None = None
) -> Sample:
    """latencies_ms: of what was answered within `seconds`. offered_s: when the last request was due, where they were
    sent whatever became of those before."""
    ordered = array("d", sorted(latencies_ms))
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
        ordered,
    )


def at_rank(ordered: Sequence[float], percent: float) -> float:
    """The least of the ascending values that so many percent of them do not exceed; infinite where there are none."""
    if not ordered:
        return math.inf
    rank = math.ceil(round(percent / 100 * len(ordered), 6))
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def together(samples: Sequence[Sample]) -> Sample:
    """Percentiles of all answers of all samples, the median of every other figure; counts are summed.

    A median of the samples' own percentiles would hide the slowest answers: of thirty, the p99 is the slowest. Where
    most samples have no answer at all, the percentiles are infinite: those that have some are the lucky ones.
    """
    ordered = array("d", sorted(chain.from_iterable(one.latencies_ms for one in samples)))
    mostly_answered = 2 * sum(bool(one.latencies_ms) for one in samples) > len(samples)
    return Sample(
        statistics.median(one.answers_per_s for one in samples),
        at_rank(ordered, 50) if mostly_answered else math.inf,
        at_rank(ordered, 99) if mostly_answered else math.inf,
        len(ordered),
        sum(one.failed for one in samples),
        statistics.median(one.delivered for one in samples),
        ordered,
    )
