"""One worker process, from its start to its end, and the line to it."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from steelyard import errors
from steelyard.errors import Unavailable
from steelyard.observe.logs import log
from steelyard.supervisor.channel import Channel
from steelyard.supervisor.starting import start_module


class WorkerLife:
    """A process that is started once. What it says that is no answer goes to `heard`.

    It says that it has loaded; it takes requests when it is let in, and says then that it is ready.
    """

    def __init__(
        self,
        number: int,
        source: str,
        segment_fd: int,
        fds: Sequence[int],
        heard: Callable[["WorkerLife", Mapping[str, Any]], None],
    ) -> None:
        """number: of its place. source: what its counts are known by. fds: further descriptors that it inherits."""
        self.number = number
        self.source = source
        self.segment_fd = segment_fd
        self.pid = 0
        self.loaded = False
        self.is_in = False
        """Whether it was let in, and has not ended: it takes requests, or is about to."""
        self.ready = False
        self.reason: str | None = None
        """Why it refused to serve."""
        self.ended = asyncio.Event()
        self.spawned = asyncio.Event()
        """Set when the process has been started, or could not be."""
        self.changed = asyncio.Event()
        """Set when it is ready and when it has ended."""
        self.status = 0
        self._fds = fds
        self._heard = heard
        self._channel: Channel | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._orders: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._last_order = 0

    async def run(self, first: Callable[[], Awaitable[Mapping[str, Any]]]) -> int:
        """Starts the process and hears it out; returns its exit status. first: what it has to know, asked for when it
        can be told, so that whatever happens later is sent behind it."""
        try:
            self.status = await self._run(first)
        finally:
            self.loaded = self.is_in = self.ready = False
            self._channel = None
            self._abandon()
            self.ended.set()
            self.spawned.set()
            self.changed.set()
        return self.status

    async def _run(self, first: Callable[[], Awaitable[Mapping[str, Any]]]) -> int:
        process, ours = await start_module("steelyard.supervisor.worker", self.segment_fd, self._fds)
        self._process = process
        self.pid = process.pid
        self.spawned.set()
        channel = await Channel.open(ours)
        channel.send(await first())
        self._channel = channel
        if self._stopping:
            channel.send({"stop": True})
        async for message in channel:
            if "refused" in message:
                self.reason = message["refused"]
            elif "done" in message:
                self._answered(message)
            else:
                self._hear(message)
        self.loaded = self.is_in = self.ready = False
        await channel.close()
        return await process.wait()

    def _hear(self, message: Mapping[str, Any]) -> None:
        if "loaded" in message:
            self.loaded = True
        if "ready" in message:
            self.ready = True
            self.changed.set()
        try:
            self._heard(self, message)
        except Exception as error:
            # A fault in what follows from a message must not end the worker's life.
            log("worker.message_fault", level=logging.ERROR, worker=self.number, exception=repr(error)[:2000])

    def let_in(self) -> None:
        """Has it take requests from now on."""
        if self._channel is not None:
            self.is_in = True
            self._channel.send({"accept": True})

    def leave(self) -> None:
        """Has it take no new connections, send its callers elsewhere, answer what they have begun, and end."""
        if self._channel is not None:
            self._channel.send({"leave": True})

    def tell(self, message: Mapping[str, Any]) -> None:
        """Sends what is not answered; lost where the process has ended."""
        if self._channel is not None:
            self._channel.send(message)

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

    async def stop(self, within_s: float, leave: bool = False) -> None:
        """Lets it finish what it has accepted, and kills it where that takes longer than `within_s`."""
        self._stopping = True
        if leave:
            self.leave()
        else:
            self.tell({"stop": True})
        try:
            await asyncio.wait_for(self.ended.wait(), within_s)
        except TimeoutError:
            log("worker.killed", level=logging.ERROR, worker=self.number, pid=self.pid)
            self.kill()
            await self.ended.wait()

    def kill(self) -> None:
        """Ends it at once; what it was doing is lost."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
