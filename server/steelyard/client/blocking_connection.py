"""One connection of the blocking channel: a plain socket, written and read by the thread that waits for the answer."""

import select
import socket
import ssl
import threading
import time
from typing import Any

from steelyard.client.target import ALPN, NO_ALPN, Target
from steelyard.client.wiring import READ_BYTES, USER_AGENT, Wiring
from steelyard.rpc.client import ClientConnection
from steelyard.rpc.client_calls import ClientEvent, ClientHappening

Deadline = float | None
"""Of the monotonic clock, in seconds; None: never."""


class Expired(Exception):
    """The deadline passed first."""


class BlockingConnection:
    """Not for several threads at once, but for `lock`, under which `rpc` and the socket are used where there are."""

    def __init__(
        self, target: Target, wiring: Wiring, tls: ssl.SSLContext | None, deadline: Deadline
    ) -> None:
        """Connects, and waits until the server has shown that it speaks HTTP/2.

        Raises Expired, and OSError where the server cannot be reached or speaks something else.
        """
        scheme = b"http" if tls is None else b"https"
        self.rpc = ClientConnection(wiring.limits, target.authority.encode(), scheme, USER_AGENT)
        self.lock = threading.Lock()
        self._keepalive_s = wiring.keepalive_s
        self._keepalive_timeout_s = wiring.keepalive_timeout_s
        self._unsent = memoryview(b"")
        self._deaf = False
        """Whether the server takes nothing any more."""
        self.is_shut = False
        """Whether this side has ended it; what the server had sent before may still be there to be read."""
        self._tls = tls is not None
        self._socket: Any = _dial(target, tls, deadline)
        try:
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)
            self._polled = select.POLLIN
            self.flush()
            while not self.rpc.ready:
                self.wait(deadline)
                self.read()
                self.flush()
                if self.rpc.closed:
                    raise ConnectionError(self.rpc.problem)
            if self.rpc.draining:
                raise ConnectionError(self.rpc.problem or "the server takes no calls")
        except BaseException:
            self.close()
            raise

    def is_usable(self) -> bool:
        """Whether a connection that lay idle can take a call: hears what the server has said meanwhile."""
        if self.rpc.closed or self.is_shut:
            return False
        if self._poll.poll(0):
            self.read()
            self.flush()
        return not self.rpc.closed and self.rpc.may_start(0)

    def flush(self) -> bool:
        """Writes what there is to send, as far as the socket takes it; whether it took everything."""
        while True:
            if not self._unsent:
                data = self.rpc.data_to_send()
                if not data or self._deaf:
                    return True
                self._unsent = memoryview(data)
            try:
                sent = self._socket.send(self._unsent)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            except OSError:
                # What the server said last can still be read, and how the connection ended.
                self._deaf = True
                self._unsent = memoryview(b"")
                return True
            self._unsent = self._unsent[sent:]

    def run(self, deadline: Deadline) -> ClientEvent:
        """The end of the one call that is open. Raises Expired."""
        self.flush()
        while True:
            self.wait(deadline)
            for event in self.read():
                if event[0] is ClientHappening.ENDED:
                    return event
            self.flush()

    def read(self) -> list[ClientEvent]:
        """What came of the bytes that are there; nothing where there are none. The end of the connection is an event of
        every call that is open."""
        found = self.rpc.news() if self.rpc.late else []
        problem = ""
        try:
            data = self._socket.recv(READ_BYTES)
            if data:
                found += self.rpc.receive(data)
                # TLS keeps what it has decrypted, of which polling knows nothing.
                while self._tls and self._socket.pending() and (data := self._socket.recv(READ_BYTES)):
                    found += self.rpc.receive(data)
            if not data:
                problem = "the server closed the connection"
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return found
        except OSError as error:
            problem = f"the connection was lost: {error}"
        if problem or self.rpc.closed:
            found += self.rpc.lost(problem)
        return found

    def wait(self, deadline: Deadline) -> None:
        """Returns when something can be read, or written where something waits to be. Raises Expired.

        Where nothing comes for long, the server is asked whether it is there; one that does not answer is a
        connection that `read` finds closed.
        """
        asked_at: float | None = None
        if self.rpc.late or self.rpc.closed:
            return
        wanted = select.POLLIN | select.POLLOUT if self._unsent else select.POLLIN
        if wanted != self._polled:
            self._poll.modify(self._socket, wanted)
            self._polled = wanted
        while True:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise Expired
            patience_s = self._keepalive_s if asked_at is None else self._keepalive_timeout_s
            step_s = min(one for one in (left_s, patience_s, _LONGEST_WAIT_S) if one is not None)
            # Up to the next millisecond: to wake before the deadline would only be to wait again.
            if self._poll.poll(int(step_s * 1000) + 1):
                return
            if patience_s is not None and step_s == patience_s:
                if asked_at is not None:
                    self.shut("the server does not answer (keepalive)")
                    return
                asked_at = time.monotonic()
                with self.lock:
                    self.rpc.ping()
                    self.flush()

    def wait_writable(self) -> None:
        """Returns when more can be written, or the connection has ended; on whatever thread."""
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        poll.poll()

    def shut(self, problem: str) -> None:
        """Ends the connection for whoever waits on it, from any thread."""
        self.is_shut = True
        self.rpc.problem = self.rpc.problem or problem
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The server was faster.
            return

    def close(self) -> None:
        """Closes the socket; nobody may wait on it."""
        self._socket.close()


# `poll` counts in an int of milliseconds.
_LONGEST_WAIT_S = 3600.0


def _dial(target: Target, tls: ssl.SSLContext | None, deadline: Deadline) -> Any:
    """A socket that is connected, TLS done, and never blocks."""

    def left_s() -> float | None:
        if deadline is None:
            return None
        left = deadline - time.monotonic()
        if left <= 0:
            raise Expired
        return left

    connected: socket.socket | None = None
    try:
        if target.path:
            connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connected.settimeout(left_s())
            connected.connect(target.path)
        else:
            connected = socket.create_connection((target.host, target.port), left_s())
            # A call is one small write that nothing may hold up.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            connected.settimeout(left_s())
            wrapped = tls.wrap_socket(connected, server_hostname=target.host or target.authority)
            connected = wrapped
            if wrapped.selected_alpn_protocol() != ALPN:
                raise ConnectionError(NO_ALPN)
        connected.setblocking(False)
    except TimeoutError:
        if connected is not None:
            connected.close()
        raise Expired from None
    except BaseException:
        if connected is not None:
            connected.close()
        raise
    return connected
