"""The native way of a call at the server, held against its plain twin: the same in, the same out."""

import contextlib
from collections.abc import Sequence
from typing import Any

import ngh2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ngh2.config import Role
from ngh2.exceptions import StreamProtocolError

from steelyard._native import rpc as native
from steelyard.rpc.calls import Happening, Method
from steelyard.rpc.framing import frame
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.rpc.plain.ledger import Ledger as PlainLedger
from steelyard.rpc.plain.traffic import Traffic as PlainTraffic
from steelyard.rpc.server import ServerConnection

METHODS = {
    b"/s/One": Method("/s/One", False, False, None),
    b"/s/Many": Method("/s/Many", True, True, None),
}
LIMITS = Limits(max_message_bytes=1000, max_header_bytes=4000, send_bytes=3000, connection_bytes=8000)
HEADERS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":authority", b"a"),
    (b":path", b"/s/One"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]

Headers = Sequence[tuple[bytes, bytes]]
Call = tuple[Headers, list[bytes], bool]
"""Headers, pieces of the body, and whether the last ends the request."""


def headers_with(**changes: bytes | None) -> Headers:
    """HEADERS with some changed, left out where None, or added."""
    names = {name.replace("_", "-").encode(): value for name, value in changes.items()}
    kept = [(name, names.pop(name.lstrip(b":"), value)) for name, value in HEADERS]
    return [(name, value) for name, value in (*kept, *names.items()) if value is not None]


def answers(calls: Sequence[Call], answer_bytes: int, plain: bool) -> list[Any]:
    """What a server's connection tells, sends and holds when a client makes `calls` on one connection."""
    client = ngh2.Connection(Role.CLIENT)
    client.initiate_connection()
    if plain:
        total: Any = PlainLedger()
        traffic: Any = PlainTraffic
    else:
        total = native.Ledger()
        traffic = native.Traffic
    server = ServerConnection(METHODS, LIMITS, TotalLimits(), total, traffic)
    found: list[Any] = []
    for headers, pieces, ended in calls:
        stream_id = client.send_request(headers)
        found += pass_on(client, server)
        # The server may have ended the call by now.
        with contextlib.suppress(StreamProtocolError):
            for place, piece in enumerate(pieces):
                client.send_data(stream_id, piece, end_stream=ended and place == len(pieces) - 1)
            if ended and not pieces:
                client.end_stream(stream_id)
        found += pass_on(client, server)
    held = (server.ledger.incoming, server.ledger.working)
    found.append(held)
    for call in list(server.calls.values()):
        if call.state == 1:
            server.answer(call, b"y" * answer_bytes, [(b"x", b"1")])
    found += pass_on(client, server)
    found.append((server.ledger.outgoing, server.ledger.working, total.outgoing, sorted(server.calls)))
    found.append((server.ledger.incoming, total.incoming))
    found += pass_on(client, server)
    server.lost()
    found.append((total.incoming, total.working, total.outgoing))
    return found


def pass_on(client: Any, server: ServerConnection) -> list[Any]:
    """Carries what there is both ways once; what the server told, and what it sent."""
    told = [
        (
            happening,
            call.stream_id,
            call.timeout_ns,
            call.encoding,
            call.accepts,
            call.traceparent,
            call.metadata(),
            body,
            compressed,
        )
        if happening is not Happening.GONE
        else (happening, call.stream_id)
        for happening, call, body, compressed in server.receive(client.data_to_send())
    ]
    sent = b""
    while data := server.data_to_send():
        sent += data
    client.receive_data(sent)
    return [told, sent]


types = [b"application/grpc", b"application/grpc+proto", b"application/grpcx", b"text/plain"]
encodings = [b"gzip", b"deflate", b"identity", b"br"]
timeouts = [b"1S", b"99999999H", b"123456789m", b"S", b"1x", b""]
paths = [b"/s/One", b"/s/Many", b"/s/None"]
others = [None, b"POST", b"GET", b"trailers", b"x" * 2500, b"x" * 4000]
values = st.sampled_from([*types, *encodings, *timeouts, *paths, *others])
heads = st.builds(
    lambda changes: headers_with(**changes),
    st.dictionaries(
        st.sampled_from(["method", "path", "content_type", "te", "grpc_timeout", "grpc_encoding"])
        | st.sampled_from(["grpc_accept_encoding", "x"]),
        values,
        max_size=2,
    ),
).filter(lambda headers: {b":method", b":path"} <= {name for name, value in headers})
messages = st.sampled_from([b"", b"a", b"b" * 999, b"c" * 1000, b"d" * 1001])
bodies = st.lists(
    st.builds(frame, messages)
    | st.builds(lambda body: frame(body, True), messages)
    | st.sampled_from([b"\2\0\0\0\0", b"\0\0", b""]),
    max_size=3,
)


@given(
    st.lists(st.tuples(heads, bodies, st.booleans()), max_size=4),
    st.sampled_from([0, 1, 1400, 2900, 20_000]),
)
@example([(HEADERS, [frame(b"a")], True)] * 3, 1400)
@example([(headers_with(path=b"/s/Many"), [frame(b"a") + frame(b"b")], True)], 1)
@example([(HEADERS, [frame(b"a"), frame(b"b")], True)], 1)
@example([(headers_with(x=b"x" * 2500), [frame(b"a")], True)] * 4, 1)
@example([(headers_with(x=b"x" * 2500), [frame(b"a" * 9)[:7]], False)] * 4, 1)
def test_both_do_the_same(calls: list[Call], answer_bytes: int) -> None:
    assert answers(calls, answer_bytes, plain=False) == answers(calls, answer_bytes, plain=True)


@pytest.mark.parametrize("plain", [False, True])
def test_a_call_is_told_and_answered(plain: bool) -> None:
    found = answers([(headers_with(x=b"v"), [frame(b"body")], True)], 4, plain)
    told = found[2]
    metadata = (("x", "v"),)
    assert told == [(Happening.REQUEST, 1, -1, b"identity", b"", b"", metadata, b"body", False)]
    assert found[4] == (0, 4)
    assert frame(b"yyyy") in found[6]
    assert found[7] == (0, 0, 0, [])
