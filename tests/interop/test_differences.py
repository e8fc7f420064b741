"""What the http2 front answers to requests that no gRPC library sends: the table in docs/front.md, row by row."""

import gzip

import pytest

from tests.interop.bodies import INFER, LIVE, STREAM_INFER, doubled
from tests.interop.headers import answer_to, framed
from tests.support.server import Server

OK, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 3, 8, 12, 13
PROTOCOL_ERROR = 1

BODY = doubled(1)
GOOD = framed(BODY)
# Without the time: a test is named by what it sends, and has to have the same name in every process.
PACKED = gzip.compress(BODY, mtime=0)


@pytest.fixture(scope="module")
def address(server: Server) -> str:
    return server.address


pytestmark = pytest.mark.parametrize("server", ["http2"], indirect=True)


@pytest.mark.parametrize(
    ("changed", "http_status"),
    [
        ({"content-type": "application/json"}, "415"),
        ({"content-type": "application/grpcx"}, "415"),
        ({"content-type": None}, "415"),
        ({":method": "GET"}, "405"),
        ({":method": "PUT"}, "405"),
        ({"te": None}, "400"),
    ],
)
def test_what_is_not_grpc_gets_a_status_of_http_and_one_of_grpc(
    address: str, changed: dict[str, str | None], http_status: str
) -> None:
    answer = answer_to(address, INFER, GOOD, changed)
    assert (answer.headers[":status"], answer.status) == (http_status, INTERNAL)
    assert "expected" in answer.headers["grpc-message"]


@pytest.mark.parametrize("changed", [{"te": "gzip"}, {":authority": None}, {":path": "x"}])
def test_what_is_not_even_http2_is_reset(address: str, changed: dict[str, str | None]) -> None:
    assert answer_to(address, LIVE, framed(b""), changed).reset == PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"grpc-timeout": "soon"}, INVALID_ARGUMENT),
        ({"grpc-timeout": "-1S"}, INVALID_ARGUMENT),
        ({"grpc-timeout": "123456789S"}, INVALID_ARGUMENT),
        ({"grpc-encoding": "br"}, UNIMPLEMENTED),
        ({"x": "a" * 40_000}, RESOURCE_EXHAUSTED),
        ({"x": "a" * 20_000}, OK),
        ({"content-type": "application/grpc+proto"}, OK),
        ({"x-bin": "!"}, OK),
    ],
)
def test_headers_of_a_call(address: str, changed: dict[str, str | None], status: int) -> None:
    answer = answer_to(address, INFER, GOOD, changed)
    assert (answer.headers[":status"], answer.status) == ("200", status)


def test_metadata_that_is_not_base64(address: str) -> None:
    assert answer_to(address, LIVE, framed(b""), {"x-bin": "!"}).status == INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", INTERNAL),
        (GOOD[:-3], INTERNAL),
        (GOOD[:2], INTERNAL),
        (GOOD + GOOD, INTERNAL),
        (GOOD + b"\0\0", INTERNAL),
        (framed(BODY, 2), INTERNAL),
        (framed(PACKED, 1), INTERNAL),
        (b"\0\xff\xff\xff\xff" + bytes(100), RESOURCE_EXHAUSTED),
    ],
)
def test_messages_that_are_none(address: str, sent: bytes, status: int) -> None:
    answer = answer_to(address, INFER, sent)
    assert answer.status == status
    assert not answer.body


@pytest.mark.parametrize("tail", [GOOD[:-3], b"\0\0", framed(BODY, 2)])
def test_messages_that_are_none_on_a_stream(address: str, tail: bytes) -> None:
    assert answer_to(address, STREAM_INFER, GOOD + tail).status == INTERNAL


@pytest.mark.parametrize(
    "packed",
    [BODY, PACKED[:-6], PACKED + b"xx", gzip.compress(BODY[:9], mtime=0) + gzip.compress(BODY[9:], mtime=0)],
)
def test_messages_that_cannot_be_inflated(address: str, packed: bytes) -> None:
    answer = answer_to(address, INFER, framed(packed, 1), {"grpc-encoding": "gzip"})
    assert answer.status == INVALID_ARGUMENT
