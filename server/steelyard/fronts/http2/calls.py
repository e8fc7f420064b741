"""Calls as the engine and the handlers see them, on a connection of this front."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from steelyard._native.path import UnaryCall
from steelyard.errors import DeadlineExpired, ExecutionFailed, InvalidRequest, SteelyardError, TooLarge
from steelyard.observe.logs import log
from steelyard.rpc.calls import ServerCall
from steelyard.rpc.framing import FramingError

if TYPE_CHECKING:
    from steelyard.fronts.http2.connection import Http2Connection
    from steelyard.serving.engine import Engine

Run = Callable[["HandledCall", bytes], Awaitable[None]]
"""What a method does with its calls: the call, and its message, empty where messages come one after the other."""


def fault_of(call: ServerCall, error: BaseException | None) -> SteelyardError:
    """What a caller is told of a fault of ours, which the log has."""
    log("call.fault", level=logging.ERROR, method=call.method.name, exception=repr(error)[:2000])
    return ExecutionFailed("the server failed on this call")


class InflatingCall(UnaryCall):
    """A ModelInfer call whose message has to be inflated before the engine gets it."""

    __slots__ = ("_inflating",)

    def __init__(self, engine: "Engine", connection: "Http2Connection", rpc: ServerCall, body: bytes) -> None:
        super().__init__(connection, rpc)
        self._inflating: asyncio.Task[None] | None = None
        received_ns = engine.expect(self)
        if received_ns is not None:
            self._inflating = connection.front.background(self._inflate(engine, body, received_ns))

    def gone(self) -> None:
        if self._inflating is not None:
            # Else a peer could have messages wait for a thread that nobody counts.
            self._inflating.cancel()
        super().gone()

    async def _inflate(self, engine: "Engine", body: bytes, received_ns: int) -> None:
        try:
            plain = await self.connection.front.inflate(self.rpc.encoding, body)
        except SteelyardError as error:
            engine.refuse(self, error, received_ns)
        except Exception as error:
            engine.refuse(self, fault_of(self.rpc, error), received_ns)
        else:
            engine.submit_expected(self, plain, received_ns)
        self._inflating = None


class HandledCall:
    """A call of any method but ModelInfer: a task, and a deadline that ends it."""

    def __init__(self, connection: "Http2Connection", rpc: ServerCall, run: Run, body: bytes) -> None:
        self.connection = connection
        self.rpc = rpc
        self.peer = connection.peer
        self.peer_uid = connection.peer_uid
        self.deadline_ns = rpc.deadline_ns
        self.requests = Requests(lambda read: connection.rpc.consumed(rpc, read))
        self._run = run
        self._aside = 0
        self._over = False
        self._expired = False
        loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task = loop.create_task(self._live(body))
        # A task that is cancelled before its first step never takes it.
        self._task.add_done_callback(self._ended)
        if rpc.deadline_ns:
            left_ns = rpc.deadline_ns - time.monotonic_ns()
            if left_ns > 0:
                self._timer = loop.call_later(left_ns / 1e9, self._expire)
            else:
                self._expire()

    def gone(self) -> None:
        """The caller is gone."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self._task.cancel()

    def has_room(self, size: int) -> bool:
        """Whether so many bytes of answers may wait in the handler."""
        return self.connection.rpc.has_room(size)

    def no_room(self, size: int) -> str:
        """What is said of an answer of so many bytes for which there is no room."""
        return self.connection.rpc.no_room(size)

    def set_aside(self, count: int) -> None:
        """So many bytes of answers wait in the handler, or no longer where `count` is under zero."""
        self._aside += count
        self.connection.rpc.set_aside(count)

    def keep(self, count: int) -> None:
        """So many bytes of a message that was read wait in the handler; see `Context`."""
        # What a call that is over held was given back with it.
        if not self._over:
            try:
                self.connection.rpc.keep(self.rpc, count)
            except FramingError as error:
                raise TooLarge(str(error)) from None

    async def inflate(self, body: bytes) -> bytes:
        """A compressed message's plain form."""
        return await self.connection.front.inflate(self.rpc.encoding, body)

    async def send(self, body: bytes) -> None:
        """Sends one of several answers; returns when it is time for the next."""
        aside = min(self._aside, len(body))
        self._aside -= aside
        await self.connection.send(self.rpc, body, aside=aside)

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    async def _live(self, body: bytes) -> None:
        # An answer with a binary header that is none would be given only where somebody reads the metadata.
        try:
            self.rpc.metadata()
        except ValueError as problem:
            raise InvalidRequest(str(problem)) from None
        if self.rpc.compressed:
            body = await self.inflate(body)
        await self._run(self, body)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        error = None if task.cancelled() else task.exception()
        if self._over:
            return
        self._over = True
        if self._expired and error is None:
            error = DeadlineExpired("the deadline passed before the answer was complete")
        elif not isinstance(error, SteelyardError):
            error = fault_of(self.rpc, error)
        self.connection.fail(self.rpc, error, [])

    def finish(self, body: bytes | None = None) -> None:
        """Ends the call with status OK, and its one answer where it has one."""
        if not self._over:
            self._over = True
            self.connection.finish(self.rpc, body)


class Requests:
    """The messages of a stream, in order, for its handler to read."""

    def __init__(self, read: Callable[[bytes], None]) -> None:
        """read: hears of each message that the handler has taken."""
        self._read = read
        self._bodies: deque[tuple[bytes, bool]] = deque()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def put(self, body: bytes, compressed: bool) -> None:
        """A message came."""
        self._bodies.append((body, compressed))
        self._wake()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._wake()

    async def bodies(self, inflate: Callable[[bytes], Awaitable[bytes]]) -> AsyncIterator[bytes]:
        """The messages until the peer has sent the last; `inflate` is awaited for those that are compressed."""
        while True:
            while self._bodies:
                body, compressed = self._bodies.popleft()
                # Counted until it is plain, as it waits for a thread.
                plain = await inflate(body) if compressed else body
                self._read(body)
                yield plain
            if self._ended:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
