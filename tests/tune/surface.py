"""A machine that is made up: what every candidate can do is known, and measuring it takes no time."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from steelyard.tune.candidate import Candidate
from steelyard.tune.sample import Sample, sample_of

# How much slower than in the middle 99 in 100 requests are, where none waits.
TAIL = 1.3

# Latencies of one stretch, as parts of their 99th percentile.
EXPONENTIAL = [math.log(1 - place / 200) / math.log(0.01) for place in range(1, 200)]


@dataclass
class Surface:
    """Measures as a `Judge` does: by factors of throughput for shapes and for each of the other choices."""

    rate_per_s: float
    """Of one instance with one thread."""
    shapes: dict[tuple[int, int, bool], float]
    """Throughput by instances, threads and spinning, over that of one of one."""
    batches: dict[int, float] = field(default_factory=dict)
    delays: dict[int, float] = field(default_factory=dict)
    noise: float = 0.0
    seed: int = 0
    spent_s: float = 0.0
    measured: set[Candidate] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def capacity(self, one: Candidate) -> float:
        """Answers a second at most, in truth."""
        shape = self.shapes.get((one.instances, one.threads, one.spinning), 1.0)
        factor = self.batches.get(one.max_batch, 1.0) * self.delays.get(one.max_queue_delay_us, 1.0)
        return self.rate_per_s * shape * factor

    def alone_ms(self, one: Candidate) -> float:
        """What a request takes by itself, in truth."""
        return 1000 * one.instances / self.capacity(one) + one.max_queue_delay_us / 1000

    def p99_ms(self, one: Candidate, rate_per_s: float) -> float:
        """Under requests that come at random, in truth."""
        load = rate_per_s / self.capacity(one)
        return TAIL * self.alone_ms(one) / (1 - load) if load < 1 else 60_000.0

    def closed(
        self, candidates: Sequence[Candidate], in_flight: int, seconds: float
    ) -> dict[Candidate, Sample]:
        found = {}
        for one in candidates:
            rate = min(self.capacity(one), in_flight * 1000 / self.alone_ms(one))
            found[one] = self._sample(one, rate, TAIL * 1000 * in_flight / rate, seconds)
        return found

    def opened(
        self, candidates: Sequence[Candidate], rate_per_s: float, seconds: float
    ) -> dict[Candidate, Sample]:
        found = {}
        for one in candidates:
            rate = min(rate_per_s, self.capacity(one))
            delivered = rate / rate_per_s
            found[one] = self._sample(one, rate, self.p99_ms(one, rate_per_s), seconds, delivered)
        return found

    def _sample(
        self, one: Candidate, rate: float, p99_ms: float, seconds: float, delivered: float = 1.0
    ) -> Sample:
        self.spent_s += seconds
        self.measured.add(one)
        # What disturbs a machine only ever slows it.
        slowed = 1 + self.noise * self._random.random()
        made = sample_of(
            [p99_ms * slowed * part for part in EXPONENTIAL], len(EXPONENTIAL) * slowed / rate, 0
        )
        return replace(made, delivered=delivered / slowed)
