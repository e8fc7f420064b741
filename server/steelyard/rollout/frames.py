"""What a worker and a shadow's process say to each other: frames over a Unix stream socket.

A frame is a header of 16 bytes (magic, kind, and a number) and, where the kind has one, a payload of as many bytes as
the number says. The worker sends units, the process acknowledges each by its sequence number. All numbers are
little-endian.
"""

import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from steelyard.errors import DataError

MAGIC = 0x53534853
UNIT = 1
ACK = 2
HEADER = struct.Struct("<IIQ")
# Sequence number, the whole batch's rows, the primary's execution in ns (0: not known), requests in the unit.
_UNIT = struct.Struct("<QQQI")
# Decision id, status (0: an answer), bytes of the body, bytes of the answer or of the error's text.
_PAIR = struct.Struct("<36siQQ")

# More than any batch: 65,536 rows is the most that a manifest may ask for, each a request by itself.
MAX_PAIRS = 1 << 16

# Below this a copy costs less than what a system call does about each buffer: less than half at 64 requests of a few
# hundred bytes.
_JOINED_BYTES = 64 << 10

# sendmsg takes no more buffers at once (IOV_MAX of Linux).
_MOST_BUFFERS = 1024

# Addresses of Unix sockets hold 108 bytes, the closing nought included.
_MAX_ADDRESS_BYTES = 107


class Asked(NamedTuple):
    """One request that the primary has answered."""

    decision_id: str
    body: bytes
    """The serialized ModelInferRequest."""
    answer: bytes
    """The serialized ModelInferResponse; where it failed, the error's text in UTF-8."""
    status: int = 0
    """gRPC's status code, 0 for an answer."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Requests of one batch of the primary's that were sampled."""

    sequence: int
    rows: int
    """Of the whole batch, what was not sampled included."""
    execute_ns: int
    """What the primary's run of the whole batch took; 0 where it did not run in one piece."""
    asked: Sequence[Asked]


Plain = tuple[str, bytes, bytes, int]
"""What `Asked` holds; exact tuples of such things the garbage collector lets go of, all others it walks through."""


def encode_unit(sequence: int, rows: int, execute_ns: int, asked: Sequence[Plain]) -> list[bytes]:
    """The frame as buffers to be sent one after the other; bodies and answers are not copied where they are large."""
    heads = [_UNIT.pack(sequence, rows, execute_ns, len(asked))]
    contents: list[bytes] = []
    for decision_id, body, answer, status in asked:
        heads.append(_PAIR.pack(decision_id.encode("ascii"), status, len(body), len(answer)))
        contents += (body, answer)
    head = b"".join(heads)
    size = len(head) + sum(map(len, contents))
    buffers = [HEADER.pack(MAGIC, UNIT, size), head, *contents]
    return [b"".join(buffers)] if size <= _JOINED_BYTES else buffers


def encode_ack(sequence: int) -> bytes:
    """The frame that gives the unit's place in the window back."""
    return HEADER.pack(MAGIC, ACK, sequence)


def decode_unit(payload: bytes) -> Unit:
    """The unit in a frame's payload. Raises `DataError` where it is none."""
    if len(payload) < _UNIT.size:
        raise DataError(f"expected a unit of at least {_UNIT.size} bytes, got {len(payload)}")
    sequence, rows, execute_ns, count = _UNIT.unpack_from(payload)
    if not 0 < count <= MAX_PAIRS or count > (len(payload) - _UNIT.size) // _PAIR.size:
        raise DataError(f"expected a unit of 1 to {MAX_PAIRS} requests that are all there, got {count}")
    at = _UNIT.size + count * _PAIR.size
    asked = []
    for index in range(count):
        name, status, body_bytes, answer_bytes = _PAIR.unpack_from(payload, _UNIT.size + index * _PAIR.size)
        # Compared so that it cannot overflow: both numbers come from outside.
        if body_bytes > len(payload) - at or answer_bytes > len(payload) - at - body_bytes:
            raise DataError(f"request {index} of {count}: expected its bytes, and the unit ends before")
        middle = at + body_bytes
        end = middle + answer_bytes
        try:
            decision_id = name.decode("ascii")
        except UnicodeDecodeError:
            raise DataError(f"request {index} of {count}: expected a decision id, got {name!r}") from None
        asked.append(Asked(decision_id, payload[at:middle], payload[middle:end], status))
        at = end
    if at != len(payload):
        raise DataError(f"expected a unit of {at} bytes, got {len(payload)}")
    return Unit(sequence, rows, execute_ns, asked)


def read_frame(connection: socket.socket, max_bytes: int) -> tuple[int, int, bytes] | None:
    """Kind, number and payload of the next frame; None where the other side has ended, between frames or within one.

    Raises `DataError` for what is no frame, and for a payload of more than `max_bytes`, before it is read.
    """
    head = _read(connection, HEADER.size)
    if head is None:
        return None
    magic, kind, number = HEADER.unpack(head)
    if magic != MAGIC or kind not in (UNIT, ACK):
        raise DataError(f"expected a frame's header, got {head.hex()}")
    if kind == ACK:
        return kind, number, b""
    if number > max_bytes:
        raise DataError(f"expected a unit of at most {max_bytes} bytes, got {number}")
    payload = _read(connection, number)
    return None if payload is None else (kind, number, payload)


def _read(connection: socket.socket, size: int) -> bytes | None:
    """Exactly `size` bytes, or None where the stream ends before."""
    whole = connection.recv(size, socket.MSG_WAITALL)
    while len(whole) < size:
        # A signal may end the wait early; nothing at all is the end.
        more = connection.recv(size - len(whole), socket.MSG_WAITALL)
        if not more:
            return None
        whole += more
    return whole


def send_frame(connection: socket.socket, buffers: list[bytes]) -> None:
    """Sends all of `buffers`, however many system calls that takes; blocks. Raises OSError where nobody reads."""
    for start in range(0, len(buffers), _MOST_BUFFERS):
        some: list[bytes | memoryview] = list(buffers[start : start + _MOST_BUFFERS])
        left = sum(map(len, some))
        while left:
            sent = connection.sendmsg(some)
            left -= sent
            if left:
                while sent >= len(some[0]):
                    sent -= len(some.pop(0))
                some[0] = memoryview(some[0])[sent:]


def connect(path: Path, timeout_s: float) -> socket.socket:
    """A blocking connection to the socket at `path`. Raises OSError where nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # A full backlog holds the caller up for as long as the process does not accept.
        connection.settimeout(timeout_s)
        with _Reachable(path) as address:
            connection.connect(address)
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600, in the place of what an earlier life left there."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.unlink(missing_ok=True)
        with _Reachable(path) as address:
            # The mode is the file's from the start, not after a moment in which anybody could connect.
            before = os.umask(0o177)
            try:
                listener.bind(address)
            finally:
                os.umask(before)
        listener.listen(4)
    except BaseException:
        listener.close()
        raise
    return listener


class _Reachable:
    """An address for `path` that a socket can take, however long the path is: by way of its opened directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._directory = -1

    def __enter__(self) -> str:
        whole = os.fspath(self._path)
        if len(os.fsencode(whole)) <= _MAX_ADDRESS_BYTES:
            return whole
        self._directory = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._directory}/{self._path.name}"

    def __exit__(self, *about: object) -> None:
        if self._directory >= 0:
            os.close(self._directory)
