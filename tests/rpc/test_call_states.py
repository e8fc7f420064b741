"""The table of a call's states: every state with everything that may happen in it, and random walks."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)
from ngh2.exceptions import NGH2Error

from steelyard.rpc import codes
from steelyard.rpc.calls import Happening, ServerCall
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.rpc.states import (
    CLIENT_TABLE,
    NEVER,
    SERVER_TABLE,
    CallStateError,
    ClientAction,
    ClientState,
    ServerAction,
    ServerState,
    client_step,
    server_step,
)
from tests.rpc.peers import BOTH, DOWN, UNARY, UP, Pair


def receiving(pair: Pair) -> ServerCall:
    stream_id = pair.ask(BOTH)
    pair.pump()
    return pair.server.calls[stream_id]


def received(pair: Pair) -> ServerCall:
    call = receiving(pair)
    pair.peer.end_stream(call.stream_id)
    pair.pump()
    return call


def receiving_answering(pair: Pair) -> ServerCall:
    call = receiving(pair)
    pair.server.send_message(call, b"answer")
    return call


def answering(pair: Pair) -> ServerCall:
    call = received(pair)
    pair.server.send_message(call, b"answer")
    return call


def discarding(pair: Pair) -> ServerCall:
    call = receiving(pair)
    pair.server.fail(call, codes.INTERNAL, "no", ())
    return call


def closed(pair: Pair) -> ServerCall:
    call = received(pair)
    pair.server.fail(call, codes.INTERNAL, "no", ())
    return call


REACHED: dict[ServerState, Callable[[Pair], ServerCall]] = {
    ServerState.RECEIVING: receiving,
    ServerState.RECEIVED: received,
    ServerState.RECEIVING_ANSWERING: receiving_answering,
    ServerState.ANSWERING: answering,
    ServerState.DISCARDING: discarding,
    ServerState.CLOSED: closed,
}


def message_in(pair: Pair, call: ServerCall) -> None:
    pair.send(call.stream_id, b"message")
    pair.to_server()


def end_in(pair: Pair, call: ServerCall) -> None:
    pair.peer.end_stream(call.stream_id)
    pair.to_server()


def reset_in(pair: Pair, call: ServerCall) -> None:
    pair.peer.reset_stream(call.stream_id)
    pair.to_server()


def message_out(pair: Pair, call: ServerCall) -> None:
    pair.server.send_message(call, b"answer")


def status_out(pair: Pair, call: ServerCall) -> None:
    pair.server.fail(call, codes.UNKNOWN, "no", ())


def reset_out(pair: Pair, call: ServerCall) -> None:
    pair.server.reset(call, codes.CANCEL)


OF_THE_PEER = {
    ServerAction.MESSAGE_IN: message_in,
    ServerAction.END_IN: end_in,
    ServerAction.RESET_IN: reset_in,
}
OURS = {
    ServerAction.MESSAGE_OUT: message_out,
    ServerAction.STATUS_OUT: status_out,
    ServerAction.RESET_OUT: reset_out,
}


@pytest.mark.parametrize("state", ServerState, ids=lambda state: state.name)
@pytest.mark.parametrize("action", OF_THE_PEER, ids=lambda action: action.name)
def test_what_a_peer_does(state: ServerState, action: ServerAction) -> None:
    pair = Pair()
    call = REACHED[state](pair)
    assert call.state == state
    expected = SERVER_TABLE[state][action]
    try:
        OF_THE_PEER[action](pair, call)
    except NGH2Error:
        # A peer that keeps to HTTP/2 cannot do it.
        assert expected == NEVER or state is ServerState.CLOSED
        return
    assert call.state == (state if expected == NEVER else expected)
    assert (call.stream_id in pair.server.calls) == (call.state != ServerState.CLOSED)


@pytest.mark.parametrize("state", ServerState, ids=lambda state: state.name)
@pytest.mark.parametrize("action", OURS, ids=lambda action: action.name)
def test_what_we_do(state: ServerState, action: ServerAction) -> None:
    pair = Pair()
    call = REACHED[state](pair)
    begun = state
    if action is ServerAction.MESSAGE_OUT and state in (ServerState.RECEIVING, ServerState.RECEIVED):
        # The headers go with the first message.
        begun = server_step(state, ServerAction.HEADERS_OUT)
    expected = SERVER_TABLE[begun][action]
    if expected == NEVER:
        with pytest.raises(CallStateError, match=f"{action.name} in state {state.name}"):
            OURS[action](pair, call)
        assert call.state == state
        return
    OURS[action](pair, call)
    assert call.state == expected
    if expected == ServerState.CLOSED:
        assert call.stream_id not in pair.server.calls
    pair.pump()
    if expected in (ServerState.CLOSED, ServerState.DISCARDING):
        pair.assert_nothing_held()


def test_a_step_is_the_table_or_an_error() -> None:
    for state in ServerState:
        for action in ServerAction:
            if SERVER_TABLE[state][action] == NEVER:
                with pytest.raises(CallStateError, match=f"{action.name} in state {state.name}"):
                    server_step(state, action)
            else:
                assert server_step(state, action) == SERVER_TABLE[state][action]
    for client_state in ClientState:
        for client_action in ClientAction:
            if CLIENT_TABLE[client_state][client_action] == NEVER:
                with pytest.raises(
                    CallStateError, match=f"{client_action.name} in state {client_state.name}"
                ):
                    client_step(client_state, client_action)
            else:
                assert client_step(client_state, client_action) == CLIENT_TABLE[client_state][client_action]


CHUNKS = st.lists(st.integers(1, 60), max_size=4)
BODIES = st.one_of(st.binary(max_size=40), st.sampled_from([bytes(3_000), bytes(20_000), bytes(400_000)]))
# Prefixes that lie, halves of one, and a message over the limit.
ODD_DATA = st.sampled_from(
    [b"\0\0", b"\0\0\0\0\5ab", b"\2\0\0\0\0", b"\1\0\0\0\1a", b"\0\xff\xff\xff\xff", b"\0\0\0\0\0" * 40, b""]
)
# Frames that stand for themselves: PING, SETTINGS, an update, PRIORITY, one of an unknown type.
SMALL_FRAMES = st.sampled_from(
    [
        b"\0\0\10\6\0\0\0\0\0abcdefgh",
        b"\0\0\6\4\0\0\0\0\0\0\4\0\0\377\377",
        b"\0\0\4\10\0\0\0\0\0\0\0\0\1",
        b"\0\0\5\2\0\0\0\0\3\0\0\0\0\1",
        b"\0\0\1\377\0\0\0\0\0a",
    ]
)
FATAL_BYTES = st.sampled_from(
    [b"\0\0\0\0\0\0\0\0\0", b"\0\0\4\10\0\0\0\0\0\0\0\0\0", b"\0\0\1\6\0\0\0\0\0a", bytes(9) + b"\xff" * 30]
)


class Walk(RuleBasedStateMachine):
    """A peer and a server that do to each other what they may, in any order and in any pieces."""

    streams = Bundle("streams")

    plain = False

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(
            Limits(max_message_bytes=500_000, max_streams=8, connection_bytes=1_000_000, send_bytes=600_000),
            TotalLimits(received_bytes=1_200_000),
            self.plain,
        )
        self.live: dict[int, ServerCall] = {}
        self.unread: dict[int, list[bytes]] = {}
        self.begun: set[int] = set()
        self.over: set[int] = set()
        self.known = 0

    # The peer.

    @rule(target=streams, path=st.sampled_from([UNARY, DOWN, UP, BOTH, b"/none"]), end=st.booleans())
    def begin(self, path: bytes, end: bool) -> object:
        try:
            return self.pair.ask(path, (b"grpc-encoding", b"gzip"), end=end)
        except NGH2Error:
            return multiple()

    @rule(stream_id=streams, body=BODIES, compressed=st.booleans(), end=st.booleans())
    def message(self, stream_id: int, body: bytes, compressed: bool, end: bool) -> None:
        self.try_peer(lambda: self.pair.send(stream_id, body, compressed, end))

    @rule(stream_id=streams, data=ODD_DATA, end=st.booleans())
    def odd(self, stream_id: int, data: bytes, end: bool) -> None:
        self.try_peer(lambda: self.pair.peer.send_data(stream_id, data, end_stream=end))

    @rule(stream_id=streams)
    def trailers(self, stream_id: int) -> None:
        self.try_peer(lambda: self.pair.peer.send_trailers(stream_id, [(b"x", b"y")]))

    @rule(stream_id=consumes(streams), code=st.sampled_from([0, 7, 8]))
    def peer_resets(self, stream_id: int, code: int) -> None:
        self.try_peer(lambda: self.pair.peer.reset_stream(stream_id, code))

    @rule(chunks=CHUNKS)
    def peer_to_server(self, chunks: list[int]) -> None:
        self.pair.to_server(chunks)
        self.hear()

    @rule(data=SMALL_FRAMES, chunks=CHUNKS)
    def frame(self, data: bytes, chunks: list[int]) -> None:
        self.pair.to_server()
        if self.pair.server.began:
            self.pair.deliver(data, chunks)
        self.hear()

    @rule()
    def server_to_peer(self) -> None:
        self.pair.to_peer()
        self.hear()

    @precondition(lambda self: self.known > 12)
    @rule(data=FATAL_BYTES)
    def breach(self, data: bytes) -> None:
        self.pair.deliver(data)
        self.hear()

    @precondition(lambda self: self.known > 12)
    @rule()
    def leave(self) -> None:
        self.pair.server.announce_shutdown()
        self.pair.server.shut_down()

    # The server.

    @precondition(lambda self: self.live)
    @rule(data=st.data(), body=BODIES)
    def answer(self, data: st.DataObject, body: bytes) -> None:
        call = self.one(data)
        if call.state in (ServerState.RECEIVING, ServerState.RECEIVED):
            self.pair.server.answer(call, body, [])
            self.ended(call)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), code=st.sampled_from([codes.OK, codes.INTERNAL]))
    def fail(self, data: st.DataObject, code: int) -> None:
        call = self.one(data)
        self.pair.server.fail(call, code, "said" * code, ())
        self.ended(call)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), body=BODIES)
    def send_message(self, data: st.DataObject, body: bytes) -> None:
        call = self.one(data)
        if call.method.streams_answers and self.pair.server.may_send(call):
            self.pair.server.send_message(call, body)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def server_resets(self, data: st.DataObject) -> None:
        call = self.one(data)
        self.pair.server.reset(call, codes.CANCEL)
        self.ended(call)

    @precondition(lambda self: any(self.unread.get(stream_id) for stream_id in self.live))
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        readable = [stream_id for stream_id in self.live if self.unread.get(stream_id)]
        stream_id = data.draw(st.sampled_from(sorted(readable)))
        self.pair.server.consumed(self.live[stream_id], self.unread[stream_id].pop(0))

    # What must hold.

    def one(self, data: st.DataObject) -> ServerCall:
        return self.live[data.draw(st.sampled_from(sorted(self.live)))]

    def try_peer(self, does: Callable[[], None]) -> None:
        # Where the stream is over already, as far as the peer knows.
        with contextlib.suppress(NGH2Error):
            does()

    def ended(self, call: ServerCall) -> None:
        del self.live[call.stream_id]
        self.over.add(call.stream_id)

    def hear(self) -> None:
        for happening, call, body, _ in self.pair.told[self.known :]:
            stream_id = call.stream_id
            assert stream_id not in self.over, f"{happening.name} of a call that is over"
            if happening in (Happening.REQUEST, Happening.OPENED):
                assert stream_id not in self.begun
                assert (happening is Happening.OPENED) == call.method.streams_requests
                self.begun.add(stream_id)
                self.live[stream_id] = call
            else:
                assert stream_id in self.live
                if happening is Happening.MESSAGE:
                    self.unread.setdefault(stream_id, []).append(body)
                elif happening is Happening.GONE:
                    self.ended(call)
        self.known = len(self.pair.told)

    @invariant()
    def nothing_is_below_zero(self) -> None:
        for ledger in (self.pair.server.ledger, self.pair.total):
            assert min(ledger.incoming, ledger.working, ledger.outgoing) >= 0

    @invariant()
    def told_calls_are_held(self) -> None:
        if not self.pair.server.closed:
            assert set(self.live) <= set(self.pair.server.calls)

    @invariant()
    def held_calls_are_bounded(self) -> None:
        server = self.pair.server
        assert len(server.calls) <= server.limits.max_streams
        assert server.ledger.received <= server.limits.connection_bytes + (1 << 20)

    def teardown(self) -> None:
        for call in list(self.live.values()):
            self.pair.server.fail(call, codes.UNAVAILABLE, "over", ())
            self.ended(call)
        self.pair.pump()
        self.hear()
        self.pair.told += self.pair.server.lost()
        self.hear()
        assert not self.live
        self.pair.assert_nothing_held()


class PlainWalk(Walk):
    """The same over the plain twins."""

    plain = True


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestPlainWalk = PlainWalk.TestCase
TestPlainWalk.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
