"""Sealing: a closed file of the journal becomes a Parquet file a model, and goes when they are safe.

The order makes a kill at any point harmless: each file is written under another name, synced, read back and renamed;
then what was sealed is committed and written into the ledger; then the journal's file is removed. Whoever goes on
finds the files that are there and makes those that are not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.directories import sync_directory
from steelyard.evidence.footers import notes_apart, read_apart
from steelyard.evidence.frames import is_closed
from steelyard.evidence.journal_file import JournalFile, journal_files, name_of, read_journal_file
from steelyard.evidence.ledger import SEALED_DIRECTORY, Ledger, Sealed, append_to_ledger, read_ledger
from steelyard.evidence.notes_file import notes_path, write_notes
from steelyard.evidence.sealed_file import SUFFIX, Pause, Summary, write_sealed
from steelyard.models.names import name_problem

# Where decisions are for which no version was found: a model's name cannot begin so. Callers choose those names, and
# must not make directories by them.
NOBODYS = ".unknown"

Committed = Callable[[Sealed], None]
"""Told what was sealed, before the journal's file is removed; again after a kill."""


@dataclass(frozen=True, slots=True)
class Unsealed:
    """A closed file of the journal that could not be sealed, and stays."""

    segment: str
    why: str


class Sealing:
    """Seals what is closed in a data directory. One at a time may."""

    def __init__(
        self, data: Path, committed: Committed = lambda sealed: None, pause: Pause = lambda: None
    ) -> None:
        """Raises EvidenceError where the ledger cannot be read, OSError where the directory cannot be made."""
        self.ledger: Ledger = read_ledger(data)
        self._data = data
        self._directory = data / SEALED_DIRECTORY
        self._committed = committed
        self._pause = pause
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in self._directory.glob("*/.*.tmp"):
            left.unlink(missing_ok=True)

    def all_closed(self) -> Iterator[Sealed | Unsealed]:
        """Seals every file of the journal that is closed now, one at a time."""
        for path in journal_files(self._data):
            if not is_closed(path):
                continue
            try:
                yield self.one(path)
            except (EvidenceError, OSError) as error:
                yield Unsealed(name_of(path), str(error))

    def one(self, path: Path) -> Sealed:
        """Seals one closed file of the journal.

        Raises EvidenceError and OSError where that cannot be: the file stays.
        """
        name = name_of(path)
        known = self.ledger.sealed.get(name)
        if known is None:
            file = read_journal_file(path)
            if file.end is None:
                raise EvidenceError(f"{path}: expected a frame that closes it")
            torn_bytes = file.end.get("torn_bytes", 0)
            known = Sealed(name, self._files(file), file.gaps, torn_bytes, self._notes(file))
            self._committed(known)
            append_to_ledger(self._data, self.ledger, known)
        path.unlink()
        sync_directory(path.parent)
        return known

    def _files(self, file: JournalFile) -> dict[str, Summary]:
        files: dict[str, Summary] = {}
        for model, which in file.records.by_model().items():
            path = self._path(file.name, model)
            # One that is there was left by a kill, or put there: its footer may end the process that reads it.
            found = read_apart([path])[path] if path.exists() else ""
            if isinstance(found, str) or (found.segment, found.records) != (file.name, len(which)):
                found = write_sealed(
                    path, file.records.part(which), file.name, model, file.worker, file.pid, self._pause
                )
            files[str(path.relative_to(self._directory))] = found
        return files

    def _notes(self, file: JournalFile) -> int:
        if file.notes:
            path = notes_path(self._directory, file.name)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            # What another release wrote before it was killed may be in the log already, and must stay as it is.
            if not path.exists() or notes_apart(path) != len(file.notes):
                write_notes(path, file.notes)
        return len(file.notes)

    def _path(self, segment: str, model: str) -> Path:
        directory = self._directory / (NOBODYS if name_problem(model) else model)
        if not directory.is_dir():
            directory.mkdir(mode=0o700)
            sync_directory(self._directory)
        return directory / sealed_name(segment)


def sealed_name(segment: str) -> str:
    """The name of a sealed file: "worker-0/00001700000000000000.log" gives "worker-0-00001700000000000000.parquet"."""
    worker, _, file = segment.partition("/")
    return f"{worker}-{Path(file).stem}{SUFFIX}"
