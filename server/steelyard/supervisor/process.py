"""A worker's place: its segments and its listeners, and the process that fills it, started again whenever it dies."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from steelyard._native.journal import Ring
from steelyard._native.observe import Segment
from steelyard.config import Settings
from steelyard.errors import EvidenceError, LoadFailed
from steelyard.evidence.recovery import recover
from steelyard.fronts.http2.patience import ENDLESS_HANDSHAKE_S
from steelyard.observe.logs import log
from steelyard.observe.segment_file import create_segment
from steelyard.observe.view import TlsReads, WorkerView
from steelyard.rollout.directive import Directive
from steelyard.supervisor.backoff import Backoff
from steelyard.supervisor.channel import EXIT_REFUSED
from steelyard.supervisor.life import WorkerLife
from steelyard.supervisor.listeners import Handed
from steelyard.supervisor.shares import share_of

if TYPE_CHECKING:
    from steelyard.observe.segment import SegmentReader, SegmentSnapshot

# Beyond the drain timeout, for closing the front and the threads; after that the worker is killed.
STOP_MARGIN_S = 5.0

# A worker that leaves gives its callers a second to hear of it, before it drains, and the last runs another after it.
LEAVE_MARGIN_S = 5.0


def leaves_within_s(settings: Settings) -> float:
    """Seconds after which a worker that leaves is killed."""
    # It waits for the handshakes that are under way first.
    handshakes_s = settings.handshake_timeout_s or ENDLESS_HANDSHAKE_S
    return handshakes_s + settings.drain_timeout_s + LEAVE_MARGIN_S + STOP_MARGIN_S


@dataclass(slots=True)
class Around:
    """What the places of one server share: what they ask it, what they tell it, and what all workers have to know."""

    directives: Callable[[], Sequence[Directive]] = tuple
    told: Callable[[WorkerLife, Mapping[str, Any]], None] = lambda life, message: None
    changed: Callable[[], None] = lambda: None
    ended: Callable[[WorkerLife], None] = lambda life: None
    loaded: Callable[[WorkerLife], None] = WorkerLife.let_in
    kept_out: list[str] = field(default_factory=list)
    """Models that were unloaded by request."""
    segments: list[int] = field(default_factory=list)
    """Of every place."""
    listeners: list[Sequence[Handed]] = field(default_factory=list)
    """What each place alone has, for others to stand in where its worker is away."""
    known: Callable[[], Awaitable[Any]] = lambda: asyncio.sleep(0)
    """Returns when everything is there that a worker has to be told first."""


class WorkerProcess:
    """Keeps one worker running until `stop`. The segments outlive the processes, so that their counters go on.

    There are two: a process that takes the place of another while that one finishes counts in the other one.

    `refusal` is why the first worker could not begin to serve. Once one has served, the settings are good: a later
    worker that refuses has met something that may pass, such as a repository that is away, and counts as one that died.
    """

    def __init__(
        self, number: int, settings: Settings, listeners: Sequence[Handed], around: Around | None = None
    ) -> None:
        self.number = number
        self.refusal: str | None = None
        self.life: WorkerLife | None = None
        """The process that fills the place, or was the last to."""
        self._settings = share_of(settings, number)
        self._listeners = listeners
        self._around = around or Around()
        self._segment_fds = [create_segment(f"worker-{number}{letter}") for letter in "ab"]
        self._around.segments += self._segment_fds
        self._journal = settings.data / "journal" / f"worker-{number}"
        self._recover(None, 0)
        self._others: list[WorkerLife] = []
        """A process that is to fill the place, or one that has left it and finishes."""
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[int]] = set()
        self._starts = 0
        self._restarts = 0
        self._tls_reads = TlsReads()
        self._served_once = False

    @cached_property
    def _readers(self) -> "list[SegmentReader]":
        # Its numpy takes a tenth of a second to be imported; the first process is started before that.
        from steelyard.observe.segment import SegmentReader

        return [SegmentReader(fd) for fd in self._segment_fds]

    @property
    def ready(self) -> bool:
        """Whether its worker takes requests."""
        return self.life is not None and self.life.ready

    @property
    def lives(self) -> list[WorkerLife]:
        """The process that fills the place, and those beside it while it is replaced."""
        return [*([] if self.life is None else [self.life]), *self._others]

    @property
    def starts(self) -> int:
        """How often a worker was started."""
        return self._starts

    def view(self) -> WorkerView:
        """The worker as the metrics see it."""
        now = 0 if self.life is None else self._segment_fds.index(self.life.segment_fd)
        return WorkerView(
            self.number,
            self._readers[now],
            self.ready,
            self._restarts,
            self._tls_reads,
            self._readers[1 - now],
        )

    async def spawn(self) -> None:
        """Starts the first process; `run` then keeps one running."""
        self.life = self._begin(self._segment_fds[0])
        await self.life.spawned.wait()

    async def run(self) -> None:
        """Starts the worker, and starts it again after each death; returns when it was stopped or has refused."""
        backoff = Backoff()
        started_s = time.monotonic()
        if self.life is None:
            await self.spawn()
        while self.life is not None:
            life = await self._last_of(self.life)
            if self._stopping.is_set():
                return
            if life.status == EXIT_REFUSED and not self._served_once:
                self.refusal = life.reason or "the worker refused to serve, and did not say why"
                return
            pause_s = backoff.after_life_of(time.monotonic() - started_s)
            self._restarts += 1
            log(
                "worker.died",
                level=logging.ERROR,
                worker=self.number,
                status=life.status,
                reason=life.reason,
                restarts=self._restarts,
                pause_s=pause_s,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            if self._stopping.is_set():
                return
            started_s = time.monotonic()
            self.life = self._begin(life.segment_fd)

    async def _last_of(self, life: WorkerLife) -> WorkerLife:
        """The process that has died with none in its place: `life`, or one that has replaced it."""
        while True:
            await life.ended.wait()
            if self.life is life:
                # One that is being started for the place may still come to fill it.
                for other in list(self._others):
                    await other.changed.wait()
            if self.life is life or self.life is None:
                return life
            life = self.life

    def _begin(self, segment_fd: int) -> WorkerLife:
        """Starts a process that counts in the segment, which nobody else may write to."""
        letter = "ab"[self._segment_fds.index(segment_fd)]
        listening = {
            listener.fd for handed in (self._listeners, *self._around.listeners) for listener in handed
        }
        fds = [*(listening - {-1}), *self._around.segments]
        life = WorkerLife(self.number, f"{self.number}{letter}", segment_fd, fds, self._hear)
        self._starts += 1
        task = asyncio.get_running_loop().create_task(self._live(life, replaces=self.life is not None))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return life

    async def _live(self, life: WorkerLife, replaces: bool) -> int:
        # Beside others, or in the place of one that goes on, a worker accepts nobody before it can answer; a server of
        # one says meanwhile that it is starting.
        late = replaces and (self._settings.workers > 1 or self.ready)

        async def first() -> Mapping[str, Any]:
            await self._around.known()
            return {
                "settings": self._settings.model_dump_json(),
                "worker": self.number,
                "late": late,
                "listeners": [listener.to_json() for listener in self._listeners],
                "segments": [fd for fd in self._around.segments if fd != life.segment_fd],
                "others": [[one.to_json() for one in handed] for handed in self._around.listeners],
                "kept_out": self._around.kept_out,
                "directives": [directive.to_json() for directive in self._around.directives()],
            }

        status = await life.run(first)
        self._settle(life)
        self._around.ended(life)
        self._around.changed()
        return status

    def _settle(self, life: WorkerLife) -> None:
        """Counts as lost what a process took with it, now that nobody writes to its segment."""
        before = self._readers[self._segment_fds.index(life.segment_fd)].snapshot()
        try:
            segment = Segment(life.segment_fd, before.worker_pid, before.worker_start_unix_ns)
            after = self._readers[self._segment_fds.index(life.segment_fd)].snapshot()
            ring = Ring(segment.memory)
            taken_along = max(0, _ended_or_lost(after) - after.decisions.accounted)
            ring.took_along(taken_along)
            self._recover(ring, taken_along)
        except ValueError as error:
            log("segment.broken", level=logging.ERROR, worker=self.number, reason=str(error))
        except EvidenceError as error:
            log("journal.not_recovered", level=logging.ERROR, worker=self.number, reason=str(error))

    def _recover(self, ring: Ring | None, lost: int) -> None:
        """Closes the journal of a process that did not; raises EvidenceError."""
        for one in recover(self._journal, ring, lost, time.time_ns()):
            log(
                "journal.recovered",
                level=logging.WARNING,
                file=str(one.path),
                records=one.records,
                torn_bytes=one.torn_bytes,
                from_ring=ring is not None,
            )

    def _hear(self, life: WorkerLife, message: Mapping[str, Any]) -> None:
        if "kept_out" in message:
            self._around.kept_out[:] = message["kept_out"]
        elif "tls_taken" in message:
            self._tls_reads = self._tls_reads.one_more(message["tls_taken"])
        elif "loaded" in message:
            self._around.loaded(life)
        elif "ready" in message:
            self._served_once = True
            log("worker.ready", worker=self.number, pid=life.pid)
            self._around.changed()
        else:
            self._around.told(life, message)

    async def replace(self) -> WorkerLife:
        """Starts another process, has it take over when it is ready, and returns when the one before has finished.

        Raises LoadFailed where the new one cannot serve: the one before goes on.
        """
        before = self.life
        assert before is not None
        segment_fd = next(fd for fd in self._segment_fds if fd != before.segment_fd)
        successor = self._begin(segment_fd)
        self._others.append(successor)
        try:
            await successor.changed.wait()
            if not successor.ready:
                raise LoadFailed(
                    f"worker {self.number}: the new process could not begin to serve: "
                    f"{successor.reason or f'it ended with {successor.status}'}"
                )
            self.life = successor
            self._others[:] = [before]
            self._around.changed()
            await before.stop(leaves_within_s(self._settings), leave=True)
        finally:
            self._others.clear()
        return successor

    async def stop(self) -> None:
        """Lets the worker finish what it has accepted, and kills it where that takes too long."""
        self._stopping.set()
        within_s = self._settings.drain_timeout_s + STOP_MARGIN_S
        await asyncio.gather(*(life.stop(within_s) for life in self.lives if not life.ended.is_set()))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def kill(self) -> None:
        """Ends the worker at once; what it was doing is lost."""
        for life in self.lives:
            life.kill()

    def close(self) -> None:
        """Gives the segments back; call after `run` has returned."""
        for fd in self._segment_fds:
            os.close(fd)


def _ended_or_lost(snapshot: "SegmentSnapshot") -> int:
    """Requests that came in and are in no process any longer."""
    return sum(
        slot.answered + slot.refused_total + slot.failed + slot.cancelled + slot.lost
        for slot in snapshot.slots
    )
