"""When requests are due: constant, Poisson, in steps, ramps and bursts, or as a file says."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from load.replayed import read_trace
from steelyard.models.table import Table

Array = np.ndarray[Any, Any]

# What one run may hold: with all that is kept of a request (40 bytes and its share of lists), under two gigabytes.
MAX_REQUESTS = 20_000_000

Rate = Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
"""Requests a second."""
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Spacing = Literal["poisson", "even"]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests in the order in which they are due."""

    due_s: Array
    """float64, ascending, from the begin of the phase."""
    seconds: float
    """How long the phase takes; the next one begins then."""
    length: Array | None = None
    """int64: what is said of each request's length; 0 where nothing is."""
    request: list[str] = field(default_factory=list)
    """The name of each one's kind, where the file says it; empty: drawn by share."""


class Timed(Table):
    """What phases have in common that are described by a rate."""

    seconds: Seconds = Field(description="How long the phase takes.")

    @abstractmethod
    def expected(self) -> float:
        """Requests of the whole phase, on average."""

    @abstractmethod
    def draw(self, random: np.random.Generator) -> Arrivals:
        """When the phase's requests are due."""


class Constant(Timed):
    """Evenly spaced: the n-th request is due n / rate after the begin."""

    arrivals: Literal["constant"]
    rate: Rate = Field(description="Requests a second.")

    def expected(self) -> float:
        return self.rate * self.seconds

    def draw(self, random: np.random.Generator) -> Arrivals:
        return Arrivals(_spaced("even", self.expected(), _flat(self.rate), random), self.seconds)


class Poisson(Timed):
    """Callers who know nothing of each other: gaps are exponential."""

    arrivals: Literal["poisson"]
    rate: Rate = Field(description="Requests a second, on average.")

    def expected(self) -> float:
        return self.rate * self.seconds

    def draw(self, random: np.random.Generator) -> Arrivals:
        return Arrivals(_spaced("poisson", self.expected(), _flat(self.rate), random), self.seconds)


class Step(Timed):
    """One rate after the other, each for the same time."""

    arrivals: Literal["step"]
    rates: tuple[Rate, ...] = Field(
        min_length=1, max_length=10_000, strict=False, description="Requests a second of each step."
    )
    spacing: Spacing = Field(default="poisson", description="Within a step: poisson or even.")

    def expected(self) -> float:
        return sum(self.rates) * self.seconds / len(self.rates)

    def draw(self, random: np.random.Generator) -> Arrivals:
        each_s = self.seconds / len(self.rates)
        found = [
            step * each_s + _spaced(self.spacing, rate * each_s, _flat(rate), random)
            for step, rate in enumerate(self.rates)
        ]
        return Arrivals(np.concatenate(found), self.seconds)


class Ramp(Timed):
    """A rate that rises, or falls, along a line."""

    arrivals: Literal["ramp"]
    from_rate: Rate = Field(description="Requests a second at the begin.")
    to_rate: Rate = Field(description="Requests a second at the end.")
    spacing: Spacing = Field(default="poisson", description="poisson or even.")

    def expected(self) -> float:
        return (self.from_rate + self.to_rate) / 2 * self.seconds

    def draw(self, random: np.random.Generator) -> Arrivals:
        begin, slope = self.from_rate, (self.to_rate - self.from_rate) / self.seconds

        def when(count: Array) -> Array:
            # The root of begin * t + slope * t^2 / 2 = count, in the form that also holds where the slope is 0.
            root = np.sqrt(np.maximum(begin * begin + 2 * slope * count, 0.0))
            return 2 * count / np.maximum(begin + root, 1e-300)

        due_s = _spaced(self.spacing, self.expected(), when, random)
        return Arrivals(np.minimum(due_s, self.seconds), self.seconds)


class Burst(Timed):
    """So many at the same moment, again and again, over a background."""

    arrivals: Literal["burst"]
    size: int = Field(ge=1, le=1_000_000, description="Requests of a burst, all due at once.")
    every_s: Seconds = Field(description="Seconds from one burst to the next; the first comes half of it in.")
    rate: Rate = Field(default=0.0, description="Requests a second beside the bursts.")
    spacing: Spacing = Field(default="poisson", description="Of those beside: poisson or even.")

    def expected(self) -> float:
        return self.rate * self.seconds + self.size * len(self._bursts())

    def draw(self, random: np.random.Generator) -> Arrivals:
        beside = _spaced(self.spacing, self.rate * self.seconds, _flat(self.rate), random)
        return Arrivals(np.sort(np.concatenate([beside, np.repeat(self._bursts(), self.size)])), self.seconds)

    def _bursts(self) -> Array:
        return np.arange(self.every_s / 2, self.seconds, self.every_s)


class Replay(Table):
    """What was met before: moments, and lengths where the file has them."""

    arrivals: Literal["replay"]
    file: Annotated[Path, Field(strict=False)] = Field(
        description="Lines of seconds[,length[,request]]; relative to the scenario."
    )
    speed: float = Field(
        default=1.0, gt=0, le=1e6, allow_inf_nan=False, description="Times as fast as it was."
    )
    seconds: Seconds | None = Field(default=None, description="Only what is due by then; not given: all.")

    def expected(self) -> float:
        """Not known before the file is read, which has a bound of its own."""
        return 0.0

    def draw(self, random: np.random.Generator) -> Arrivals:
        trace = read_trace(self.file, MAX_REQUESTS)
        due_s = trace.seconds / self.speed
        until = float(due_s[-1]) if self.seconds is None else self.seconds
        count = int(np.searchsorted(due_s, until, side="right"))
        return Arrivals(due_s[:count], until, trace.length[:count], trace.request[:count])


Phase = Annotated[
    Constant | Poisson | Step | Ramp | Burst | Replay,
    Field(discriminator="arrivals"),
]


def _flat(rate: float) -> Callable[[Array], Array]:
    return lambda count: count / rate if rate else count


def _spaced(
    spacing: Spacing, expected: float, when: Callable[[Array], Array], random: np.random.Generator
) -> Array:
    """Moments of a process of which `expected` requests come; `when` tells when so many have come on average.

    A Poisson process on the count of what has come has rate 1: its points, given their number, are uniform.
    """
    if spacing == "even":
        return when(np.arange(round(expected), dtype=np.float64))
    return when(np.sort(random.uniform(0, expected, random.poisson(expected))))
