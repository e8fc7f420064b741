"""The calls of a connection that go the usual way; the twin of the native one, and its oracle."""

from collections.abc import Mapping
from typing import Any

from ngh2.events import DataReceived, RequestReceived, StreamClosed
from ngh2.exceptions import NGH2Error

from steelyard.rpc.calls import Method
from steelyard.rpc.compression import ACCEPTED
from steelyard.rpc.framing import COPIED_BYTES, PREFIX_BYTES, frame
from steelyard.rpc.happening import Happening
from steelyard.rpc.head import Refused, head_size, read_head
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.rpc.metadata import Header
from steelyard.rpc.plain.calls import ServerCall
from steelyard.rpc.plain.frames import Frames
from steelyard.rpc.plain.ledger import Ledger
from steelyard.rpc.states import ServerState

FREE_ANSWER_BYTES = 16 << 10

FREE_CALLS = 16

FREE_HEAD_BYTES = 2 << 10

_HEAD: list[Header] = [
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", ACCEPTED),
]
_OK: Header = (b"grpc-status", b"0")


class Traffic:
    """See the stub of the native one."""

    def __init__(
        self,
        h2: Any,
        others: Any,
        methods: Mapping[bytes, Method],
        limits: Limits,
        totals: TotalLimits,
        total: Ledger,
    ) -> None:
        self.calls: dict[int, ServerCall] = {}
        self.ledger = Ledger(total)
        self.total = total
        self.frames = Frames()
        self.epoch = 0
        self.now_ns = 0
        self.seen = 0
        self.last_stream_id = 0
        self._h2 = h2
        self._others = others
        self._methods = methods
        self._limits = limits
        self._totals = totals

    def take(self, events: list[Any], found: list[Any]) -> None:
        for event in events:
            kind = type(event)
            if kind is DataReceived:
                call = self.calls.get(event.stream_id)
                if call is not None:
                    self._data(call, event.data, event.end_stream, found)
            elif kind is RequestReceived:
                self._request(event, found)
            elif kind is StreamClosed:
                call = self.calls.get(event.stream_id)
                if call is not None:
                    self._others.stream_closed(call, found)
            else:
                self._others.other_event(event, found)

    def answer(self, call: ServerCall, body: bytes, trailing: list[Header]) -> str | None:
        usual = (
            call.state == ServerState.RECEIVED
            and not call.streams_requests
            and len(body) <= COPIED_BYTES
            and not call.head_bytes
        )
        if not usual or not self.has_room(len(body)):
            problem: str | None = self._others.answer_otherwise(call, body, trailing)
            return problem
        try:
            self._h2.send_response(call.stream_id, _HEAD)
            self._h2.send_data(call.stream_id, frame(body))
            self._h2.send_trailers(call.stream_id, [_OK, *trailing])
            self.ledger.wait(len(body))
        except NGH2Error:
            # What the peer sent last has closed it, or the session; the library tells of it later.
            pass
        call.state = ServerState.CLOSED
        call.owner = None
        self.ledger.work(-call.held)
        call.held = 0
        del self.calls[call.stream_id]
        self.ledger.open(-1)
        return None

    def has_room(self, size: int) -> bool:
        waiting, of_all = self.ledger.outgoing, self.total.outgoing
        if waiting and waiting + size > self._limits.send_bytes:
            return False
        return (
            of_all + size <= self._totals.send_bytes
            or not of_all
            or (not waiting and size <= FREE_ANSWER_BYTES)
        )

    def _request(self, event: RequestReceived, found: list[Any]) -> None:
        self.last_stream_id = event.stream_id
        self.seen += 1
        head = read_head(event.headers, self._limits.max_header_bytes)
        method = None if isinstance(head, Refused) else self._methods.get(head.path)
        if isinstance(head, Refused) or method is None:
            self._others.refuse(event.stream_id, event.headers, event.end_stream)
            return
        if self.total.calls >= self._totals.max_calls and len(self.calls) >= FREE_CALLS:
            self._others.too_many(event.stream_id, event.end_stream)
            return
        head_bytes = 0
        if head_size(event.headers) > FREE_HEAD_BYTES:
            head_bytes = self._others.large_head(event.stream_id, event.headers, event.end_stream)
            if not head_bytes:
                return
        call = ServerCall(event.stream_id, method, head, event.headers, head_bytes, self.epoch, self.now_ns)
        self.calls[event.stream_id] = call
        self.ledger.open(1)
        if call.streams_requests or event.end_stream:
            self._others.call_began(call, event.end_stream, found)

    def _data(self, call: ServerCall, data: bytes, ended: bool, found: list[Any]) -> None:
        call.touched = self.epoch
        size = len(data) - PREFIX_BYTES
        usual = (
            ended
            and call.state == ServerState.RECEIVING
            and not call.streams_requests
            and call.unframer is None
            and 0 <= size <= self._limits.max_message_bytes
            and data[0] == 0
            and int.from_bytes(data[1:PREFIX_BYTES]) == size
        )
        if not usual:
            self._others.data_received(call, data, ended, found)
            return
        call.state = ServerState.RECEIVED
        call.held = size
        self.ledger.work(size)
        found.append((Happening.REQUEST, call, data[PREFIX_BYTES:], False))
