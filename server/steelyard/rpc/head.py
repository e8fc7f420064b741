"""The head of a request: its header fields held against what gRPC over HTTP/2 asks."""

from collections.abc import Sequence
from typing import NamedTuple

from steelyard.rpc import codes
from steelyard.rpc.compression import DEFLATE, GZIP, IDENTITY
from steelyard.rpc.metadata import Header
from steelyard.rpc.timeouts import parse_timeout

# HTTP/2 counts each field so much over its name and value.
FIELD_OVERHEAD = 32

# What a decoded field takes in memory over its name and value: a tuple, two objects, and a place among the fields.
HELD_OVERHEAD = 150


class Refused(NamedTuple):
    """Why a call ends before it began."""

    http_status: int
    """200 where the answer is gRPC's; else the peer is no gRPC client, or not a good one."""
    code: int
    message: str


class Head(NamedTuple):
    """What a request's headers say."""

    path: bytes
    timeout_ns: int
    """-1 where the caller set none."""
    encoding: bytes
    accepts: bytes
    """The encodings that the caller understands, as it wrote them; empty where it did not."""
    traceparent: bytes = b""
    """Of W3C Trace Context, as the caller wrote it; empty where it did not."""


def read_head(fields: Sequence[Header], max_bytes: int) -> Head | Refused:
    """The head in `fields`, or why the call is refused; `max_bytes` as HTTP/2 counts header lists."""
    path = content_type = method = te = accepts = traceparent = b""
    encoding = IDENTITY
    timeout_ns = -1
    size = 0
    problem: Refused | None = None
    for name, value in fields:
        size += len(name) + len(value) + FIELD_OVERHEAD
        if name == b":path":
            path = value
        elif name == b":method":
            method = value
        elif name == b"content-type":
            content_type = value
        elif name == b"te":
            te = value
        elif name == b"grpc-timeout":
            try:
                timeout_ns = parse_timeout(value)
            except ValueError as error:
                text = f"grpc-timeout {_shown(value)}: {error}"
                problem = Refused(200, codes.INVALID_ARGUMENT, text)
        elif name == b"grpc-encoding":
            encoding = value
            if encoding not in (IDENTITY, GZIP, DEFLATE):
                text = f"grpc-encoding {_shown(encoding)}: expected identity, gzip or deflate"
                problem = Refused(200, codes.UNIMPLEMENTED, text)
        elif name == b"grpc-accept-encoding":
            accepts = value
        elif name == b"traceparent":
            traceparent = value
    if method != b"POST":
        return Refused(405, codes.INTERNAL, f"expected method POST, came {_shown(method)}")
    if not is_grpc(content_type):
        return Refused(415, codes.INTERNAL, f"expected application/grpc, came {_shown(content_type)}")
    if te != b"trailers":
        # A proxy that drops trailers would turn every status into a lost one.
        return Refused(400, codes.INTERNAL, f"expected the header te: trailers, came {_shown(te)}")
    if size > max_bytes:
        return Refused(
            200, codes.RESOURCE_EXHAUSTED, f"the headers have {size} bytes, and the limit is {max_bytes}"
        )
    if problem is not None:
        return problem
    return Head(path, timeout_ns, encoding, accepts, traceparent)


def is_grpc(content_type: bytes) -> bool:
    """Whether a content type is gRPC's, of whatever kind its messages are."""
    return content_type == b"application/grpc" or content_type.startswith(
        (b"application/grpc+", b"application/grpc;")
    )


def head_size(fields: Sequence[Header]) -> int:
    """The bytes of header fields as HTTP/2 counts them."""
    return sum(len(name) + len(value) + FIELD_OVERHEAD for name, value in fields)


def held_bytes(fields: Sequence[Header]) -> int:
    """The bytes that decoded header fields take here, about."""
    return sum(len(name) + len(value) + HELD_OVERHEAD for name, value in fields)


def _shown(value: bytes) -> str:
    return repr(value[:80].decode("utf-8", "replace")) if value else "none"
