"""Calls whose end comes from somewhere else than their handler: each is told once, and holds nothing after it."""

import gc
import weakref
from collections.abc import Callable

import pytest

from steelyard.rpc import codes
from steelyard.rpc.calls import Happening, ServerCall
from steelyard.rpc.framing import frame
from steelyard.rpc.limits import Limits
from steelyard.rpc.server import ServerConnection
from tests.rpc.peers import BOTH, UNARY, UP, Pair

# A WINDOW_UPDATE of 0 for the connection, which HTTP/2 forbids.
FORBIDDEN_UPDATE = b"\0\0\4\10\0\0\0\0\0\0\0\0\0"


def test_a_peer_that_breaks_http2_ends_its_connection_without_another_byte() -> None:
    pair = Pair()
    call = pair.call()
    pair.deliver(FORBIDDEN_UPDATE)
    pair.to_peer()
    assert pair.server.closed
    pair.told += pair.server.lost()
    assert pair.happened(call) == [Happening.REQUEST, Happening.GONE]
    pair.assert_nothing_held()


@pytest.mark.parametrize("broken", [FORBIDDEN_UPDATE, b"\0\0\1\6\0\0\0\0\0a"])
def test_what_is_still_said_on_a_broken_connection_is_nothing(broken: bytes) -> None:
    pair = Pair()
    calls = [pair.call(), pair.call(), pair.call()]
    stream_id = pair.ask(BOTH)
    pair.send(stream_id, b"read later")
    pair.pump()
    stream = pair.server.calls[stream_id]
    pair.server.send_message(stream, b"first")
    pair.deliver(broken)
    pair.to_peer()
    server = pair.server
    server.answer(calls[0], b"late", [])
    server.fail(calls[1], codes.INTERNAL, "late", ())
    server.reset(calls[2], codes.CANCEL)
    server.consumed(stream, b"read later")
    server.send_message(stream, b"late")
    server.fail(stream, codes.OK, "", ())
    server.ping()
    server.announce_shutdown()
    server.shut_down()
    assert server.lost() == []
    pair.assert_nothing_held()


def test_a_stream_that_the_library_resets_is_told_at_once() -> None:
    pair = Pair()
    stream_id = pair.ask(BOTH, (b"content-length", b"3"))
    pair.pump()
    call = pair.server.calls[stream_id]
    # One byte more than the caller itself has announced.
    pair.deliver(b"\0\0\4\0\0" + stream_id.to_bytes(4) + b"\0\0\0\0")
    pair.to_peer()
    assert pair.happened(call) == [Happening.OPENED, Happening.GONE]
    pair.assert_nothing_held()


def test_trailers_end_a_request() -> None:
    pair = Pair()
    stream_id = pair.ask(UNARY)
    pair.send(stream_id, b"message")
    pair.peer.send_trailers(stream_id, [(b"checksum", b"1")])
    pair.pump()
    call = pair.server.calls[stream_id]
    assert pair.happened(call) == [Happening.REQUEST]
    pair.server.answer(call, b"answer", [])
    pair.pump()
    assert pair.status(stream_id) == (0, "")
    pair.assert_nothing_held()


@pytest.mark.parametrize("plain", [False, True], ids=["native", "plain"])
def test_an_answer_to_a_stream_that_was_not_read_gives_back_what_it_held(plain: bool) -> None:
    pair = Pair(plain=plain)
    call = pair.call(UP, b"never read")
    assert pair.total.incoming > 0
    pair.server.answer(call, b"answer", [])
    pair.pump()
    assert pair.status(call.stream_id) == (0, "")
    pair.assert_nothing_held()


class Owner:
    """What a front keeps of a call, which knows it too."""

    def __init__(self, call: ServerCall) -> None:
        self.call = call


Ends = Callable[[ServerConnection, ServerCall], object]
ENDS: dict[str, Ends] = {
    "small": lambda server, call: server.answer(call, b"x", []),
    "large": lambda server, call: server.answer(call, bytes(30_000), []),
    "no room": lambda server, call: server.answer(call, bytes(300_000), []),
    "compressed": lambda server, call: server.answer_compressed(call, b"x", b"gzip", []),
    "compressed, no room": lambda server, call: server.answer_compressed(call, bytes(300_000), b"gzip", []),
}


@pytest.mark.parametrize("plain", [False, True], ids=["native", "plain"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("head_bytes", [10, 20_000])
def test_who_answered_a_call_is_freed_with_it_and_without_the_collector(
    end: Ends, head_bytes: int, plain: bool
) -> None:
    pair = Pair(Limits(send_bytes=100_000), plain=plain)
    waiting = pair.call()
    pair.server.answer(waiting, bytes(50_000), [])
    stream_id = pair.ask(UNARY, (b"x", b"y" * head_bytes))
    pair.send(stream_id, b"x", end=True)
    pair.to_server()
    pair.told.clear()
    call = pair.server.calls[stream_id]
    gc.disable()
    try:
        call.owner = Owner(call)
        freed = weakref.ref(call.owner)
        end(pair.server, call)
        del call
        assert freed() is None
    finally:
        gc.enable()


def test_an_early_answer_stops_the_sender_once_it_is_out() -> None:
    pair = Pair()
    stream_id = pair.ask(BOTH)
    pair.send(stream_id, b"first of many")
    pair.pump()
    call = pair.server.calls[stream_id]
    pair.server.send_message(call, bytes(50_000))
    pair.server.fail(call, codes.OK, "", ())
    pair.pump()
    assert pair.status(stream_id) == (0, "")
    assert pair.reset_code(stream_id) == codes.NO_ERROR
    pair.assert_nothing_held()


def test_a_connection_lives_through_ten_thousand_refused_and_cancelled_uploads() -> None:
    pair = Pair(Limits(max_message_bytes=1_000_000))
    for _ in range(10_000):
        refused = pair.ask(UNARY)
        pair.peer.send_data(refused, b"\0\xff\xff\xff\xff" + bytes(1_000))
        cancelled = pair.ask(UNARY)
        pair.peer.send_data(cancelled, b"\0\0\0\xff\xff" + bytes(1_000))
        pair.to_server((700, 9, 16_384))
        pair.peer.reset_stream(cancelled)
        pair.pump()
        pair.seen.clear()
    pair.assert_nothing_held()
    stream_id = pair.ask(UNARY)
    pair.send(stream_id, bytes(900_000), end=True)
    pair.pump()
    pair.server.answer(pair.server.calls[stream_id], b"good", [])
    pair.pump()
    assert pair.status(stream_id) == (0, "")
    pair.assert_nothing_held()


@pytest.mark.parametrize("sent", [3, 5, 6])
def test_a_stream_that_ends_in_the_middle_of_a_message_fails(sent: int) -> None:
    pair = Pair()
    stream_id = pair.ask(BOTH)
    pair.peer.send_data(stream_id, frame(b"xy")[:sent], end_stream=True)
    pair.pump()
    assert pair.status(stream_id) == (codes.INTERNAL, "the request ended in the middle of a message")
    pair.assert_nothing_held()


def test_nothing_more_is_waited_for_of_a_call_that_was_answered() -> None:
    pair = Pair()
    stream_id = pair.ask(BOTH)
    pair.peer.send_data(stream_id, frame(b"xyz")[:5])
    pair.pump()
    call = pair.server.calls[stream_id]
    assert pair.server.is_incomplete(call)
    pair.server.fail(call, codes.DEADLINE_EXCEEDED, "late", ())
    assert not pair.server.is_incomplete(call)
    pair.pump()
    pair.assert_nothing_held()
