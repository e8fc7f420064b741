"""A shadow's tap: hands a sample of what was answered to a candidate's process, after the answers have left."""

import contextlib
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from steelyard.errors import DataError, SteelyardError
from steelyard.rollout.frames import ACK, HEADER, MAGIC, Plain, connect, encode_unit, send_frame
from steelyard.rollout.sampling import Sampler
from steelyard.serving.bell import Bell
from steelyard.serving.execution import Job
from steelyard.wire.status import message_of, status_of

# Units, and bytes of them, that the process may have before it has acknowledged the first of them: some milliseconds of
# its work. What is beyond waits here, where a pause or a stop can still keep it back. One unit may always go.
WINDOW = 64
WINDOW_BYTES = 1 << 20

# The sender naps so long after it has sent something, and sends what has come together. Each time that it wakes it has
# to get the GIL from the loop, which costs both: unit by unit it sent 1,200 a second beside a busy loop.
NAP_S = 0.005

# What a request that waits costs beside its bytes: the tuple, two strings and a place in two queues, rounded up.
ASKED_BYTES = 512

# The queue wait and the run are averaged over this long. Shorter, and a single burst pauses; longer, and the pause
# comes after the callers have felt it.
SMOOTHED_NS = 100_000_000

# A primary that has run nothing for so long is quiet, whatever its last batches waited.
QUIET_NS = 250_000_000

# Pauses where the oldest request of a batch waits longer than PAUSE_ABOVE runs and PAUSE_SLACK_NS, and goes on below
# RESUME_BELOW runs and RESUME_SLACK_NS. Where runs follow each other without a gap, the oldest request waits for about
# one run, which is half of the way; the slack keeps the loop's own jitter from pausing models of microseconds.
PAUSE_ABOVE = 2.0
PAUSE_SLACK_NS = 1_000_000
RESUME_BELOW = 1.0
RESUME_SLACK_NS = 500_000

# How often a sender that holds units back looks whether it may go on.
_PAUSED_LOOK_S = 0.02

# A process that starts is there within a second or so; one that cannot load is away for long.
_RECONNECT_S = (0.05, 1.0)
_CONNECT_TIMEOUT_S = 0.5

# A unit that waits: sequence, rows of the batch, ns that it ran, its requests, and the bytes that they take. Tuples all
# the way down: tens of thousands of small requests may wait, and whatever the collector had to walk through would hold
# up the loop.
Waiting = tuple[int, int, int, tuple[Plain, ...], int]

Answered = Sequence[tuple[Any, Any]]
"""Call and request of each ticket of a job, in their order."""


class Pressure:
    """Whether the primary's own callers wait too long for anything else to run; times in ns, all monotonic."""

    __slots__ = ("_execute_ns", "_last_ns", "_paused_ns", "_since_ns", "_wait_ns", "paused", "pauses")

    def __init__(self) -> None:
        self.paused = False
        self.pauses = 0
        self._wait_ns = self._execute_ns = 0.0
        self._last_ns = self._since_ns = self._paused_ns = 0

    def ran(self, now_ns: int, wait_ns: int, execute_ns: int) -> None:
        """A batch has run: its oldest request waited for `wait_ns`, and the run took `execute_ns`."""
        passed_ns = max(0, now_ns - self._last_ns)
        # Weighed by time, not by number: a batch counts for the time that it covers, many that overlap for no more than
        # the time that they cover together, and in between nobody waits. One slow batch alone is no pressure.
        covered_ns = min(passed_ns, wait_ns + execute_ns)
        idle_ns = passed_ns - covered_ns
        weight = covered_ns / (covered_ns + SMOOTHED_NS)
        self._wait_ns *= SMOOTHED_NS / (idle_ns + SMOOTHED_NS) if idle_ns < QUIET_NS else 0.0
        self._wait_ns += weight * (wait_ns - self._wait_ns)
        self._execute_ns += weight * (execute_ns - self._execute_ns)
        if self.paused:
            if self._wait_ns < RESUME_BELOW * self._execute_ns + RESUME_SLACK_NS:
                self._paused_ns += self._lasted_ns(now_ns)
                self.paused = False
        elif self._wait_ns > PAUSE_ABOVE * self._execute_ns + PAUSE_SLACK_NS:
            self.paused = True
            self.pauses += 1
            self._since_ns = now_ns
        self._last_ns = now_ns

    def holds(self, now_ns: int) -> bool:
        """Whether to hold back at this moment: a primary that is quiet has resumed by itself."""
        return self.paused and now_ns - self._last_ns < QUIET_NS

    def paused_ns(self, now_ns: int) -> int:
        """How long it has been paused in all."""
        return self._paused_ns + (self._lasted_ns(now_ns) if self.paused else 0)

    def _lasted_ns(self, now_ns: int) -> int:
        return max(0, min(now_ns, self._last_ns + QUIET_NS) - self._since_ns)


