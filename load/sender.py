"""Sends requests when they are due, over a few connections, and notes what became of each."""

import asyncio
import gc
import time
from array import array
from collections import deque
from collections.abc import Callable

import numpy as np

from load.connection import Connection
from load.job import UNSENT, Glimpse, Job, Part
from steelyard.alarm import Alarm
from steelyard.client.target import parse_target
from steelyard.errors import Unavailable
from steelyard.rpc import codes
from steelyard.rpc.framing import FramingError
from steelyard.rpc.limits import Limits

PENDING = 255
CONNECT_TIMEOUT_S = 10.0
RECONNECT_AFTER_S = 0.1
GLIMPSE_S = 0.25
# How finely deadlines are watched here: a tenth of the shortest, between these.
LEAST_SWEEP_S, MOST_SWEEP_S = 0.001, 0.1


class Sender:
    """One event loop's part of a load. A request's number is its place in the job."""

    def __init__(self, job: Job, tell: Callable[[Glimpse], None]) -> None:
        self._job = job
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._target = parse_target(job.address)
        self._tls = job.way.context()
        # What the server takes at once is for the server to say.
        self._limits = Limits(max_streams=1 << 20)
        self._connections: list[Connection] = []
        self._turn = 0
        self._reconnects = 0
        self._mending: set[asyncio.Task[None]] = set()
        self._warmed: asyncio.Future[int] | None = None
        count = len(job.due_ns)
        self._due_ns = array("q")
        self._next = 0
        self._count = count
        self._body = array("i", job.body.tobytes())
        self._deadline_ns = array("q", job.deadline_ns.tobytes())
        self._told = job.told.tobytes()
        self._sent_ns = array("q", bytes(8 * count))
        self._ended_ns = array("q", bytes(8 * count))
        self._code = bytearray([PENDING]) * count
        self._waiting: deque[int] = deque()
        """Due, and without room on any connection."""
        self._open = 0
        """Without an answer, those that wait included."""
        self._answered = self._failed = 0
        self._recent: list[int] = []
        self._alarm = Alarm()
        self._over: asyncio.Future[None] = self._loop.create_future()

    async def prepare(self) -> None:
        """Connects, and sends what comes before the load. Raises Unavailable where the server cannot be reached."""
        await self._connect()
        await self._warm_up()
        # A collection would look like a slow server.
        gc.collect()
        gc.freeze()
        gc.disable()

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                for _ in range(self._job.connections):
                    self._connections.append(await self._dial())
        except TimeoutError:
            raise Unavailable(
                f"server at {self._job.address}: no HTTP/2 connection within {CONNECT_TIMEOUT_S:g} s"
            ) from None
        except OSError as error:
            raise Unavailable(f"server at {self._job.address}: {error}") from None

    async def _warm_up(self) -> None:
        """Sends what the job says, one after the other, over every connection in turn."""
        for place, body in enumerate(self._job.warm_up):
            self._warmed = self._loop.create_future()
            connection = self._connections[place % len(self._connections)]
            connection.ask(-1, self._job.bodies[body], -1)
            connection.flush()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._warmed
            except TimeoutError:
                raise Unavailable(
                    f"server at {self._job.address}: no answer within {CONNECT_TIMEOUT_S:g} s before the load"
                ) from None

    async def run(self, start_ns: int) -> Part:
        """Sends the load, whose begin is `start_ns` of the monotonic clock, and returns when all of it is over."""
        self._due_ns = array("q", (self._job.due_ns + start_ns).tobytes())
        shortest_s = float(self._job.deadline_ns.min(initial=1 << 62)) / 1e9
        sweep_s = min(MOST_SWEEP_S, max(LEAST_SWEEP_S, shortest_s / 10))
        cpu_s, began_s = time.process_time(), time.monotonic()
        self._loop.add_reader(self._alarm.descriptor, self._on_alarm)
        sweeping = self._loop.create_task(self._every(sweep_s, self._sweep))
        telling = self._loop.create_task(self._every(GLIMPSE_S, self._glimpse))
        try:
            if self._count:
                self._alarm.set(self._due_ns[0])
                await self._over
        finally:
            sweeping.cancel()
            telling.cancel()
            self._loop.remove_reader(self._alarm.descriptor)
        self._glimpse()
        return Part(
            np.frombuffer(self._sent_ns, np.int64),
            np.frombuffer(self._ended_ns, np.int64),
            np.frombuffer(self._code, np.uint8),
            time.process_time() - cpu_s,
            time.monotonic() - began_s,
            self._reconnects,
        )

    def close(self) -> None:
        """Ends all connections."""
        for task in self._mending:
            task.cancel()
        for connection in self._connections:
            if not connection.lost:
                connection.close()
        self._alarm.close()

    # What is due.

    def _on_alarm(self) -> None:
        self._alarm.read()
        due_ns, count, index = self._due_ns, self._count, self._next
        now_ns = time.monotonic_ns()
        while index < count and due_ns[index] <= now_ns:
            self._next = index + 1
            self._open += 1
            if self._open > self._job.max_in_flight:
                self._end(index, UNSENT, now_ns)
            elif self._waiting or not self._begin(index, now_ns):
                self._waiting.append(index)
            index += 1
            now_ns = time.monotonic_ns()
        for connection in self._connections:
            connection.flush()
        if index < count:
            self._alarm.set(due_ns[index])

    def _begin(self, index: int, now_ns: int) -> bool:
        """Sends a request, or ends it where it cannot be sent; False where there is no room for it."""
        body = self._job.bodies[self._body[index]]
        connections = self._connections
        for _ in connections:
            self._turn += 1
            connection = connections[self._turn % len(connections)]
            if connection.takes(len(body)):
                break
        else:
            return False
        timeout_ns = -1
        if self._told[index]:
            timeout_ns = self._due_ns[index] + self._deadline_ns[index] - now_ns
            if timeout_ns <= 0:
                self._end(index, UNSENT, now_ns)
                return True
        try:
            connection.ask(index, body, timeout_ns)
            self._sent_ns[index] = now_ns
        except FramingError as error:
            self._end(index, error.code, now_ns)
        return True

    def _pump(self) -> None:
        """Begins what waits, as far as there is room."""
        waiting = self._waiting
        while waiting and self._begin(waiting[0], time.monotonic_ns()):
            waiting.popleft()

    # What is over.

    def _ended(self, number: int, code: int, now_ns: int) -> None:
        if number >= 0:
            self._end(number, min(code, codes.MAX_CODE), now_ns)
        elif self._warmed is not None and not self._warmed.done():
            self._warmed.set_result(code)

    def _end(self, index: int, code: int, now_ns: int) -> None:
        self._code[index] = code
        self._ended_ns[index] = now_ns
        self._open -= 1
        if code == codes.OK:
            self._answered += 1
            self._recent.append(now_ns - self._due_ns[index])
        else:
            self._failed += 1
        if not self._open and self._next == self._count and not self._over.done():
            self._over.set_result(None)

    def _changed(self) -> None:
        if self._waiting:
            self._pump()
            for connection in self._connections:
                connection.flush()

    def _sweep(self) -> None:
        """Ends what has taken too long, and replaces connections that are gone."""
        now_ns = time.monotonic_ns()
        for place, connection in enumerate(self._connections):
            for call in list(connection.rpc.calls.values()):
                index = call.owner
                if index >= 0 and self._due_ns[index] + self._deadline_ns[index] <= now_ns:
                    connection.cancel(call)
                    self._end(index, codes.DEADLINE_EXCEEDED, now_ns)
            connection.flush()
            if connection.lost or connection.rpc.draining:
                self._mend(place, connection)
        overdue = [i for i in self._waiting if self._due_ns[i] + self._deadline_ns[i] <= now_ns]
        if overdue:
            gone = set(overdue)
            self._waiting = deque(index for index in self._waiting if index not in gone)
            for index in overdue:
                self._end(index, UNSENT, now_ns)

    # Connections.

    async def _dial(self) -> Connection:
        target, tls = self._target, self._tls
        scheme = "https" if tls is not None else "http"
        connection = Connection(target.authority, scheme, self._limits, self._ended, self._changed)
        if target.path:
            await self._loop.create_unix_connection(lambda: connection, target.path)
        else:
            await self._loop.create_connection(lambda: connection, target.host, target.port, ssl=tls)
        await connection.ready
        return connection

    def _mend(self, place: int, connection: Connection) -> None:
        if self._mending:
            return
        task = self._loop.create_task(self._replace(place, connection))
        self._mending.add(task)
        task.add_done_callback(self._mending.discard)

    async def _replace(self, place: int, connection: Connection) -> None:
        """One at a time: a server that comes back is not met by all connections at once."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                fresh = await self._dial()
        except (OSError, TimeoutError):
            await asyncio.sleep(RECONNECT_AFTER_S)
            return
        if not connection.lost and connection.rpc.calls:
            # It takes no more, and answers what it has; then its server closes it.
            self._connections.append(connection)
        self._connections[place] = fresh
        self._reconnects += 1
        self._changed()

    # Now and then.

    async def _every(self, seconds: float, work: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                work()
            except OSError as error:
                # Whoever wanted to hear of the load is gone, and nobody wants the load any more.
                if not self._over.done():
                    self._over.set_exception(error)
                return

    def _glimpse(self) -> None:
        latencies_ns = np.array(self._recent, np.int64)
        self._recent.clear()
        sent = self._next - len(self._waiting)
        self._tell(Glimpse(sent, self._answered, self._failed, self._open, latencies_ns))
