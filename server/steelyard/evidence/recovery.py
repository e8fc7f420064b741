"""What a process that was killed left of its journal: torn frames are cut off, what its ring held is written."""

import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from steelyard._native.journal import Ring
from steelyard.errors import EvidenceError
from steelyard.evidence.file_lock import lock_within
from steelyard.evidence.frames import (
    Gap,
    Kind,
    SegmentReading,
    frame,
    is_closed,
    json_frame,
    notes_frame,
    read_segment,
    records_of,
)
from steelyard.evidence.journal import CHUNK_BYTES, MAX_NOTES, NOTES_A_FRAME
from steelyard.evidence.record import Outcome, unpack

# An audit has a file's lock for some microseconds, to learn whether somebody writes to it; whoever writes keeps it.
LOCK_WITHIN_S = 0.1

# What is known of a process that was killed with all that knew of it.
UNKNOWN_WHY = "its writer did not close it: what its ring held is missing, and how much that was is not known"

UNSURE_WHY = (
    "the process ended before it wrote this record to the journal: whether the answer left is not known"
)

LOST_WHY = "the process ended with these requests in it"


@dataclass(frozen=True, slots=True)
class Recovered:
    """A file that was closed for the process that wrote it."""

    path: Path
    records: int
    torn_bytes: int
    """What was cut off."""


def recover(directory: Path, ring: Ring | None, lost: int, unix_ns: int) -> list[Recovered]:
    """Closes the files in a worker's `directory` that nobody writes to and nobody has closed; returns those.

    ring: of the process that is dead, whose records are written to the last of them; None where it is gone as well,
    which is told as a gap of unknown size. lost: requests that were in it and have no record. Raises EvidenceError
    where that cannot be written.
    """
    if ring is None and not directory.is_dir():
        return []
    found: list[tuple[Path, int, SegmentReading]] = []
    try:
        found += _all_unclosed(directory)
        if ring is not None and not found and (lost or ring.head != ring.tail):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = directory / f"{unix_ns:020d}.log"
            found = [
                (
                    path,
                    os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600),
                    SegmentReading(),
                )
            ]
        recovered = []
        for place, (path, fd, reading) in enumerate(found):
            is_last = place == len(found) - 1
            recovered.append(
                _close(
                    path,
                    fd,
                    reading,
                    ring if is_last else None,
                    ring is None,
                    lost if is_last else 0,
                    unix_ns,
                )
            )
    except OSError as error:
        raise EvidenceError(f"{directory}: the journal cannot be recovered: {error.strerror}") from None
    finally:
        for _, fd, _ in found:
            os.close(fd)
    return recovered


def _all_unclosed(directory: Path) -> Iterator[tuple[Path, int, SegmentReading]]:
    for path in sorted(directory.glob("*.log")):
        try:
            fd = _unclosed(path)
        except FileNotFoundError:
            # It was closed, and has been sealed since.
            continue
        if fd is None:
            continue
        try:
            reading = read_segment(path)
        except EvidenceError:
            # It has an end, and damage behind that, which an audit finds.
            os.close(fd)
            continue
        yield path, fd, reading


def _unclosed(path: Path) -> int | None:
    """A descriptor of a file that nobody writes to and that has no end; else None."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    if not lock_within(fd, fcntl.LOCK_EX, LOCK_WITHIN_S) or is_closed(path):
        os.close(fd)
        return None
    return fd


def _close(
    path: Path, fd: int, reading: SegmentReading, ring: Ring | None, is_alone: bool, lost: int, unix_ns: int
) -> Recovered:
    at = reading.good_bytes
    os.ftruncate(fd, at)
    records, gaps = len(reading.records), sum(gap.count for gap in reading.gaps)
    taken = 0
    # The last of what was answered: its caller may have heard that the process is gone.
    unsure: deque[str] = deque(maxlen=MAX_NOTES)
    if ring is not None:
        last = reading.last_chunk
        while True:
            chunk, count = ring.peek(CHUNK_BYTES)
            if not count:
                break
            # It may have been killed between writing a chunk and saying so.
            if last and chunk[: len(last)] == last:
                count = sum(1 for _ in records_of(memoryview(last)))
                ring.taken(len(last), count, True)
                taken += count
                unsure += _answered(last)
            else:
                at = _write(fd, frame(Kind.RECORDS, chunk), at)
                ring.taken(len(chunk), count, True)
                taken += count
                records += count
                unsure += _answered(chunk)
            last = b""
        at = _write_unsure(fd, list(unsure), at)
    elif is_alone:
        at = _write(fd, json_frame(Kind.GAP, asdict(Gap(0, unix_ns, unix_ns, UNKNOWN_WHY))), at)
    if lost:
        at = _write(fd, json_frame(Kind.GAP, asdict(Gap(lost, unix_ns, unix_ns, LOST_WHY))), at)
        gaps += lost
    end = {"records": records, "gaps": gaps, "unix_ns": unix_ns, "torn_bytes": reading.torn_bytes}
    _write(fd, json_frame(Kind.END, end), at)
    os.fdatasync(fd)
    if ring is not None:
        ring.synced(taken)
    return Recovered(path, records, reading.torn_bytes)


def _answered(chunk: bytes) -> Iterator[str]:
    """The ids of the decisions in a chunk whose records say that they were answered."""
    for record in records_of(memoryview(chunk)):
        # What cannot be read is for an audit to find, and keeps nothing from being recovered.
        with contextlib.suppress(EvidenceError):
            decision = unpack(record)
            if decision.outcome is Outcome.ANSWERED:
                yield decision.decision_id


def _write_unsure(fd: int, decision_ids: list[str], at: int) -> int:
    """Writes a note for each; gives where they end."""
    for start in range(0, len(decision_ids), NOTES_A_FRAME):
        notes = [
            {"note": "unsure", "decision_id": one, "why": UNSURE_WHY}
            for one in decision_ids[start : start + NOTES_A_FRAME]
        ]
        at = _write(fd, notes_frame(notes), at)
    return at


def _write(fd: int, data: bytes, at: int) -> int:
    """Where it ends."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
    return at
