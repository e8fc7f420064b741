"""The server's side of one connection: bytes in, what happens to calls out, and answers in, bytes out."""

import contextlib
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ngh2
from ngh2.config import Role
from ngh2.events import ConnectionClosed, TrailersReceived
from ngh2.exceptions import DenialOfServiceError, NGH2Error

from steelyard._native.rpc import Ledger, Traffic, Unframer
from steelyard.rpc import codes
from steelyard.rpc.calls import Event, Happening, Method, ServerCall
from steelyard.rpc.compression import ACCEPTED
from steelyard.rpc.framing import COPIED_BYTES, MESSAGE_OVERHEAD, FramingError, Message, frame, prefix
from steelyard.rpc.head import Refused, held_bytes, read_head
from steelyard.rpc.http2 import (
    PREFACE,
    SLICE_BYTES,
    UNREAD_BYTES,
    UNSENT_BYTES,
    configuration,
    goaway,
    settings,
)
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.rpc.metadata import Header
from steelyard.rpc.percent import percent_encode
from steelyard.rpc.states import SERVER_TABLE, CallStateError, ServerAction, ServerState

_MESSAGE_IN, _END_IN, _RESET_IN = ServerAction.MESSAGE_IN, ServerAction.END_IN, ServerAction.RESET_IN
_HEADERS_OUT, _MESSAGE_OUT = ServerAction.HEADERS_OUT, ServerAction.MESSAGE_OUT
_STATUS_OUT, _RESET_OUT = ServerAction.STATUS_OUT, ServerAction.RESET_OUT

_HEAD: list[Header] = [
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", ACCEPTED),
]
_OK: Header = (b"grpc-status", b"0")

_NOT_HTTP2 = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\nconnection: close\r\n"
    b"content-length: 48\r\n\r\nThis port speaks gRPC over HTTP/2, and no other."
)


def _no_room_is_made() -> bool:
    return False


