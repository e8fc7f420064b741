"""Tables of FlatBuffers, read where they lie: every position is checked against the end of the buffer.

Format: "FlatBuffers Internals". Positions are from the start of the buffer, numbers little-endian.
"""

import struct
from collections.abc import Iterator

_SIGNED = {1: struct.Struct("<b"), 2: struct.Struct("<h"), 4: struct.Struct("<i"), 8: struct.Struct("<q")}
_UINT16, _UINT32 = struct.Struct("<H"), struct.Struct("<I")


class Malformed(Exception):
    """A position lies outside the buffer, or what is there is not what it should be."""


class Table:
    """One table of a buffer."""

    __slots__ = ("_at", "_data", "_fields", "_vtable")

    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self._at = at
        self._vtable = at - read(_SIGNED[4], data, at)
        self._fields = (read(_UINT16, data, self._vtable) - 4) // 2

    @classmethod
    def root(cls, data: memoryview) -> "Table":
        return cls(data, read(_UINT32, data, 0))

    def _place(self, field: int) -> int | None:
        if field >= self._fields:
            return None
        offset = read(_UINT16, self._data, self._vtable + 4 + 2 * field)
        return self._at + offset if offset else None

    def _target(self, field: int) -> int | None:
        place = self._place(field)
        return None if place is None else place + read(_UINT32, self._data, place)

    def has(self, field: int) -> bool:
        return self._place(field) is not None

    def number(self, field: int, size: int, default: int = 0) -> int:
        """A signed number of `size` bytes."""
        place = self._place(field)
        return default if place is None else read(_SIGNED[size], self._data, place)

    def table(self, field: int) -> "Table":
        """The table that a field leads to. Raises Malformed where it leads nowhere."""
        target = self._target(field)
        if target is None:
            raise Malformed
        return Table(self._data, target)

    def text(self, field: int) -> str:
        """A field of text; empty where it is not there."""
        target = self._target(field)
        if target is None:
            return ""
        size = read(_UINT32, self._data, target)
        if size > len(self._data) - target - 4:
            raise Malformed
        try:
            return str(self._data[target + 4 : target + 4 + size], "utf-8")
        except UnicodeDecodeError:
            raise Malformed from None

    def length(self, field: int) -> int:
        """How many elements a vector has; it may lie."""
        target = self._target(field)
        return 0 if target is None else read(_UINT32, self._data, target)

    def tables(self, field: int) -> Iterator["Table"]:
        """The tables of a vector."""
        target = self._target(field)
        for i in range(self.length(field)):
            place = (target or 0) + 4 + 4 * i
            yield Table(self._data, place + read(_UINT32, self._data, place))

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """A vector of structs of two 64-bit numbers."""
        target = self._target(field)
        for i in range(self.length(field)):
            place = (target or 0) + 4 + 16 * i
            yield read(_SIGNED[8], self._data, place), read(_SIGNED[8], self._data, place + 8)


def read(form: struct.Struct, data: memoryview, at: int) -> int:
    """A number at a position. Raises Malformed where it does not lie within the buffer."""
    if at < 0 or form.size > len(data) - at:
        raise Malformed
    number: int = form.unpack_from(data, at)[0]
    return number
