"""The journal's files: frames one after the other, each with its length and checksum; a file is only appended to.

A frame is a head of 12 bytes (length of the payload, CRC-32 of kind and payload, kind, all little-endian) and the
payload. The first of a file says whose it is; the last of one that was closed says what it holds.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from steelyard.errors import EvidenceError

FRAME = struct.Struct("<III")

# A writer takes at most a mebibyte from its ring at a time; a longer frame is damage.
MAX_FRAME_BYTES = 4 << 20

_LENGTH = struct.Struct("<H")

# The frame that closes a file is shorter.
_TAIL_BYTES = 4096


class Kind(IntEnum):
    """What a frame holds. The numbers are in files: add, never renumber."""

    BEGIN = 1
    """JSON: format, worker, pid, unix_ns."""
    RECORDS = 2
    """Records, each behind its length in two bytes."""
    GAP = 3
    """JSON: count, from_unix_ns, to_unix_ns, why. Decisions that are not recorded."""
    END = 4
    """JSON: records, gaps, unix_ns; `torn_bytes` where it was closed by another than its writer."""
    NOTES = 5
    """JSON values, each behind its length in four bytes: what became known of decisions after they were recorded."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Decisions that are not recorded: how many, from when to when, and why."""

    count: int
    from_unix_ns: int
    to_unix_ns: int
    why: str


@dataclass(slots=True)
class SegmentReading:
    """What a file of the journal holds, as far as it is whole."""

    begin: dict[str, Any] = field(default_factory=dict)
    records: list[bytes] = field(default_factory=list)
    last_chunk: bytes = b""
    """The payload of the last frame of records."""
    notes: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    end: dict[str, Any] | None = None
    """None: it is being written, or its writer was killed."""
    good_bytes: int = 0
    torn_bytes: int = 0
    """What follows the last whole frame."""


def frame(kind: Kind, payload: bytes) -> bytes:
    """A frame of `payload`. Raises EvidenceError where it is longer than is ever read."""
    if len(payload) > MAX_FRAME_BYTES:
        raise EvidenceError(f"a frame has at most {MAX_FRAME_BYTES} bytes, came {len(payload)}")
    return FRAME.pack(len(payload), _checksum(kind, payload), kind) + payload


def json_frame(kind: Kind, value: Any) -> bytes:
    """A frame of a JSON value."""
    return frame(kind, json.dumps(value, separators=(",", ":")).encode())


def notes_frame(notes: list[dict[str, Any]]) -> bytes:
    """A frame of notes."""
    encoded = [json.dumps(note, separators=(",", ":")).encode() for note in notes]
    return frame(Kind.NOTES, b"".join(len(one).to_bytes(4, "little") + one for one in encoded))


def read_frames(data: bytes | memoryview, offset: int = 0) -> Iterator[tuple[Kind, memoryview, int]]:
    """The whole frames in `data` from `offset`: kind, payload, and where the next begins. Ends at what is no frame."""
    view = memoryview(data)
    while len(view) - offset >= FRAME.size:
        length, checksum, number = FRAME.unpack_from(view, offset)
        after = offset + FRAME.size + length
        if length > MAX_FRAME_BYTES or after > len(view):
            return
        payload = view[offset + FRAME.size : after]
        try:
            kind = Kind(number)
        except ValueError:
            return
        if _checksum(kind, payload) != checksum:
            return
        yield kind, payload, after
        offset = after


def records_of(payload: memoryview) -> Iterator[bytes]:
    """The records in the payload of a RECORDS frame."""
    at, size = 0, len(payload)
    while at < size:
        (length,) = _LENGTH.unpack_from(payload, at)
        yield bytes(payload[at + 2 : at + 2 + length])
        at += 2 + length


def notes_of(payload: memoryview) -> Iterator[dict[str, Any]]:
    """The notes in the payload of a NOTES frame."""
    at, size = 0, len(payload)
    while at < size:
        length = int.from_bytes(payload[at : at + 4], "little")
        yield json.loads(bytes(payload[at + 4 : at + 4 + length]))
        at += 4 + length


def read_segment(path: Path) -> SegmentReading:
    """What the file at `path` holds. Raises EvidenceError where it cannot be read, or a closed one is damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None
    reading = SegmentReading()
    for kind, payload, after in read_frames(data):
        if kind is Kind.RECORDS:
            reading.last_chunk = bytes(payload)
            reading.records += records_of(payload)
        elif kind is Kind.NOTES:
            reading.notes += notes_of(payload)
        elif kind is Kind.GAP:
            reading.gaps.append(Gap(**json.loads(bytes(payload))))
        elif kind is Kind.BEGIN:
            reading.begin = json.loads(bytes(payload))
        else:
            reading.end = json.loads(bytes(payload))
        reading.good_bytes = after
    reading.torn_bytes = len(data) - reading.good_bytes
    if reading.torn_bytes and reading.end is not None:
        raise EvidenceError(f"{path}: damaged after byte {reading.good_bytes}, where nothing should follow")
    return reading


def is_closed(path: Path) -> bool:
    """Whether the file ends with the frame that closes it: nobody writes to it any more."""
    try:
        with path.open("rb") as file:
            file.seek(-min(_TAIL_BYTES, path.stat().st_size), os.SEEK_END)
            tail = file.read(_TAIL_BYTES)
    except OSError:
        return False
    for at in range(len(tail) - FRAME.size, -1, -1):
        length, _, kind = FRAME.unpack_from(tail, at)
        if kind == Kind.END and at + FRAME.size + length == len(tail):
            return any(found is Kind.END for found, _, _ in read_frames(tail, at))
    return False


def _checksum(kind: Kind, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, kind)
