"""A client's connection and a server of it, with nothing between them but bytes."""

import contextlib
from collections.abc import Sequence
from typing import Any

import ngh2
from ngh2.config import Configuration, Role
from ngh2.events import RequestReceived
from ngh2.exceptions import NGH2Error

from steelyard._native import rpc
from steelyard.rpc.calls import Event
from steelyard.rpc.client import ClientConnection
from steelyard.rpc.client_calls import ClientCall, ClientEvent, ClientHappening
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.rpc.server import ServerConnection
from tests.rpc.peers import METHODS, cut

GOOD_HEAD = ((b":status", b"200"), (b"content-type", b"application/grpc"))
GOOD_END = ((b"grpc-status", b"0"),)


def client(limits: Limits | None = None) -> ClientConnection:
    """A connection that has sent nothing."""
    return ClientConnection(limits or Limits(), b"localhost", b"http", b"tests")


def told_of(call: ClientCall, events: Sequence[ClientEvent]) -> list[ClientHappening]:
    """What was told of one call."""
    return [happening for happening, about, _, _ in events if about is call]


class Served:
    """A client and a server of ours. What each was told is in `client_told` and `server_told`."""

    def __init__(self, client_limits: Limits | None = None, server_limits: Limits | None = None) -> None:
        self.client = client(client_limits)
        self.server = ServerConnection(METHODS, server_limits or Limits(), TotalLimits(), rpc.Ledger())
        self.client_told: list[ClientEvent] = []
        self.server_told: list[Event] = []
        self.sent_by_server = b""
        self.pump()

    def to_server(self, chunks: Sequence[int] = ()) -> list[Event]:
        """Takes to the server what the client has to send; returns what the server was told."""
        data = b""
        while some := self.client.data_to_send():
            data += some
        self.client_told += self.client.news()
        found: list[Event] = []
        for piece in cut(data, chunks):
            found += self.server.receive(piece)
        self.server_told += found
        return found

    def to_client(self, chunks: Sequence[int] = ()) -> list[ClientEvent]:
        """Takes to the client what the server has to send; returns what the client was told."""
        data = b""
        while some := self.server.data_to_send():
            data += some
        self.server_told += self.server.news()
        self.sent_by_server += data
        found: list[ClientEvent] = []
        for piece in cut(data, chunks):
            found += self.client.receive(piece)
        self.client_told += found
        return found

    def pump(self) -> None:
        """Takes everything to where it belongs, until both are silent."""
        while True:
            before = len(self.sent_by_server)
            self.to_server()
            self.to_client()
            if len(self.sent_by_server) == before:
                return


class Odd:
    """A client and a server that sends what it likes."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.client = client(limits)
        # As patient as a server can be with what the client resets.
        patient = Configuration(stream_reset_rate_limit=(1 << 20, 1 << 20))
        self.server: Any = ngh2.Connection(Role.SERVER, patient)
        self.server.initiate_connection()
        self.asked: list[RequestReceived] = []
        self.seen: list[Any] = []
        self.told: list[ClientEvent] = []
        self.pump()

    def begin(self, *, streams_answers: bool = False, end: bool = True) -> ClientCall:
        """A call that the server has seen."""
        call = self.client.start("/test.Calls/Unary", streams_answers=streams_answers)
        self.client.send(call, b"x", last=end)
        self.pump()
        return call

    def answer(
        self,
        call: ClientCall,
        head: Sequence[tuple[bytes, bytes]] = GOOD_HEAD,
        data: bytes | None = None,
        end: Sequence[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """Sends this much of an answer; without data and end the head is all of it."""
        whole = data is None and end is None
        self.server.send_response(call.stream_id, head, end_stream=whole)
        if data is not None:
            self.server.send_data(call.stream_id, data, end_stream=end is None)
        if end is not None:
            self.server.send_trailers(call.stream_id, end)
        self.pump()

    def pump(self) -> None:
        """Takes everything to where it belongs, until both are silent."""
        moved = True
        while moved:
            moved = False
            with contextlib.suppress(NGH2Error):
                while data := self.client.data_to_send():
                    moved = True
                    self.server.receive_data(data)
            self.told += self.client.news()
            with contextlib.suppress(NGH2Error):
                while data := self.server.data_to_send():
                    moved = True
                    self.told += self.client.receive(data)
            self.seen += self.server.events()

    def ends(self) -> list[ClientCall]:
        """The calls that have ended, in order."""
        return [call for happening, call, _, _ in self.told if happening is ClientHappening.ENDED]
