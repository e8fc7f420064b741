"""What became of the journal's files: which were sealed into which, what was missing in them, and what was removed.

A JSON value a line, appended to `<data>/sealed/segments.log`. It also saves looking into every sealed file's footer.
"""

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from steelyard.errors import EvidenceError
from steelyard.evidence.directories import sync_directory
from steelyard.evidence.frames import Gap
from steelyard.evidence.sealed_file import Summary

SEALED_DIRECTORY = "sealed"
LEDGER_FILE = "segments.log"


@dataclass(slots=True)
class Sealed:
    """A file of the journal that was sealed."""

    segment: str
    files: dict[str, Summary]
    """By path below the directory of sealed files."""
    gaps: list[Gap] = field(default_factory=list)
    torn_bytes: int = 0
    """At its end, where its writer was killed."""
    notes: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "segment": self.segment,
            "files": {file: summary.to_json() for file, summary in self.files.items()},
            "gaps": [asdict(gap) for gap in self.gaps],
            "torn_bytes": self.torn_bytes,
            "notes": self.notes,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Sealed":
        files = {file: Summary.from_json(summary) for file, summary in fields["files"].items()}
        gaps = [Gap(**gap) for gap in fields["gaps"]]
        return cls(fields["segment"], files, gaps, fields["torn_bytes"], fields["notes"])


@dataclass(frozen=True, slots=True)
class Removed:
    """A sealed file that was removed because it was kept long enough, or the model's took too much room."""

    file: str
    unix_ns: int
    why: str
    records: int

    def to_json(self) -> dict[str, Any]:
        return {"removed": self.file, "unix_ns": self.unix_ns, "why": self.why, "records": self.records}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Removed":
        return cls(fields["removed"], fields["unix_ns"], fields["why"], fields["records"])


@dataclass(slots=True)
class Ledger:
    """The ledger as it was read."""

    sealed: dict[str, Sealed] = field(default_factory=dict)
    """By the journal file's name."""
    removed: dict[str, Removed] = field(default_factory=dict)
    """By the sealed file's path."""
    good_bytes: int = 0

    @property
    def summaries(self) -> dict[str, Summary]:
        """By path below the directory of sealed files."""
        return {file: summary for one in self.sealed.values() for file, summary in one.files.items()}


def read_ledger(data: Path) -> Ledger:
    """The ledger in a data directory, empty where none is; a line that was cut short at the end is left out.

    Raises EvidenceError where it cannot be read, or a line is none.
    """
    path = data / SEALED_DIRECTORY / LEDGER_FILE
    ledger = Ledger()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    fields = json.loads(line)
                    if "removed" in fields:
                        gone = Removed.from_json(fields)
                        ledger.removed[gone.file] = gone
                    else:
                        one = Sealed.from_json(fields)
                        ledger.sealed[one.segment] = one
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise EvidenceError(f"{path}: line {number}: {error}") from None
                ledger.good_bytes += len(line)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None
    return ledger


def append_to_ledger(data: Path, ledger: Ledger, entry: Sealed | Removed) -> None:
    """Adds an entry, to the file first, and returns when it is on disk. Only the housekeeper may. Raises OSError."""
    path = data / SEALED_DIRECTORY / LEDGER_FILE
    line = json.dumps(entry.to_json(), separators=(",", ":")).encode() + b"\n"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Over what is left of a line that was cut short.
        os.ftruncate(fd, ledger.good_bytes)
        if os.pwrite(fd, line, ledger.good_bytes) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(fd)
    finally:
        os.close(fd)
    if not ledger.good_bytes:
        sync_directory(path.parent)
    ledger.good_bytes += len(line)
    if isinstance(entry, Removed):
        ledger.removed[entry.file] = entry
    else:
        ledger.sealed[entry.segment] = entry
