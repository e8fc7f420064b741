"""The asyncio channel: calls to one server over a connection that is made when it is needed."""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence

from steelyard.client import ending
from steelyard.client.aio_calls import INFLATED_INLINE_BYTES, AsyncCall, StreamCall, UnaryCall
from steelyard.client.aio_connection import ClientProtocol
from steelyard.client.backoff import Backoff
from steelyard.client.failures import CallFailed
from steelyard.client.target import Target
from steelyard.client.wiring import Wiring
from steelyard.rpc.framing import FramingError
from steelyard.rpc.metadata import encode_metadata


class AsyncChannel:
    """Belongs to the loop that runs when it is made.

    A call waits while a connection is being made, and where the server takes no more at once; while a server that could
    not be reached is left in peace (`Backoff`), it fails at once with what was met last.
    """

    def __init__(self, target: Target, wiring: Wiring, tls: ssl.SSLContext | None, backoff: Backoff) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiting: deque[AsyncCall] = deque()
        """Calls that have not begun."""
        self._target = target
        self._wiring = wiring
        self._tls = tls
        self._backoff = backoff
        self._connection: ClientProtocol | None = None
        """The one that takes calls."""
        self._connections: set[ClientProtocol] = set()
        """All that are open; those that take no calls finish theirs."""
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False

    def unary(
        self,
        path: str,
        body: bytes,
        timeout_s: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> UnaryCall:
        """Begins a call with one message and one answer; await its `answer`. Raises CallFailed."""
        fields = encode_metadata(metadata) if metadata else []
        call = UnaryCall(self, path, body, timeout_s, fields)
        self.submit(call)
        return call

    def stream(
        self, path: str, timeout_s: float | None = None, metadata: Sequence[tuple[str, str | bytes]] = ()
    ) -> StreamCall:
        """Begins a call whose messages come one after the other."""
        call = StreamCall(self, path, timeout_s, encode_metadata(metadata))
        self.submit(call)
        return call

    async def close(self) -> None:
        """Ends every connection; calls that are under way end as cancelled."""
        self._closed = True
        self._fail_waiting(ending.cancelled())
        if (connecting := self._connecting) is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
        for connection in list(self._connections):
            for call in list(connection.rpc.calls.values()):
                owner: AsyncCall = call.owner
                owner.cancel()
                owner.fail(ending.cancelled())
            connection.flush()
            connection.close("the client was closed")
        # Transports close in the next pass; where the server does not read, what was written is given up.
        await asyncio.sleep(0)
        for connection in list(self._connections):
            connection.abort("the client was closed")
        await asyncio.sleep(0)

    # What calls and connections ask.

    def submit(self, call: AsyncCall) -> None:
        """Begins a call, at once or when there is room for it."""
        connection = self._connection
        if self._closed:
            call.fail(ending.cancelled())
        elif connection is not None and not self.waiting and connection.rpc.may_start(call.size):
            self._begin(call, connection)
        elif len(self.waiting) >= self._wiring.max_waiting_calls and not self._clear_waiting():
            call.fail(ending.overfull(len(self.waiting)))
        else:
            self.waiting.append(call)
            if connection is None:
                self._connect()

    def pump(self) -> None:
        """Begins what waits, as far as there is room for it."""
        connection, waiting = self._connection, self.waiting
        while connection is not None and waiting:
            call = waiting[0]
            if call.over:
                waiting.popleft()
            elif connection.rpc.may_start(call.size):
                self._begin(waiting.popleft(), connection)
            else:
                return

    def retire(self, connection: ClientProtocol) -> None:
        """A connection takes no more calls."""
        if self._connection is connection:
            self._connection = None
            if self.waiting:
                self._connect()

    def forget(self, connection: ClientProtocol) -> None:
        """A connection is no more."""
        self._connections.discard(connection)
        if self._connection is connection:
            if not connection.useful:
                # Connecting succeeds, and nothing else does: calls that wait must not try it without end.
                self._backoff.failed(self.loop.time(), connection.rpc.problem)
            self.retire(connection)

    async def plain(self, encoding: bytes, body: bytes) -> bytes:
        """What a compressed message holds. Raises CallFailed."""
        limit = self._wiring.limits.max_message_bytes
        if len(body) <= INFLATED_INLINE_BYTES and limit <= INFLATED_INLINE_BYTES:
            return ending.plain(encoding, body, limit)
        return await self.loop.run_in_executor(None, ending.plain, encoding, body, limit)

    # Connections.

    def _begin(self, call: AsyncCall, connection: ClientProtocol) -> None:
        try:
            call.begin(connection)
        except FramingError as error:
            call.cancel()
            call.fail(ending.refused(error))
        connection.call_began()

    def _connect(self) -> None:
        if self._connecting is not None:
            return
        if not self._backoff.may_try(self.loop.time()):
            self._fail_waiting(ending.unavailable(self._backoff.problem))
            return
        self._connecting = self.loop.create_task(self._open())

    async def _open(self) -> None:
        connection: ClientProtocol | None = None
        timeout_s = self._wiring.connect_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._dial()
                self._connections.add(connection)
                await connection.ready
        except TimeoutError:
            self._failed(connection, f"no HTTP/2 connection within {timeout_s:g} s")
        except Exception as error:
            # Whatever it is: calls wait for the end of this.
            self._failed(connection, f"failed to connect: {error}")
        else:
            self._connecting = None
            if connection.rpc.draining or connection.rpc.closed:
                self._failed(connection, connection.rpc.problem or "the server takes no calls")
                return
            self._backoff.succeeded()
            self._connection = connection
            self.pump()
        finally:
            self._connecting = None

    async def _dial(self) -> ClientProtocol:
        target, tls = self._target, self._tls
        connection = ClientProtocol(
            self, target.authority, "https" if tls is not None else "http", self._wiring
        )
        if target.path:
            await self.loop.create_unix_connection(
                lambda: connection,
                target.path,
                ssl=tls,
                server_hostname=target.authority if tls is not None else None,
            )
        else:
            await self.loop.create_connection(lambda: connection, target.host, target.port, ssl=tls)
        return connection

    def _failed(self, connection: ClientProtocol | None, problem: str) -> None:
        self._connecting = None
        self._backoff.failed(self.loop.time(), problem)
        if connection is not None:
            connection.abort(problem)
        self._fail_waiting(ending.unavailable(problem))

    def _fail_waiting(self, problem: CallFailed) -> None:
        waiting, self.waiting = self.waiting, deque()
        for call in waiting:
            if not call.over:
                call.fail(CallFailed(problem.failure))

    def _clear_waiting(self) -> bool:
        """Throws calls away that have ended while they waited; whether there were any."""
        before = len(self.waiting)
        self.waiting = deque(call for call in self.waiting if not call.over)
        return len(self.waiting) < before
