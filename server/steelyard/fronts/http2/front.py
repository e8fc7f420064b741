"""The front: listeners, what all connections share, and the look at each of them once a second."""

import asyncio
import concurrent.futures
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from steelyard._native.rpc import Ledger
from steelyard.errors import InvalidRequest, TooLarge
from steelyard.fronts.http2.accepting import Accepting, Listener
from steelyard.fronts.http2.calls import HandledCall, InflatingCall
from steelyard.fronts.http2.compressing import CompressingConnection
from steelyard.fronts.http2.connection import Http2Connection
from steelyard.fronts.http2.patience import Patience
from steelyard.fronts.http2.sweep import look_at
from steelyard.fronts.http2.trailing import TrailingFields
from steelyard.rpc.calls import Method, ServerCall
from steelyard.rpc.compression import GZIP, TooMuch, deflate, inflate
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.rpc.server import ServerConnection
from steelyard.serving.methods import BidiStream, Methods, ServerStream, Unary

if TYPE_CHECKING:
    from steelyard.serving.engine import Engine

# A message that inflates from more than so much does so on a thread: at zlib's 300 MB/s and a usual ratio this is a
# millisecond of the loop.
INFLATED_INLINE_BYTES = 64 << 10

# Of answers that wait for a thread to compress them; while there are more, others go as they are. At the 40 MB/s of a
# thread this is a second.
COMPRESSING_BYTES = 64 << 20

# Each inflates up to one message at a time, and holds no more than that.
INFLATING_THREADS = 2

# Connections that one pass of the loop looks at: some hundred microseconds.
SWEPT_AT_ONCE = 256

# Read from a connection at once: what fits into the cache beside the frames that are made of it.
READ_BYTES = 64 << 10

# A round trip, and time for calls that were on their way when the peer was told to begin no more.
NOTICE_S = 0.2

# The same where nobody may be refused who heard of it late.
HAND_OVER_NOTICE_S = 1.0


