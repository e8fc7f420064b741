"""Heads of requests: what is taken, and how what is wrong is answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.rpc import codes
from steelyard.rpc.head import Head, Refused, read_head
from tests.rpc.peers import UNARY, Pair, head

MAX_BYTES = 4_000


def with_field(name: bytes, value: bytes | None) -> list[tuple[bytes, bytes]]:
    """A good head in which one field is another, or is missing."""
    fields = [field for field in head() if field[0] != name]
    return fields if value is None else [*fields, (name, value)]


def refused(fields: list[tuple[bytes, bytes]]) -> Refused:
    found = read_head(fields, MAX_BYTES)
    assert isinstance(found, Refused)
    return found


def test_a_good_one() -> None:
    assert read_head(head(), MAX_BYTES) == Head(UNARY, -1, b"identity", b"")
    more = (
        (b"grpc-timeout", b"2S"),
        (b"grpc-encoding", b"gzip"),
        (b"grpc-accept-encoding", b"gzip,identity"),
    )
    assert read_head(head(UNARY, *more), MAX_BYTES) == Head(UNARY, 2_000_000_000, b"gzip", b"gzip,identity")


@pytest.mark.parametrize(
    "content_type", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8"]
)
def test_content_types_of_grpc(content_type: bytes) -> None:
    assert isinstance(read_head(with_field(b"content-type", content_type), MAX_BYTES), Head)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"text/html",
        b"application/json",
        b"application/grpc-web",
        b"application/grpcx",
        b"APPLICATION/GRPC",
    ],
)
def test_other_content_types(content_type: bytes | None) -> None:
    found = refused(with_field(b"content-type", content_type))
    assert (found.http_status, found.code) == (415, codes.INTERNAL)
    assert "expected application/grpc, came" in found.message


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"post", b"CONNECT", b""])
def test_other_methods(method: bytes) -> None:
    found = refused(with_field(b":method", method))
    assert (found.http_status, found.code) == (405, codes.INTERNAL)
    assert "expected method POST" in found.message


@pytest.mark.parametrize("te", [None, b"", b"gzip", b"trailers, gzip"])
def test_without_trailers(te: bytes | None) -> None:
    found = refused(with_field(b"te", te))
    assert (found.http_status, found.code) == (400, codes.INTERNAL)
    assert "expected the header te: trailers" in found.message


@pytest.mark.parametrize("timeout", [b"", b"1", b"-5S", b"123456789n", b"1.0S"])
def test_a_bad_timeout(timeout: bytes) -> None:
    found = refused(with_field(b"grpc-timeout", timeout))
    assert (found.http_status, found.code) == (200, codes.INVALID_ARGUMENT)
    assert "grpc-timeout" in found.message


@pytest.mark.parametrize("encoding", [b"", b"br", b"snappy", b"gzip, deflate", b"GZIP"])
def test_unknown_encodings(encoding: bytes) -> None:
    found = refused(with_field(b"grpc-encoding", encoding))
    assert (found.http_status, found.code) == (200, codes.UNIMPLEMENTED)
    assert "expected identity, gzip or deflate" in found.message


def test_too_large_as_http2_counts() -> None:
    fields = head()
    size = sum(len(name) + len(value) + 32 for name, value in fields)
    assert isinstance(read_head(fields, size), Head)
    found = read_head(fields, size - 1)
    assert found == Refused(
        200, codes.RESOURCE_EXHAUSTED, f"the headers have {size} bytes, and the limit is {size - 1}"
    )


@given(st.lists(st.tuples(st.binary(max_size=16), st.binary(max_size=300)), max_size=12))
def test_anything_is_a_head_or_a_short_refusal(fields: list[tuple[bytes, bytes]]) -> None:
    found = read_head([*head(), *fields], MAX_BYTES)
    if isinstance(found, Refused):
        assert len(found.message) < 1_000


@pytest.mark.parametrize(
    ("name", "value", "http_status", "code"),
    [
        (b"content-type", b"text/plain", 415, codes.INTERNAL),
        (b":method", b"GET", 405, codes.INTERNAL),
        (b"te", b"gzip", 400, codes.INTERNAL),
        (b":path", b"/nobody/Knows", 200, codes.UNIMPLEMENTED),
        (b"grpc-timeout", b"never", 200, codes.INVALID_ARGUMENT),
        (b"grpc-encoding", b"br", 200, codes.UNIMPLEMENTED),
        (b"padding", bytes(40_000).replace(b"\0", b"x"), 200, codes.RESOURCE_EXHAUSTED),
    ],
)
def test_a_refused_call_is_answered_alone(name: bytes, value: bytes, http_status: int, code: int) -> None:
    pair = Pair()
    if name == b"te":
        # The library itself takes another te for a breach of HTTP/2, for that stream alone.
        code = -1
    fields = [(known, value if known == name else said) for known, said in head()]
    stream_id = pair.peer.send_request(fields if name in dict(fields) else [*fields, (name, value)])
    pair.peer.send_data(stream_id, bytes(70_000))
    pair.pump()
    if code < 0:
        assert pair.reset_code(stream_id) is not None
    else:
        assert pair.http_status(stream_id) == http_status
        status = pair.status(stream_id)
        assert status is not None
        assert status[0] == code
        assert pair.reset_code(stream_id) == codes.NO_ERROR
    assert pair.told == []
    good = pair.call()
    pair.server.answer(good, b"", [])
    pair.pump()
    assert pair.status(good.stream_id) == (0, "")
    pair.assert_nothing_held()
