"""One connection: bytes of its transport to `rpc` and back, and its calls to the handlers."""

import asyncio
import logging
import socket
import ssl
import struct
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from steelyard._native.path import UnaryCall, begin
from steelyard.errors import SteelyardError, TooLarge
from steelyard.fronts.http2.trailing import fields_of
from steelyard.observe.logs import log
from steelyard.rpc import codes
from steelyard.rpc.calls import Event, Happening, ServerCall
from steelyard.rpc.metadata import Header
from steelyard.rpc.server import ServerConnection
from steelyard.wire.status import message_of, status_of, trailing_of

if TYPE_CHECKING:
    from steelyard.fronts.http2.front import Http2Front


# Written on one connection before others have their turn: half a millisecond. A peer that reads fast takes any amount.
FLUSHED_BYTES = 1 << 20

_REQUEST, _OPENED, _MESSAGE, _GONE = (
    Happening.REQUEST,
    Happening.OPENED,
    Happening.MESSAGE,
    Happening.GONE,
)


# The loop's TLS keeps the protocol whose buffer it fills, which keeps the transport: until the collector comes.
_NOBODY = asyncio.BufferedProtocol()


# unix(7): the process, its user and its group.
_UCRED = struct.Struct("=iII")


class Http2Connection(asyncio.BufferedProtocol):
    """Runs on the event loop; the front looks at it once a second."""

    def __init__(self, front: "Http2Front") -> None:
        self.front = front
        self.rpc = ServerConnection(front.methods, front.limits, front.totals, front.held)
        self.rpc.make_room = partial(front.make_room, self.rpc.ledger)
        self.rpc.tick(front.epoch)
        self._answer_plainly: Any = self.rpc.answer
        """Ends a call with its message as `answer` does, but for `call_ended`; None where that is not all it does."""
        self.peer = ""
        self.peer_uid: int | None = None
        """Who runs the process at the other end of a Unix socket, as the kernel says; None of another socket."""
        self.began_epoch = front.epoch
        self.heard_epoch = front.epoch
        """When bytes last came."""
        self.idle_epoch = front.epoch
        """When the last call ended, or the connection began."""
        self.asked_epoch = -1
        """When the peer was asked whether it is there, and has not answered."""
        self.leaving_epoch = -1
        """When the peer was told to begin no new calls."""
        self.has_left = False
        """Whether it was told, a round trip later, which call was the last that was taken."""
        self.taken_epoch = front.epoch
        """When the peer last took something of the answers that wait, or nothing waited."""
        self._taken_bytes = 0
        self._transport: Any = None
        self._dirty = False
        self._writing_paused = False
        self.reading_paused = False
        self._senders: dict[ServerCall, asyncio.Future[None]] = {}

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        peer = _peer_of(transport)
        if peer is None or not self.front.admit(self):
            self._transport.abort()
            return
        self.peer, self.peer_uid = peer, _peer_uid_of(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self.close("the peer did not ask for h2 (ALPN)")

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.front.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.heard_epoch = self.front.epoch
        self.asked_epoch = -1
        try:
            now_ns = time.monotonic_ns()
            events = self.rpc.receive(self.front.buffer[:nbytes], now_ns)
            if events:
                self._begin(events, now_ns)
        except Exception as error:
            self.fault(error)
            return
        if self._writing_paused or (self.rpc.working and self.front.is_full(self.rpc)):
            self._pause_reading()
        self.touch()

    def _pause_reading(self) -> None:
        """Reads no more for now: what came is more than what is worked off, or the peer takes no answers. Such a peer
        could make the library queue resets and acknowledgements without end."""
        if not self.reading_paused:
            self.reading_paused = True
            self._transport.pause_reading()
            self.front.paused.add(self)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        for event in self.rpc.lost():
            try:
                self._tell([event])
            except Exception as problem:
                self.fault(problem)
        for waiter in self._senders.values():
            waiter.cancel()
        self._senders.clear()
        self._transport.set_protocol(_NOBODY)
        self.front.forget(self)

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self.reading_paused and self.may_read():
            # Before more is written: a peer with much to take must be heard in between.
            self.resume_reading()
        self.touch()

    # What goes out.

    def touch(self) -> None:
        """Has what there is to send written at the end of this pass of the loop."""
        if not self._dirty:
            self._dirty = True
            self.front.touch(self)

    def flush(self) -> None:
        """Writes what there is to send, as far as the peer takes it."""
        self._dirty = False
        rpc, transport = self.rpc, self._transport
        if transport.is_closing():
            return
        left = FLUSHED_BYTES
        while not self._writing_paused:
            if data := rpc.data_to_send():
                transport.write(data)
            if not rpc.has_more:
                break
            left -= len(data)
            if left < 0:
                self.touch()
                break
        if news := rpc.news():
            self._tell(news)
        if self._senders:
            self._wake_senders()
        if rpc.closed or (self.has_left and self._is_done()):
            self.close(rpc.problem)
        elif self.reading_paused and self.may_read():
            self.resume_reading()

    def _is_done(self) -> bool:
        """Whether no call is open, and all that was said has been written."""
        rpc = self.rpc
        return not (rpc.calls or rpc.ledger.outgoing or self._writing_paused or self._dirty)

    def may_read(self) -> bool:
        """Whether what reading was paused for is over."""
        return not self._writing_paused and self.front.has_room(self.rpc)

    def resume_reading(self) -> None:
        """Reads again."""
        self.reading_paused = False
        self.front.paused.discard(self)
        if not self._transport.is_closing():
            self._transport.resume_reading()

    @property
    def is_closing(self) -> bool:
        """Whether what was written is the last, and on its way."""
        return bool(self._transport.is_closing())

    def abort(self, problem: str) -> None:
        """Ends the connection, and throws away what was written."""
        log("connection.aborted", peer=self.peer, reason=problem)
        self._transport.abort()

    def fault(self, error: Exception) -> None:
        """Ends the connection for a fault of ours, which shall be no other's."""
        log("connection.fault", level=logging.ERROR, peer=self.peer, exception=repr(error)[:2000])
        self._transport.abort()

    def close(self, problem: str) -> None:
        """Ends the connection when what was written has left."""
        if problem:
            log("connection.closed", peer=self.peer, reason=problem)
        self._transport.close()

    def abandon(self, problem: str, code: int = codes.ENHANCE_YOUR_CALM) -> None:
        """Ends the connection at once, calls and all."""
        self.rpc.abandon(code, problem)
        if not self._writing_paused and (data := self.rpc.data_to_send()):
            self._transport.write(data)
        log("connection.abandoned", peer=self.peer, reason=problem)
        if self._writing_paused:
            self._transport.abort()
        else:
            self._transport.close()

    def leave(self) -> None:
        """Tells the peer to begin no new calls; the connection ends with the last that is open."""
        if self.leaving_epoch < 0:
            self.leaving_epoch = self.front.epoch
            self.rpc.announce_shutdown()
            self.touch()

    def leave_now(self) -> None:
        """Takes no new calls, a round trip after `leave`."""
        if not self.has_left:
            self.has_left = True
            self.rpc.shut_down()
            self.touch()

    def ask(self) -> None:
        """Asks the peer whether it is there."""
        self.rpc.ping()
        self.touch()

    def not_heard(self, epoch: int) -> None:
        """Nothing was read up to `epoch`: no call and no peer is late for it."""
        self.heard_epoch = epoch
        self.asked_epoch = -1
        if self.rpc.frames.open_since >= 0:
            self.rpc.frames.open_since = epoch
        for call in self.rpc.calls.values():
            call.touched = epoch
            # It is asked once a second.
            call.since += 1

    def takes(self) -> bool:
        """Whether the peer has taken anything of what waits for it since this was last asked, or nothing waits. Answers
        that joined what waits are nothing that it took."""
        rpc = self.rpc
        unwritten = self._transport.get_write_buffer_size()
        taken = rpc.sent_bytes - unwritten
        moved = taken > self._taken_bytes or not (unwritten or rpc.ledger.outgoing > rpc.aside)
        self._taken_bytes = max(taken, self._taken_bytes)
        return moved

    def give_way(self, count: int) -> None:
        """Ends calls that wait for their peer, those that hold most first, until so many bytes fewer are held."""
        rpc = self.rpc
        target = rpc.ledger.incoming - count
        largest = sorted(rpc.calls.values(), key=rpc.unfinished_bytes, reverse=True)
        for call in largest:
            if rpc.ledger.incoming <= target or not rpc.unfinished_bytes(call):
                break
            self.end_incomplete(
                call,
                "the server holds as many bytes of requests as it may, and this connection most of those that are "
                f"incomplete: {self.front.totals.received_bytes} of all connections (total_received_bytes)",
                codes.RESOURCE_EXHAUSTED,
            )

    # Calls.

    def answer(self, call: ServerCall, body: bytes, trailing: list[Header]) -> str | None:
        """Ends a call with its message; returns what the caller was told in its place, where there was no room."""
        problem = self.rpc.answer(call, body, trailing)
        self.call_ended()
        return problem

    def fail(self, call: ServerCall, error: SteelyardError, trailing: list[Header]) -> None:
        """Ends a call with an error."""
        fields = [*trailing, *fields_of(trailing_of(error))]
        self.rpc.fail(call, int(status_of(error)), message_of(error), fields)
        call.owner = None
        self.call_ended()

    def end_incomplete(self, call: ServerCall, problem: str, code: int = codes.DEADLINE_EXCEEDED) -> None:
        """Ends a call whose request took too long to come, or took too much until then."""
        told = self.rpc.is_told(call)
        self.rpc.fail(call, code, problem, ())
        if told:
            call.owner.gone()
            call.owner = None
        self.call_ended()

    def call_ended(self) -> None:
        """A call has ended, and there is something to write."""
        self.idle_epoch = self.front.epoch
        if not self._dirty:
            self._dirty = True
            self.front.touch(self)

    def finish(self, call: ServerCall, body: bytes | None) -> None:
        """Ends a call with status OK, and its one answer where it has one."""
        if body is None:
            self.rpc.fail(call, codes.OK, "", ())
        else:
            self.rpc.answer(call, body, [])
        call.owner = None
        self.call_ended()

    async def send(self, call: ServerCall, body: bytes, compressed: bool = False, aside: int = 0) -> None:
        """Sends one of several answers, for which `aside` bytes were set aside; returns when little enough of them
        waits for the peer. Raises TooLarge where there is no room for it."""
        if not self.rpc.send_message(call, body, compressed, aside):
            raise TooLarge(self.rpc.no_room(len(body)))
        self.touch()
        if not self.rpc.may_send(call):
            waiter = self._senders[call] = asyncio.get_running_loop().create_future()
            try:
                await waiter
            finally:
                self._senders.pop(call, None)

    def _wake_senders(self) -> None:
        for call, waiter in list(self._senders.items()):
            if not waiter.done() and self.rpc.may_send(call):
                waiter.set_result(None)

    def gone(self, call: UnaryCall) -> None:
        """The caller of a ModelInfer call is gone."""
        engine = self.front.engine
        assert engine is not None
        engine.cancel(call)

    def _begin(self, events: list[Event], now_ns: int) -> None:
        """Hands the calls that have come to the engine together, and tells of everything else."""
        front = self.front
        if front.infer is not None and front.engine is not None:
            others: list[Event] = []
            arrivals, size = begin(events, self, self._answer_plainly, front.infer, now_ns, others)
            if arrivals:
                front.engine.submit_all(arrivals, size)
            events = others
        if events:
            self._tell(events)

    def _tell(self, events: list[Event]) -> None:
        for happening, call, body, compressed in events:
            if happening is _REQUEST or happening is _OPENED:
                call.owner = call.method.handler(self, call, body)
            elif happening is _GONE:
                self.idle_epoch = self.front.epoch
                owner, call.owner = call.owner, None
                if owner is not None:
                    owner.gone()
            elif happening is _MESSAGE:
                call.owner.requests.put(body, compressed)
            else:
                call.owner.requests.end()


def _peer_of(transport: asyncio.BaseTransport) -> str | None:
    """The peer's address as gRPC writes it; None where it was gone before it was taken."""
    name = transport.get_extra_info("peername")
    sock: socket.socket | None = transport.get_extra_info("socket")
    family = None if sock is None else sock.family
    if family in (socket.AF_INET, socket.AF_INET6) and not name:
        return None
    if family == socket.AF_INET:
        return f"ipv4:{name[0]}:{name[1]}"
    if family == socket.AF_INET6:
        return f"ipv6:[{name[0]}]:{name[1]}"
    return "unix:"


def _peer_uid_of(transport: asyncio.BaseTransport) -> int | None:
    """The user id of who connected to a Unix socket, of another socket None."""
    sock: socket.socket | None = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    uid: int = _UCRED.unpack(credentials)[1]
    return uid
