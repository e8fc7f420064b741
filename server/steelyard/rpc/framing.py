"""gRPC's framing: a byte that says whether a message is compressed, four of its length, and the message."""

from struct import Struct

PREFIX = Struct(">BI")
PREFIX_BYTES = PREFIX.size


class FramingError(Exception):
    """What came is no message. `code` is the status that the call ends with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame(body: bytes, compressed: bool = False) -> bytes:
    """`body` with its prefix."""
    return PREFIX.pack(compressed, len(body)) + body


def prefix(body: bytes, compressed: bool = False) -> bytes:
    """The prefix of `body` alone, for bodies that are not worth a copy."""
    return PREFIX.pack(compressed, len(body))
