"""A front on a loopback socket whose seconds pass when a test says so."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from steelyard.fronts.http2.front import Http2Front
from steelyard.fronts.http2.patience import Patience
from steelyard.fronts.tls import ServedTls
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.serving.methods import Context, Methods
from tests.support.waiting import until

ECHO = b"/test.Calls/Echo"
WAIT = b"/test.Calls/Wait"
MANY = b"/test.Calls/Many"


class SlowFront:
    """The front, and what its handlers wait for."""

    def __init__(
        self, patience: Patience, limits: Limits, totals: TotalLimits, compress: bool, engine: Any
    ) -> None:
        self.released = asyncio.Event()
        self.begun = 0
        """Calls that have come to a handler."""
        methods = Methods()
        methods.unary[ECHO.decode()] = self._echo
        methods.unary[WAIT.decode()] = self._wait
        methods.bidi_stream[MANY.decode()] = self._many
        self.front = Http2Front(methods, engine, limits, totals, patience, compress)
        self.address = ""

    async def start(self, tls: ServedTls | None) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        await self.front.start([(listener, tls)])

    async def pass_seconds(self, count: int) -> None:
        """So many seconds pass, as far as the front is concerned. Real ones do too: a test leaves room for some."""
        for _ in range(count):
            await self.front.second_passed()

    async def count(self, connections: int) -> None:
        """Waits until the front has so many connections."""
        await until(lambda: len(self.front.connections) == connections)

    def stuck(self) -> int:
        """Connections whose last frame, or block of headers, is not whole."""
        return sum(connection.rpc.frames.open_since >= 0 for connection in self.front.connections)

    async def _echo(self, body: bytes, call: Context) -> bytes:
        self.begun += 1
        return body

    async def _wait(self, body: bytes, call: Context) -> bytes:
        self.begun += 1
        await self.released.wait()
        return body

    async def _many(self, bodies: AsyncIterator[bytes], call: Context) -> AsyncIterator[bytes]:
        self.begun += 1
        async for body in bodies:
            yield body


@asynccontextmanager
async def slow_front(
    patience: Patience,
    limits: Limits | None = None,
    totals: TotalLimits | None = None,
    compress: bool = False,
    tls: ServedTls | None = None,
    engine: Any = None,
) -> AsyncIterator[SlowFront]:
    """A front that is stopped at the end."""
    found = SlowFront(patience, limits or Limits(), totals or TotalLimits(), compress, engine)
    await found.start(tls)
    try:
        yield found
    finally:
        await found.front.stop(0.0)
