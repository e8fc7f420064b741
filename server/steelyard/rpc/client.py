"""The client's side of one connection: calls in, bytes out, and bytes in, what happens to calls out."""

import contextlib
from collections.abc import Sequence
from typing import Any

import ngh2
from ngh2.config import Role
from ngh2.enums import Setting
from ngh2.events import (
    ConnectionClosed,
    DataReceived,
    GoAwayReceived,
    PingAcknowledged,
    ResponseReceived,
    SettingsReceived,
    StreamClosed,
    TrailersReceived,
)
from ngh2.exceptions import NGH2Error
from ngh2.types import NeverIndexedHeader

from steelyard._native.rpc import Unframer
from steelyard.rpc import codes
from steelyard.rpc.answer import Ending, read_answer_head, read_ending
from steelyard.rpc.client_calls import ClientCall, ClientEvent, ClientHappening
from steelyard.rpc.compression import ACCEPTED
from steelyard.rpc.framing import (
    COPIED_BYTES,
    MESSAGE_OVERHEAD,
    PREFIX,
    FramingError,
    Message,
    frame,
    prefix,
    too_large,
)
from steelyard.rpc.head import FIELD_OVERHEAD
from steelyard.rpc.http2 import SLICE_BYTES, UNREAD_BYTES, UNSENT_BYTES, configuration, settings
from steelyard.rpc.limits import Limits
from steelyard.rpc.metadata import Header
from steelyard.rpc.states import CLIENT_TABLE, CallStateError, ClientAction, ClientState
from steelyard.rpc.timeouts import format_timeout

_MESSAGE_OUT, _END_OUT, _RESET_OUT = ClientAction.MESSAGE_OUT, ClientAction.END_OUT, ClientAction.RESET_OUT
_HEADERS_IN, _MESSAGE_IN = ClientAction.HEADERS_IN, ClientAction.MESSAGE_IN
_STATUS_IN, _RESET_IN = ClientAction.STATUS_IN, ClientAction.RESET_IN

# Stream ids end at 2^31 - 1; a connection that comes near takes no further calls.
LAST_STREAM_ID = (1 << 31) - 1024

# Methods whose header fields are kept. A caller knows a few of them; one that makes names up must not fill memory.
MAX_KEPT_HEADS = 1024


