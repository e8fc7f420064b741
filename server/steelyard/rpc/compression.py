"""Compressed messages: which encodings there are, and inflating that stops at a limit."""

import zlib

IDENTITY = b"identity"
GZIP = b"gzip"
DEFLATE = b"deflate"

# gRPC's deflate is zlib's format (RFC 1950), not the bare stream.
_WINDOW_BITS = {GZIP: 16 + zlib.MAX_WBITS, DEFLATE: zlib.MAX_WBITS}

ENCODINGS = (IDENTITY, DEFLATE, GZIP)
ACCEPTED = b",".join(ENCODINGS)

# Speed over size, since what is compressed waits for it; a quarter of the time of zlib's default.
LEVEL = 1


class TooMuch(Exception):
    """What comes out is longer than the limit."""


def inflate(encoding: bytes, body: bytes, max_bytes: int) -> bytes:
    """What `body` holds. Stops where more than `max_bytes` come out and raises TooMuch; raises ValueError where the
    stream is damaged, cut off, or followed by something else."""
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        # One byte more than the limit tells an exact fit from too much.
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise ValueError(f"the message is no {encoding.decode()} stream: {error}") from None
    if len(plain) > max_bytes:
        raise TooMuch
    if not stream.eof or stream.unused_data:
        problem = "is cut off" if not stream.eof else "has bytes after its end"
        raise ValueError(f"the message's {encoding.decode()} stream {problem}")
    return plain


def is_accepted(encoding: bytes, accepts: bytes) -> bool:
    """Whether a grpc-accept-encoding header's value names `encoding`."""
    return encoding in accepts and encoding in (name.strip() for name in accepts.split(b","))


def deflate(encoding: bytes, body: bytes) -> bytes:
    """`body` compressed."""
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, _WINDOW_BITS[encoding])
    return stream.compress(body) + stream.flush()