class ServerConnection:
    """The calls of one connection. Holds no socket, no clock and no task."""

    def __init__(
        self,
        methods: Mapping[bytes, Method],
        limits: Limits,
        totals: TotalLimits,
        total: Ledger,
        traffic: type[Traffic] = Traffic,
    ) -> None:
        """
        total: counts what all connections hold, which `totals` bounds.
        traffic: the native one, or its plain twin.
        """
        self.limits = limits
        self.totals = totals
        self._h2 = ngh2.Connection(Role.SERVER, configuration(limits))
        # Weakly, as a connection that is over shall go at once, and not when somebody looks for circles.
        self._traffic = traffic(self._h2, weakref.proxy(self), methods, limits, totals, total)
        self.ledger = self._traffic.ledger
        self.calls = self._traffic.calls
        self.answer = self._traffic.answer
        self.has_room = self._traffic.has_room
        self.frames = self._traffic.frames
        self._frames_take = self.frames.take
        self.closed = False
        """Nothing can come or be sent but what `data_to_send` still has."""
        self.problem = ""
        """Why the connection was given up, where it was."""
        self.began = False
        """Whether the peer has shown that it speaks HTTP/2."""
        self.aside = 0
        """Bytes of answers that are counted as waiting, and are not given yet."""
        self.has_more = False
        """Whether `data_to_send` gave only a slice the last time."""
        self.sent_bytes = 0
        """Of answers that `data_to_send` gave, since the connection began."""
        self.make_room: Callable[[], bool] = _no_room_is_made
        """Asked where all connections hold too much: whether others were made to hold less, so that it is not."""
        self._total = total
        self._methods = methods
        self._preface = b""
        self._last_words = b""
        self._stopping: list[int] = []

    def receive(self, data: bytes | memoryview, now_ns: int = 0) -> list[Event]:
        """Takes bytes of the peer's, of which nothing is needed any longer then; returns what came of them.

        now_ns: the time, from which the deadlines of calls that begin are counted.
        """
        if self.closed:
            return []
        if not self.began:
            data = self._begin(bytes(data))
            if not data:
                return []
        self._frames_take(data)
        self._traffic.now_ns = now_ns
        found: list[Event] = []
        try:
            self._h2.receive_data(data)
        except NGH2Error as error:
            self._traffic.take(self._h2.events(), found)
            self._give_up(error, found)
            return found
        events = self._h2.events()
        if events:
            self._traffic.take(events, found)
        return found

    def data_to_send(self) -> bytes:
        """Bytes for the peer; empty where there are none, or the peer takes none. Ask again while it `has_more`."""
        if self._last_words:
            data, self._last_words = self._last_words, b""
            self.has_more = False
            return data
        if self.closed or not self.began:
            return b""
        h2 = self._h2
        queued = h2.queued_body_size()
        self.has_more = queued > SLICE_BYTES
        try:
            data = h2.data_to_send(SLICE_BYTES) if self.has_more else h2.data_to_send()
            if queued:
                left = h2.queued_body_size()
                self.sent_bytes += queued - left
                self.ledger.wait(left + self.aside - self.ledger.outgoing)
            elif self.ledger.outgoing:
                self.ledger.wait(self.aside - self.ledger.outgoing)
            if not data:
                self.has_more = False
            # Where there is more, the end of an answer may be in it, and a reset would overtake that.
            if self._stopping and not self.has_more and self._stop_senders():
                data += h2.data_to_send()
        except NGH2Error as error:
            # Reported by the next `receive` or `lost`.
            self.closed = True
            self.problem = str(error)
            return b""
        return data

    def news(self) -> list[Event]:
        """What came of sending: streams that the library itself has reset for what their peer did, and the end of a
        connection whose peer has broken HTTP/2. Ask after `data_to_send`."""
        found: list[Event] = []
        if events := self._h2.events():
            self._traffic.take(events, found)
        return found

    def fail(self, call: ServerCall, code: int, message: str, trailing: Sequence[Header]) -> None:
        """Ends a call with a status; OK is one."""
        fields = [(b"grpc-status", b"%d" % code), *trailing]
        if message:
            fields.insert(1, (b"grpc-message", percent_encode(message)))
        try:
            if call.state in (ServerState.RECEIVING, ServerState.RECEIVED):
                self._step(call, _STATUS_OUT)
                self._h2.send_response(call.stream_id, [*_HEAD, *fields], end_stream=True)
                self._ended(call)
            else:
                self._status(call, fields)
        except NGH2Error:
            self._vanished(call)

    def send_message(self, call: ServerCall, body: bytes, compressed: bool = False, aside: int = 0) -> bool:
        """Sends one of several messages, for which `aside` bytes were set aside, and no longer are; ask `may_send`
        before the next. False where there is no room for it, and nothing was sent."""
        if not self._takes_room(len(body), aside):
            return False
        # Where the stream is gone already, `news` or the next `receive` tells of it.
        with contextlib.suppress(NGH2Error):
            if call.state in (ServerState.RECEIVING, ServerState.RECEIVED):
                self._headers(call)
            self._message(call, body, compressed)
        return True

    def announce_encoding(self, call: ServerCall, encoding: bytes) -> None:
        """Sends the headers of the answer, which say how its messages are compressed, where they are not out."""
        if call.state in (ServerState.RECEIVING, ServerState.RECEIVED):
            self._step(call, _HEADERS_OUT)
            with contextlib.suppress(NGH2Error):
                self._h2.send_response(call.stream_id, [*_HEAD, (b"grpc-encoding", encoding)])

    def answer_compressed(
        self, call: ServerCall, body: bytes, encoding: bytes, trailing: list[Header], aside: int = 0
    ) -> str | None:
        """Ends a call with its one message, which is compressed, and status OK; `aside` bytes were set aside for it.
        Returns what `answer` does."""
        return self._answer(call, body, encoding, trailing, aside)

    def _answer(
        self, call: ServerCall, body: bytes, encoding: bytes | None, trailing: list[Header], aside: int
    ) -> str | None:
        # It knows the call too: nobody but the collector would ever find the two.
        call.owner = None
        if not self._takes_room(len(body), aside):
            problem = self.no_room(len(body))
            self.fail(call, codes.RESOURCE_EXHAUSTED, problem, trailing)
            return problem
        try:
            if encoding is None:
                self._headers(call)
            else:
                self.announce_encoding(call, encoding)
            self._message(call, body, encoding is not None)
            self._status(call, [_OK, *trailing])
        except NGH2Error:
            self._vanished(call)
        return None

    def _takes_room(self, size: int, aside: int) -> bool:
        """Whether a message of so many bytes, for which `aside` were set aside and no longer are, may wait."""
        missing = size - aside
        has_room = missing <= 0 or self._traffic.has_room(missing)
        if aside:
            self.set_aside(-aside)
        return has_room

    def set_aside(self, count: int) -> None:
        """Counts so many bytes of an answer that is made ready before it is given, or no longer where `count` is under
        zero; also when the connection is lost meanwhile."""
        self.aside += count
        self.ledger.wait(count)

    def may_send(self, call: ServerCall) -> bool:
        """Whether a further message is worth making: little that was sent on the call still waits for its peer."""
        return self._h2.queued_body_size(call.stream_id) < UNSENT_BYTES

    def reset(self, call: ServerCall, code: int) -> None:
        """Ends a call without a status."""
        self._step(call, _RESET_OUT)
        with contextlib.suppress(NGH2Error):
            self._h2.reset_stream(call.stream_id, code)
        self._forget(call)

    def consumed(self, call: ServerCall, body: bytes) -> None:
        """A message of a stream was read by its handler."""
        self._release(call, len(body) + MESSAGE_OVERHEAD)
        if call.paused and call.held < UNREAD_BYTES // 2 and call.state != ServerState.CLOSED:
            call.paused = False
            self._set_window(call, self.limits.stream_window_bytes)

    def keep(self, call: ServerCall, count: int) -> None:
        """A stream's handler keeps so many bytes of a message that it has read, until its caller has taken answers; or
        no longer where `count` is under zero. Raises FramingError where there is no room for them."""
        call.held += count
        self.ledger.arrive(count)
        if count > 0:
            try:
                self._check_room()
            except FramingError:
                self.keep(call, -count)
                raise

    def announce_shutdown(self) -> None:
        """Tells the peer to begin no new calls here; those that are on their way are still taken."""
        with contextlib.suppress(NGH2Error):
            self._h2.send_shutdown_notice()

    def shut_down(self) -> None:
        """Takes no new calls from now on: the peer knows that none of them was begun."""
        with contextlib.suppress(NGH2Error):
            self._h2.send_goaway()

    def ping(self) -> None:
        """Asks the peer whether it is there."""
        with contextlib.suppress(NGH2Error):
            self._h2.ping()

    def is_incomplete(self, call: ServerCall) -> bool:
        """Whether something of the call has to come for it to go on: its one message, or the rest of one of many."""
        if call.state == ServerState.DISCARDING:
            return False
        if call.streams_requests:
            return call.unframer is not None and call.unframer.in_message
        return call.state == ServerState.RECEIVING

    def unfinished_bytes(self, call: ServerCall) -> int:
        """What the server holds of a call only because something has to come from its peer, or to be taken by it."""
        if call.state == ServerState.DISCARDING or not (
            call.streams_requests or call.state == ServerState.RECEIVING
        ):
            return 0
        coming = 0 if call.unframer is None else call.unframer.held
        return int(call.held + call.head_bytes + coming)

    def is_told(self, call: ServerCall) -> bool:
        """Whether the front was told of a call that it has not ended."""
        return call.state != ServerState.DISCARDING and (
            call.streams_requests or call.state != ServerState.RECEIVING
        )

    def tick(self, epoch: int) -> None:
        """So many seconds have passed for the front; a call remembers when something last came for it."""
        self._traffic.epoch = self.frames.epoch = epoch

    @property
    def working(self) -> bool:
        """Whether bytes of whole requests are held, which end by themselves."""
        return self.ledger.working > 0

    def lost(self) -> list[Event]:
        """The transport is gone, or closes; returns the calls that go with it."""
        found: list[Event] = []
        self.closed = True
        for call in list(self.calls.values()):
            self.stream_closed(call, found)
        self.ledger.wait(self.aside - self.ledger.outgoing)
        return found

    def abandon(self, code: int, problem: str) -> None:
        """Gives the connection up, with a GOAWAY where there is a peer to read it; then call `lost`."""
        self.problem = problem
        self.closed = True
        if self.began:
            self._last_words = goaway(self._traffic.last_stream_id, code)

    def _begin(self, data: bytes) -> bytes:
        """Holds the first bytes against HTTP/2's preface; returns them when it is whole."""
        data = self._preface + data
        if not PREFACE.startswith(data[: len(PREFACE)]):
            self.closed = True
            self.problem = "the peer does not speak HTTP/2"
            self._last_words = _NOT_HTTP2
            return b""
        if len(data) < len(PREFACE):
            self._preface = data
            return b""
        self._preface = b""
        self.began = True
        self._h2.initiate_connection(settings(self.limits, Role.SERVER))
        self._h2.set_local_window_size(self.limits.connection_window_bytes)
        return data

    # What `Traffic` leaves to others.

    def other_event(self, event: Any, found: list[Event]) -> None:
        """The library tells of something out of the ordinary, which may be of interest."""
        kind = type(event)
        if kind is TrailersReceived:
            # gRPC's clients send none, but they end a request as HTTP/2 has it.
            call = self.calls.get(event.stream_id)
            if call is not None:
                self.data_received(call, b"", True, found)
        elif kind is ConnectionClosed:
            self.closed = True
            if event.error_code and not self.problem:
                self.problem = (
                    f"HTTP/2 ended with error {event.error_code}: a rule was broken, or too much was reset"
                )

    def refuse(self, stream_id: int, fields: tuple[Header, ...], ended: bool) -> None:
        """A request's headers are not as they should be, or name no method that is served."""
        head = read_head(fields, self.limits.max_header_bytes)
        if not isinstance(head, Refused):
            shown = head.path[:200].decode("utf-8", "replace")
            head = Refused(200, codes.UNIMPLEMENTED, f"no method {shown!r}")
        self._refuse(stream_id, head, ended)

    def too_many(self, stream_id: int, ended: bool) -> None:
        """A good request comes while as many calls are open as may be, and not few of them here."""
        problem = (
            f"as many calls are open as may be: {self.totals.max_calls} of all connections (max_open_calls)"
        )
        self._refuse(stream_id, Refused(200, codes.RESOURCE_EXHAUSTED, problem), ended)

    def large_head(self, stream_id: int, fields: tuple[Header, ...], ended: bool) -> int:
        """A good request's headers are large: counts what they hold, which is returned; 0 where there is no room for
        so many bytes, and the call was refused."""
        size = held_bytes(fields)
        self.ledger.arrive(size)
        try:
            self._check_room()
        except FramingError as error:
            self.ledger.arrive(-size)
            self._refuse(stream_id, Refused(200, error.code, str(error)), ended)
            return 0
        return size

    def _refuse(self, stream_id: int, head: Refused, ended: bool) -> None:
        answer = [
            (b":status", b"%d" % head.http_status),
            *_HEAD[1:],
            (b"grpc-status", b"%d" % head.code),
            (b"grpc-message", percent_encode(head.message)),
        ]
        with contextlib.suppress(NGH2Error):
            self._h2.send_response(stream_id, answer, end_stream=True)
            if not ended:
                self._stopping.append(stream_id)

    def call_began(self, call: ServerCall, ended: bool, found: list[Event]) -> None:
        """A call has begun that streams, or that has ended without a message."""
        if call.streams_requests:
            found.append((Happening.OPENED, call, b"", False))
        if ended:
            self._request_ended(call, found)

    def data_received(self, call: ServerCall, data: bytes, ended: bool, found: list[Event]) -> None:
        """Bytes of a request came that are not one plain message and its end."""
        if call.state == ServerState.DISCARDING:
            if ended:
                self._step(call, _END_IN)
                self._stopping.remove(call.stream_id)
                self._forget(call)
            return
        try:
            for message in self._messages(call, data):
                self._message_in(call, message, ended, found)
            if ended:
                self._request_ended(call, found)
            elif call.awaits_end or (call.unframer is not None and call.unframer.held):
                self._check_room()
        except FramingError as error:
            self._break(call, error.code, str(error), found)

    def stream_closed(self, call: ServerCall, found: list[Event]) -> None:
        """The peer, or the connection's end, has closed a call."""
        told = self.is_told(call)
        self._step(call, _RESET_IN)
        self._forget(call)
        if told:
            found.append((Happening.GONE, call, b"", False))

    def answer_otherwise(
        self, call: ServerCall, body: bytes, trailing: list[Header], aside: int = 0
    ) -> str | None:
        """Ends a call with a message that is large, or that finds no room, or after others; `aside` bytes were set
        aside for it. Returns what `answer` does."""
        return self._answer(call, body, None, trailing, aside)

    # What comes.

    def _messages(self, call: ServerCall, data: bytes) -> Sequence[Message]:
        unframer: Unframer | None = call.unframer
        if unframer is None:
            unframer = call.unframer = Unframer(self.limits.max_message_bytes)
        before, goes_on = unframer.held, unframer.in_message
        try:
            messages = unframer.feed(data)
        finally:
            self.ledger.arrive(unframer.held - before)
        if call.streams_requests and (messages or not goes_on):
            call.since = self._traffic.epoch
        return messages

    def _message_in(self, call: ServerCall, message: Message, ended: bool, found: list[Event]) -> None:
        body, compressed = message
        if compressed and call.encoding == b"identity":
            raise FramingError(
                codes.INTERNAL, "a message is marked as compressed, and grpc-encoding names nothing"
            )
        self._step(call, _MESSAGE_IN)
        if call.streams_requests:
            size = len(body) + MESSAGE_OVERHEAD
            call.held += size
            self.ledger.arrive(size)
            if call.held > UNREAD_BYTES and not call.paused:
                call.paused = True
                self._set_window(call, 0)
            self._check_room()
            found.append((Happening.MESSAGE, call, body, compressed))
        elif call.body is not None:
            raise FramingError(codes.INTERNAL, "expected one message, and a second came")
        else:
            call.body = body
            call.compressed = compressed
            call.held += len(body)
            if ended:
                self.ledger.work(len(body))
            else:
                call.awaits_end = True
                self.ledger.arrive(len(body))

    def _request_ended(self, call: ServerCall, found: list[Event]) -> None:
        if call.unframer is not None and call.unframer.in_message:
            self._break(call, codes.INTERNAL, "the request ended in the middle of a message", found)
        elif call.streams_requests:
            self._step(call, _END_IN)
            found.append((Happening.ENDED, call, b"", False))
        elif call.body is None:
            self._break(call, codes.INTERNAL, "expected one message, and none came", found)
        else:
            self._step(call, _END_IN)
            body, call.body = call.body, None
            if call.awaits_end:
                call.awaits_end = False
                self.ledger.arrive(-len(body))
                self.ledger.work(len(body))
            found.append((Happening.REQUEST, call, body, call.compressed))

    def _check_room(self) -> None:
        """Refuses a call whose bytes do not fit, where nobody but its caller could make room."""
        ledger, total = self.ledger, self._total
        if ledger.received > self.limits.connection_bytes:
            limit = f"{self.limits.connection_bytes} of one connection (connection_received_bytes)"
        elif total.received > self.totals.received_bytes and not self.make_room():
            limit = f"{self.totals.received_bytes} of all connections (total_received_bytes)"
        else:
            return
        raise FramingError(
            codes.RESOURCE_EXHAUSTED, f"the server holds as many bytes of requests as it may: {limit}"
        )

    def _break(self, call: ServerCall, code: int, message: str, found: list[Event]) -> None:
        """Ends a call for what its peer sent; the front hears of it where it knows of the call."""
        told = call.streams_requests
        self.fail(call, code, message, ())
        if told:
            found.append((Happening.GONE, call, b"", False))

    def _give_up(self, error: NGH2Error, found: list[Event]) -> None:
        """The library has closed the session, and every call with it."""
        calm = isinstance(error, DenialOfServiceError)
        self.problem = str(error)
        self._last_words = goaway(self._traffic.last_stream_id, codes.ENHANCE_YOUR_CALM if calm else 1)
        found += self.lost()

    # What goes.

    def _headers(self, call: ServerCall) -> None:
        self._step(call, _HEADERS_OUT)
        self._h2.send_response(call.stream_id, _HEAD)

    def _message(self, call: ServerCall, body: bytes, compressed: bool) -> None:
        self._step(call, _MESSAGE_OUT)
        if len(body) <= COPIED_BYTES:
            self._h2.send_data(call.stream_id, frame(body, compressed))
        else:
            self._h2.send_data(call.stream_id, prefix(body, compressed))
            self._h2.send_data(call.stream_id, body)
        self.ledger.wait(len(body))

    def _status(self, call: ServerCall, fields: list[Header]) -> None:
        self._step(call, _STATUS_OUT)
        self._h2.send_trailers(call.stream_id, fields)
        self._ended(call)

    def _ended(self, call: ServerCall) -> None:
        if call.state == ServerState.DISCARDING:
            self._stopping.append(call.stream_id)
            self._let_go(call)
        else:
            self._forget(call)

    def _stop_senders(self) -> bool:
        """Resets streams that were answered before their request had ended, once their answer is out: a reset takes
        what is still queued with it. Returns whether there were any."""
        waiting = [stream_id for stream_id in self._stopping if self._h2.queued_body_size(stream_id)]
        found = len(waiting) < len(self._stopping)
        for stream_id in self._stopping:
            if stream_id not in waiting:
                self._h2.reset_stream(stream_id, codes.NO_ERROR)
                call = self.calls.get(stream_id)
                if call is not None:
                    self._step(call, _RESET_OUT)
                    self._forget(call)
        self._stopping = waiting
        return found

    def no_room(self, size: int) -> str:
        """What is said of an answer of so many bytes that `has_room` has none for."""
        waiting, limit = self.ledger.outgoing, self.limits.send_bytes
        if waiting + size > limit:
            met = f"{waiting} wait already for this connection's peer, and the limit is {limit} (connection_send_bytes)"
        else:
            waiting, limit = self._total.outgoing, self.totals.send_bytes
            met = f"{waiting} wait already for peers of all connections, and the limit is {limit} (total_send_bytes)"
        return f"the answer has {size} bytes, {met}"

    # What is held.

    def _step(self, call: ServerCall, action: int) -> None:
        after = SERVER_TABLE[call.state][action]
        if after < 0:
            raise CallStateError(f"{ServerAction(action).name} in state {ServerState(call.state).name}")
        call.state = after

    def _set_window(self, call: ServerCall, size: int) -> None:
        with contextlib.suppress(NGH2Error):
            self._h2.set_local_window_size(size, stream_id=call.stream_id)

    def _release(self, call: ServerCall, count: int) -> None:
        call.held -= count
        if call.streams_requests or call.awaits_end:
            self.ledger.arrive(-count)
        else:
            self.ledger.work(-count)

    def _let_go(self, call: ServerCall) -> None:
        """Gives back what a call holds."""
        if call.held:
            self._release(call, call.held)
        if call.unframer is not None:
            self.ledger.arrive(-call.unframer.held)
            call.unframer.drop()

    def _vanished(self, call: ServerCall) -> None:
        """The stream is closed, or the session, by what the peer sent last, and the library tells of it later."""
        call.state = ServerState.CLOSED
        self._forget(call)

    def _forget(self, call: ServerCall) -> None:
        self._let_go(call)
        if call.head_bytes:
            self.ledger.arrive(-call.head_bytes)
            call.head_bytes = 0
        if self.calls.pop(call.stream_id, None) is not None:
            self.ledger.open(-1)
