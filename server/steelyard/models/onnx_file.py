"""The files that an ONNX file refers to, read from its protobuf without loading a weight."""

import os
from pathlib import Path

from steelyard.errors import LoadFailed

# Messages of onnx.proto3 that can hold a tensor, by field number; every other field is skipped unread.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA = 13
_DATA_LOCATION = 14
_EXTERNAL = 1
# Loops in loops in branches: graphs nest three messages a level, and protobuf itself stops at a hundred
# messages.
_MAX_DEPTH = 100
# The longest path that Linux takes.
_MAX_TEXT_BYTES = 4096
# Weights are skipped and what is read lies close together, so a page at a time does.
_BLOCK_BYTES = 4096

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def external_files(path: Path) -> tuple[str, ...]:
    """The locations of external data that the ONNX file at `path` names, sorted, each once.

    They are as the file has them, relative to its directory; whether they lie inside it is the caller's to
    check. Raises LoadFailed for a file that cannot be read, is empty, or is no ONNX protobuf (one that is cut
    off included).
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size == 0:
                raise LoadFailed(f"{path}: expected an ONNX model, got an empty file")
            return tuple(sorted(_Reader(stream.fileno(), size, path).locations()))
    except OSError as exc:
        raise LoadFailed(f"{path}: cannot be read: {exc.strerror}") from exc


class _Reader:
    """Walks the messages, block by block; of a map, a file that shrinks meanwhile would end the process."""

    def __init__(self, descriptor: int, size: int, path: Path) -> None:
        self._descriptor = descriptor
        self._size = size
        self._path = path
        self._at = 0
        self._block = b""
        self._block_number = -1

    def locations(self) -> set[str]:
        found: set[str] = set()
        pending = [("model", 0, self._size, 1)]
        while pending:
            kind, start, end, depth = pending.pop()
            if depth > _MAX_DEPTH:
                raise self._wrong(f"messages nested deeper than {_MAX_DEPTH}")
            if kind == "tensor":
                location = self._tensor_location(start, end)
                if location is not None:
                    found.add(location)
                continue
            children = _CHILDREN[kind]
            self._at = start
            while self._at < end:
                number, wire, value, stop = self._field(end)
                child = children.get(number)
                if child is not None:
                    if wire != _LENGTH:
                        raise self._wrong(f"field {number} of a {kind} is no message")
                    pending.append((child, value, stop, depth + 1))
        return found

    def _tensor_location(self, start: int, end: int) -> str | None:
        entries: list[tuple[int, int]] = []
        external = False
        self._at = start
        while self._at < end:
            number, wire, value, stop = self._field(end)
            if number == _EXTERNAL_DATA and wire == _LENGTH:
                entries.append((value, stop))
            elif number == _DATA_LOCATION and wire == _VARINT:
                external = value == _EXTERNAL
        if not external:
            return None
        location = dict(self._entry(*entry) for entry in entries).get(b"location")
        if not location:
            raise self._wrong("a tensor whose data is external, but no location")
        try:
            return location.decode("utf-8")
        except UnicodeDecodeError:
            raise self._wrong(f"external data at {location[:80]!r}, which is not UTF-8") from None

    def _entry(self, start: int, end: int) -> tuple[bytes, bytes]:
        """A StringStringEntryProto."""
        texts = {1: b"", 2: b""}
        self._at = start
        while self._at < end:
            number, wire, value, stop = self._field(end)
            if number in texts and wire == _LENGTH:
                if stop - value > _MAX_TEXT_BYTES:
                    raise self._wrong(f"a text of {stop - value} bytes about external data")
                texts[number] = os.pread(self._descriptor, stop - value, value)
        return texts[1], texts[2]

    def _field(self, end: int) -> tuple[int, int, int, int]:
        """The next field: number, wire type, then a varint's value and 0, or where it starts and stops."""
        tag = self._varint(end)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            return number, wire, self._varint(end), 0
        if wire == _LENGTH:
            length = self._varint(end)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise self._wrong(f"wire type {wire}")
        start = self._at
        if number == 0:
            raise self._wrong("a field with the number 0")
        if length > end - start:
            raise self._wrong(f"a field of {length} bytes where {end - start} are left; is the file cut off?")
        self._at = start + length
        return number, wire, start, self._at

    def _varint(self, end: int) -> int:
        value = 0
        for shift in range(0, 70, 7):
            if self._at >= end:
                raise self._wrong("the end inside a number; is the file cut off?")
            byte = self._byte(self._at)
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise self._wrong("a number longer than ten bytes")

    def _byte(self, at: int) -> int:
        number, offset = divmod(at, _BLOCK_BYTES)
        if number != self._block_number:
            self._block = os.pread(self._descriptor, _BLOCK_BYTES, number * _BLOCK_BYTES)
            self._block_number = number
        if offset >= len(self._block):
            raise self._wrong("the end of a file that was longer before")
        return self._block[offset]

    def _wrong(self, met: str) -> LoadFailed:
        return LoadFailed(f"{self._path}: expected an ONNX model, met {met} at byte {self._at}")
