"""Verifies the events in a data directory against the log, record by record."""

import contextlib
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.entry import EventEntry
from steelyard.evidence.event import (
    MAX_RECORD_BYTES,
    NOTHING_BEFORE,
    Event,
    digest_of,
    read_frame,
    read_record,
)
from steelyard.evidence.fault import Fault
from steelyard.evidence.log import EVENTS_FILE, read_events
from steelyard.evidence.verifier import EXPIRED


class LoggedEvents:
    """The records of the event log that can be read, and which of them the transparency log has vouched for."""

    def __init__(self, data: Path, faults: list[Fault], is_all: bool) -> None:
        """Reads them all; what cannot be read is added to `faults`, and what follows it is read all the same.

        is_all: whether every entry of the log is compared, so that one that is missing is a fault.
        """
        self._path = data / EVENTS_FILE
        self._faults = faults
        self._is_all = is_all
        self._digests: dict[int, str] = {}
        self._events: dict[int, Event] = {}
        self._damaged: set[int] = set()
        self._last = 0
        files: set[str] = set()
        for number, event, digest in self._read():
            self._digests[number] = digest
            self._events[number] = event
            if event.kind == EXPIRED:
                files.update(map(str, event.details.get("files", ())))
        self._expired = files
        self._looked_bytes = 0

    def is_expired(self, file: str) -> bool:
        """Whether an event says that a sealed segment is no longer kept, also one that was recorded meanwhile."""
        if file not in self._expired:
            with contextlib.suppress(OSError, EvidenceError):
                size = self._path.stat().st_size
                if size != self._looked_bytes:
                    self._looked_bytes = size
                    for event in read_events(self._path).events:
                        if event.kind == EXPIRED:
                            self._expired.update(map(str, event.details.get("files", ())))
        return file in self._expired

    def compare(self, entry: EventEntry, shown: bool) -> int:
        """Compares the next event of the log with the record; 1 where it is as it was logged, and `shown`."""
        self._last += 1
        if entry.sequence != self._last:
            if self._is_all:
                self._faults.append(
                    Fault("the log", f"expected event {self._last} as the next one, came {entry.sequence}")
                )
            self._last = entry.sequence
        if not shown:
            return 0
        digest = self._digests.get(entry.sequence)
        if digest is None:
            if entry.sequence not in self._damaged:
                self._faults.append(
                    Fault(self._where(entry.sequence), "missing: the transparency log has such an event")
                )
        elif digest != entry.sha256:
            self._faults.append(
                Fault(
                    self._where(entry.sequence),
                    f"is not the event that was logged: expected SHA-256 {entry.sha256}, came {digest}",
                )
            )
        else:
            return 1
        return 0

    def finish(self) -> int:
        """How many records are not in the log yet, each of which must follow the one before it."""
        waiting = [number for number in sorted(self._digests) if number > self._last]
        for number in waiting:
            before = self._digests.get(number - 1, NOTHING_BEFORE if number == 1 else "")
            if self._events[number].previous != before and number - 1 not in self._damaged:
                self._faults.append(Fault(self._where(number), "does not follow the one before it"))
        return len(waiting)

    def _read(self) -> "list[tuple[int, Event, str]]":
        found = []
        offset = number = 0
        try:
            with self._path.open("rb") as file:
                # A line that is longer than any record is read in pieces, each of which is damaged.
                while line := file.readline(MAX_RECORD_BYTES + 10):
                    number += 1
                    try:
                        record = read_frame(line)
                        event = read_record(record)
                        # A newline that was changed joins two lines or parts one; records say which they are.
                        number = event.sequence
                        found.append((number, event, digest_of(record)))
                    except EvidenceError as error:
                        # What is being appended just now ends without a newline, and nothing vouches for it yet.
                        if line.endswith(b"\n") or file.peek(1):
                            self._damaged.add(number)
                            self._faults.append(
                                Fault(f"{self._where(number)} (byte {offset})", f"damaged: {error}")
                            )
                    offset += len(line)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._faults.append(Fault(str(self._path), f"cannot be read: {error.strerror}"))
        return found

    def _where(self, number: int) -> str:
        return f"{self._path}: record {number}"
