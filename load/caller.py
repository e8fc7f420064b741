"""Calls over a few connections on a loop of its own, for a harness that has threads: LoadGen's."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import uvloop

from load.connection import Connection
from steelyard.cli.server import Reached
from steelyard.client.target import parse_target
from steelyard.errors import Unavailable
from steelyard.rpc import codes
from steelyard.rpc.framing import FramingError
from steelyard.rpc.limits import Limits

CONNECT_TIMEOUT_S = 10.0
SWEEP_S = 0.1

Over = Callable[[list[tuple[int, int]]], None]
"""The numbers of calls that are over, each with its status."""


class Caller:
    """A thread that asks. Calls are begun by `ask`, from any thread, and reported on the caller's own."""

    def __init__(
        self, server: Reached, connections: int, timeout_s: float, bodies: Sequence[bytes], over: Over
    ) -> None:
        """Connects. Raises Unavailable.

        timeout_s: from when a call was asked for; one that takes longer is over, with DEADLINE_EXCEEDED.
        """
        self._server = server
        self._timeout_ns = int(timeout_s * 1e9)
        self._bodies = bodies
        self._over = over
        self._connections: list[Connection] = []
        self._waiting: deque[int] = deque()
        self._asked: dict[int, tuple[int, int]] = {}
        """By number, the body and when it was asked for."""
        self._ended: list[tuple[int, int]] = []
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="caller", daemon=True)
        self._thread.start()
        connecting: Future[None] = asyncio.run_coroutine_threadsafe(self._connect(connections), self._loop)
        try:
            connecting.result()
        except (OSError, TimeoutError) as error:
            self.close()
            raise Unavailable(f"server at {server.address}: {error or 'no HTTP/2 connection'}") from None

    def ask(self, calls: list[tuple[int, int]]) -> None:
        """Begins calls: the number and the body's place of each."""
        self._loop.call_soon_threadsafe(self._take, calls, time.monotonic_ns())

    def close(self) -> None:
        """Ends all connections and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for connection in self._connections:
            if not connection.lost:
                connection.close()
        # Transports close in the next pass.
        self._loop.call_soon(self._loop.stop)
        self._loop.run_forever()

    async def _connect(self, count: int) -> None:
        target, tls = parse_target(self._server.address), self._server.tls
        scheme = "https" if tls is not None else "http"
        limits = Limits(max_streams=1 << 20)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            for _ in range(count):
                connection = Connection(target.authority, scheme, limits, self._end, self._changed)
                if target.path:
                    await self._loop.create_unix_connection(lambda made=connection: made, target.path)
                else:
                    await self._loop.create_connection(
                        lambda made=connection: made, target.host, target.port, ssl=tls
                    )
                await connection.ready
                self._connections.append(connection)
        self._loop.call_later(SWEEP_S, self._sweep)

    def _take(self, calls: list[tuple[int, int]], asked_ns: int) -> None:
        for number, body in calls:
            self._asked[number] = (body, asked_ns)
            self._waiting.append(number)
        self._changed()

    def _changed(self) -> None:
        waiting = self._waiting
        while waiting and self._begin(waiting[0]):
            waiting.popleft()
        for connection in self._connections:
            connection.flush()
        self._report()

    def _begin(self, number: int) -> bool:
        if number not in self._asked:
            return True
        body = self._bodies[self._asked[number][0]]
        open_ones = [connection for connection in self._connections if not connection.lost]
        if not open_ones:
            self._end(number, codes.UNAVAILABLE, 0)
            return True
        connection = min(open_ones, key=lambda one: len(one.rpc.calls))
        if not connection.takes(len(body)):
            return False
        try:
            connection.ask(number, body, -1)
        except FramingError as error:
            self._end(number, error.code, 0)
        return True

    def _end(self, number: int, code: int, now_ns: int) -> None:
        if self._asked.pop(number, None) is not None:
            self._ended.append((number, code))

    def _report(self) -> None:
        if self._ended:
            ended, self._ended = self._ended, []
            self._over(ended)

    def _sweep(self) -> None:
        before_ns = time.monotonic_ns() - self._timeout_ns
        for number in [number for number, (_, asked_ns) in self._asked.items() if asked_ns < before_ns]:
            self._end(number, codes.DEADLINE_EXCEEDED, 0)
        for connection in self._connections:
            for call in [call for call in connection.rpc.calls.values() if call.owner not in self._asked]:
                connection.cancel(call)
        self._changed()
        self._loop.call_later(SWEEP_S, self._sweep)
