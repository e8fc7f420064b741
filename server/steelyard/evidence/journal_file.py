"""A file of the journal as a whole: the records in it where they lie, and whether it was closed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.errors import EvidenceError
from steelyard.evidence.batch import Records
from steelyard.evidence.frames import Gap, Kind, notes_of, read_frames

JOURNAL_DIRECTORY = "journal"
SUFFIX = ".log"

_LENGTH_BYTES = 2


@dataclass(frozen=True, slots=True, eq=False)
class JournalFile:
    """What a file of the journal holds, as far as it is whole."""

    name: str
    """Such as "worker-0/00001700000000000000.log"."""
    begin: dict[str, Any]
    end: dict[str, Any] | None
    """None: it is being written, or its writer was killed and the next one has not closed it yet."""
    records: Records
    notes: list[dict[str, Any]]
    gaps: list[Gap]
    torn_bytes: int
    """What follows the last whole frame."""

    @property
    def worker(self) -> int | None:
        """Which worker's it is."""
        worker: int | None = self.begin.get("worker")
        return worker

    @property
    def pid(self) -> int | None:
        """The process that wrote it."""
        pid: int | None = self.begin.get("pid")
        return pid


def journal_files(data: Path) -> list[Path]:
    """The journal's files in a data directory, by worker and age."""
    return sorted((data / JOURNAL_DIRECTORY).glob(f"worker-*/*{SUFFIX}"))


def name_of(path: Path) -> str:
    """What a file of the journal is called elsewhere."""
    return f"{path.parent.name}/{path.name}"


def read_journal_file(path: Path) -> JournalFile:
    """Reads the file. Raises FileNotFoundError; EvidenceError where it cannot be read, or a closed one is damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None
    begin: dict[str, Any] = {}
    end: dict[str, Any] | None = None
    starts: list[int] = []
    lengths: list[int] = []
    notes: list[dict[str, Any]] = []
    gaps: list[Gap] = []
    good = 0
    for kind, payload, after in read_frames(data):
        good = after
        if kind is Kind.RECORDS:
            at = after - len(payload)
            while at < after:
                length = data[at] | data[at + 1] << 8
                starts.append(at + _LENGTH_BYTES)
                lengths.append(length)
                at += _LENGTH_BYTES + length
            if at != after:
                raise EvidenceError(f"{path}: a record reaches beyond its frame, which ends at byte {after}")
        elif kind is Kind.NOTES:
            notes += notes_of(payload)
        elif kind is Kind.GAP:
            gaps.append(Gap(**json.loads(bytes(payload))))
        elif kind is Kind.BEGIN:
            begin = json.loads(bytes(payload))
        else:
            end = json.loads(bytes(payload))
    torn = len(data) - good
    if torn and end is not None:
        raise EvidenceError(f"{path}: damaged after byte {good}, where nothing should follow")
    records = Records(np.frombuffer(data, np.uint8), np.array(starts, np.int64), np.array(lengths, np.int64))
    return JournalFile(name_of(path), begin, end, records, notes, gaps, torn)
