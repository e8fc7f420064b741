"""What connections hold, counted for each and for all, and the calls that are refused for it."""

import pytest

from steelyard._native.rpc import Ledger
from steelyard.rpc import codes
from steelyard.rpc.calls import Happening
from steelyard.rpc.framing import MESSAGE_OVERHEAD, FramingError, frame, prefix
from steelyard.rpc.http2 import UNREAD_BYTES
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.rpc.states import ServerState
from tests.rpc.peers import BOTH, DOWN, UNARY, Pair


def test_every_count_is_also_one_of_the_whole() -> None:
    whole = Ledger()
    first, second = Ledger(whole), Ledger(whole)
    first.arrive(5)
    second.arrive(7)
    second.work(11)
    first.wait(13)
    assert (whole.incoming, whole.working, whole.outgoing, whole.received) == (12, 11, 13, 23)
    assert (first.received, second.received) == (5, 18)


def test_an_incomplete_message_is_counted_as_it_arrives() -> None:
    pair = Pair()
    stream_id = pair.ask(UNARY)
    pair.peer.send_data(stream_id, prefix(bytes(60_000)) + bytes(10_000))
    pair.pump()
    assert pair.total.incoming == 10_000
    pair.peer.send_data(stream_id, bytes(50_000), end_stream=True)
    pair.pump()
    assert (pair.total.incoming, pair.total.working) == (0, 60_000)
    pair.server.answer(pair.server.calls[stream_id], bytes(30_000), [])
    assert (pair.total.working, pair.total.outgoing) == (0, 30_000)
    pair.pump()
    pair.assert_nothing_held()


def test_a_whole_message_is_not_worked_on_until_its_request_has_ended() -> None:
    pair = Pair()
    stream_id = pair.ask(UNARY)
    pair.send(stream_id, bytes(1_000))
    pair.pump()
    # A connection is not read while much is worked on, and this end would never be read.
    assert (pair.total.incoming, pair.total.working) == (1_000, 0)
    assert pair.server.is_incomplete(pair.server.calls[stream_id])
    pair.peer.end_stream(stream_id)
    pair.pump()
    assert (pair.total.incoming, pair.total.working) == (0, 1_000)
    assert pair.happened(pair.server.calls[stream_id]) == [Happening.REQUEST]


@pytest.mark.parametrize("whole", [False, True], ids=["a part", "whole but not ended"])
@pytest.mark.parametrize("of_all", [False, True], ids=["of one connection", "of all"])
def test_a_call_that_does_not_fit_is_refused_alone(whole: bool, of_all: bool) -> None:
    limits = Limits() if of_all else Limits(connection_bytes=100_000)
    pair = Pair(limits, TotalLimits(received_bytes=100_000) if of_all else TotalLimits())
    first, second = pair.ask(UNARY), pair.ask(UNARY)
    for stream_id in (first, second):
        announced = 55_000 if whole else 90_000
        pair.peer.send_data(stream_id, prefix(bytes(announced)) + bytes(55_000))
        pair.pump()
    assert pair.status(first) is None
    status = pair.status(second)
    assert status is not None
    assert status[0] == codes.RESOURCE_EXHAUSTED
    assert ("total_received_bytes" if of_all else "connection_received_bytes") in status[1]
    assert pair.total.incoming == 55_000
    pair.peer.reset_stream(first)
    pair.pump()
    pair.assert_nothing_held()


LARGE = (b"x", b"y" * 20_000)


@pytest.mark.parametrize("plain", [False, True], ids=["native", "plain"])
def test_large_heads_are_counted_until_their_calls_are_over(plain: bool) -> None:
    pair = Pair(plain=plain)
    answered, failed, left, given_up = (pair.ask(path, LARGE) for path in (UNARY, BOTH, BOTH, UNARY))
    small = pair.ask(UNARY, (b"x", b"y" * 1_000))
    pair.pump()
    assert 80_000 < pair.total.incoming < 90_000
    pair.send(answered, b"x", end=True)
    pair.send(small, b"x", end=True)
    pair.peer.reset_stream(given_up)
    pair.pump()
    assert 60_000 < pair.total.incoming < 70_000
    pair.server.answer(pair.server.calls[answered], b"y", [])
    pair.server.answer(pair.server.calls[small], b"y", [])
    pair.server.fail(pair.server.calls[failed], codes.INTERNAL, "", [])
    pair.pump()
    assert 20_000 < pair.total.incoming < 22_000
    assert [pair.status(stream_id) for stream_id in (answered, small)] == [(0, ""), (0, "")]
    assert list(pair.server.calls) == [left]
    pair.server.lost()
    pair.assert_nothing_held()


