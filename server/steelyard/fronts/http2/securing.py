"""A listener whose connections agree on TLS first: each has a place among the others, and a time to be done in."""

import asyncio
import socket
from typing import TYPE_CHECKING

from steelyard.fronts.tls import ServedTls

if TYPE_CHECKING:
    from steelyard.fronts.http2.connection import Http2Connection
    from steelyard.fronts.http2.front import Http2Front

# Accepted in one pass of the loop: a handshake costs a millisecond, and others wait meanwhile.
ACCEPTED_AT_ONCE = 16

# Until the next try where the system has no descriptor left: it would say so again at once.
ACCEPT_PAUSE_S = 1.0

# A peer that does not answer the end of TLS is left without it.
SHUTDOWN_S = 5.0

# What the loop takes for a handshake that may last: no number would be its own default of a minute.
UNLIMITED_S = 1e9


class SecureListener:
    """Accepts by itself: the loop's own servers tell of no handshake that failed, whose place would be lost."""

    def __init__(self, front: "Http2Front", listener: socket.socket, tls: ServedTls, backlog: int) -> None:
        self._front = front
        self._listener = listener
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._agreeing: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        listener.listen(backlog)
        self._resume()

    def rest(self) -> None:
        """Accepts no more."""
        if self._listener.fileno() < 0:
            return
        if self._pause is None:
            self._loop.remove_reader(self._listener)
        else:
            self._pause.cancel()
        self._listener.close()

    @property
    def is_agreeing(self) -> bool:
        """Whether a handshake is under way."""
        return bool(self._agreeing)

    async def agreed(self, within_s: float) -> None:
        """Returns when the handshakes that are under way are over, or after so many seconds."""
        if self._agreeing:
            await asyncio.wait(self._agreeing, timeout=within_s)

    def close(self) -> None:
        """Accepts no more, and ends the connections whose handshakes are under way."""
        self.rest()
        for task in self._agreeing:
            task.cancel()

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._listener)
                self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self._resume)
                return
            connection = self._front.reserve()
            if connection is None:
                accepted.close()
                continue
            accepted.setblocking(False)
            task = self._loop.create_task(self._agree(accepted, connection))
            self._agreeing.add(task)
            task.add_done_callback(self._agreeing.discard)

    async def _agree(self, accepted: socket.socket, connection: "Http2Connection") -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._tls.papers.context,
                ssl_handshake_timeout=self._front.patience.handshake_s or UNLIMITED_S,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except OSError:
            # Not TLS, or not as the server has it, or too late, or the peer is gone: the loop has ended the connection.
            pass
        finally:
            self._front.release(connection)
