"""One stream on a connection of the blocking channel: answers on the caller's thread, requests from another."""

import threading
from collections import deque
from collections.abc import Generator, Iterator

from steelyard.client import ending
from steelyard.client.blocking_connection import BlockingConnection, Deadline, Expired
from steelyard.client.failures import CallFailed
from steelyard.rpc.client_calls import ClientCall, ClientHappening
from steelyard.rpc.framing import FramingError
from steelyard.rpc.states import ClientState


class BlockingStream:
    """Has the connection to itself until `finish`."""

    def __init__(
        self, connection: BlockingConnection, call: ClientCall, bodies: Iterator[bytes], deadline: Deadline
    ) -> None:
        self._connection = connection
        self._call = call
        self._deadline = deadline
        self._came: deque[tuple[bytes, bool]] = deque()
        self._room = threading.Condition(connection.lock)
        """Told when something came that may let more be sent; the lock is the connection's."""
        self._problem: CallFailed | None = None
        """Why no more could be sent."""
        self._over = False
        self._feeding = True
        threading.Thread(target=self._feed, args=(bodies,), name="steelyard-stream", daemon=True).start()

    def answers(self) -> Generator[tuple[bytes, bool], None, None]:
        """The messages, and whether they are compressed, until the call has ended.

        Raises CallFailed where it ends here, and not at the server.
        """
        connection, call = self._connection, self._call
        ended = False
        while True:
            while self._came:
                body, compressed = self._came.popleft()
                with connection.lock:
                    if not connection.rpc.closed:
                        connection.rpc.consumed(call, body)
                        connection.flush()
                yield body, compressed
            if ended:
                return
            try:
                connection.wait(self._deadline)
            except Expired:
                raise ending.expired() from None
            with connection.lock:
                if self._problem is not None:
                    raise self._problem
                events = connection.read()
                connection.flush()
                self._room.notify_all()
            for happening, _, body, compressed in events:
                if happening is ClientHappening.MESSAGE:
                    self._came.append((body, compressed))
                elif happening is ClientHappening.ENDED:
                    ended = True

    def finish(self) -> bool:
        """Nobody reads on; whether the connection is as it was before. Else it is closed by whoever uses it last."""
        connection, call = self._connection, self._call
        with connection.lock:
            self._over = True
            clean = not self._feeding and not connection.rpc.closed and not connection.is_shut
            if call.stream_id in connection.rpc.calls and not connection.rpc.closed:
                connection.rpc.cancel(call)
                clean = connection.flush() and clean
            if clean:
                return True
            self._room.notify_all()
            connection.shut("the stream was left")
            if not self._feeding:
                connection.close()
            return False

    def _feed(self, bodies: Iterator[bytes]) -> None:
        try:
            for body in bodies:
                if not self._send(body):
                    return
            self._end()
        finally:
            with self._connection.lock:
                self._feeding = False
                if self._over:
                    self._connection.close()

    def _send(self, body: bytes) -> bool:
        """Sends a message when there is room for it; False where the call has ended."""
        connection, call = self._connection, self._call
        with self._room:
            while self._is_open() and not connection.rpc.may_send(call):
                self._room.wait()
            if not self._is_open():
                return False
            try:
                connection.rpc.send(call, body)
            except FramingError as error:
                self._problem = ending.refused(error)
                connection.shut(str(error))
                return False
        return self._flush()

    def _end(self) -> None:
        with self._connection.lock:
            if not self._is_open():
                return
            self._connection.rpc.end(self._call)
        self._flush()

    def _flush(self) -> bool:
        """Has the socket take everything that the server's windows allow; False where the call has ended."""
        while True:
            with self._connection.lock:
                if not self._is_open():
                    return False
                if self._connection.flush():
                    return True
            self._connection.wait_writable()

    def _is_open(self) -> bool:
        return not self._over and not self._connection.rpc.closed and self._call.state != ClientState.CLOSED
