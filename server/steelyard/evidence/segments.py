"""Sealed segments as the transparency log needs them: files of records, one model each, which are never changed."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from steelyard.errors import EvidenceError
from steelyard.evidence.entry import NotesEntry, SegmentEntry
from steelyard.evidence.merkle import Records
from steelyard.evidence.tlog import LogReader

SEALED_DIRECTORY = "sealed"

# Files of sealed notes, beside the models' directories; a model's name cannot begin so.
NOTES_DIRECTORY = ".notes"


class SealedSegments(Protocol):
    """Reads what has been sealed. A file is named by its path below the directory of sealed segments."""

    def records(self, file: str) -> Iterator[bytes]:
        """The canonical records in a file, in the order of its root. Raises EvidenceError where the file is damaged."""
        ...

    def examined(self, file: str) -> tuple[int, bytes]:
        """Number and root of the records in a file that is not as it was sealed, whatever is in it now.

        Raises EvidenceError that says where the file is damaged.
        """
        ...

    def find(self, decision: str) -> tuple[str, int] | None:
        """The file that has a decision's record, and the record's index in it, by the decision's id."""
        ...


class NoSegments:
    """Where what reads sealed segments is not installed."""

    def records(self, file: str) -> Iterator[bytes]:
        raise EvidenceError(f"{file}: cannot be read without pyarrow: pip install 'steelyard[evidence]'")

    def examined(self, file: str) -> tuple[int, bytes]:
        raise EvidenceError(f"{file}: cannot be read without pyarrow: pip install 'steelyard[evidence]'")

    def find(self, decision: str) -> tuple[str, int] | None:
        return None


def seal_entry(
    data: Path, model: str, file: str, first_ns: int, last_ns: int, records: Iterable[bytes]
) -> SegmentEntry:
    """The entry of a segment that has been written, whole and synced. Raises EvidenceError where it cannot be read.

    first_ns, last_ns: when its first and its last decision came, nanoseconds since the epoch.
    """
    tree = Records(records)
    digest = file_digest(data / SEALED_DIRECTORY / file)
    return SegmentEntry(model, file, tree.count, first_ns, last_ns, tree.root(), digest)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises EvidenceError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise EvidenceError(f"{path}: missing") from None
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None


def notes_entry(data: Path, file: str, count: int) -> NotesEntry:
    """The entry of notes that have been written, whole and synced. Raises EvidenceError where they cannot be read."""
    return NotesEntry(file, count, file_digest(data / SEALED_DIRECTORY / file))


def logged_files(log: LogReader) -> dict[str, int]:
    """The index in the log of every sealed segment and file of notes that it has, by file: what was sealed and is not
    here is to be appended yet."""
    return {
        entry.file: index
        for index, entry in enumerate(log.entries())
        if isinstance(entry, SegmentEntry | NotesEntry)
    }
