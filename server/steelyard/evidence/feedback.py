"""What became known of decisions later: labels and feedback, one line each, appended.

`evidence/feedback.log` in the data directory; whoever appends holds the file's lock, and so does whoever puts another
file in its place (`feedback_removal`). A line is a checksum and canonical JSON, as in the event log; it is in no chain
and no transparency log.
"""

import contextlib
import fcntl
import json
import mmap
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steelyard.clock import Clock
from steelyard.errors import EvidenceError, InvalidRequest
from steelyard.evidence.directories import sync_directory
from steelyard.evidence.event import frame, read_frame
from steelyard.evidence.file_lock import lock_within

DIRECTORY = "evidence"
FEEDBACK_FILE = "feedback.log"

# Half a million labels of a hundred bytes, looked through in some tens of milliseconds. Then it takes no more.
MAX_FILE_BYTES = 64 << 20

# A label is a class or a number; what is longer is a document, which belongs elsewhere.
MAX_VALUE_BYTES = 4096
MAX_SOURCE_CHARS = 128

# The longest line: the value, the source, a character of which JSON escapes to twelve bytes at most, and the rest.
_MAX_LINE_BYTES = MAX_VALUE_BYTES + 12 * MAX_SOURCE_CHARS + 512


# To write the file anew takes a second at its largest; whoever has its lock for longer has been stopped, or its disk.
LOCK_WITHIN_S = 10.0


class FeedbackHeld(EvidenceError):
    """Another process has the file's lock, and does not give it back."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody said of a decision."""

    decision_id: str
    value: Any
    """JSON."""
    source: str
    received_unix_ms: int


@dataclass(frozen=True, slots=True)
class FeedbackReading:
    """What is there of one decision, as it came; `damaged`: lines that name it and cannot be read."""

    feedback: tuple[Feedback, ...] = ()
    damaged: int = 0


def add_feedback(data: Path, decision_id: uuid.UUID, value: Any, source: str, clock: Clock) -> Feedback:
    """Appends to the file, and returns when it is on disk; several processes may, one waits for the other.

    Whether the decision is recorded is for the caller to see. A line that was cut short by a process that died is cut
    off first; one that lacks its newline alone, or has another byte there, gets it back.

    Raises InvalidRequest for a value or a source that is none, EvidenceError where the file is full, the disk does not
    take it, or another process has the file's lock for too long.
    """
    if not source.strip() or len(source) > MAX_SOURCE_CHARS or not source.isprintable():
        raise InvalidRequest(
            f"expected a source of 1 to {MAX_SOURCE_CHARS} printable characters, came {source!r:.200}"
        )
    try:
        size = len(_json(value))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"expected a value that is JSON, came one that is not: {error}") from None
    if size > MAX_VALUE_BYTES:
        raise InvalidRequest(f"expected a value of at most {MAX_VALUE_BYTES} bytes of JSON, came {size}")
    one = Feedback(str(decision_id), value, source, clock.unix_ns() // 1_000_000)
    path = data / DIRECTORY / FEEDBACK_FILE
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with locked(path, os.O_RDWR | os.O_CREAT, within_s=LOCK_WITHIN_S) as descriptor:
            end, lacking = _end(descriptor)
            line = lacking + frame(_json(asdict(one)))
            if end + len(line) > MAX_FILE_BYTES:
                raise EvidenceError(f"{path}: takes no more, it has {end} of at most {MAX_FILE_BYTES} bytes")
            _append(data, descriptor, line, end)
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be written: {error.strerror}") from None
    return one


def feedback_of(data: Path, decision_id: str) -> FeedbackReading:
    """What was said of a decision. Raises EvidenceError where the file cannot be read, or another process has its lock
    for too long."""
    path = data / DIRECTORY / FEEDBACK_FILE
    found: list[Feedback] = []
    damaged = 0
    try:
        # What is being cut off must not be read meanwhile; and of an empty file nothing can be mapped.
        with locked(path, os.O_RDONLY, fcntl.LOCK_SH, within_s=LOCK_WITHIN_S) as descriptor:
            if not os.fstat(descriptor).st_size:
                return FeedbackReading()
            with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as view:
                for line in _lines_with(view, decision_id.encode()):
                    one = read_line(line)
                    if one is None:
                        damaged += 1
                    elif one.decision_id == decision_id:
                        found.append(one)
    except FileNotFoundError:
        return FeedbackReading()
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None
    return FeedbackReading(tuple(found), damaged)


def _lines_with(view: mmap.mmap, wanted: bytes) -> Iterator[bytes]:
    """The whole lines that hold `wanted`; one that was cut short is none."""
    at = view.find(wanted)
    while at >= 0:
        begin, end = view.rfind(b"\n", 0, at) + 1, view.find(b"\n", at) + 1
        if not end:
            if line := _mended(view[begin:]):
                yield line
            return
        yield view[begin:end]
        at = view.find(wanted, end)


def read_line(line: bytes) -> Feedback | None:
    """What a line says; None where it is damaged."""
    try:
        fields = json.loads(read_frame(line))
        return Feedback(**fields)
    except (EvidenceError, ValueError, TypeError, RecursionError):
        return None


@contextlib.contextmanager
def locked(path: Path, flags: int, lock: int = fcntl.LOCK_EX, *, within_s: float) -> Iterator[int]:
    """The descriptor of the file that has this name, opened with `flags`, while nobody else appends, or with LOCK_SH
    while nobody does. Raises OSError, and FeedbackHeld where the lock is not to be had within so many seconds."""
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
        try:
            if not lock_within(descriptor, lock, within_s):
                raise held(path, within_s)
            # While the lock was waited for, another file may have come in its place: what is appended here is lost.
            if _is_at(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def held(path: Path, within_s: float) -> FeedbackHeld:
    """What is raised where the lock of a file was not to be had within so many seconds."""
    return FeedbackHeld(f"{path}: another process has its lock, also after {within_s:g} s")


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _end(descriptor: int) -> tuple[int, bytes]:
    """Where the next line is to be written, and what the one before it lacks: nothing, or its newline."""
    size = os.fstat(descriptor).st_size
    from_ = max(0, size - _MAX_LINE_BYTES)
    tail = os.pread(descriptor, size - from_, from_)
    begin = tail.rfind(b"\n") + 1
    if from_ and not begin:
        # No line is so long: it is damage, of which nobody can tell what it was, and nothing is cut off.
        return size, b"\n"
    line = _mended(tail[begin:])
    return from_ + begin + max(0, len(line) - 1), line[-1:]


def _mended(rest: bytes) -> bytes:
    """The line in what follows the last newline: its own is lost, or has become another byte; empty where there is
    none, or it was cut short."""
    return next((line for line in (rest + b"\n", rest[:-1] + b"\n") if read_line(line) is not None), b"")


def _append(data: Path, descriptor: int, line: bytes, end: int) -> None:
    """Writes `line` at `end`, where whatever is there is cut off; nothing of it stays where the disk refuses."""
    try:
        os.ftruncate(descriptor, end)
        written = 0
        while written < len(line):
            written += os.pwrite(descriptor, line[written:], end + written)
        os.fsync(descriptor)
        # The file may have been made just now, or have been put there by one that was killed before it synced that.
        sync_directory(data / DIRECTORY)
        sync_directory(data)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, end)
        raise


def _json(value: Any) -> bytes:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()
