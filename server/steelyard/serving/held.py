"""Answers that wait until their records are on disk; whose deadline passes before that gets none."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from steelyard.clock import Clock
from steelyard.observe.logs import log
from steelyard.scheduling.ticket import Ticket
from steelyard.serving.execution import Job

# Answers that wait for a disk which does not answer; who comes beyond that is refused. A second of small answers.
MAX_HELD_BYTES = 64 << 20

Tell = Callable[[Job, OSError | None], None]
"""Tells the callers of a batch whose records are on disk, or cannot be written."""

Late = Callable[[Job, Ticket, str], None]
"""Tells the caller of one request, taken out of its batch, that its deadline has passed; with its decision id."""

# What is told where no more answers may wait.
FULL = f"the answers that wait for the journal's disk hold {MAX_HELD_BYTES >> 20} MiB already"


class _Held:
    """One batch that waits; until its records up to `position` are on disk."""

    __slots__ = ("job", "position", "size_bytes", "timer")

    def __init__(self, position: int, job: Job) -> None:
        self.position = position
        self.job = job
        self.size_bytes = held_bytes(job)
        self.timer: asyncio.TimerHandle | None = None


class HeldAnswers:
    """The batches that wait, in the order of their records; lives on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, tell: Tell, late: Late) -> None:
        self._loop = loop
        self._clock = clock
        self._tell = tell
        self._late = late
        self._waiting: deque[_Held] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether more may wait."""
        return self._bytes < MAX_HELD_BYTES

    def put(self, position: int, job: Job) -> None:
        """Has a batch told when the records up to `position` are on disk."""
        held = _Held(position, job)
        self._waiting.append(held)
        self._bytes += held.size_bytes
        self._watch(held)

    def synced(self, position: int, error: OSError | None) -> None:
        """Tells batches whose records are on disk; all, where the file takes no more."""
        waiting = self._waiting
        while waiting and (error is not None or waiting[0].position <= position):
            held = waiting.popleft()
            self._bytes -= held.size_bytes
            if held.timer is not None:
                held.timer.cancel()
            try:
                self._tell(held.job, error)
            except Exception as fault:  # of ours, and no other commit may come for those behind it
                _log_fault(fault)

    def _watch(self, held: _Held) -> None:
        deadlines = deadlines_ns(held.job)
        held.timer = None
        if deadlines:
            left_ns = max(0, min(deadlines.values()) - self._clock.now_ns())
            held.timer = self._loop.call_later(left_ns / 1e9, self._due, held)

    def _due(self, held: _Held) -> None:
        now_ns = self._clock.now_ns()
        passed = {one for one, deadline_ns in deadlines_ns(held.job).items() if deadline_ns <= now_ns}
        for ticket, decision_id in held.job.take_out(passed):
            try:
                self._late(held.job, ticket, decision_id)
            except Exception as fault:  # as above: the rest of the batch has deadlines of its own
                _log_fault(fault)
        before, held.size_bytes = held.size_bytes, held_bytes(held.job)
        self._bytes += held.size_bytes - before
        self._watch(held)


def _log_fault(fault: Exception) -> None:
    log("held.fault", level=logging.ERROR, exception=repr(fault)[:2000])


def deadlines_ns(job: Job) -> dict[str, int]:
    """When answers of a batch that wait for their records come too late, by decision id; of those that may."""
    return {
        decision_id: ticket.deadline_ns
        for ticket, decision_id in zip(job.batch.tickets, job.decision_ids, strict=True)
        if ticket.deadline_ns and decision_id in job.recorded
    }


def held_bytes(job: Job) -> int:
    """What a batch holds while it waits for its records: its answers, and what was asked."""
    answers = sum(len(outcome) for outcome in job.outcomes if isinstance(outcome, bytes))
    return answers + sum(ticket.size_bytes for ticket in job.batch.tickets)
