"""The search: few ways to serve out of many, each measured in turn with the others, and longer the better it is."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from steelyard.tune.candidate import Candidate, combined, shapes, variants
from steelyard.tune.frontier import Point, choose
from steelyard.tune.sample import Sample, together

# Requests in flight that are tried, one after the other, to find as many as the p99 has room for.
LEVELS = (1, 2, 4, 8, 16, 32, 64)

# More in flight that bring less than this are only waiting longer.
GAINS = 1.05

# Rounds in which all that are left are measured in turn, before the worse half of them goes.
ROUNDS = 3

# Better in the median of the rounds by this counts as better.
BETTER = 1.02

# Of what the finalists can serve at most: the rates at which requests then come at random.
SHARES = (0.25, 0.5, 0.7, 0.8, 0.9, 0.97)
PASSES = 3
FINALISTS = 4

# A rate at which the p99 is this many times what it may be says enough of all higher ones in the same pass.
HOPELESS = 3.0
UNASKED = Sample(0.0, math.inf, math.inf, 0, 0)

# The least and the most that one measurement takes.
LEAST_SLICE_S, MOST_SLICE_S = 0.15, 4.0


class Judge(Protocol):
    """Measures candidates; all that are named together are asked in turn."""

    @property
    def spent_s(self) -> float:
        """What all measurements have taken so far, in seconds."""

    def closed(
        self, candidates: Sequence[Candidate], in_flight: int, seconds: float
    ) -> dict[Candidate, Sample]:
        """Each with so many requests in flight, for so long."""

    def opened(
        self, candidates: Sequence[Candidate], rate_per_s: float, seconds: float
    ) -> dict[Candidate, Sample]:
        """Each with so many requests a second that come at random, for so long."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the search."""

    base: Candidate
    """How the model is served now."""
    threads: int
    """The budget that instances and threads are divided out of."""
    batched: bool
    preferred: int
    """The largest batch size that the manifest prefers; 0: none."""
    p99_ms: float
    seconds: float
    """What the measurements may take; loading is not in it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the search came to."""

    chosen: Point | None
    """None where nothing meets the p99."""
    points: list[Point]
    """The finalists under requests that come at random."""
    screened: dict[Candidate, Sample]
    """Everything that was tried, with `in_flight` requests in flight."""
    in_flight: int


def search(judge: Judge, wish: Wish, say: Callable[[str], None]) -> Found:
    """The candidate that serves the most requests within the p99, as far as could be found in the time."""
    return _Search(judge, wish, say).run()