class ClientConnection:
    """The calls of one connection. Holds no socket, no clock and no task.

    What a server can make it hold: a message of `max_message_bytes` for each call that was begun here, and what
    `UNREAD_BYTES` and a stream's window allow for each that streams and is not read.
    """

    def __init__(self, limits: Limits, authority: bytes, scheme: bytes, user_agent: bytes) -> None:
        self.limits = limits
        self.calls: dict[int, ClientCall] = {}
        self.ready = False
        """Whether the server has shown, by its SETTINGS, that it speaks HTTP/2; no call may begin before."""
        self.draining = False
        """Whether no more calls may begin here; those that have go on."""
        self.closed = False
        """Nothing can come or be sent; then call `lost`."""
        self.problem = ""
        """Why the connection was given up, where it was."""
        self.pings = 0
        """Answers to our pings."""
        self.late: list[ClientEvent] = []
        """What happened to calls while bytes were asked for; see `news`."""
        self._max_streams = 0
        self._common: tuple[Header, ...] = (
            (b":method", b"POST"),
            (b":scheme", scheme),
            (b":authority", authority),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", user_agent),
            (b"grpc-accept-encoding", ACCEPTED),
        )
        self._heads: dict[str, list[Header]] = {}
        self._h2 = ngh2.Connection(Role.CLIENT, configuration(limits))
        self._h2.initiate_connection(settings(limits, Role.CLIENT))
        self._h2.set_local_window_size(limits.connection_window_bytes)

    # What goes.

    def may_start(self, size: int) -> bool:
        """Whether a call may begin whose first message has `size` bytes: the server takes it, and no more waits to be
        sent than `send_bytes`, or nothing does."""
        if self.draining or self.closed or len(self.calls) >= self._max_streams:
            return False
        queued = self._h2.queued_body_size()
        return not queued or queued + size <= self.limits.send_bytes

    def start(
        self,
        path: str,
        timeout_ns: int = -1,
        metadata: Sequence[Header] = (),
        *,
        streams_answers: bool = True,
        owner: Any = None,
    ) -> ClientCall:
        """Begins a call; ask `may_start` before.

        timeout_ns: told to the server, -1: none. streams_answers: whether its messages are told as they come, else the
        only one with the call's end. Raises FramingError where the metadata is longer than `max_header_bytes`.
        """
        fields = self._heads.get(path)
        if fields is None:
            fields = self._make_head(path)
        if timeout_ns >= 0:
            # Never the same twice: in the peer's header table it would only push out what is.
            fields = [*fields, NeverIndexedHeader(b"grpc-timeout", format_timeout(timeout_ns))]
        if metadata:
            size = sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in metadata)
            if size > self.limits.max_header_bytes:
                raise FramingError(
                    codes.RESOURCE_EXHAUSTED,
                    f"the metadata has {size} bytes, and the limit is {self.limits.max_header_bytes}",
                )
            fields = [*fields, *metadata]
        stream_id = self._h2.send_request(fields)
        if stream_id >= LAST_STREAM_ID:
            self.draining = True
        call = self.calls[stream_id] = ClientCall(stream_id, streams_answers, owner)
        return call

    def ask(
        self, path: str, body: bytes, timeout_ns: int, metadata: Sequence[Header], owner: Any
    ) -> ClientCall:
        """Begins a call with one message and one answer, and sends all of it: what `start` and `send` do, in one step.

        Raises FramingError as they do; then nothing was begun.
        """
        if len(body) > self.limits.max_message_bytes:
            raise too_large(len(body), self.limits.max_message_bytes)
        if metadata or len(body) > COPIED_BYTES:
            call = self.start(path, timeout_ns, metadata, streams_answers=False, owner=owner)
            self.send(call, body, last=True)
            return call
        fields = self._heads.get(path) or self._make_head(path)
        if timeout_ns >= 0:
            fields = [*fields, NeverIndexedHeader(b"grpc-timeout", format_timeout(timeout_ns))]
        h2 = self._h2
        stream_id = h2.send_request(fields)
        h2.send_data(stream_id, PREFIX.pack(0, len(body)) + body, end_stream=True)
        if stream_id >= LAST_STREAM_ID:
            self.draining = True
        call = self.calls[stream_id] = ClientCall(stream_id, False, owner)
        call.state = ClientState.SENT
        return call

    def send(self, call: ClientCall, body: bytes, compressed: bool = False, *, last: bool = False) -> None:
        """Sends a message; ask `may_send` before the next. `last`: ends the request with it.

        Raises FramingError where it is longer than `max_message_bytes`; then nothing was sent. Where the connection is
        broken nothing is sent either, and `lost` tells of it.
        """
        size = len(body)
        if size > self.limits.max_message_bytes:
            raise too_large(size, self.limits.max_message_bytes)
        self._step(call, _MESSAGE_OUT)
        if last:
            self._step(call, _END_OUT)
        with contextlib.suppress(NGH2Error):
            if size <= COPIED_BYTES:
                self._h2.send_data(call.stream_id, frame(body, compressed), end_stream=last)
            else:
                self._h2.send_data(call.stream_id, prefix(body, compressed))
                self._h2.send_data(call.stream_id, body, end_stream=last)

    def end(self, call: ClientCall) -> None:
        """Ends the request; as `send` where the connection is broken."""
        self._step(call, _END_OUT)
        with contextlib.suppress(NGH2Error):
            self._h2.end_stream(call.stream_id)

    def may_send(self, call: ClientCall) -> bool:
        """Whether a further message is worth making: little that was sent on the call still waits for its peer."""
        return self._h2.queued_body_size(call.stream_id) < UNSENT_BYTES

    def cancel(self, call: ClientCall) -> None:
        """Ends a call whose answer nobody wants; nothing more is told of it."""
        self._step(call, _RESET_OUT)
        self._reset(call.stream_id, codes.CANCEL)
        self._forget(call)

    def consumed(self, call: ClientCall, body: bytes) -> None:
        """A message of a stream was read."""
        call.held -= len(body) + MESSAGE_OVERHEAD
        if call.paused and call.held < UNREAD_BYTES // 2:
            call.paused = False
            if call.state != ClientState.CLOSED and not self.closed:
                self._set_window(call, self.limits.stream_window_bytes)

    def ping(self) -> None:
        """Asks the server whether it is there; `pings` counts its answers."""
        with contextlib.suppress(NGH2Error):
            self._h2.ping()

    def data_to_send(self) -> bytes:
        """Bytes for the peer; empty where there are none, or the peer takes none. Ask until it is empty."""
        if self.closed:
            return b""
        h2 = self._h2
        try:
            queued = h2.queued_body_size() > SLICE_BYTES
            data = h2.data_to_send(SLICE_BYTES) if queued else h2.data_to_send()
            events = h2.events()
            if events:
                # Calls that the library itself has reset, for what came of them.
                self._take(events, self.late)
        except NGH2Error as error:
            self.closed = True
            self.problem = str(error)
            return b""
        return data

    # What comes.

    def receive(self, data: bytes) -> list[ClientEvent]:
        """Takes bytes of the server's; returns what came of them."""
        if self.closed:
            return []
        found: list[ClientEvent] = []
        problem = ""
        try:
            self._h2.receive_data(data)
            if not self.draining and not self._h2.can_send_request:
                # What came breaks HTTP/2; the library closes the connection when it has sent that.
                self.draining = True
        except NGH2Error as error:
            problem = str(error)
        events = self._h2.events()
        if events:
            self._take(events, found)
        if problem and not self.closed:
            self.closed = True
            self.problem = problem
        return found

    def news(self) -> list[ClientEvent]:
        """What `late` holds, once."""
        found, self.late = self.late, []
        return found

    def lost(self, problem: str) -> list[ClientEvent]:
        """The transport is gone, or closes; returns the calls that end with it.

        problem: what is said of it where the connection itself does not know better.
        """
        self.closed = True
        self.problem = self.problem or problem
        found: list[ClientEvent] = []
        for call in list(self.calls.values()):
            self._step(call, _RESET_IN)
            self._ended(call, codes.UNAVAILABLE, self.problem, found)
        return found

    def _take(self, events: list[Any], found: list[ClientEvent]) -> None:
        half_closed: list[int] = []
        calls = self.calls
        for event in events:
            kind = type(event)
            if kind is DataReceived:
                call = calls.get(event.stream_id)
                if call is not None:
                    self._data(call, event.data, event.end_stream, found)
            elif kind is TrailersReceived:
                call = calls.get(event.stream_id)
                if call is not None:
                    self._trailers(call, event.headers, found, half_closed)
            elif kind is ResponseReceived:
                call = calls.get(event.stream_id)
                if call is not None:
                    self._head(call, event.headers, event.end_stream, found, half_closed)
            elif kind is StreamClosed:
                call = calls.get(event.stream_id)
                if call is not None:
                    self._stream_closed(call, event.error_code, found)
                elif half_closed and event.stream_id in half_closed:
                    half_closed.remove(event.stream_id)
            elif kind is SettingsReceived:
                self._settings(event.settings)
            elif kind is GoAwayReceived:
                self._goaway(event, found)
            elif kind is PingAcknowledged:
                self.pings += 1
            elif kind is ConnectionClosed:
                self._close(event)
        for stream_id in half_closed:
            # The answer is whole and the rest of the request of no use to anybody.
            self._reset(stream_id, codes.NO_ERROR)

    def _settings(self, told: Any) -> None:
        if not self.ready:
            self.ready = True
            # What HTTP/2 says of a peer that sets none: no limit. Ours bounds what we hold for one connection.
            self._max_streams = self.limits.max_streams
        if Setting.MAX_CONCURRENT_STREAMS in told:
            self._max_streams = min(told[Setting.MAX_CONCURRENT_STREAMS], self.limits.max_streams)

    def _head(
        self,
        call: ClientCall,
        fields: tuple[Header, ...],
        ended: bool,
        found: list[ClientEvent],
        half_closed: list[int],
    ) -> None:
        head = read_answer_head(fields, self.limits.max_header_bytes, ended)
        if isinstance(head, Ending):
            if not ended:
                self._break(call, head.code, head.message, found, fields)
                return
            self._status(call, head, fields, found, half_closed)
        elif ended:
            self._status(call, read_ending(fields, self.limits.max_header_bytes), fields, found, half_closed)
        else:
            self._step(call, _HEADERS_IN)
            call.encoding = head
            call.fields = fields
            if call.streams_answers:
                found.append((ClientHappening.HEADERS, call, b"", False))

    def _data(self, call: ClientCall, data: bytes, ended: bool, found: list[ClientEvent]) -> None:
        try:
            for body, compressed in self._unframe(call, data):
                self._message(call, body, compressed, found)
        except FramingError as error:
            self._break(call, error.code, str(error), found)
            return
        if ended:
            self._break(call, codes.INTERNAL, "the answer ended without trailers", found)

    def _unframe(self, call: ClientCall, data: bytes) -> Sequence[Message]:
        if call.unframer is None:
            call.unframer = Unframer(self.limits.max_message_bytes)
        return call.unframer.feed(data)

    def _message(self, call: ClientCall, body: bytes, compressed: bool, found: list[ClientEvent]) -> None:
        if compressed and call.encoding == b"identity":
            raise FramingError(
                codes.INTERNAL, "a message is marked as compressed, and grpc-encoding names nothing"
            )
        self._step(call, _MESSAGE_IN)
        if call.streams_answers:
            call.held += len(body) + MESSAGE_OVERHEAD
            if call.held > UNREAD_BYTES and not call.paused:
                call.paused = True
                self._set_window(call, 0)
            found.append((ClientHappening.MESSAGE, call, body, compressed))
        elif call.body is not None:
            raise FramingError(codes.INTERNAL, "expected one message, and a second came")
        else:
            call.body = body
            call.compressed = compressed

    def _trailers(
        self,
        call: ClientCall,
        fields: tuple[Header, ...],
        found: list[ClientEvent],
        half_closed: list[int],
    ) -> None:
        ending = read_ending(fields, self.limits.max_header_bytes)
        if call.unframer is not None and call.unframer.in_message and ending.code == codes.OK:
            ending = Ending(codes.INTERNAL, "the answer ended in the middle of a message")
        self._status(call, ending, fields, found, half_closed)

    def _status(
        self,
        call: ClientCall,
        ending: Ending,
        fields: tuple[Header, ...],
        found: list[ClientEvent],
        half_closed: list[int],
    ) -> None:
        if call.state == ClientState.SENDING or call.state == ClientState.SENDING_ANSWERED:
            half_closed.append(call.stream_id)
        self._step(call, _STATUS_IN)
        call.trailing = fields
        code, message = ending
        if code == codes.OK and not call.streams_answers and call.body is None:
            code, message = codes.INTERNAL, "expected one message, and none came"
        self._ended(call, code, message, found)

    def _stream_closed(self, call: ClientCall, error_code: int, found: list[ClientEvent]) -> None:
        """A stream is closed whose status has not come."""
        self._step(call, _RESET_IN)
        call.never_ran = error_code == codes.REFUSED_STREAM
        code = codes.OF_RESET.get(error_code, codes.INTERNAL)
        self._ended(call, code, f"the server reset the call (HTTP/2 error {error_code})", found)

    def _goaway(self, event: GoAwayReceived, found: list[ClientEvent]) -> None:
        self.draining = True
        said = event.debug_data[:200].decode("utf-8", "replace")
        if event.error_code:
            self.problem = (
                f"the server ended the connection (HTTP/2 error {event.error_code}) {said}".rstrip()
            )
        for call in [one for one in self.calls.values() if one.stream_id > event.last_stream_id]:
            self._step(call, _RESET_IN)
            call.never_ran = True
            self._ended(call, codes.UNAVAILABLE, "the server takes no more calls on this connection", found)

    def _close(self, event: ConnectionClosed) -> None:
        self.closed = True
        if event.error_code and not self.problem:
            said = event.debug_data[:200].decode("utf-8", "replace")
            self.problem = f"the connection broke HTTP/2's rules (error {event.error_code}) {said}".rstrip()

    def _break(
        self,
        call: ClientCall,
        code: int,
        message: str,
        found: list[ClientEvent],
        trailing: tuple[Header, ...] = (),
    ) -> None:
        """Ends a call for what the server sent."""
        self._step(call, _RESET_OUT)
        self._reset(call.stream_id, codes.CANCEL)
        call.trailing = trailing
        self._ended(call, code, message, found)

    def _ended(self, call: ClientCall, code: int, message: str, found: list[ClientEvent]) -> None:
        call.code = code
        call.message = message
        self._forget(call)
        found.append((ClientHappening.ENDED, call, call.body or b"", call.compressed))

    # What is held.

    def _make_head(self, path: str) -> list[Header]:
        if len(self._heads) >= MAX_KEPT_HEADS:
            self._heads.clear()
        fields = self._heads[path] = [*self._common[:2], (b":path", path.encode()), *self._common[2:]]
        return fields

    def _step(self, call: ClientCall, action: int) -> None:
        after = CLIENT_TABLE[call.state][action]
        if after < 0:
            raise CallStateError(f"{ClientAction(action).name} in state {ClientState(call.state).name}")
        call.state = after

    def _set_window(self, call: ClientCall, size: int) -> None:
        # The rest of the answer came in the same bytes, and the library is done with the stream, or the connection.
        with contextlib.suppress(NGH2Error):
            self._h2.set_local_window_size(size, stream_id=call.stream_id)

    def _reset(self, stream_id: int, code: int) -> None:
        with contextlib.suppress(NGH2Error):
            self._h2.reset_stream(stream_id, code)

    def _forget(self, call: ClientCall) -> None:
        self.calls.pop(call.stream_id, None)
        if call.unframer is not None:
            call.unframer.drop()
