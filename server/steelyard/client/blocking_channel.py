"""The blocking channel: calls to one server from any thread, each on a connection that nobody else uses meanwhile."""

import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence

from steelyard.client import ending
from steelyard.client.backoff import Backoff
from steelyard.client.blocking_connection import BlockingConnection, Deadline, Expired
from steelyard.client.blocking_stream import BlockingStream
from steelyard.client.failures import CallFailed
from steelyard.client.target import ALPN, Target
from steelyard.client.wiring import Wiring
from steelyard.rpc import codes
from steelyard.rpc.client_calls import ClientCall
from steelyard.rpc.framing import FramingError
from steelyard.rpc.metadata import encode_metadata

# Connections that are kept for the next call: as many threads as usually call at once.
MAX_IDLE_CONNECTIONS = 64


class BlockingChannel:
    """No threads but for streams: a call writes and reads a socket by itself, and leaves it to the next one.

    While a server that could not be reached is left in peace (`Backoff`), calls fail at once with what was met last.
    """

    def __init__(
        self,
        target: Target,
        wiring: Wiring,
        tls: ssl.SSLContext | None,
        backoff: Backoff,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._wiring = wiring
        self._tls = tls
        if tls is not None:
            tls.set_alpn_protocols([ALPN])
        self._backoff = backoff
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[BlockingConnection] = []
        self._busy: set[BlockingConnection] = set()
        self._closed = False

    def unary(
        self,
        path: str,
        body: bytes,
        timeout_s: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> bytes:
        """A call with one message and one answer. Raises CallFailed."""
        return self.ask(path, body, timeout_s, metadata)[0]

    def ask(
        self,
        path: str,
        body: bytes,
        timeout_s: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> tuple[bytes, ClientCall]:
        """As `unary`, and the call, which has what the server sent beside the answer."""
        deadline = _deadline(timeout_s)
        fields = encode_metadata(metadata) if metadata else ()
        again = True
        while True:
            connection = self._take(deadline)
            try:
                call = connection.rpc.ask(path, body, _left_ns(deadline), fields, None)
                ended = connection.run(deadline)
            except FramingError as error:
                self._abandon(connection)
                raise ending.refused(error) from None
            except Expired:
                self._abandon(connection)
                raise ending.expired() from None
            except BaseException:
                self._drop(connection)
                raise
            self._give(connection)
            if call.code == codes.OK:
                if call.compressed:
                    most = self._wiring.limits.max_message_bytes
                    return ending.plain(call.encoding, ended[2], most), call
                return ended[2], call
            # Once, and not for ever: a server that refuses every call is one that cannot be used.
            if not (call.never_ran and again):
                raise ending.cancelled() if self._closed else ending.failed(call)
            again = False

    def stream(
        self,
        path: str,
        bodies: Iterator[bytes],
        timeout_s: float | None = None,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> Generator[bytes, None, None]:
        """A call whose messages come one after the other: yields the answers. Raises CallFailed.

        `bodies` is consumed on a thread of the call's own, ahead of the answers.
        """
        deadline = _deadline(timeout_s)
        fields = encode_metadata(metadata)
        connection = self._take(deadline)
        try:
            call = connection.rpc.start(path, _left_ns(deadline), fields)
        except FramingError as error:
            self._abandon(connection)
            raise ending.refused(error) from None
        stream = BlockingStream(connection, call, bodies, deadline)
        try:
            for body, compressed in stream.answers():
                yield (
                    ending.plain(call.encoding, body, self._wiring.limits.max_message_bytes)
                    if compressed
                    else body
                )
            if call.code != codes.OK:
                raise ending.cancelled() if self._closed else ending.failed(call)
        finally:
            if stream.finish():
                self._give(connection)
            else:
                with self._lock:
                    self._busy.discard(connection)

    def close(self) -> None:
        """Ends every connection; calls that are under way on other threads end as cancelled."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for connection in self._busy:
                connection.shut("the client was closed")
        for connection in idle:
            connection.close()

    # Connections.

    def _take(self, deadline: Deadline) -> BlockingConnection:
        """A connection for one call."""
        while True:
            with self._lock:
                if self._closed:
                    raise ending.cancelled()
                if not self._idle:
                    break
                # The one that was used last, so that those too many are left to the server's idle limit.
                connection = self._idle.pop()
                self._busy.add(connection)
            if connection.is_usable():
                return connection
            self._drop(connection)
        return self._connect(deadline)

    def _connect(self, deadline: Deadline) -> BlockingConnection:
        with self._lock:
            if not self._backoff.may_try(self._clock()):
                raise ending.unavailable(self._backoff.problem)
        timeout_s = self._wiring.connect_timeout_s
        until = time.monotonic() + timeout_s
        own = deadline is None or until < deadline
        try:
            connection = BlockingConnection(self._target, self._wiring, self._tls, until if own else deadline)
        except Expired:
            if not own:
                raise ending.expired() from None
            raise self._unreachable(f"no HTTP/2 connection within {timeout_s:g} s") from None
        except OSError as error:
            raise self._unreachable(f"failed to connect: {error}") from None
        with self._lock:
            self._backoff.succeeded()
            if not self._closed:
                self._busy.add(connection)
                return connection
        connection.close()
        raise ending.cancelled()

    def _unreachable(self, problem: str) -> CallFailed:
        with self._lock:
            self._backoff.failed(self._clock(), problem)
        return ending.unavailable(problem)

    def _give(self, connection: BlockingConnection) -> None:
        """A call has ended, and left its connection as it was."""
        with self._lock:
            self._busy.discard(connection)
            if (
                not self._closed
                and not connection.rpc.closed
                and not connection.rpc.draining
                and len(self._idle) < MAX_IDLE_CONNECTIONS
            ):
                self._idle.append(connection)
                return
        connection.close()

    def _abandon(self, connection: BlockingConnection) -> None:
        """Nobody waits for the call's answer any more: the server is told, and the connection kept."""
        for call in list(connection.rpc.calls.values()):
            connection.rpc.cancel(call)
        if connection.flush():
            self._give(connection)
        else:
            # A server that takes nothing is not worth waiting for.
            self._drop(connection)

    def _drop(self, connection: BlockingConnection) -> None:
        with self._lock:
            self._busy.discard(connection)
        connection.close()


def _deadline(timeout_s: float | None) -> Deadline:
    return None if timeout_s is None else time.monotonic() + timeout_s


def _left_ns(deadline: Deadline) -> int:
    return -1 if deadline is None else max(0, int((deadline - time.monotonic()) * 1e9))