class _Search:
    def __init__(self, judge: Judge, wish: Wish, say: Callable[[str], None]) -> None:
        self._judge = judge
        self._wish = wish
        self._say = say
        self._screened: dict[Candidate, list[Sample]] = {}
        self._in_flight = 1
        self._slice_s = self._affordable_slice_s()

    def run(self) -> Found:
        wish = self._wish
        self._say("as it is served now")
        self._in_flight = max(self._level(), wish.threads)
        self._say(f"instances and threads, {self._in_flight} requests in flight")
        ranked = self._halve(shapes(wish.base, wish.threads))
        best = ranked[0]
        around = variants(best, wish.batched, wish.preferred, wish.p99_ms)
        self._say("batches, delay and session options")
        better = self._better_than(best, around)
        finalists = [combined(best, better), *better[:1], *ranked[:2]]
        finalists = [wish.base, *(one for one in dict.fromkeys(finalists) if one != wish.base)][:FINALISTS]
        self._say("requests that come at random")
        points = self._finals(finalists)
        return Found(
            choose(points, wish.base, wish.p99_ms),
            points,
            {one: together(samples) for one, samples in self._screened.items()},
            self._in_flight,
        )

    def _affordable_slice_s(self) -> float:
        """What one measurement may take, if each is as long as any other and none is left out."""
        wish = self._wish
        left, halvings = len(shapes(wish.base, wish.threads)), 0
        while left > 1:
            halvings += left * ROUNDS
            left = math.ceil(left / 2)
        around = len(variants(wish.base, wish.batched, wish.preferred, wish.p99_ms)) + 1
        slices = 2 * len(LEVELS) + halvings + around * ROUNDS + FINALISTS * len(SHARES) * PASSES
        return min(MOST_SLICE_S, max(LEAST_SLICE_S, wish.seconds / slices))

    def _level(self) -> int:
        """Requests in flight with which the model, as it is served now, does most within the p99."""
        best, chosen = 0.0, 1
        for in_flight in LEVELS:
            base = self._wish.base
            samples = [self._judge.closed([base], in_flight, self._slice_s)[base] for _ in range(2)]
            # What disturbs the machine only ever slows it: the better of the two is nearer to the truth.
            answers_per_s = max(sample.answers_per_s for sample in samples)
            if min(one.p99_ms for one in samples) > self._wish.p99_ms or answers_per_s < GAINS * best:
                break
            best, chosen = answers_per_s, in_flight
        return chosen

    def _measure(self, candidates: Sequence[Candidate], rounds: int) -> None:
        for _ in range(rounds):
            samples = self._judge.closed(candidates, self._in_flight, self._slice_s)
            for candidate, sample in samples.items():
                self._screened.setdefault(candidate, []).append(sample)

    def _score(self, sample: Sample) -> float:
        """Throughput, and less of it the further the p99 is above what it may be."""
        return sample.answers_per_s * min(1.0, self._wish.p99_ms / sample.p99_ms)

    def _halve(self, candidates: list[Candidate]) -> list[Candidate]:
        """All candidates, the best first: the worse half goes after each few rounds."""
        gone: list[Candidate] = []
        left = candidates
        while len(left) > 1:
            self._measure(left, ROUNDS)
            left = sorted(left, key=lambda one: -statistics.median(map(self._score, self._screened[one])))
            keep = math.ceil(len(left) / 2)
            gone = left[keep:] + gone
            left = left[:keep]
        return left + gone

    def _better_than(self, best: Candidate, others: list[Candidate]) -> list[Candidate]:
        """Those of `others` that were better beside `best` in the median of the rounds, the best first."""
        if not others:
            return []
        ratios: dict[Candidate, list[float]] = {other: [] for other in others}
        for _ in range(ROUNDS):
            samples = self._judge.closed([best, *others], self._in_flight, self._slice_s)
            for candidate, sample in samples.items():
                self._screened.setdefault(candidate, []).append(sample)
            beside = self._score(samples[best])
            for other in others:
                ratios[other].append(self._score(samples[other]) / beside if beside else 0.0)
        median = {other: statistics.median(found) for other, found in ratios.items()}
        return sorted((one for one in others if median[one] >= BETTER), key=lambda one: -median[one])

    def _finals(self, finalists: list[Candidate]) -> list[Point]:
        self._measure(finalists, 1)
        left_s = self._wish.seconds - self._judge.spent_s
        slice_s = min(MOST_SLICE_S, max(LEAST_SLICE_S, left_s / (len(finalists) * len(SHARES) * PASSES)))
        capacity = max(together(self._screened[one]).answers_per_s for one in finalists)
        found: dict[tuple[Candidate, float], list[Sample]] = {}
        for turn in range(PASSES):
            if turn and self._judge.spent_s > self._wish.seconds:
                break
            hopeless: set[Candidate] = set()
            for share in SHARES:
                rate = capacity * share
                asked = [one for one in finalists if one not in hopeless]
                samples = self._judge.opened(asked, rate, slice_s) if asked and rate > 0 else {}
                for candidate in finalists:
                    sample = samples.get(candidate, UNASKED)
                    found.setdefault((candidate, rate), []).append(sample)
                    if sample.p99_ms > HOPELESS * self._wish.p99_ms:
                        hopeless.add(candidate)
        return [Point(candidate, rate, together(samples)) for (candidate, rate), samples in found.items()]
