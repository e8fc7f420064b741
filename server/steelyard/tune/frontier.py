"""Throughput against p99: what was measured of the finalists, what of it nothing else beats, and which is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

from steelyard.tune.candidate import Candidate
from steelyard.tune.sample import Sample

# Answers come at so much of the rate of requests at least; less, and the queue grows for as long as the load lasts.
DELIVERED = 0.95

# The present way to serve stays beside one that serves at most so many times as much, or at the same rate has a p99
# that is lower by less: that is noise, at the edge of what a machine can do more than anywhere.
SAME = 1.1


@dataclass(frozen=True, slots=True)
class Point:
    """A candidate under requests that come at random, so many a second on average."""

    candidate: Candidate
    rate_per_s: float
    sample: Sample

    def meets(self, p99_ms: float) -> bool:
        """Whether all requests were served as they came, and 99 in 100 of them as fast as that."""
        return not self.problem(p99_ms)

    def problem(self, p99_ms: float) -> str:
        """In a word or two why it does not meet `p99_ms`; empty where it does."""
        sample = self.sample
        if sample.failed or not sample.answered:
            return "fails"
        if sample.p99_ms > p99_ms:
            return "too slow"
        return "falls behind" if sample.delivered < DELIVERED else ""


def frontier(points: Sequence[Point]) -> list[Point]:
    """Those beside which no other has as much throughput at a lower p99, by throughput."""
    found: list[Point] = []
    best_ms = float("inf")
    for point in sorted(points, key=lambda one: (-one.sample.answers_per_s, one.sample.p99_ms)):
        if point.sample.p99_ms < best_ms:
            best_ms = point.sample.p99_ms
            found.append(point)
    return found[::-1]


def choose(points: Sequence[Point], base: Candidate, p99_ms: float) -> Point | None:
    """The point with the most requests a second that meets `p99_ms`, of several the fastest; None where none does.

    `base` stays where that is little more (SAME).
    A candidate counts only as far as it meets `p99_ms` at every lower rate that it was asked at as well.
    """
    met = [
        point
        for point in points
        if all(
            other.meets(p99_ms)
            for other in points
            if other.candidate == point.candidate and other.rate_per_s <= point.rate_per_s
        )
    ]
    if not met:
        return None
    most = max(point.rate_per_s for point in met)
    there = [point for point in met if point.rate_per_s == most]
    best = min(there, key=lambda point: point.sample.p99_ms)
    own = max(
        (point for point in met if point.candidate == base), key=lambda one: one.rate_per_s, default=None
    )
    if own is None or most > SAME * own.rate_per_s:
        return best
    return best if own in there and own.sample.p99_ms > SAME * best.sample.p99_ms else own


def nearest(points: Sequence[Point]) -> Point:
    """The one with the lowest p99, where none meets what is asked for."""
    return min(points, key=lambda point: (point.sample.p99_ms, -point.rate_per_s))
