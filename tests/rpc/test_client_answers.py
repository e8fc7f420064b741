"""What a client makes of servers that answer well, badly, or not at all."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ngh2.events import RequestReceived, StreamReset

from steelyard.rpc import codes
from steelyard.rpc.answer import Ending, read_answer_head, read_ending
from steelyard.rpc.client_calls import ClientHappening
from steelyard.rpc.framing import FramingError, frame
from steelyard.rpc.limits import Limits
from tests.rpc.client_peers import GOOD_END, GOOD_HEAD, Odd, Served, client, told_of
from tests.rpc.peers import BOTH, UNARY

HEADERS, MESSAGE, ENDED = ClientHappening.HEADERS, ClientHappening.MESSAGE, ClientHappening.ENDED


def test_a_good_answer() -> None:
    odd = Odd()
    call = odd.begin()
    odd.answer(
        call,
        (*GOOD_HEAD, (b"x-first", b"1")),
        frame(b"body"),
        ((b"grpc-status", b"0"), (b"x-last-bin", b"AAE")),
    )
    assert odd.told == [(ENDED, call, b"body", False)]
    assert (call.code, call.message) == (codes.OK, "")
    assert call.metadata() == (("x-first", "1"),)
    assert call.trailing_metadata() == (("x-last-bin", b"\0\1"),)
    assert not odd.client.calls


def test_the_head_of_a_request() -> None:
    odd = Odd()
    call = odd.client.start("/a/B", 1_500_000_000, [(b"x-own", b"1")])
    odd.client.send(call, b"x", last=True)
    odd.pump()
    request = next(event for event in odd.seen if isinstance(event, RequestReceived))
    assert dict(request.headers) == {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/a/B",
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
        b"user-agent": b"tests",
        b"grpc-accept-encoding": b"identity,deflate,gzip",
        b"grpc-timeout": b"1500000u",
        b"x-own": b"1",
    }


@pytest.mark.parametrize(
    ("head", "data", "end", "code", "message"),
    [
        ((*GOOD_HEAD, (b"grpc-status", b"5"), (b"grpc-message", b"no %C3%A9")), None, None, 5, "no é"),
        (((b":status", b"404"), (b"grpc-status", b"7")), None, None, 7, ""),
        (((b":status", b"404"),), None, None, codes.UNIMPLEMENTED, "HTTP status 404"),
        (((b":status", b"401"),), None, None, 16, "HTTP status 401"),
        (((b":status", b"503"), (b"content-type", b"text/html")), b"<h1>", None, codes.UNAVAILABLE, "503"),
        (((b":status", b"418"),), None, None, codes.UNKNOWN, "418"),
        (((b":status", b"200"), (b"content-type", b"text/html")), b"<h1>", None, codes.UNKNOWN, "text/html"),
        (((b":status", b"200"),), None, None, codes.UNKNOWN, "application/grpc, came none"),
        ((*GOOD_HEAD, *GOOD_END), frame(b"x")[:3], GOOD_END, codes.INTERNAL, "middle of a message"),
        ((*GOOD_HEAD, *GOOD_END), None, ((b"grpc-status", b"5"),), 5, ""),
        ((*GOOD_HEAD, *GOOD_END), frame(b"x"), None, codes.INTERNAL, "without trailers"),
        ((*GOOD_HEAD, *GOOD_END), None, None, codes.INTERNAL, "none came"),
        ((*GOOD_HEAD, (b"grpc-status", b"5"), *GOOD_END), b"", None, codes.INTERNAL, "without trailers"),
        (((b":status", b"503"), *GOOD_END), b"", None, codes.UNAVAILABLE, "HTTP status 503"),
        ((*GOOD_HEAD, (b"grpc-status", b"5"), (b"grpc-message", b"no")), b"", None, 5, "no"),
        (GOOD_HEAD, None, None, codes.UNKNOWN, "without grpc-status"),
        (GOOD_HEAD, frame(b"x"), ((b"x", b"y"),), codes.UNKNOWN, "without grpc-status"),
        (GOOD_HEAD, frame(b"x"), ((b"grpc-status", b"17"),), codes.UNKNOWN, "'17' is none"),
        (GOOD_HEAD, frame(b"x"), ((b"grpc-status", b"-1"),), codes.UNKNOWN, "'-1' is none"),
        (GOOD_HEAD, frame(b"x"), None, codes.INTERNAL, "without trailers"),
        (GOOD_HEAD, None, GOOD_END, codes.INTERNAL, "none came"),
        (GOOD_HEAD, frame(b"x") * 2, GOOD_END, codes.INTERNAL, "a second came"),
        (GOOD_HEAD, frame(b"xy")[:-1], GOOD_END, codes.INTERNAL, "middle of a message"),
        (GOOD_HEAD, frame(b"x")[:5], GOOD_END, codes.INTERNAL, "middle of a message"),
        (GOOD_HEAD, frame(b"x")[:3], GOOD_END, codes.INTERNAL, "middle of a message"),
        (GOOD_HEAD, b"\2\0\0\0\1x", GOOD_END, codes.INTERNAL, "begins with 0 or 1"),
        (GOOD_HEAD, frame(b"x", True), GOOD_END, codes.INTERNAL, "grpc-encoding names nothing"),
        ((*GOOD_HEAD, (b"grpc-encoding", b"br")), frame(b"x"), GOOD_END, codes.INTERNAL, "'br'"),
        ((*GOOD_HEAD, (b"x", b"y" * 40_000)), frame(b"x"), GOOD_END, codes.RESOURCE_EXHAUSTED, "32768"),
        (GOOD_HEAD, frame(b"x"), (*GOOD_END, (b"x", b"y" * 40_000)), codes.RESOURCE_EXHAUSTED, "32768"),
    ],
)
def test_other_answers(head, data, end, code: int, message: str) -> None:
    odd = Odd()
    call, next_call = odd.begin(), None
    odd.answer(call, head, data, end)
    assert odd.ends() == [call]
    assert call.code == code
    assert message in call.message
    assert not call.never_ran
    next_call = odd.begin()
    odd.answer(next_call, GOOD_HEAD, frame(b"fine"), GOOD_END)
    assert (next_call.code, next_call.body) == (codes.OK, b"fine")


@pytest.mark.parametrize("streams", [False, True])
def test_that_a_call_ended_well_is_believed_at_its_end_alone(streams: bool) -> None:
    odd = Odd()
    call = odd.begin(streams_answers=streams)
    odd.answer(call, (*GOOD_HEAD, *GOOD_END), frame(b"body"))
    if streams:
        assert told_of(call, odd.told) == [HEADERS, MESSAGE, ENDED]
    assert call.code == codes.INTERNAL
    call = odd.begin(streams_answers=streams)
    odd.answer(call, (*GOOD_HEAD, *GOOD_END), frame(b"body"), GOOD_END)
    assert call.code == codes.OK
    assert b"body" in [body for _, about, body, _ in odd.told if about is call]


@pytest.mark.parametrize(
    ("error", "code", "never_ran"),
    [
        (codes.NO_ERROR, codes.INTERNAL, False),
        (codes.REFUSED_STREAM, codes.UNAVAILABLE, True),
        (codes.CANCEL, codes.CANCELLED, False),
        (codes.ENHANCE_YOUR_CALM, codes.RESOURCE_EXHAUSTED, False),
        (1, codes.INTERNAL, False),
    ],
)
def test_a_reset(error: int, code: int, never_ran: bool) -> None:
    odd = Odd()
    call = odd.begin()
    odd.server.reset_stream(call.stream_id, error)
    odd.pump()
    assert odd.ends() == [call]
    assert (call.code, call.never_ran) == (code, never_ran)


def test_an_oversized_answer_is_left_when_its_prefix_announces_it() -> None:
    odd = Odd(Limits(max_message_bytes=1000))
    call = odd.begin()
    odd.server.send_response(call.stream_id, GOOD_HEAD)
    odd.server.send_data(call.stream_id, frame(b"x" * 100_000)[:20])
    odd.pump()
    assert odd.ends() == [call]
    assert call.code == codes.RESOURCE_EXHAUSTED
    assert "100000 bytes, and the limit is 1000" in call.message
    assert any(isinstance(event, StreamReset) and event.error_code == codes.CANCEL for event in odd.seen)


def test_ten_thousand_oversized_answers_leave_the_connection_whole() -> None:
    odd = Odd(Limits(max_message_bytes=1000))
    for _ in range(10_000):
        call = odd.begin()
        odd.server.send_response(call.stream_id, GOOD_HEAD)
        odd.server.send_data(call.stream_id, frame(b"x" * 4000))
        odd.pump()
        odd.told.clear()
        odd.seen.clear()
    call = odd.begin()
    odd.answer(call, GOOD_HEAD, frame(b"fine"), GOOD_END)
    assert call.body == b"fine"


def test_a_goaway_ends_what_never_ran_and_leaves_the_rest() -> None:
    odd = Odd()
    first, second = odd.begin(), odd.begin()
    odd.server.send_goaway(0, last_stream_id=first.stream_id)
    odd.pump()
    assert odd.ends() == [second]
    assert second.never_ran
    assert second.code == codes.UNAVAILABLE
    assert odd.client.draining
    assert not odd.client.may_start(0)
    odd.answer(first, GOOD_HEAD, frame(b"fine"), GOOD_END)
    assert first.body == b"fine"


def test_a_lost_connection_ends_every_call() -> None:
    odd = Odd()
    calls = [odd.begin(), odd.begin(streams_answers=True)]
    lost = odd.client.lost("the cable was cut")
    assert [call for _, call, _, _ in lost] == calls
    assert {(call.code, call.message) for call in calls} == {(codes.UNAVAILABLE, "the cable was cut")}
    assert odd.client.data_to_send() == b""
    assert odd.client.receive(b"x") == []
    assert odd.client.lost("again") == []


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("broken", [b"\xff" * 100, b"\0\0\0\0\0\0\0\0\0", b"\0\0\1\4\0\0\0\0\0\0"])
def test_what_is_sent_on_a_broken_connection_goes_nowhere(broken: bytes, written: bool) -> None:
    odd = Odd()
    calls = [odd.begin(streams_answers=True, end=False) for _ in range(4)]
    odd.client.receive(broken)
    if written:
        while odd.client.data_to_send():
            pass
    assert not odd.client.may_start(0)
    odd.client.send(calls[0], b"x")
    odd.client.send(calls[1], bytes(100_000), last=True)
    odd.client.end(calls[2])
    odd.client.consumed(calls[3], b"")
    odd.client.cancel(calls[3])
    assert odd.client.may_send(calls[0])
    odd.client.data_to_send()
    assert odd.client.closed
    assert [call for _, call, _, _ in odd.client.lost("gone")] == calls[:3]


@pytest.mark.parametrize("sent", ["nothing", "the head", "all"])
def test_calls_that_are_cancelled_leave_nothing_in_the_library(sent: str) -> None:
    odd = Odd(Limits(send_bytes=1 << 20))
    for _ in range(300):
        call = odd.client.start(UNARY.decode(), streams_answers=False)
        if sent == "the head":
            odd.pump()
        odd.client.send(call, bytes(10_000), last=True)
        if sent == "all":
            odd.pump()
        odd.client.cancel(call)
        odd.pump()
    assert not odd.client.calls
    assert not odd.told
    assert odd.client.may_start(1 << 20)
    call = odd.begin()
    odd.answer(call, GOOD_HEAD, frame(b"fine"), GOOD_END)
    assert call.body == b"fine"


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100, b"\xff" * 100])
def test_what_is_no_http2_ends_the_connection(garbage: bytes) -> None:
    connection = client()
    connection.data_to_send()
    connection.receive(garbage)
    connection.data_to_send()
    assert connection.closed
    assert not connection.ready
    assert not connection.may_start(0)
    assert connection.problem


def test_an_answer_before_the_end_of_the_request_stops_it() -> None:
    odd = Odd()
    call = odd.begin(streams_answers=True, end=False)
    odd.answer(call, (*GOOD_HEAD, (b"grpc-status", b"3")))
    assert told_of(call, odd.told) == [ENDED]
    assert any(isinstance(event, StreamReset) and event.error_code == codes.NO_ERROR for event in odd.seen)
    assert not odd.client.calls


def test_a_field_that_http2_forbids_ends_its_call_alone() -> None:
    odd = Odd()
    call = odd.begin()
    odd.answer(call, (*GOOD_HEAD, (b"connection", b"close")), frame(b"x"), GOOD_END)
    assert odd.ends() == [call]
    assert call.code == codes.INTERNAL
    assert not odd.client.closed


def test_no_more_calls_than_the_server_takes() -> None:
    served = Served(server_limits=Limits(max_streams=3))
    for _ in range(3):
        assert served.client.may_start(1)
        served.client.send(served.client.start(UNARY.decode(), streams_answers=False), b"x", last=True)
    assert not served.client.may_start(1)
    served.to_server()
    served.server.answer(served.server_told[0][1], b"y", [])
    served.pump()
    assert served.client.may_start(1)


def test_what_waits_to_be_sent_is_bounded() -> None:
    served = Served(client_limits=Limits(send_bytes=1 << 20))
    call = served.client.start(UNARY.decode(), streams_answers=False)
    served.client.send(call, bytes(2 << 20), last=True)
    assert not served.client.may_start(1)
    served.pump()
    assert served.client.may_start(1)
    stream = served.client.start(BOTH.decode())
    count = 0
    while served.client.may_send(stream):
        served.client.send(stream, bytes(100_000))
        count += 1
    assert count == 3


def test_messages_and_metadata_over_the_limits_are_not_sent() -> None:
    connection = client(Limits(max_message_bytes=10, max_header_bytes=100))
    with pytest.raises(FramingError, match="the metadata has"):
        connection.start("/a/B", metadata=[(b"x", b"y" * 100)])
    call = connection.start("/a/B")
    with pytest.raises(FramingError, match="11 bytes, and the limit is 10"):
        connection.send(call, b"x" * 11)
    connection.send(call, b"x" * 10)


def test_a_stream_that_is_not_read_is_told_to_pause() -> None:
    served = Served()
    call = served.client.start(BOTH.decode())
    served.to_server()
    peer = served.server_told[-1][1]
    for _ in range(50):
        if served.server.may_send(peer):
            served.server.send_message(peer, bytes(100_000))
        served.pump()
    unread = [body for happening, _, body, _ in served.client_told if happening is MESSAGE]
    assert sum(map(len, unread)) < 2 << 20
    for body in unread:
        served.client.consumed(call, body)
    served.pump()
    assert len([1 for happening, _, _, _ in served.client_told if happening is MESSAGE]) > len(unread)


def test_pings_are_answered() -> None:
    served = Served()
    served.client.ping()
    served.pump()
    assert served.client.pings == 1


fields = st.lists(
    st.tuples(
        st.sampled_from(
            [b"content-type", b"grpc-status", b"grpc-message", b"grpc-encoding", b"x-own", b"x-bin"]
        )
        | st.binary(min_size=1, max_size=8),
        st.sampled_from([b"0", b"7", b"application/grpc", b"gzip", b"%zz"]) | st.binary(max_size=20),
    ),
    max_size=6,
)


@given(st.integers(200, 599), fields, st.booleans())
@example(200, [(b":status", b"application/grpc")], False)
def test_anything_is_an_encoding_or_an_ending(
    status: int, came: list[tuple[bytes, bytes]], ended: bool
) -> None:
    head = read_answer_head([(b":status", b"%d" % status), *came], 1000, ended)
    assert isinstance(head, Ending) or head in (b"identity", b"gzip", b"deflate")
    assert ended or not isinstance(head, Ending) or head.code != codes.OK
    ending = read_ending(came, 1000)
    for one in (head, ending):
        if isinstance(one, Ending):
            assert 0 <= one.code <= codes.MAX_CODE
            assert len(one.message) < 1200
