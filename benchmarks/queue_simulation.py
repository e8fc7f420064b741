"""A queue before runs of known cost, simulated: the server's own scheduler, or an ideal one, on a clock that jumps.

What it leaves out: the front, filling, encoding, and what runs do to each other. It tells one policy from another.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from steelyard.errors import Overloaded
from steelyard.scheduling.lane import Batch, Lane
from steelyard.scheduling.scheduler import Scheduler
from steelyard.scheduling.ticket import DONE, Ticket

Cost = Callable[[int], int]
"""Rows of a run to the nanoseconds that it takes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when it comes, how many rows it has, and by when it must be answered (0: whenever)."""

    at_ns: int
    rows: int = 1
    deadline_ns: int = 0


@dataclass(slots=True)
class Ran:
    """A run: when it began, how long it took, and the requests in it by their places."""

    at_ns: int
    took_ns: int
    rows: int
    requests: list[int]


@dataclass(slots=True)
class Outcome:
    """What became of the requests, by their places: nanoseconds from coming to answer, None where given up."""

    latency_ns: list[int | None]
    runs: list[Ran] = field(default_factory=list)

    @property
    def given_up(self) -> list[int]:
        return [place for place, latency in enumerate(self.latency_ns) if latency is None]

    def p(self, share: float) -> int:
        """A quantile of the latencies of those that were answered, nanoseconds."""
        known = sorted(latency for latency in self.latency_ns if latency is not None)
        return known[min(len(known) - 1, int(share * len(known)))]

    @property
    def ended_ns(self) -> int:
        return max((ran.at_ns + ran.took_ns for ran in self.runs), default=0)


class Server(Protocol):
    """What is simulated."""

    def come(self, place: int, asked: Asked, now_ns: int) -> None: ...

    def run_next(self, now_ns: int) -> tuple[object, list[int], int] | None:
        """What to run now, the places of its requests and its rows; None: nothing."""
        ...

    def ended(self, what: object, took_ns: int, now_ns: int) -> None: ...

    def wakeup_ns(self, now_ns: int) -> int | None: ...


class Scheduled:
    """The server's own scheduler, with one lane."""

    def __init__(self, scheduler: Scheduler, lane: Lane) -> None:
        self.scheduler = scheduler
        self.lane = lane

    def come(self, place: int, asked: Asked, now_ns: int) -> None:
        ticket = Ticket(place, None, asked.rows, (), asked.at_ns, 0, asked.deadline_ns, 8, 1)
        try:
            self.scheduler.offer(self.lane, ticket, ())
        except Overloaded as error:
            raise AssertionError("the simulation asks for more than the queue takes") from error

    def run_next(self, now_ns: int) -> tuple[object, list[int], int] | None:
        self.scheduler.expire(now_ns)
        batch = self.scheduler.next_batch(now_ns)
        return None if batch is None else (batch, [ticket.call for ticket in batch.tickets], batch.rows)

    def ended(self, what: object, took_ns: int, now_ns: int) -> None:
        assert isinstance(what, Batch)
        for ticket in what.tickets:
            ticket.state = DONE
        self.scheduler.finished(what, took_ns)

    def wakeup_ns(self, now_ns: int) -> int | None:
        return self.scheduler.next_wakeup_ns(now_ns)


class Ideal:
    """Who knows the costs: takes whenever a place is free the number of rows that lets the queue empty soonest.

    One row a request, in the order in which they came, and no deadline.
    """

    def __init__(self, cost: Cost, most: int, places: int = 1) -> None:
        self._cost = cost
        self._most = most
        self._places = places
        self._running = 0
        self._waiting: deque[int] = deque()
        self._soonest = [(0, 0)]

    def come(self, place: int, asked: Asked, now_ns: int) -> None:
        self._waiting.append(place)

    def run_next(self, now_ns: int) -> tuple[object, list[int], int] | None:
        if not self._waiting or self._running >= self._places:
            return None
        free = self._places - self._running
        rows = self._first(-(-len(self._waiting) // free))
        self._running += 1
        return None, [self._waiting.popleft() for _ in range(rows)], rows

    def _first(self, waiting: int) -> int:
        soonest = self._soonest
        while len(soonest) <= waiting:
            rows = len(soonest)
            soonest.append(
                min(
                    (self._cost(first) + soonest[rows - first][0], -first)
                    for first in range(1, min(rows, self._most) + 1)
                )
            )
        return -soonest[waiting][1]

    def ended(self, what: object, took_ns: int, now_ns: int) -> None:
        self._running -= 1

    def wakeup_ns(self, now_ns: int) -> int | None:
        return None


def simulate(server: Server, asked: Sequence[Asked], cost: Cost, again_below: int = 0) -> Outcome:
    """Has `asked`, ordered by time, served. again_below: as each is answered, its caller asks again until so many."""
    outcome = Outcome([None] * len(asked))
    came = list(asked)
    now_ns, nexts = 0, 0
    ends: list[tuple[int, int, object, Ran]] = []
    started = 0
    while True:
        while nexts < len(came) and came[nexts].at_ns <= now_ns:
            server.come(nexts, came[nexts], now_ns)
            nexts += 1
        while (found := server.run_next(now_ns)) is not None:
            what, places, rows = found
            ran = Ran(now_ns, cost(rows), rows, places)
            outcome.runs.append(ran)
            started += 1
            heapq.heappush(ends, (now_ns + ran.took_ns, started, what, ran))
        moments = [ends[0][0]] if ends else []
        if nexts < len(came):
            moments.append(came[nexts].at_ns)
        wakeup_ns = server.wakeup_ns(now_ns)
        if wakeup_ns is not None:
            moments.append(max(wakeup_ns, now_ns + 1))
        if not moments:
            return outcome
        now_ns = min(moments)
        while ends and ends[0][0] <= now_ns:
            _, _, what, ran = heapq.heappop(ends)
            server.ended(what, ran.took_ns, now_ns)
            for place in ran.requests:
                outcome.latency_ns[place] = now_ns - came[place].at_ns
                if len(came) < again_below:
                    came.append(Asked(now_ns, came[place].rows))
                    outcome.latency_ns.append(None)