class Http2Front:
    """A gRPC server over the table of methods, on our own `rpc`; without an engine there is no inference among them."""

    def __init__(
        self,
        methods: Methods,
        engine: "Engine | None",
        limits: Limits,
        totals: TotalLimits | None = None,
        patience: Patience | None = None,
        compress: bool = False,
    ) -> None:
        """compress: whether answers are, with gzip, for clients that understand it."""
        self.limits = limits
        self.totals = totals or TotalLimits()
        self.patience = patience or Patience()
        self.held = Ledger()
        self.methods = {method.name.encode(): method for method in _table(methods, engine)}
        self.infer = None if engine is None else self.methods[methods.infer.encode()]
        """The method whose calls are the engine's."""
        self.engine = engine
        self.trailing = TrailingFields()
        self.buffer = memoryview(bytearray(READ_BYTES))
        """What any connection reads goes through it, and is taken out before anything else happens."""
        self.epoch = 0
        """Seconds since the front began, as far as connections are concerned."""
        self.paused: set[Http2Connection] = set()
        """Connections that are not read until what they hold has been worked off."""
        self._loop = asyncio.get_running_loop()
        self._connections: dict[Http2Connection, None] = {}
        self._reserved: set[Http2Connection] = set()
        self._dirty: list[Http2Connection] = []
        self.accepting = Accepting(self)
        self._connection = CompressingConnection if compress else Http2Connection
        self._compressing_bytes = 0
        self._inflating = concurrent.futures.ThreadPoolExecutor(INFLATING_THREADS, "inflate")
        self._background: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.Task[None] | None = None
        self._leaving: set[Http2Connection] = set()
        self._left: asyncio.Future[None] | None = None
        self._stopping = False

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Serves on sockets that listen already; they are the front's from now on."""
        await self.accepting.begin(listeners)
        self._sweeping = self._loop.create_task(self._sweep())

    async def hand_over(self, grace_s: float) -> None:
        """Stops where another process accepts from the same listeners, and has nobody see it: whoever was accepted is
        taken, told to come anew, and answered what it asks until it has heard of that. Calls get `grace_s` seconds."""
        # Those who are connected need not wait for the handshakes of others to hear of it.
        self._announce()
        await self.accepting.finish()
        await self.stop(grace_s, HAND_OVER_NOTICE_S)

    async def leave(self, notice_s: float = NOTICE_S) -> None:
        """Tells those who are connected to begin no new calls here, and returns when what was on its way has come,
        after which nothing of theirs is taken. Who comes later is accepted, to be told of the end by the handlers."""
        self._announce()
        await self._emptied(notice_s)
        for connection in self._leaving:
            connection.leave_now()

    async def left(self, within_s: float) -> None:
        """Returns when those who were connected at `leave` are gone with the last of their calls, or after `within_s`
        seconds."""
        await self._gone(within_s)

    async def stop(self, grace_s: float, notice_s: float = NOTICE_S) -> None:
        """Takes no new connections and calls, and gives the calls that are open `grace_s` seconds. May be asked again,
        for an end that is nearer. notice_s: after it, calls of those who were told to begin none are not taken."""
        # What was accepted already is no connection yet, and would hear of nothing.
        self._stopping = True
        self.accepting.close()
        self._announce()
        if self._connections and grace_s:
            await self._emptied(min(notice_s, grace_s))
            for connection in list(self._connections):
                connection.leave_now()
            await self._emptied(grace_s)
        for connection in list(self._connections):
            connection.abandon("the server stops", 0)
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._inflating.shutdown(wait=False, cancel_futures=True)

    async def inflate(self, encoding: bytes, body: bytes) -> bytes:
        """A compressed message's plain form. Raises InvalidRequest and TooLarge."""
        limit = self.limits.max_message_bytes
        try:
            if len(body) <= INFLATED_INLINE_BYTES and limit <= INFLATED_INLINE_BYTES:
                return inflate(encoding, body, limit)
            return await self._on_thread(body, lambda held: inflate(encoding, held, limit))
        except TooMuch:
            raise TooLarge(
                f"the message has more than {limit} bytes when it is inflated, and that is the limit "
                "(max_message_bytes)"
            ) from None
        except ValueError as error:
            raise InvalidRequest(str(error)) from None

    async def compress(self, body: bytes) -> bytes | None:
        """The message in gzip's form, made on a thread; None where so much waits for the threads already that it is
        better sent as it is."""
        if self._compressing_bytes > COMPRESSING_BYTES:
            return None
        self._compressing_bytes += len(body)
        try:
            return await self._on_thread(body, lambda held: deflate(GZIP, held))
        finally:
            self._compressing_bytes -= len(body)

    async def _on_thread(self, body: bytes, does: Callable[[bytes], bytes]) -> bytes:
        # What waits for a thread stays in its queue when nobody waits for it any longer: there it must hold nothing.
        held = [body]
        try:
            return await self._loop.run_in_executor(self._inflating, lambda: does(held.pop()))
        finally:
            held.clear()

    def background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Does `work` beside everything else."""
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    @property
    def connections(self) -> list[Http2Connection]:
        """Those that there are."""
        return list(self._connections)

    def connection(self) -> Http2Connection:
        """A connection that is to be made."""
        return self._connection(self)

    # What connections ask.

    def reserve(self) -> Http2Connection | None:
        """A connection that has its place before it can speak; None where there are as many as may be, or the front
        stops."""
        if self._takes_no_more():
            return None
        connection = self._connection(self)
        self._reserved.add(connection)
        return connection

    def release(self, connection: Http2Connection) -> None:
        """A connection that had its place before has begun to speak, or never will."""
        self._reserved.discard(connection)

    def admit(self, connection: Http2Connection) -> bool:
        """Takes a connection; False where there are as many as may be, or the front stops."""
        self.release(connection)
        if self._takes_no_more():
            return False
        self._connections[connection] = None
        return True

    def _takes_no_more(self) -> bool:
        return self._stopping or len(self._connections) + len(self._reserved) >= self.totals.max_connections

    def forget(self, connection: Http2Connection) -> None:
        """A connection is no more."""
        self._connections.pop(connection, None)
        self.paused.discard(connection)
        self._leaving.discard(connection)
        if self._left is not None and not self._leaving and not self._left.done():
            self._left.set_result(None)

    def touch(self, connection: Http2Connection) -> None:
        """A connection has something to write; all of them write at the end of the pass."""
        if not self._dirty:
            self._loop.call_soon(self._flush)
        self._dirty.append(connection)

    def is_full(self, rpc: ServerConnection) -> bool:
        """Whether a connection holds so much that is worked on that no more should be read from it."""
        return (
            rpc.ledger.working > self.limits.connection_bytes // 2
            or self.held.working > self.totals.received_bytes // 2
        )

    def has_room(self, rpc: ServerConnection) -> bool:
        """Whether a connection that was not read may be read again."""
        return not rpc.working or (
            rpc.ledger.working < self.limits.connection_bytes // 4
            and self.held.working < self.totals.received_bytes // 4
        )

    def make_room(self, asking: Ledger) -> bool:
        """Where requests of all connections take too much: whether one that holds more than `asking` did give way.

        Else a few could fill what all may hold, with messages that they never finish, and every other would be refused.
        Who holds more than an equal share has nobody give way, so that looking for the largest is paid for: the whole
        look, at 4,000 connections a millisecond, frees a quarter of a share, or what is needed.
        """
        limit = self.totals.received_bytes
        share = limit // max(1, len(self._connections))
        while self.held.received > limit:
            if asking.incoming > share:
                return False
            largest = max(self._connections, key=lambda one: one.rpc.ledger.incoming)
            before = largest.rpc.ledger.incoming
            if before <= asking.incoming:
                return False
            largest.give_way(max(self.held.received - limit, before // 4))
            if largest.rpc.ledger.incoming >= before:
                return False
        return True

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            # A fault of ours in one connection must not keep the others from being written to.
            try:
                connection.flush()
            except Exception as error:
                connection.fault(error)
        if self.paused:
            for connection in [one for one in self.paused if one.may_read()]:
                connection.resume_reading()

    def _announce(self) -> None:
        for connection in list(self._connections):
            connection.leave()

    async def _emptied(self, within_s: float) -> None:
        self._leaving = set(self._connections)
        await self._gone(within_s)

    async def _gone(self, within_s: float) -> None:
        if self._leaving:
            self._left = self._loop.create_future()
            await asyncio.wait([self._left], timeout=within_s)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            await self.second_passed()

    async def second_passed(self) -> None:
        """Ends what has taken too long, now that a second more has passed."""
        self.epoch += 1
        for some in _slices(list(self._connections), SWEPT_AT_ONCE):
            now_ns = time.monotonic_ns()
            for connection in some:
                try:
                    look_at(connection, self.patience, self.epoch, now_ns)
                except Exception as error:
                    connection.fault(error)
            await asyncio.sleep(0)


def _slices(connections: list[Http2Connection], count: int) -> Iterator[list[Http2Connection]]:
    for begin in range(0, len(connections), count):
        yield connections[begin : begin + count]


def _table(methods: Methods, engine: "Engine | None") -> Iterator[Method]:
    if engine is not None:
        yield Method(methods.infer, False, False, _infer(engine))
    for name, unary in methods.unary.items():
        yield Method(name, False, False, _handled(_unary(unary)))
    for name, server_stream in methods.server_stream.items():
        yield Method(name, False, True, _handled(_server_stream(server_stream)))
    for name, bidi_stream in methods.bidi_stream.items():
        yield Method(name, True, True, _handled(_bidi_stream(bidi_stream)))


def _infer(engine: "Engine") -> Any:
    def begin(connection: Http2Connection, rpc: ServerCall, body: bytes) -> InflatingCall:
        # The engine has those already that need not be inflated: connections hand them over together.
        return InflatingCall(engine, connection, rpc, body)

    return begin


def _handled(run: Any) -> Any:
    def begin(connection: Http2Connection, rpc: ServerCall, body: bytes) -> HandledCall:
        return HandledCall(connection, rpc, run, body)

    return begin


def _unary(handler: Unary) -> Any:
    async def run(call: HandledCall, body: bytes) -> None:
        call.finish(await handler(body, call))

    return run


def _server_stream(handler: ServerStream) -> Any:
    async def run(call: HandledCall, body: bytes) -> None:
        await _send_all(call, handler(body, call))

    return run


def _bidi_stream(handler: BidiStream) -> Any:
    async def run(call: HandledCall, body: bytes) -> None:
        await _send_all(call, handler(call.requests.bodies(call.inflate), call))

    return run


async def _send_all(call: HandledCall, answers: AsyncIterator[bytes]) -> None:
    async with contextlib.aclosing(answers):  # type: ignore[type-var]
        async for answer in answers:
            await call.send(answer)
    call.finish()
