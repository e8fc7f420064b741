"""A worker's place: its segment and its line, and the process that fills it, started again whenever it dies."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from steelyard import errors
from steelyard.config import Settings
from steelyard.errors import Unavailable
from steelyard.observe.collector import TlsReads, WorkerView
from steelyard.observe.logs import log
from steelyard.observe.segment import SegmentReader, create_segment
from steelyard.rollout.directive import Directive
from steelyard.supervisor.backoff import Backoff
from steelyard.supervisor.channel import EXIT_REFUSED, Channel
from steelyard.supervisor.listeners import Handed

# glibc gives memory back to the system as soon as 128 KB at the end of its heap are free, and asks for it again with
# the next batch: a tenth of what a batch of 500 KB costs, measured. So much may stay; what is larger than 32 MiB (the
# most that can be set) still comes from and goes to the system at once.
MALLOC_SETTINGS = {"MALLOC_TRIM_THRESHOLD_": str(128 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}

# Beyond the drain timeout, for closing the front and the threads; after that the worker is killed.
STOP_MARGIN_S = 5.0


class WorkerProcess:
    """Keeps one worker running until `stop`. The segment outlives the process, so that its counters go on.

    `refusal` is why the first worker could not begin to serve. Once one has served, the settings are good: a later
    worker that refuses has met something that may pass, such as a repository that is away, and counts as one that died.
    """

    def __init__(
        self,
        number: int,
        settings: Settings,
        listeners: Sequence[Handed],
        changed: Callable[[], None],
        directives: Callable[[], Sequence[Directive]] = tuple,
        told: Callable[[Mapping[str, Any]], None] = lambda message: None,
    ) -> None:
        self.number = number
        self.ready = False
        self.pid = 0
        self.refusal: str | None = None
        self._settings = settings
        self._listeners = listeners
        self._changed = changed
        self._directives = directives
        self._told = told
        self._orders: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._last_order = 0
        self._segment_fd = create_segment(f"worker-{number}")
        self._reader = SegmentReader(self._segment_fd)
        self._kept_out: list[str] = []
        self._channel: Channel | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._restarts = 0
        self._tls_reads = TlsReads()
        self._served_once = False
        self._reason: str | None = None

    def view(self) -> WorkerView:
        """The worker as the metrics see it."""
        return WorkerView(self.number, self._reader, self.ready, self._restarts, self._tls_reads)

    async def run(self) -> None:
        """Starts the worker, and starts it again after each death; returns when it was stopped or has refused."""
        backoff = Backoff()
        while not self._stopping.is_set():
            started_s = time.monotonic()
            status = await self._live()
            if self._stopping.is_set():
                return
            if status == EXIT_REFUSED and not self._served_once:
                self.refusal = self._reason or "the worker refused to serve, and did not say why"
                return
            pause_s = backoff.after_life_of(time.monotonic() - started_s)
            self._restarts += 1
            log(
                "worker.died",
                level=logging.ERROR,
                worker=self.number,
                status=status,
                reason=self._reason,
                restarts=self._restarts,
                pause_s=pause_s,
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    @property
    def lives(self) -> int:
        """How often a worker was started."""
        return self._restarts + 1

    async def ask(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Sends an order and returns the answer. Raises what the worker refused with, `Unavailable` where there is no
        worker or none any more."""
        if self._channel is None:
            raise Unavailable("the server's worker is not running")
        self._last_order += 1
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._orders[self._last_order] = answer
        self._channel.send({**order, "order": self._last_order})
        return await answer

    def _tell(self, message: Mapping[str, Any]) -> None:
        try:
            self._told(message)
        except Exception as error:
            # A fault in what follows from a message must not end the worker's life.
            log("worker.message_fault", level=logging.ERROR, worker=self.number, exception=repr(error)[:2000])

    def _answered(self, message: Mapping[str, Any]) -> None:
        answer = self._orders.pop(message["done"], None)
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(getattr(errors, message["kind"])(message["error"]))
        else:
            answer.set_result(message)

    def _abandon(self) -> None:
        """Ends the orders that a worker has taken with it."""
        orders, self._orders = self._orders, {}
        for answer in orders.values():
            if not answer.done():
                answer.set_exception(Unavailable("the server's worker ended before it answered"))

    async def stop(self) -> None:
        """Lets the worker finish what it has accepted, and kills it where that takes too long."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        if self._channel is not None:
            self._channel.send({"stop": True})
        try:
            await asyncio.wait_for(process.wait(), self._settings.drain_timeout_s + STOP_MARGIN_S)
        except TimeoutError:
            log("worker.killed", level=logging.ERROR, worker=self.number, pid=process.pid)
            self.kill()
            await process.wait()

    def kill(self) -> None:
        """Ends the worker at once; what it was doing is lost."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _live(self) -> int:
        """One life of the worker; returns its exit status."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "steelyard.supervisor.worker",
                str(theirs.fileno()),
                str(self._segment_fd),
                stdin=asyncio.subprocess.DEVNULL,
                env=MALLOC_SETTINGS | os.environ,
                pass_fds=(
                    theirs.fileno(),
                    self._segment_fd,
                    *(listener.fd for listener in self._listeners if listener.fd >= 0),
                ),
            )
        self._process = process
        self.pid = process.pid
        self._reason = None
        self._channel = channel = await Channel.open(ours)
        channel.send(
            {
                "settings": self._settings.model_dump_json(),
                "worker": self.number,
                "listeners": [listener.to_json() for listener in self._listeners],
                "kept_out": self._kept_out,
                "directives": [directive.to_json() for directive in self._directives()],
            }
        )
        if self._stopping.is_set():
            channel.send({"stop": True})
        async for message in channel:
            if "kept_out" in message:
                self._kept_out = message["kept_out"]
            if "refused" in message:
                self._reason = message["refused"]
            if "tls_taken" in message:
                self._tls_reads = self._tls_reads.one_more(message["tls_taken"])
            if message.get("ready"):
                self.ready = self._served_once = True
                self._changed()
            if "done" in message:
                self._answered(message)
            else:
                self._tell(message)
        self.ready = False
        self._channel = None
        self._abandon()
        self._changed()
        await channel.close()
        return await process.wait()

    def close(self) -> None:
        """Gives the segment back; call after `run` has returned."""
        os.close(self._segment_fd)
