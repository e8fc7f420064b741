"""One connection of a sender: bytes of its transport to `steelyard.rpc` and back, with nothing between."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from steelyard.client.wiring import USER_AGENT
from steelyard.rpc.client import ClientConnection
from steelyard.rpc.client_calls import ClientCall
from steelyard.rpc.limits import Limits

METHOD = "/inference.GRPCInferenceService/ModelInfer"

# Calls that are written together; see `steelyard.client.aio_connection`.
CALLS_PER_WRITE = 16

Ended = Callable[[int, int, int], None]
"""The number of a call that is over, its status, and when, in ns of the monotonic clock."""


class Connection(asyncio.Protocol):
    """Calls go by number; of their answers only the status is kept."""

    def __init__(
        self, authority: str, scheme: str, limits: Limits, ended: Ended, changed: Callable[[], None]
    ) -> None:
        """changed: called when there may be room for further calls, or the connection is no more."""
        self.rpc = ClientConnection(limits, authority.encode(), scheme.encode(), USER_AGENT)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the server has shown that it speaks HTTP/2; fails with ConnectionError."""
        self.lost = False
        self._ended = ended
        self._changed = changed
        self._transport: Any = None
        self._paused = False
        self._unwritten = 0

    def takes(self, size: int) -> bool:
        """Whether a call with so many bytes may begin."""
        return self.rpc.may_start(size)

    def ask(self, number: int, body: bytes, timeout_ns: int) -> None:
        """Begins a call; -1: without a deadline. Raises FramingError where it may not be sent."""
        self.rpc.ask(METHOD, body, timeout_ns, (), number)
        self._unwritten += 1
        if self._unwritten >= CALLS_PER_WRITE:
            self.write()

    def cancel(self, call: ClientCall) -> None:
        """Ends a call at the server; `write` it."""
        self.rpc.cancel(call)
        self._unwritten += 1

    def flush(self) -> None:
        """Writes what was begun and is not written."""
        if self._unwritten:
            self.write()

    def write(self) -> None:
        """Writes what there is to send, as far as the peer takes it."""
        self._unwritten = 0
        if self.lost or self._transport is None:
            return
        while not self._paused and (data := self.rpc.data_to_send()):
            self._transport.write(data)
        if self.rpc.late:
            self._tell(self.rpc.news())

    def close(self) -> None:
        """Ends the connection."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.write()

    def data_received(self, data: bytes) -> None:
        rpc = self.rpc
        events = rpc.receive(data)
        if events:
            self._tell(events)
        if rpc.ready and not self.ready.done():
            self.ready.set_result(None)
        self.write()
        if rpc.closed or (rpc.draining and not rpc.calls):
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        events = self.rpc.lost(f"the connection was lost: {error}" if error else "the server closed it")
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(self.rpc.problem))
            # Nobody may be waiting for it any more.
            self.ready.exception()
        self._tell(events)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.write()

    def _tell(self, events: list[Any]) -> None:
        now_ns = time.monotonic_ns()
        for _, call, _, _ in events:
            self._ended(call.owner, call.code, now_ns)
        self._changed()