class ShadowTap:
    """Takes a sample of a version's answered requests for one candidate; `offer` is called on the event loop.

    What is taken waits in a queue that is bounded in bytes for a thread of the tap's own, which sends it and waits for
    acknowledgements, always in calls that give up the GIL. Whatever becomes of the process, the loop never waits: what
    cannot be had is dropped and counted.

    Every sampled request ends in one of `acknowledged` and `dropped`, but for those that `waiting` holds.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        share: float,
        max_bytes: int,
        pressure: Pressure | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Raises OSError or RuntimeError where there is no descriptor or no thread to be had.

        name: the candidate, for the thread's name. path: the process's socket.

        share: of decisions, 0 to 1. max_bytes: of bodies and answers that wait here. pressure: when to pause.
        """
        self.name = name
        self._path = path
        self._sampler = Sampler(share)
        self._max_bytes = max_bytes
        self._now_ns = now_ns
        self._pressure = pressure or Pressure()
        self._units: deque[Waiting] = deque()
        self._bell = Bell()
        self._asleep = False
        self._closed = threading.Event()
        self._connection: socket.socket | None = None
        self._connected = False
        self._sequence = 0
        # Each is written by one thread only: by the loop, and by the sender.
        self._sampled = self._put_bytes = 0
        self._refused: Counter[str] = Counter()
        self._sent = self._acknowledged = self._gone_bytes = self._connections = 0
        self._lost: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._serve, name=f"shadow-{name}", daemon=True)
        self._thread.start()

    @property
    def share(self) -> float:
        """The share of decisions that is sampled."""
        return self._sampler.share

    @property
    def is_closed(self) -> bool:
        """Whether nothing is taken any more."""
        return self._closed.is_set()

    def offer(self, job: Job, answered: Answered) -> None:
        """Takes what is sampled of a batch whose callers have their answers."""
        tickets = job.batch.tickets
        first = tickets[0]
        taken_ns = job.batch.taken_ns
        pressure = self._pressure
        pressure.ran(
            job.encoded_ns, taken_ns - first.received_ns - first.decode_ns, job.encoded_ns - taken_ns
        )
        takes = self._sampler.takes
        chosen = [
            (request, outcome, decision_id)
            for (call, request), outcome, decision_id in zip(
                answered, job.outcomes, job.decision_ids, strict=True
            )
            if takes(decision_id) and not call.cancelled
        ]
        if not chosen:
            return
        self._sampled += len(chosen)
        if not self._connected:
            self._refused["down"] += len(chosen)
        elif pressure.paused:
            self._refused["paused"] += len(chosen)
        else:
            self._queue(job, chosen)

    def _queue(self, job: Job, chosen: list[tuple[Any, bytes | SteelyardError, str]]) -> None:
        """Queues what was sampled of a batch, where it fits into the budget."""
        prepared = job.version.pipeline is not None
        asked: list[Plain] = []
        size = 0
        for request, outcome, decision_id in chosen:
            body = request.request.body if prepared else request.body
            if isinstance(outcome, SteelyardError):
                answer, status = message_of(outcome).encode(), int(status_of(outcome))
            else:
                answer, status = outcome, 0
            asked.append((decision_id, body, answer, status))
            size += len(body) + len(answer) + ASKED_BYTES
        if self._put_bytes - self._gone_bytes + size > self._max_bytes:
            self._refused["budget"] += len(asked)
            return
        whole = job.runs == 1 and not job.failed
        execute_ns = job.executed_ns - job.assembled_ns if whole else 0
        self._sequence += 1
        self._put_bytes += size
        self._units.append((self._sequence, job.batch.rows, execute_ns, tuple(asked), size))
        if self._asleep:
            self._asleep = False
            self._bell.ring()

    def counts(self) -> dict[str, int]:
        """Requests, but for what ends in _ns, _bytes, and pauses and connections; for metrics and status.

        sampled; sent; acknowledged: compared, or said why not, by the process; dropped_budget, dropped_paused,
        dropped_down, dropped_lost (sent to a process that ended), dropped_closed; pauses; paused_ns; connections;
        waiting_bytes; connected; paused.
        """
        now_ns = self._now_ns()
        dropped = {
            f"dropped_{reason}": self._refused[reason] + self._lost[reason]
            for reason in ("budget", "paused", "down", "lost", "closed")
        }
        return {
            "sampled": self._sampled,
            "sent": self._sent,
            "acknowledged": self._acknowledged,
            **dropped,
            "pauses": self._pressure.pauses,
            "paused_ns": self._pressure.paused_ns(now_ns),
            "paused": int(self._pressure.holds(now_ns)),
            "connected": int(self._connected),
            "connections": self._connections,
            "waiting_bytes": self._put_bytes - self._gone_bytes,
        }

    def close(self) -> None:
        """Ends at once, whatever the process does; what waits is dropped. Nothing is sent after this returns."""
        self._connected = False
        self._closed.set()
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._bell.ring()

    def join(self, timeout_s: float) -> bool:
        """Waits for the sender's end after `close`; says whether it came."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        pause_s, longest_s = _RECONNECT_S
        while not self._closed.is_set():
            try:
                connection = connect(self._path, _CONNECT_TIMEOUT_S)
            except OSError:
                self._closed.wait(pause_s)
                pause_s = min(2 * pause_s, longest_s)
                continue
            pause_s = _RECONNECT_S[0]
            self._connection = connection
            self._connected = not self._closed.is_set()
            self._connections += 1
            # A peer that is no process of ours, or none any longer.
            with contextlib.suppress(OSError, DataError), connection:
                self._converse(connection)
            self._connected = False
            self._connection = None
            self._drop_all("closed" if self._closed.is_set() else "down")
            # A process that dies may let go of its listening socket after this connection.
            self._closed.wait(pause_s)
        self._drop_all("closed")

    def _converse(self, connection: socket.socket) -> None:
        """Sends units as they come until the connection or the tap ends."""
        window = _Window(min(WINDOW_BYTES, self._max_bytes))
        acks = select.poll()
        acks.register(connection, select.POLLIN)
        anything = select.poll()
        anything.register(connection, select.POLLIN)
        anything.register(self._bell.fd, select.POLLIN)
        try:
            while not self._closed.is_set():
                if self._is_idle(window):
                    for fd, _ in (acks if window.is_full else anything).poll():
                        if fd == self._bell.fd:
                            self._bell.clear()
                        else:
                            self._acknowledged += window.take_acks(connection)
                elif self._pressure.holds(self._now_ns()):
                    self._closed.wait(_PAUSED_LOOK_S)
                else:
                    self._send_some(connection, window)
                    self._closed.wait(NAP_S)
        finally:
            self._lost["closed" if self._closed.is_set() else "lost"] += window.requests

    def _is_idle(self, window: "_Window") -> bool:
        """Whether there is nothing to send now. Where units may be what is missing, the next one rings the bell."""
        if window.is_full:
            return True
        # Said before it is looked: a unit that comes between the two rings once too often, never once too few.
        self._asleep = True
        if not self._units:
            return True
        self._asleep = False
        return False

    def _send_some(self, connection: socket.socket, window: "_Window") -> None:
        """Sends what has come together, as far as the window has room for it."""
        buffers: list[bytes] = []
        sent = gone_bytes = 0
        while self._units and not window.is_full:
            sequence, rows, execute_ns, asked, size = self._units.popleft()
            window.add(sequence, len(asked), size)
            buffers += encode_unit(sequence, rows, execute_ns, asked)
            sent += len(asked)
            gone_bytes += size
        self._sent += sent
        try:
            send_frame(connection, buffers)
        finally:
            self._gone_bytes += gone_bytes

    def _drop_all(self, reason: str) -> None:
        while self._units:
            *_, asked, size = self._units.popleft()
            self._gone_bytes += size
            self._lost[reason] += len(asked)


class _Window:
    """The units that a process has and has not acknowledged."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._units: deque[tuple[int, int, int]] = deque()
        self._bytes = 0
        self._partial = b""
        self.requests = 0

    @property
    def is_full(self) -> bool:
        return len(self._units) >= WINDOW or self._bytes >= self._max_bytes

    def add(self, sequence: int, requests: int, size: int) -> None:
        self._units.append((sequence, requests, size))
        self._bytes += size
        self.requests += requests

    def take_acks(self, connection: socket.socket) -> int:
        """Reads the acknowledgements that are there; gives how many requests they are for.

        Raises ConnectionResetError where the process has ended, DataError for what is no acknowledgement.
        """
        data = connection.recv(HEADER.size * WINDOW)
        if not data:
            raise ConnectionResetError("the process has ended")
        data = self._partial + data
        whole = len(data) // HEADER.size * HEADER.size
        self._partial = data[whole:]
        acknowledged = 0
        for magic, kind, sequence in HEADER.iter_unpack(data[:whole]):
            if (magic, kind) != (MAGIC, ACK) or not self._units or self._units[0][0] != sequence:
                raise DataError(f"expected an acknowledgement in its turn, got {sequence}")
            _, requests, size = self._units.popleft()
            self._bytes -= size
            acknowledged += requests
        self.requests -= acknowledged
        return acknowledged
