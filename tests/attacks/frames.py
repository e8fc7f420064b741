"""HTTP/2's frames made by hand, for peers that no library would let us be."""

from collections.abc import Iterable, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4

INTERNAL_ERROR = 2
ENHANCE_YOUR_CALM = 11


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream_id: int = 0) -> bytes:
    """One frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream_id.to_bytes(4) + payload


def block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Header fields as HPACK has them without tables and without Huffman's code."""
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def remembered(name: bytes, value: bytes) -> bytes:
    """A field that both sides put into their tables, where its number is then 62."""
    return b"\x40" + _text(name) + _text(value)


def update(stream_id: int, by: int) -> bytes:
    """A WINDOW_UPDATE."""
    return frame(WINDOW_UPDATE, by.to_bytes(4), stream_id=stream_id)


def _text(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),)) + text
    rest, coded = len(text) - 127, bytearray(b"\x7f")
    while rest >= 128:
        coded.append(rest & 0x7F | 0x80)
        rest >>= 7
    coded.append(rest)
    return bytes(coded) + text


def stream_ids() -> Iterator[int]:
    """The streams that a client may begin, in order."""
    return iter(range(1, 1 << 31, 2))
