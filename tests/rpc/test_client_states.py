"""Calls at the client: every step that the table allows, none that it does not, and the same however bytes are cut."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from steelyard.rpc import codes
from steelyard.rpc.calls import Happening
from steelyard.rpc.client import ClientConnection
from steelyard.rpc.client_calls import ClientCall, ClientEvent, ClientHappening
from steelyard.rpc.framing import frame
from steelyard.rpc.limits import Limits
from steelyard.rpc.states import CLIENT_TABLE, NEVER, CallStateError, ClientAction, ClientState, client_step
from tests.rpc.client_peers import GOOD_END, GOOD_HEAD, Odd, Served, client
from tests.rpc.peers import BOTH, UNARY, cut

HEADERS, MESSAGE, ENDED = ClientHappening.HEADERS, ClientHappening.MESSAGE, ClientHappening.ENDED


def reach(odd: Odd, state: ClientState) -> ClientCall:
    """A call that stands there."""
    ended = state in (ClientState.SENT, ClientState.ANSWERED)
    call = odd.begin(streams_answers=True, end=ended)
    if state in (ClientState.SENDING_ANSWERED, ClientState.ANSWERED):
        odd.server.send_response(call.stream_id, GOOD_HEAD)
        odd.pump()
    elif state is ClientState.CLOSED:
        odd.client.cancel(call)
        odd.pump()
    assert call.state == state
    return call


def ours(odd: Odd, call: ClientCall) -> dict[ClientAction, Callable[[], None]]:
    return {
        ClientAction.MESSAGE_OUT: lambda: odd.client.send(call, b"more"),
        ClientAction.END_OUT: lambda: odd.client.end(call),
        ClientAction.RESET_OUT: lambda: odd.client.cancel(call),
    }


def theirs(odd: Odd, call: ClientCall) -> dict[ClientAction, Callable[[], None]]:
    stream_id = call.stream_id
    return {
        ClientAction.HEADERS_IN: lambda: odd.server.send_response(stream_id, GOOD_HEAD),
        ClientAction.MESSAGE_IN: lambda: odd.server.send_data(stream_id, frame(b"m")),
        ClientAction.STATUS_IN: lambda: odd.server.send_trailers(stream_id, GOOD_END),
        ClientAction.RESET_IN: lambda: odd.server.reset_stream(stream_id, codes.CANCEL),
    }


@pytest.mark.parametrize("action", [ClientAction.MESSAGE_OUT, ClientAction.END_OUT, ClientAction.RESET_OUT])
@pytest.mark.parametrize("state", ClientState)
def test_what_we_do(state: ClientState, action: ClientAction) -> None:
    odd = Odd()
    call = reach(odd, state)
    expected = CLIENT_TABLE[state][action]
    if expected == NEVER:
        with pytest.raises(CallStateError, match=f"{action.name} in state {state.name}"):
            ours(odd, call)[action]()
        expected = state
    else:
        ours(odd, call)[action]()
    assert call.state == expected


STATUS = ClientAction.STATUS_IN


@pytest.mark.parametrize(
    ("state", "action"),
    [
        (state, action)
        for state in ClientState
        for action in (ClientAction.HEADERS_IN, ClientAction.MESSAGE_IN, STATUS, ClientAction.RESET_IN)
        # A head comes once, and messages and trailers after it: HTTP/2 itself holds servers to that.
        if CLIENT_TABLE[state][action] != NEVER
        and not (action is STATUS and state in (ClientState.SENDING, ClientState.SENT))
    ],
)
def test_what_a_server_does(state: ClientState, action: ClientAction) -> None:
    odd = Odd()
    call = reach(odd, state)
    theirs(odd, call)[action]()
    odd.pump()
    assert call.state == CLIENT_TABLE[state][action]


def test_a_step_is_the_table_or_an_error() -> None:
    for state in ClientState:
        for action in ClientAction:
            if CLIENT_TABLE[state][action] == NEVER:
                with pytest.raises(CallStateError):
                    client_step(state, action)
            else:
                assert client_step(state, action) == CLIENT_TABLE[state][action]


def transcript() -> tuple[bytes, Callable[[], ClientConnection]]:
    """What a server sent on a connection with calls of all kinds, and how to make the client that began them."""

    def begun() -> ClientConnection:
        connection = client()
        connection.data_to_send()
        for _ in range(3):
            call = connection.start(UNARY.decode(), streams_answers=False)
            connection.send(call, b"x", last=True)
        for _ in range(2):
            connection.send(connection.start(BOTH.decode()), b"x")
        connection.data_to_send()
        return connection

    served = Served()
    # Over the same streams as `begun`, whose connection has seen none of the server's bytes.
    for _ in range(3):
        call = served.client.start(UNARY.decode(), streams_answers=False)
        served.client.send(call, b"x", last=True)
    for _ in range(2):
        served.client.send(served.client.start(BOTH.decode()), b"x")
    served.to_server()
    calls = {call.stream_id: call for _, call, _, _ in served.server_told}
    server = served.server
    server.answer(calls[1], b"one", [(b"x-last", b"1")])
    server.send_message(calls[7], b"first")
    server.fail(calls[3], codes.RESOURCE_EXHAUSTED, "trop tôt", [(b"grpc-retry-pushback-ms", b"7")])
    served.to_client()
    server.send_message(calls[7], b"")
    server.send_message(calls[9], b"second" * 5000)
    server.fail(calls[7], codes.OK, "", [])
    served.to_client()
    server.reset(calls[9], codes.CANCEL)
    server.shut_down()
    served.to_client()
    server.answer(calls[5], b"last", [])
    served.to_client()
    return served.sent_by_server, begun


def summary(events: list[ClientEvent]) -> list[Any]:
    return [
        (happening, call.stream_id, body, call.code, call.message, call.trailing)
        if happening is ENDED
        else (happening, call.stream_id, body, 0, "", ())
        for happening, call, body, _ in events
    ]


SENT_BY_SERVER, BEGUN = transcript()


def hear(chunks: list[int]) -> tuple[list[Any], bool]:
    connection = BEGUN()
    found: list[ClientEvent] = []
    for piece in cut(SENT_BY_SERVER, chunks):
        found += connection.receive(piece)
        while connection.data_to_send():
            pass
        found += connection.news()
    return summary(found), connection.draining


def test_the_transcript_has_every_kind_of_end() -> None:
    told, draining = hear([])
    ends = {one[1]: one[3] for one in told if one[0] is ENDED}
    assert ends == {1: codes.OK, 3: codes.RESOURCE_EXHAUSTED, 5: codes.OK, 7: codes.OK, 9: codes.CANCELLED}
    assert draining


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 40) | st.integers(1, 20_000), min_size=1, max_size=20))
def test_the_same_however_the_bytes_are_cut(chunks: list[int]) -> None:
    assert hear(chunks) == hear([])


chunk_lengths = st.lists(st.integers(1, 300), max_size=5)


class Walk(RuleBasedStateMachine):
    """A client and a server that do what they may, in any order, with bytes between them cut anyhow."""

    def __init__(self) -> None:
        super().__init__()
        limits = Limits(max_message_bytes=5000, max_streams=8, send_bytes=20_000)
        self.served = Served(limits, limits)
        self.calls: list[ClientCall] = []
        self.cancelled: set[ClientCall] = set()
        self.gone: set[Any] = set()

    @property
    def client(self) -> ClientConnection:
        return self.served.client

    @precondition(lambda self: self.client.may_start(10))
    @rule(streams=st.booleans(), body=st.binary(max_size=4000), whole=st.booleans())
    def begin(self, streams: bool, body: bytes, whole: bool) -> None:
        path = BOTH if streams else UNARY
        if whole and not streams:
            self.calls.append(self.client.ask(path.decode(), body, -1, (), None))
            return
        call = self.client.start(path.decode(), streams_answers=streams)
        self.calls.append(call)
        if whole:
            self.client.send(call, body, last=True)

    @rule(data=st.data(), body=st.binary(max_size=4000), last=st.booleans())
    def send(self, data: st.DataObject, body: bytes, last: bool) -> None:
        call = self.one(data, ClientState.SENDING, ClientState.SENDING_ANSWERED)
        if call is not None and self.client.may_send(call):
            self.client.send(call, body, last=last)

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        call = self.one(data, ClientState.SENDING, ClientState.SENDING_ANSWERED)
        if call is not None:
            self.client.end(call)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        call = self.one(data, *list(ClientState)[:-1])
        if call is not None:
            self.client.cancel(call)
            self.cancelled.add(call)

    @rule(chunks=chunk_lengths)
    def client_to_server(self, chunks: list[int]) -> None:
        self.served.to_server(chunks)
        self.hear()

    @rule(chunks=chunk_lengths)
    def server_to_client(self, chunks: list[int]) -> None:
        self.served.to_client(chunks)
        self.hear()

    @rule(
        data=st.data(),
        body=st.binary(max_size=6000),
        ending=st.sampled_from(["ok", "fail", "reset", "message"]),
    )
    def serve(self, data: st.DataObject, body: bytes, ending: str) -> None:
        open_calls = {
            call
            for happening, call, _, _ in self.served.server_told
            if happening in (Happening.REQUEST, Happening.OPENED)
        } - self.gone
        if not open_calls:
            return
        call = data.draw(st.sampled_from(sorted(open_calls, key=lambda one: one.stream_id)))
        server = self.served.server
        if ending == "message":
            if call.method.streams_answers and server.may_send(call):
                server.send_message(call, body)
            return
        self.gone.add(call)
        if ending == "ok" and not call.method.streams_answers:
            server.answer(call, body, [])
        elif ending == "reset":
            server.reset(call, codes.REFUSED_STREAM)
        else:
            server.fail(call, codes.OK if ending == "ok" else 5, "", [])

    @rule()
    def leave(self) -> None:
        self.served.server.announce_shutdown()

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        unread = [
            (call, body) for happening, call, body, _ in self.served.client_told if happening is MESSAGE
        ]
        if unread:
            call, body = data.draw(st.sampled_from(unread))
            if call.held >= len(body) + 128:
                self.client.consumed(call, body)

    def one(self, data: st.DataObject, *states: ClientState) -> ClientCall | None:
        found = [call for call in self.calls if call.state in states]
        return data.draw(st.sampled_from(found)) if found else None

    def hear(self) -> None:
        self.gone |= {
            call for happening, call, _, _ in self.served.server_told if happening is Happening.GONE
        }

    @invariant()
    def every_call_is_told_as_the_table_has_it(self) -> None:
        for call in self.calls:
            told = [happening for happening, about, _, _ in self.served.client_told if about is call]
            assert told.count(ENDED) <= 1
            assert ENDED not in told[:-1]
            assert HEADERS not in told[1:]
            if MESSAGE in told:
                assert told[0] is HEADERS
            assert (call.stream_id in self.client.calls) == (call.state != ClientState.CLOSED)
            if call.state == ClientState.CLOSED and call not in self.cancelled:
                assert told[-1] is ENDED

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        assert len(self.client.calls) <= 8
        assert not self.client.problem

    def teardown(self) -> None:
        for call in list(self.client.calls.values()):
            self.client.cancel(call)
        self.served.pump()
        assert not self.client.calls


Walk.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestWalk = Walk.TestCase
