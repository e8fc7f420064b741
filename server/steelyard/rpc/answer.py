"""The head and the end of an answer: header fields held against what gRPC over HTTP/2 asks of a server."""

from collections.abc import Sequence
from typing import NamedTuple

from steelyard.rpc import codes
from steelyard.rpc.compression import DEFLATE, GZIP, IDENTITY
from steelyard.rpc.head import FIELD_OVERHEAD, is_grpc
from steelyard.rpc.metadata import Header
from steelyard.rpc.percent import percent_decode


class Ending(NamedTuple):
    """How a call ended."""

    code: int
    message: str


_ENDED_WELL = Ending(codes.OK, "")


def read_answer_head(fields: Sequence[Header], max_bytes: int, ended: bool) -> bytes | Ending:
    """The encoding of the messages that follow, or how the call has ended where none can.

    max_bytes: of the list, as HTTP/2 counts it. ended: whether nothing follows the head.
    """
    status = content_type = b""
    encoding = IDENTITY
    has_status = False
    size = 0
    for name, value in fields:
        size += len(name) + len(value) + FIELD_OVERHEAD
        if name == b":status":
            status = value
        elif name == b"content-type":
            content_type = value
        elif name == b"grpc-encoding":
            encoding = value
        elif name == b"grpc-status":
            has_status = True
    if has_status:
        # Whatever else the head says: here stands how the call ended. That it ended well, the last fields alone say.
        ending = read_ending(fields, max_bytes)
        if ended or ending.code != codes.OK:
            return ending
    if size > max_bytes:
        return _too_long(size, max_bytes)
    if status != b"200":
        code = codes.OF_HTTP_STATUS.get(int(status) if status.isdigit() else 0, codes.UNKNOWN)
        shown = status[:80].decode("utf-8", "replace")
        return Ending(code, f"the server answered HTTP status {shown} without grpc-status")
    if not is_grpc(content_type):
        came = repr(content_type[:80].decode("utf-8", "replace")) if content_type else "none"
        return Ending(codes.UNKNOWN, f"expected an answer of application/grpc, came {came}")
    if encoding not in (IDENTITY, GZIP, DEFLATE):
        came = repr(encoding[:80].decode("utf-8", "replace"))
        return Ending(codes.INTERNAL, f"grpc-encoding {came}: expected identity, gzip or deflate")
    return encoding


def read_ending(fields: Sequence[Header], max_bytes: int) -> Ending:
    """What the last fields of an answer say; `max_bytes` as above."""
    found = b""
    message = b""
    size = 0
    for name, value in fields:
        size += len(name) + len(value) + FIELD_OVERHEAD
        if name == b"grpc-status":
            found = value
        elif name == b"grpc-message":
            message = value
    if size > max_bytes:
        return _too_long(size, max_bytes)
    if found == b"0":
        return _ENDED_WELL
    if not found:
        return Ending(codes.UNKNOWN, "the answer ended without grpc-status")
    if not found.isdigit() or len(found) > 2 or int(found) > codes.MAX_CODE:
        came = repr(found[:80].decode("utf-8", "replace"))
        return Ending(codes.UNKNOWN, f"grpc-status {came} is none: {percent_decode(message)}")
    return Ending(int(found), percent_decode(message))


def _too_long(size: int, max_bytes: int) -> Ending:
    return Ending(
        codes.RESOURCE_EXHAUSTED, f"the answer's headers have {size} bytes, and the limit is {max_bytes}"
    )
