"""The listeners that a front accepts from: its own, and those of other workers for which it stands in."""

import asyncio
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from steelyard.fronts.http2.patience import ENDLESS_HANDSHAKE_S
from steelyard.fronts.http2.securing import SecureListener
from steelyard.fronts.tls import ServedTls

if TYPE_CHECKING:
    from steelyard.fronts.http2.front import Http2Front

Listener = tuple[socket.socket, ServedTls | None]

# Connections that may wait to be accepted. With fewer, of clients that all come at once after a restart some would try
# again only a second later. The system has a bound of its own beside it (net.core.somaxconn).
BACKLOG = 4096

OWN = -1


class Accepting:
    """By whose they are: `OWN`, or the number of another worker."""

    def __init__(self, front: "Http2Front") -> None:
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._plain: dict[int, list[asyncio.Server]] = {}
        self._secure: dict[int, list[SecureListener]] = {}
        self._resting: list[SecureListener] = []

    @property
    def others(self) -> set[int]:
        """The workers for which this one stands in."""
        return {*self._plain, *self._secure} - {OWN}

    async def begin(self, listeners: Sequence[Listener], whose: int = OWN) -> None:
        """Accepts from sockets that listen already; they are the front's from now on."""
        for listener, tls in listeners:
            if tls is not None:
                secure = SecureListener(self._front, listener, tls, BACKLOG)
                self._secure.setdefault(whose, []).append(secure)
                continue
            make: Any = self._loop.create_server
            if listener.family == socket.AF_UNIX:
                make = self._loop.create_unix_server
            server = await make(self._front.connection, sock=listener, backlog=BACKLOG)
            self._plain.setdefault(whose, []).append(server)

    def rest(self, whose: int) -> None:
        """Accepts no more from these; handshakes that are under way go on."""
        for server in self._plain.pop(whose, ()):
            server.close()
        for listener in self._secure.pop(whose, ()):
            listener.rest()
            self._resting.append(listener)
        self._resting = [listener for listener in self._resting if listener.is_agreeing]

    async def finish(self) -> None:
        """Accepts no more, and returns when all that was accepted is a connection, or came to nothing."""
        for whose in {*self._plain, *self._secure}:
            self.rest(whose)
        # What was accepted in this pass is a connection after the next.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        within_s = self._front.patience.handshake_s or ENDLESS_HANDSHAKE_S
        await asyncio.gather(*(listener.agreed(within_s) for listener in self._resting))

    def close(self) -> None:
        """Accepts no more, and ends the handshakes that are under way."""
        for whose in {*self._plain, *self._secure}:
            self.rest(whose)
        for listener in self._resting:
            listener.close()
