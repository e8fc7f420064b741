"""Calls that have come in and were not looked at yet, gathered over passes of the loop so that they can share a run."""

import asyncio
from collections.abc import Callable, Sequence

from steelyard.serving.call import Call

Arrival = tuple[Call, bytes, int]

# Requests are gathered over passes of a busy loop until there are so many, or the first has waited so long: enough
# for most of what sharing a run saves, and little beside what a request waits at a loop that is busy for that long.
GATHERED = 64
GATHER_NS = 3_000_000

# A few large requests end the gathering as well, since the bounds of the queues do not hold here.
GATHERED_BYTES = 16 << 20

# What a pass of the loop takes that has nothing to do: a system call and a callback, 3 µs measured, with room for
# slower machines. The shortest pass that brings a request of another front takes several times as long.
IDLE_PASS_NS = 15_000

# Idle passes in a row that end the gathering where requests have come together before.
MAX_PATIENCE = 16


class Inbox:
    """Holds arrivals until waiting for more is unlikely to pay, then hands all of them over at once.

    `admit` takes the arrivals, in order, and returns whether any of them ran on the loop's own thread: only such runs
    are worth waiting for, since for others requests gather while a thread is busy.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        admit: Callable[[list[Arrival]], bool],
    ) -> None:
        self._loop = loop
        self._now_ns = now_ns
        self._admit = admit
        self._arrivals: list[Arrival] = []
        self._bytes = 0
        self._patience = 1

    def put(self, arrivals: Sequence[Arrival], size_bytes: int) -> None:
        """Takes requests that came together, with so many bytes of bodies; hands them over later, never from within."""
        waiting = self._arrivals
        if not waiting:
            self._loop.call_soon(self._gather, arrivals[0][2], 0)
        waiting.extend(arrivals)
        self._bytes += size_bytes

    def _gather(self, since_ns: int, idle_passes: int) -> None:
        """Lets the loop go round while that is likely to bring more requests, then hands over.

        While passes are busy the thread has other work, so a run made later loses nothing, and one run for several
        requests saves most of what a run costs beside a busy front: measured with `grpc.aio`, which brings requests
        one a pass, 45 µs each. Idle passes end it: after one where requests come alone, after up to `MAX_PATIENCE`
        (some 60 µs) where the last times have shown that others follow.
        """
        arrivals = self._arrivals
        now_ns = self._now_ns()
        idle_passes = idle_passes + 1 if now_ns - since_ns < IDLE_PASS_NS else 0
        gathered = len(arrivals)
        room = gathered < GATHERED and self._bytes < GATHERED_BYTES
        if idle_passes < self._patience and room and now_ns - arrivals[0][2] < GATHER_NS:
            self._loop.call_soon(self._gather, now_ns, idle_passes)
            return
        self._arrivals, self._bytes = [], 0
        pays = self._admit(arrivals) and gathered > 1
        self._patience = min(self._patience * 2, MAX_PATIENCE) if pays else max(self._patience // 2, 1)
