"""One connection of the asyncio channel: bytes of its transport to `rpc` and back."""

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from steelyard.client.target import ALPN, NO_ALPN
from steelyard.client.wiring import USER_AGENT, Wiring
from steelyard.rpc.client import ClientConnection
from steelyard.rpc.client_calls import ClientCall, ClientEvent

if TYPE_CHECKING:
    from steelyard.client.aio_calls import StreamCall
    from steelyard.client.aio_channel import AsyncChannel


# Calls that are written together. All that one pass of the loop begins would cost fewer writes, and leave the server
# idle meanwhile: with 64 in flight this is a fifth to a half more calls a second.
CALLS_PER_WRITE = 16


class ClientProtocol(asyncio.Protocol):
    """What there is to send leaves at the end of each pass of the loop, in few writes."""

    def __init__(self, channel: "AsyncChannel", authority: str, scheme: str, wiring: Wiring) -> None:
        self.rpc = ClientConnection(wiring.limits, authority.encode(), scheme.encode(), USER_AGENT)
        self.ready: asyncio.Future[None] = channel.loop.create_future()
        """Done when the server has shown that it speaks HTTP/2; fails with ConnectionError where it does not."""
        self.senders: set[StreamCall] = set()
        """Those that wait until less is queued for the peer."""
        self._channel = channel
        self._wiring = wiring
        self._transport: Any = None
        self._dirty = False
        self._unwritten_calls = 0
        self._paused = False
        self._heard_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self.useful = False
        """Whether anything came of any call."""

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != ALPN:
            self.close(NO_ALPN)
            return
        self.flush()

    def data_received(self, data: bytes) -> None:
        if self._watch is not None:
            self._heard_s = self._channel.loop.time()
        rpc = self.rpc
        events = rpc.receive(data)
        if events:
            self.useful = True
            self._tell(events)
        if rpc.ready and not self.ready.done():
            self.ready.set_result(None)
            self._watch_over()
        if rpc.draining:
            self._channel.retire(self)
        # After the wake-ups of those whose calls have ended: what they send at once leaves in the same write.
        self.touch()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        problem = f"the connection was lost: {error}" if error else "the server closed the connection"
        if self._watch is not None:
            self._watch.cancel()
        lost = self.rpc.lost(problem)
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(self.rpc.problem))
            # Nobody waits for it where the channel has given up already.
            self.ready.exception()
        self._channel.forget(self)
        self._tell(lost)
        for sender in list(self.senders):
            sender.wake_sender()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.touch()

    # What goes out.

    def call_began(self) -> None:
        """A call has begun, which is soon to be written."""
        self._unwritten_calls += 1
        if self._unwritten_calls < CALLS_PER_WRITE:
            self.touch()
        else:
            self._write()

    def touch(self) -> None:
        """Has what there is to send written at the end of this pass of the loop."""
        if not self._dirty:
            self._dirty = True
            self._channel.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Writes what there is to send, as far as the peer takes it."""
        self._dirty = False
        rpc = self.rpc
        if self._transport.is_closing():
            return
        self._write()
        if self.senders:
            for sender in list(self.senders):
                if sender.rpc is None or rpc.may_send(sender.rpc):
                    self.senders.discard(sender)
                    sender.wake_sender()
        if rpc.closed or (rpc.draining and not rpc.calls):
            self.close(rpc.problem)
        elif self._channel.waiting:
            self._channel.pump()

    def cancel(self, call: ClientCall) -> None:
        """Ends a call at the server."""
        if call.stream_id in self.rpc.calls and not self.rpc.closed:
            self.rpc.cancel(call)
            self.touch()

    def consumed(self, call: ClientCall, body: bytes) -> None:
        """A message of a stream was read."""
        paused = call.paused
        self.rpc.consumed(call, body)
        if paused and not call.paused:
            self.touch()

    def close(self, problem: str) -> None:
        """Ends the connection when what was written has left."""
        self.rpc.problem = self.rpc.problem or problem
        self._transport.close()

    def abort(self, problem: str) -> None:
        """Ends the connection at once."""
        self.rpc.problem = self.rpc.problem or problem
        self._transport.abort()

    def _write(self) -> None:
        self._unwritten_calls = 0
        while not self._paused and (data := self.rpc.data_to_send()):
            self._transport.write(data)
        if self.rpc.late:
            self._tell(self.rpc.news())

    def _tell(self, events: list[ClientEvent]) -> None:
        for happening, call, body, compressed in events:
            call.owner.hear(happening, body, compressed)

    # Whether the server is there.

    def _watch_over(self) -> None:
        if self._wiring.keepalive_s is not None:
            self._heard_s = self._channel.loop.time()
            self._watch = self._channel.loop.call_later(self._wiring.keepalive_s, self._look)

    def _look(self) -> None:
        keepalive_s = self._wiring.keepalive_s
        assert keepalive_s is not None
        loop = self._channel.loop
        left_s = self._heard_s + keepalive_s - loop.time()
        if left_s > 0:
            self._watch = loop.call_later(left_s, self._look)
        elif not self.rpc.calls or self.rpc.closed:
            self._watch = loop.call_later(keepalive_s, self._look)
        else:
            self.rpc.ping()
            self.touch()
            self._watch = loop.call_later(self._wiring.keepalive_timeout_s, self._look_again, self._heard_s)

    def _look_again(self, heard_s: float) -> None:
        if self._heard_s == heard_s:
            self.abort("the server does not answer (keepalive)")
        else:
            self._look()