@pytest.mark.parametrize("ended", [False, True], ids=["before its message", "without one"])
@pytest.mark.parametrize("plain", [False, True], ids=["native", "plain"])
@pytest.mark.parametrize("of_all", [False, True], ids=["of one connection", "of all"])
def test_a_call_whose_head_does_not_fit_is_refused_alone(of_all: bool, plain: bool, ended: bool) -> None:
    limits = Limits() if of_all else Limits(connection_bytes=50_000)
    pair = Pair(limits, TotalLimits(received_bytes=50_000) if of_all else TotalLimits(), plain)
    kept = [pair.ask(UNARY, LARGE) for _ in range(2)]
    refused = pair.ask(UNARY, LARGE, end=ended)
    pair.pump()
    status = pair.status(refused)
    assert status is not None
    assert status[0] == codes.RESOURCE_EXHAUSTED
    assert ("total_received_bytes" if of_all else "connection_received_bytes") in status[1]
    assert pair.call().state == ServerState.RECEIVED
    for stream_id in kept:
        pair.send(stream_id, b"x", end=True)
    pair.pump()
    for call in list(pair.server.calls.values()):
        pair.server.answer(call, b"y", [])
    pair.pump()
    assert [pair.status(stream_id) for stream_id in kept] == [(0, "")] * 2
    pair.assert_nothing_held()


def test_a_stream_that_nobody_reads_is_told_to_pause() -> None:
    pair = Pair()
    stream_id = pair.ask(BOTH)
    pair.pump()
    sent = 0
    for _ in range(400):
        pair.send(stream_id, bytes(10_000))
        sent += 10_000
        pair.pump()
    call = pair.server.calls[stream_id]
    held = pair.total.incoming
    assert UNREAD_BYTES < held < UNREAD_BYTES + pair.server.limits.stream_window_bytes + 100_000
    assert held < sent
    read = 0
    while read < 400:
        bodies = [body for happening, _, body, _ in pair.told if happening is Happening.MESSAGE]
        pair.told.clear()
        assert bodies, f"{read} messages came, and no more"
        for body in bodies:
            pair.server.consumed(call, body)
        read += len(bodies)
        pair.pump()
    assert pair.total.incoming == 0


def test_empty_messages_of_a_stream_are_not_free() -> None:
    pair = Pair(Limits(connection_bytes=100_000))
    stream_id = pair.ask(BOTH)
    pair.peer.send_data(stream_id, frame(b"") * 2_000)
    pair.pump()
    status = pair.status(stream_id)
    assert status is not None
    assert status[0] == codes.RESOURCE_EXHAUSTED
    told = [happening for happening, *_ in pair.told]
    assert told.count(Happening.MESSAGE) <= 100_000 // MESSAGE_OVERHEAD
    assert told[-1] is Happening.GONE
    pair.assert_nothing_held()


@pytest.mark.parametrize("of_all", [False, True], ids=["of one connection", "of all"])
def test_answers_that_nobody_takes_end_their_calls_and_no_others(of_all: bool) -> None:
    limits = Limits() if of_all else Limits(send_bytes=100_000)
    pair = Pair(limits, TotalLimits(send_bytes=100_000) if of_all else TotalLimits())
    calls = [pair.call() for _ in range(3)]
    pair.server.answer(calls[0], bytes(90_000), [])
    pair.server.answer(calls[1], bytes(20_000), [])
    pair.server.answer(calls[2], bytes(9_000), [])
    assert pair.total.outgoing == 99_000
    pair.pump()
    found = [pair.status(call.stream_id) for call in calls]
    assert found[0] == found[2] == (0, "")
    assert found[1] is not None
    assert found[1][0] == codes.RESOURCE_EXHAUSTED
    assert ("total_send_bytes" if of_all else "connection_send_bytes") in found[1][1]
    assert "90000 wait already" in found[1][1]
    pair.assert_nothing_held()


