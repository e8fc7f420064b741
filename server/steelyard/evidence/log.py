"""The event log: a file to which one record an event is appended, and synced before anybody hears of it.

Each record holds the digest of the one before it, and each line a checksum. So reading finds an append that was cut
short, a damaged line, and a record before the last that was changed, removed or put in. It does not find records that
were cut off at the end, a last record that was forged, or a log that was written anew from some record on: nothing
outside the file vouches for its end.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steelyard.clock import Clock
from steelyard.errors import EvidenceError, InvalidRequest
from steelyard.evidence.directories import sync_directory
from steelyard.evidence.event import (
    MAX_ACTOR_CHARS,
    MAX_REASON_CHARS,
    MAX_RECORD_BYTES,
    NOTHING_BEFORE,
    Draft,
    Event,
    digest_of,
    frame,
    read_frame,
    read_record,
)

EVENTS_FILE = "events.log"

# The longest line: checksum, space and newline beside the record.
_MAX_LINE_BYTES = MAX_RECORD_BYTES + 10


@dataclass(frozen=True, slots=True)
class Reading:
    """What a log holds."""

    events: tuple[Event, ...]
    good_bytes: int
    torn_bytes: int
    """What follows the last whole record: a record that was being written when the process or the machine ended."""
    last: str
    """The digest of the last record, `NOTHING_BEFORE` of an empty log."""


def read_events(path: Path) -> Reading:
    """Reads the log at `path`, empty where no file is; changes nothing.

    Raises EvidenceError where it cannot be read, or a record is damaged or not the successor of the one before it.
    """
    events: list[Event] = []
    last, good, torn = NOTHING_BEFORE, 0, 0
    try:
        with path.open("rb") as file:
            while line := file.readline(_MAX_LINE_BYTES):
                number = len(events) + 1
                # An append that was cut short has whole lines, and then the beginning of one.
                if not line.endswith(b"\n"):
                    torn += len(line)
                    continue
                if torn:
                    raise EvidenceError(f"{path}: record {number} is damaged, and others follow it")
                try:
                    record = read_frame(line)
                except EvidenceError:
                    raise EvidenceError(f"{path}: record {number} is damaged") from None
                event = read_record(record)
                if (event.sequence, event.previous) != (number, last):
                    raise EvidenceError(
                        f"{path}: record {number} does not follow the one before it: something was removed or put in"
                    )
                events.append(event)
                last = digest_of(record)
                good += len(line)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None
    return Reading(tuple(events), good, torn, last)


class EventLog:
    """Appends to the log in a data directory, which its owner has locked.

    `events` are those that are there. `torn_bytes` is what was cut off at the end when it was opened.
    """

    def __init__(self, directory: Path, clock: Clock) -> None:
        """Opens or makes the log. Raises EvidenceError, as `read_events` does, and where it cannot be written."""
        self.path = directory / EVENTS_FILE
        self._clock = clock
        found = read_events(self.path)
        self.torn_bytes = found.torn_bytes
        self._last = found.last
        self._sequence = len(found.events)
        self._good_bytes = found.good_bytes
        self.events = list(found.events)
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._fd, self._good_bytes)
            os.fsync(self._fd)
            sync_directory(directory)
        except OSError as error:
            raise EvidenceError(f"{self.path}: cannot be written: {error.strerror}") from None

    def append(self, drafts: Sequence[Draft]) -> list[Event]:
        """Records `drafts` in order, and returns when they are on disk.

        All or none where the disk refuses them. Where the machine dies in the middle, a disk that wrote only a part
        leaves the first of them.

        Raises InvalidRequest for what cannot be recorded, EvidenceError where the disk does not take it.
        """
        events: list[Event] = []
        lines: list[bytes] = []
        last = self._last
        for offset, draft in enumerate(drafts, 1):
            _check(draft)
            event = Event(
                sequence=self._sequence + offset,
                unix_ms=self._clock.unix_ns() // 1_000_000,
                kind=draft.kind,
                model=draft.model,
                actor=draft.actor,
                reason=draft.reason,
                digest=draft.digest,
                details=dict(draft.details),
                previous=last,
            )
            record = event.record()
            if len(record) > MAX_RECORD_BYTES:
                raise InvalidRequest(
                    f"event {draft.kind}: {len(record)} bytes, expected at most {MAX_RECORD_BYTES}"
                )
            last = digest_of(record)
            events.append(event)
            lines.append(frame(record))
        whole = b"".join(lines)
        try:
            _write(self._fd, whole, self._good_bytes)
            os.fdatasync(self._fd)
        except OSError as error:
            # The next append is written over what may be left of this one.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._good_bytes)
            raise EvidenceError(f"{self.path}: cannot be written: {error.strerror}") from None
        self._good_bytes += len(whole)
        self._sequence += len(events)
        self._last = last
        self.events += events
        return events

    def close(self) -> None:
        """Gives the file back; what is appended after that is refused."""
        os.close(self._fd)
        # The number may be that of another file by then.
        self._fd = -1


def _check(draft: Draft) -> None:
    for what, text, most in (
        ("actor", draft.actor, MAX_ACTOR_CHARS),
        ("reason", draft.reason, MAX_REASON_CHARS),
    ):
        if not text.strip():
            raise InvalidRequest(f"{draft.kind}: expected {what}, came none")
        if len(text) > most:
            raise InvalidRequest(
                f"{draft.kind}: expected a {what} of at most {most} characters, came {len(text)}"
            )


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
