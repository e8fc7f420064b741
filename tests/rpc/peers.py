"""A server's connection and a peer of it, with nothing between them but bytes."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import ngh2
from ngh2.config import Configuration, Role
from ngh2.events import Event as PeerEvent
from ngh2.events import ResponseReceived, StreamReset, TrailersReceived
from ngh2.exceptions import NGH2Error

from steelyard._native import rpc
from steelyard.rpc.calls import Event, Happening, Method, ServerCall
from steelyard.rpc.framing import frame
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.rpc.plain import ledger as plain_ledger
from steelyard.rpc.plain import traffic as plain_traffic
from steelyard.rpc.server import ServerConnection
from tests.support.heads import good_head

UNARY = b"/test.Calls/Unary"
DOWN = b"/test.Calls/Down"
UP = b"/test.Calls/Up"
BOTH = b"/test.Calls/Both"

METHODS = {
    UNARY: Method(UNARY.decode(), False, False, None),
    DOWN: Method(DOWN.decode(), False, True, None),
    UP: Method(UP.decode(), True, False, None),
    BOTH: Method(BOTH.decode(), True, True, None),
}


def head(path: bytes = UNARY, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The header fields of a good call, and `more` behind them."""
    return good_head(path, *more)


class Pair:
    """A server's connection and its peer. What the server is told is in `told`, and what the peer saw in `seen`."""

    def __init__(
        self, limits: Limits | None = None, totals: TotalLimits | None = None, plain: bool = False
    ) -> None:
        """plain: with the twins of what is native."""
        self.total: Any = plain_ledger.Ledger() if plain else rpc.Ledger()
        self.server = ServerConnection(
            METHODS,
            limits or Limits(),
            totals or TotalLimits(),
            self.total,
            plain_traffic.Traffic if plain else rpc.Traffic,  # type: ignore[arg-type]
        )
        # As open-handed as a peer can be, so that what stops it is the server.
        self.peer = ngh2.Connection(Role.CLIENT, Configuration(peer_max_concurrent_streams=1 << 20))
        self.peer.initiate_connection()
        self.told: list[Event] = []
        self.seen: list[PeerEvent] = []

    def ask(self, path: bytes = UNARY, *more: tuple[bytes, bytes], end: bool = False) -> int:
        """Begins a call at the peer; returns its stream."""
        return self.peer.send_request(head(path, *more), end_stream=end)

    def send(self, stream_id: int, body: bytes, compressed: bool = False, end: bool = False) -> None:
        """Has the peer send one message."""
        self.peer.send_data(stream_id, frame(body, compressed), end_stream=end)

    def call(self, path: bytes = UNARY, body: bytes = b"x") -> ServerCall:
        """A whole request, as the server was told of it."""
        stream_id = self.ask(path)
        self.send(stream_id, body, end=True)
        self.pump()
        return self.server.calls[stream_id]

    def deliver(self, data: bytes, chunks: Sequence[int] = ()) -> list[Event]:
        """Gives the server bytes, in pieces of these lengths and the rest at once."""
        found = []
        for piece in cut(data, [*chunks, len(data)]):
            found += self.server.receive(piece)
        self.told += found
        return found

    def to_server(self, chunks: Sequence[int] = ()) -> list[Event]:
        """Takes to the server what the peer has to send; returns what the server was told."""
        with contextlib.suppress(NGH2Error):
            return self.deliver(self.peer.data_to_send(), chunks)
        return []

    def to_peer(self) -> bool:
        """Takes to the peer what the server has to send; returns whether that was anything."""
        any_came = False
        while data := self.server.data_to_send():
            any_came = True
            with contextlib.suppress(NGH2Error):
                self.peer.receive_data(data)
        self.told += self.server.news()
        with contextlib.suppress(NGH2Error):
            self.seen += self.peer.events()
        return any_came

    def pump(self) -> None:
        """Takes everything to where it belongs, until both are silent."""
        while True:
            with contextlib.suppress(NGH2Error):
                if data := self.peer.data_to_send():
                    self.deliver(data)
                    self.to_peer()
                    continue
            if not self.to_peer():
                return

    def happened(self, call: ServerCall) -> list[Happening]:
        """What the server was told of one call."""
        return [happening for happening, about, _, _ in self.told if about is call]

    def status(self, stream_id: int) -> tuple[int, str] | None:
        """The status and message that the peer saw of a call, None where there was none."""
        for event in self.seen:
            if isinstance(event, ResponseReceived | TrailersReceived) and event.stream_id == stream_id:
                fields = dict(event.headers)
                if b"grpc-status" in fields:
                    return int(fields[b"grpc-status"]), fields.get(b"grpc-message", b"").decode()
        return None

    def http_status(self, stream_id: int) -> int:
        """The status that HTTP has of an answer."""
        return next(
            int(dict(event.headers)[b":status"])
            for event in self.seen
            if isinstance(event, ResponseReceived) and event.stream_id == stream_id
        )

    def reset_code(self, stream_id: int) -> int | None:
        """The code with which the server reset a stream, None where it did not."""
        for event in self.seen:
            if isinstance(event, StreamReset) and event.stream_id == stream_id:
                return event.error_code
        return None

    def assert_nothing_held(self) -> None:
        """That no call is open, and nothing is counted."""
        assert not self.server.calls
        for ledger in (self.server.ledger, self.total):
            assert (ledger.incoming, ledger.working, ledger.outgoing, ledger.calls) == (0, 0, 0, 0)


def cut(data: bytes, lengths: Sequence[int]) -> Iterator[bytes]:
    """`data` in pieces of these lengths, over and over; whole without any."""
    begin = 0
    for length in itertools.cycle(lengths or [len(data)]):
        if begin >= len(data):
            return
        yield data[begin : begin + length]
        begin += length