def test_one_answer_always_may_wait() -> None:
    pair = Pair(Limits(send_bytes=1_000))
    call = pair.call()
    pair.server.answer(call, bytes(50_000), [])
    pair.pump()
    assert pair.status(call.stream_id) == (0, "")


def test_a_stream_of_answers_pauses_while_its_peer_takes_none() -> None:
    pair = Pair()
    call = pair.call(DOWN)
    while pair.server.may_send(call):
        pair.server.send_message(call, bytes(50_000))
        pair.server.data_to_send()
    assert pair.total.outgoing < 400_000
    assert pair.server.lost()[0][0] is Happening.GONE
    pair.assert_nothing_held()


@pytest.mark.parametrize("plain", [False, True], ids=["native", "plain"])
def test_what_waits_for_others_leaves_room_for_small_answers_alone(plain: bool) -> None:
    pair = Pair(Limits(send_bytes=80_000), TotalLimits(send_bytes=100_000), plain)
    assert pair.server.has_room(1_000_000)
    pair.total.wait(60_000)
    assert pair.server.has_room(40_000)
    assert not pair.server.has_room(40_001)
    pair.total.wait(1_000_000)
    assert pair.server.has_room(16 << 10)
    assert not pair.server.has_room((16 << 10) + 1)
    first, second = pair.call(), pair.call()
    pair.server.answer(first, bytes(10_000), [])
    pair.server.answer(second, bytes(10_000), [])
    pair.pump()
    assert pair.status(first.stream_id) == (0, "")
    status = pair.status(second.stream_id)
    assert status is not None
    assert status[0] == codes.RESOURCE_EXHAUSTED
    pair.total.wait(-1_060_000)
    pair.assert_nothing_held()


@pytest.mark.parametrize("of_all", [False, True], ids=["of one connection", "of all"])
def test_messages_of_many_streams_share_what_may_wait(of_all: bool) -> None:
    limits = Limits() if of_all else Limits(send_bytes=1_000_000)
    pair = Pair(limits, TotalLimits(send_bytes=1_000_000) if of_all else TotalLimits())
    calls = [pair.call(DOWN) for _ in range(20)]
    sent = [pair.server.send_message(call, bytes(300_000)) for call in calls]
    assert sent == [True] * 3 + [False] * 17
    assert pair.total.outgoing == 900_000
    pair.pump()
    assert pair.server.send_message(calls[-1], bytes(300_000))
    pair.server.lost()
    pair.assert_nothing_held()


def test_what_a_handler_keeps_of_a_request_is_counted() -> None:
    pair = Pair(Limits(connection_bytes=100_000))
    first, second = pair.call(BOTH), pair.call(BOTH)
    for call in (first, second):
        pair.server.consumed(call, b"x")
    pair.server.keep(first, 60_000)
    with pytest.raises(FramingError, match="connection_received_bytes"):
        pair.server.keep(second, 60_000)
    assert pair.total.incoming == 60_000
    pair.server.keep(first, -60_000)
    pair.server.keep(second, 60_000)
    pair.server.fail(second, codes.INTERNAL, "", ())
    pair.server.fail(first, codes.INTERNAL, "", ())
    pair.pump()
    pair.assert_nothing_held()


@pytest.mark.parametrize("plain", [False, True], ids=["native", "plain"])
def test_calls_over_those_of_all_are_refused_where_a_connection_has_many(plain: bool) -> None:
    pair = Pair(totals=TotalLimits(max_calls=20), plain=plain)
    pair.total.open(1_000)
    streams = [pair.ask(BOTH if number % 2 else UNARY) for number in range(18)]
    pair.pump()
    assert (len(pair.server.calls), pair.total.calls) == (16, 1_016)
    for stream_id in streams[16:]:
        status = pair.status(stream_id)
        assert status is not None
        assert status[0] == codes.RESOURCE_EXHAUSTED
        assert "max_open_calls" in status[1]
    # One that is over makes room for another.
    pair.send(streams[0], b"x", end=True)
    pair.pump()
    pair.server.answer(pair.server.calls[streams[0]], b"y", [])
    last = pair.ask(UNARY)
    pair.pump()
    assert pair.status(last) is None
    pair.total.open(-1_000)
    more = [pair.ask(UNARY) for _ in range(6)]
    pair.pump()
    assert [pair.status(stream_id) is None for stream_id in more] == [True] * 4 + [False] * 2
    pair.server.lost()
    pair.assert_nothing_held()
