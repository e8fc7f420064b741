"""The raw form of BYTES tensors: four bytes of little-endian length before each element."""

import struct
from collections.abc import Iterable

from steelyard.wire import refusals

_LENGTH = struct.Struct("<I")


def encode_bytes_tensor(values: Iterable[bytes | str]) -> bytes:
    """The raw form of BYTES elements."""
    pieces = []
    for value in values:
        element = value.encode() if isinstance(value, str) else value
        if len(element) >= 2**32:
            raise ValueError(f"expected elements of less than 4 GiB, came {len(element)} bytes")
        pieces += [_LENGTH.pack(len(element)), element]
    return b"".join(pieces)


def decode_bytes_tensor(data: bytes | bytearray | memoryview) -> list[bytes]:
    """The elements of a BYTES tensor from its raw form.

    Raises InvalidRequest where a length or an element is cut off.
    """
    content = memoryview(data)
    values: list[bytes] = []
    at = 0
    while at < len(content):
        remaining = len(content) - at
        if remaining < _LENGTH.size:
            raise refusals.malformed_elements(
                f"expected a length of 4 bytes before element {len(values)}, came {remaining} bytes"
            )
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        remaining -= _LENGTH.size
        if length > remaining:
            raise refusals.malformed_elements(
                f"expected {length} bytes of element {len(values)}, came {remaining}"
            )
        values.append(bytes(content[at : at + length]))
        at += length
    return values
