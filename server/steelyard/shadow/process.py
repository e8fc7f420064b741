"""A shadow's work: units come over a socket, are run by the candidate, compared, counted and acknowledged."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.client.results import Result, decode_response
from steelyard.errors import DataError, SteelyardError
from steelyard.observe.logs import log
from steelyard.rollout.comparison import Comparison
from steelyard.rollout.frames import Asked, Unit, decode_unit, encode_ack, read_frame
from steelyard.shadow.account import Account
from steelyard.shadow.candidate import Candidate, Outcome, Ran
from steelyard.wire.status import Status

# Workers, and what is left of ones that have just ended.
MAX_CONNECTIONS = 16


@dataclass(slots=True)
class _UnderWay:
    """A unit that the candidate is running, on which thread, and since when."""

    unit: Unit
    connection: socket.socket
    thread: int
    began_ns: int
    delay_ns: int


class ShadowWork:
    """Takes units from every connection, one at a time; threads of its own do the work.

    Account and checkpoint may be read from other threads, by way of `document`.
    """

    def __init__(
        self,
        candidate: Candidate,
        comparison: Comparison,
        account: Account,
        max_bytes: int,
        batched: bool,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """max_bytes: of one unit. batched: whether the first axis of what the version offers counts rows."""
        self._candidate = candidate
        self._comparison = comparison
        self._account = account
        self._max_bytes = max_bytes
        self._batched = batched
        self._now_ns = now_ns
        self._turn = threading.Lock()
        self._books = threading.Lock()
        self._under_way: _UnderWay | None = None
        self._room = threading.Semaphore(MAX_CONNECTIONS)

    def serve(self, listener: socket.socket) -> None:
        """Accepts connections for ever, each on a thread of its own."""
        while True:
            self._room.acquire()
            connection, _ = listener.accept()
            threading.Thread(target=self._converse, args=(connection,), name="units", daemon=True).start()

    def document(self) -> dict[str, Any]:
        """The checkpoint as it stands."""
        with self._books:
            return self._account.document()

    def busy_ns(self) -> int:
        """For how long the candidate has been at the unit that it runs now, less what its thread waited for a processor
        that others had; 0 where it runs none."""
        under_way = self._under_way
        if under_way is None:
            return 0
        waited_ns = run_delay_ns(under_way.thread) - under_way.delay_ns
        return max(0, self._now_ns() - under_way.began_ns - waited_ns)

    def give_up(self, reason: str) -> bool:
        """Counts the unit that is run now as the candidate's failure, and acknowledges it; says whether there was one.

        Call before the process ends.
        """
        with self._books:
            under_way, self._under_way = self._under_way, None
            if under_way is None:
                return False
            failed = Outcome(error=reason, status=int(Status.DEADLINE_EXCEEDED))
            unit = under_way.unit
            self._count(unit, Ran([failed] * len(unit.asked)))
        with contextlib.suppress(OSError):
            under_way.connection.send(encode_ack(unit.sequence), socket.MSG_DONTWAIT)
        return True

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            try:
                while (frame := read_frame(connection, self._max_bytes)) is not None:
                    unit = decode_unit(frame[2])
                    del frame
                    self._take(unit, connection)
                    connection.sendall(encode_ack(unit.sequence))
                    del unit
            except DataError as error:
                log("shadow.refused_unit", reason=str(error))
            except OSError:
                pass
        self._room.release()

    def _take(self, unit: Unit, connection: socket.socket) -> None:
        with self._turn:
            thread = threading.get_native_id()
            with self._books:
                self._under_way = under_way = _UnderWay(
                    unit, connection, thread, self._now_ns(), run_delay_ns(thread)
                )
            ran = self._candidate.run(unit.asked)
            with self._books:
                if self._under_way is not under_way:
                    # It was given up, and counted as such: the process is about to end.
                    raise ConnectionAbortedError
                self._under_way = None
                self._count(unit, ran)

    def _count(self, unit: Unit, ran: Ran) -> None:
        self._account.ran(self._candidate.digest)
        # Times say something of each other only where both are of the same batch.
        same = ran.rows == unit.rows
        times_ns = (unit.execute_ns, ran.execute_ns) if same else (0, 0)
        for asked, outcome in zip(unit.asked, ran.outcomes, strict=True):
            self._pair(asked, outcome, *times_ns)

    def _pair(self, asked: Asked, outcome: Outcome, primary_ns: int, candidate_ns: int) -> None:
        account = self._account
        if outcome.unmet:
            account.not_compared[outcome.unmet] += 1
            return
        primary_failed = asked.status != 0
        candidate_failed = outcome.status != 0
        disagrees: bool | None = None
        if not primary_failed and not candidate_failed:
            primary = decoded(asked.answer)
            if primary is None:
                account.not_compared["unreadable"] += 1
                return
            candidate = decoded(outcome.answer)
            if candidate is None:
                candidate_failed = True
            else:
                pair = self._comparison.compare(primary.outputs, candidate.outputs, self._rows(primary))
                disagrees = not pair.agrees
        account.pair(primary_failed, candidate_failed, disagrees, primary_ns, candidate_ns)

    def _rows(self, answer: Result) -> int | None:
        """What the first axis of the answer counts; None where it counts no rows."""
        first = next(iter(answer.outputs.values()), None)
        return first.shape[0] if self._batched and first is not None and first.ndim else None


def decoded(answer: bytes) -> Result | None:
    """The answer's tensors; None for what is no answer."""
    try:
        return decode_response(answer, 0, 1)
    except (SteelyardError, ValueError):
        return None


def run_delay_ns(thread: int) -> int:
    """How long a thread of this process has waited for a processor so far, in ns; 0 where the kernel does not say."""
    try:
        return int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def be_idle() -> None:
    """Lets this process, and its threads to come, run only where nobody else wants the processor."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        # The niceness of threads that are there does not follow; there is one so far.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 19)
