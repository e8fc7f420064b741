"""The elements of a BYTES tensor, as views into the request."""

import struct
from collections.abc import Iterable, Sequence

from steelyard.errors import InvalidRequest

_LENGTH = struct.Struct("<I")


def element_views(data: bytes | memoryview, rows: int) -> list[memoryview]:
    """The `rows` elements of the raw form of a BYTES tensor, without a copy.

    Raises ValueError where `data` holds more or fewer, or one that is cut off.
    """
    content = memoryview(data)
    views = []
    at = 0
    size = len(content)
    for row in range(rows):
        if _LENGTH.size > size - at:
            raise ValueError(f"expected {rows} elements, got data that ends in element {row}")
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        if length > size - at:
            raise ValueError(f"expected {rows} elements, got data that ends in element {row}")
        views.append(content[at : at + length])
        at += length
    if at != size:
        raise ValueError(f"expected {rows} elements, got {size - at} bytes more")
    return views


def request_elements(source: str, data: bytes | memoryview, rows: int) -> list[memoryview]:
    """The same of the caller's tensor `source`. Raises InvalidRequest that names it."""
    try:
        return element_views(data, rows)
    except ValueError as exc:
        raise InvalidRequest(f"input '{source}': {exc}") from exc


def elements(data: bytes | memoryview, rows: int) -> list[bytes]:
    """The same as copies."""
    return [bytes(view) for view in element_views(data, rows)]


def join_elements(parts: Iterable[bytes | memoryview]) -> bytes:
    """The raw form of a BYTES tensor of these elements."""
    return b"".join(piece for part in parts for piece in (_LENGTH.pack(len(part)), part))


def select_elements(data: bytes | memoryview, rows: int, keep: Sequence[int], each: int = 1) -> memoryview:
    """The raw form of only the rows `keep`, in this order, of `rows` rows with `each` elements."""
    views = element_views(data, rows * each)
    return memoryview(join_elements(views[row * each + at] for row in keep for at in range(each)))
