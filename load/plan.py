"""A load, drawn: what is sent when, by seed and scenario alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from load.arrivals import MAX_REQUESTS, Arrivals
from load.bodies import Bodies
from load.scenario import Scenario, request_named
from steelyard.errors import ConfigError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Timetable:
    """All phases one after the other; every array has an entry a request, in the order in which they are due."""

    due_s: Array
    """float64, from the begin of the load."""
    phase: Array
    """int16: the phase's place in the scenario."""
    request: Array
    """int16: the kind's place in the scenario."""
    length: Array
    """int64: what a replayed file says; 0: drawn."""
    begins_s: tuple[float, ...]
    """When each phase begins."""
    seconds: float
    """When the last one ends."""

    def replayed(self) -> dict[int, set[int]]:
        """By kind of request, the lengths that files say."""
        said = self.length > 0
        return {
            int(kind): set(map(int, np.unique(self.length[said & (self.request == kind)])))
            for kind in np.unique(self.request[said])
        }


def draw(scenario: Scenario, random: np.random.Generator) -> Timetable:
    """When requests of which kind are due. Raises ConfigError, also where that are too many or none."""
    shares = np.array([request.share for request in scenario.request])
    due, phases, kinds, lengths, begins = [], [], [], [], []
    begin_s = 0.0
    for place, phase in enumerate(scenario.phase):
        drawn = phase.draw(random)
        count = len(drawn.due_s)
        begins.append(begin_s)
        due.append(begin_s + drawn.due_s)
        phases.append(np.full(count, place, np.int16))
        kinds.append(_kinds(scenario, drawn, shares / shares.sum(), random))
        lengths.append(np.zeros(count, np.int64) if drawn.length is None else drawn.length)
        begin_s += drawn.seconds
    due_s = np.concatenate(due)
    if not 0 < len(due_s) <= MAX_REQUESTS:
        raise ConfigError(
            f"scenario {scenario.name!r}: expected 1 to {MAX_REQUESTS} requests, got {len(due_s)}"
        )
    joined = (np.concatenate(phases), np.concatenate(kinds), np.concatenate(lengths))
    return Timetable(due_s, *joined, tuple(begins), begin_s)


def choose_bodies(scenario: Scenario, table: Timetable, bodies: Bodies, random: np.random.Generator) -> Array:
    """The body of each request, int32."""
    chosen = np.zeros(len(table.due_s), np.int32)
    for kind, request in enumerate(scenario.request):
        places = np.flatnonzero(table.request == kind)
        chosen[places] = random.choice(bodies.good_of[kind], len(places))
        if by_length := bodies.by_length[kind]:
            said = places[table.length[places] > 0]
            chosen[said] = [by_length[length] for length in table.length[said].tolist()]
        if request.bad_share:
            bad = places[random.random(len(places)) < request.bad_share]
            chosen[bad] = random.choice(bodies.bad_of[kind], len(bad))
    return chosen


def _kinds(scenario: Scenario, drawn: Arrivals, shares: Array, random: np.random.Generator) -> Array:
    kinds = random.choice(len(shares), len(drawn.due_s), p=shares).astype(np.int16)
    if drawn.request:
        place_of = {name: request_named(scenario, name) for name in set(drawn.request) if name}
        for index, name in enumerate(drawn.request):
            if name:
                kinds[index] = place_of[name]
    return kinds
