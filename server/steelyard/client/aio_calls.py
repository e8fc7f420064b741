"""Calls of the asyncio channel: one answer, or a stream of them."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from steelyard.client import ending
from steelyard.client.failures import CallFailed
from steelyard.rpc import codes
from steelyard.rpc.client_calls import ClientCall, ClientHappening
from steelyard.rpc.framing import FramingError
from steelyard.rpc.metadata import Header

if TYPE_CHECKING:
    from steelyard.client.aio_channel import AsyncChannel
    from steelyard.client.aio_connection import ClientProtocol

# A compressed message that is longer than so much inflates on a thread: at zlib's 300 MB/s and a usual ratio this is a
# millisecond of the loop.
INFLATED_INLINE_BYTES = 64 << 10


class AsyncCall:
    """What the two have in common: a deadline, and a place on a connection once there is one."""

    __slots__ = ("_channel", "_deadline_s", "_timer", "connection", "metadata", "over", "path", "rpc", "size")

    def __init__(
        self, channel: "AsyncChannel", path: str, timeout_s: float | None, metadata: list[Header]
    ) -> None:
        self._channel = channel
        self.path = path
        self.metadata = metadata
        self.size = 0
        """Of the first message, where it is known."""
        self.connection: ClientProtocol | None = None
        self.rpc: ClientCall | None = None
        self.over = False
        self._deadline_s = -1.0
        self._timer: asyncio.TimerHandle | None = None
        if timeout_s is not None:
            self._deadline_s = channel.loop.time() + timeout_s
            self._timer = channel.loop.call_at(self._deadline_s, self._expire)

    def begin(self, connection: "ClientProtocol") -> None:
        """Starts on a connection that takes it."""
        raise NotImplementedError

    def fail(self, problem: CallFailed) -> None:
        """Ends as failed."""
        raise NotImplementedError

    def hear(self, happening: ClientHappening, body: bytes, compressed: bool) -> None:
        """Something happened to `rpc`."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Ends without an answer, here and at the server."""
        self.close()
        if self.rpc is not None and self.connection is not None:
            self.connection.cancel(self.rpc)
            self.rpc = None

    def close(self) -> None:
        """Is over."""
        self.over = True
        if self._timer is not None:
            self._timer.cancel()

    def _timeout_ns(self) -> int:
        """What is left of the time."""
        if self._deadline_s < 0:
            return -1
        return max(0, int((self._deadline_s - self._channel.loop.time()) * 1e9))

    def _expire(self) -> None:
        if not self.over:
            self.cancel()
            self.fail(ending.expired())


class UnaryCall(AsyncCall):
    """One message there, one back."""

    __slots__ = ("_again", "_body", "answered")

    def __init__(
        self,
        channel: "AsyncChannel",
        path: str,
        body: bytes,
        timeout_s: float | None,
        metadata: list[Header],
    ) -> None:
        super().__init__(channel, path, timeout_s, metadata)
        self._body = body
        self.size = len(body)
        self._again = False
        self.answered: asyncio.Future[tuple[bytes, bool]] = channel.loop.create_future()

    def begin(self, connection: "ClientProtocol") -> None:
        self.connection = connection
        timeout_ns = -1 if self._deadline_s < 0 else self._timeout_ns()
        self.rpc = connection.rpc.ask(self.path, self._body, timeout_ns, self.metadata, self)

    def cancel(self) -> None:
        super().cancel()
        # The call may stay among those that wait until its turn comes.
        self._body = b""

    def fail(self, problem: CallFailed) -> None:
        self.close()
        if not self.answered.done():
            self.answered.set_exception(problem)

    def hear(self, happening: ClientHappening, body: bytes, compressed: bool) -> None:
        rpc = self.rpc
        if rpc is None or self.over:
            return
        if rpc.code == codes.OK:
            self.close()
            if not self.answered.done():
                self.answered.set_result((body, compressed))
        elif rpc.never_ran and not self._again:
            # Once, and not for ever: a server that refuses every call is one that cannot be used.
            self._again = True
            self.rpc = self.connection = None
            self._channel.submit(self)
        else:
            self.fail(ending.failed(rpc))

    async def answer(self) -> bytes:
        """The answer. Raises CallFailed."""
        try:
            body, compressed = await self.answered
        except asyncio.CancelledError:
            self.cancel()
            raise
        if compressed:
            assert self.rpc is not None
            body = await self._channel.plain(self.rpc.encoding, body)
        return body


class StreamCall(AsyncCall):
    """Messages both ways, in any order; an asynchronous iterator of the answers."""

    __slots__ = ("_bodies", "_failure", "_reader", "_sender")

    def __init__(
        self, channel: "AsyncChannel", path: str, timeout_s: float | None, metadata: list[Header]
    ) -> None:
        super().__init__(channel, path, timeout_s, metadata)
        self._bodies: deque[tuple[bytes, bool]] = deque()
        self._failure: CallFailed | None = None
        self._reader: asyncio.Future[None] | None = None
        self._sender: asyncio.Future[None] | None = None

    def begin(self, connection: "ClientProtocol") -> None:
        self.connection = connection
        self.rpc = connection.rpc.start(self.path, self._timeout_ns(), self.metadata, owner=self)
        self.wake_sender()

    def fail(self, problem: CallFailed) -> None:
        self.close()
        self._failure = problem
        self._wake_reader()
        self.wake_sender()

    def cancel(self) -> None:
        super().cancel()
        self.wake_sender()

    def hear(self, happening: ClientHappening, body: bytes, compressed: bool) -> None:
        rpc = self.rpc
        if rpc is None or self.over:
            return
        if happening is ClientHappening.MESSAGE:
            self._bodies.append((body, compressed))
            self._wake_reader()
        elif happening is ClientHappening.ENDED:
            if rpc.code != codes.OK:
                self.fail(ending.failed(rpc))
            else:
                self.close()
                self._wake_reader()
                self.wake_sender()

    async def send(self, body: bytes) -> bool:
        """Sends a message; returns when it is time for the next. False where the call is over, and it was not sent.

        Raises CallFailed where it is longer than may be; the call ends with it.
        """
        if self.rpc is None and not self.over:
            await self._sending()
        if self.over or self.rpc is None or self.connection is None:
            return False
        connection, rpc = self.connection, self.rpc
        try:
            connection.rpc.send(rpc, body)
        except FramingError as error:
            problem = ending.refused(error)
            self.cancel()
            self.fail(problem)
            raise problem from None
        connection.touch()
        while not self.over and not connection.rpc.may_send(rpc):
            connection.senders.add(self)
            await self._sending()
        return True

    async def end(self) -> None:
        """Sends no more."""
        if self.rpc is None and not self.over:
            await self._sending()
        if not self.over and self.rpc is not None and self.connection is not None:
            self.connection.rpc.end(self.rpc)
            self.connection.touch()

    def __aiter__(self) -> "StreamCall":
        return self

    async def __anext__(self) -> bytes:
        while not self._bodies:
            if self._failure is not None:
                raise self._failure
            if self.over:
                raise StopAsyncIteration
            self._reader = self._channel.loop.create_future()
            await self._reader
        body, compressed = self._bodies.popleft()
        if self.rpc is not None and self.connection is not None:
            self.connection.consumed(self.rpc, body)
            if compressed:
                body = await self._channel.plain(self.rpc.encoding, body)
        return body

    def wake_sender(self) -> None:
        """The sender may look again."""
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

    async def _sending(self) -> None:
        self._sender = self._channel.loop.create_future()
        await self._sender

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
