"""gRPC's framing: a byte that says whether a message is compressed, four of its length, and the message."""

from struct import Struct

from steelyard.rpc import codes

Message = tuple[bytes, bool]
"""The body, and whether it is compressed."""

PREFIX = Struct(">BI")
PREFIX_BYTES = PREFIX.size

# Bodies up to here are copied behind their prefix: one piece less for the library to hold.
COPIED_BYTES = 16 << 10

# What a message costs beside its bytes; a stream of empty ones would cost nothing otherwise.
MESSAGE_OVERHEAD = 128


class FramingError(Exception):
    """What came is no message. `code` is the status that the call ends with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def bad_flag(flag: int) -> FramingError:
    """The first byte of a message is none that gRPC knows."""
    return FramingError(codes.INTERNAL, f"a message begins with 0 or 1, this one with {flag}")


def too_large(length: int, max_bytes: int) -> FramingError:
    """A message is announced that has too many bytes."""
    return FramingError(
        codes.RESOURCE_EXHAUSTED,
        f"the message has {length} bytes, and the limit is {max_bytes} (max_message_bytes)",
    )


def frame(body: bytes, compressed: bool = False) -> bytes:
    """`body` with its prefix."""
    return PREFIX.pack(compressed, len(body)) + body


def prefix(body: bytes, compressed: bool = False) -> bytes:
    """The prefix of `body` alone, for bodies that are not worth a copy."""
    return PREFIX.pack(compressed, len(body))
