"""All that is recorded in a data directory at one moment: sealed files, and what of the journal is not sealed yet.

Also while a server writes and seals there. The journal is read before the sealed files are listed, and what was sealed
in between is taken from these: so every decision is there once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.batch import Records
from steelyard.evidence.journal_file import JournalFile, journal_files, name_of, read_journal_file
from steelyard.evidence.ledger import SEALED_DIRECTORY, read_ledger
from steelyard.evidence.notes_file import notes_path
from steelyard.evidence.sealed_file import SUFFIX, Summary, read_summary
from steelyard.evidence.sealing import NOBODYS, sealed_name
from steelyard.evidence.segments import NOTES_DIRECTORY


@dataclass(frozen=True, slots=True)
class SealedFile:
    """A sealed file and what it holds."""

    path: Path
    summary: Summary

    def overlaps(self, from_unix_ns: int, to_unix_ns: int) -> bool:
        """Whether it may hold decisions of that time."""
        return self.summary.from_unix_ns < to_unix_ns and self.summary.to_unix_ns >= from_unix_ns


@dataclass(frozen=True, slots=True, eq=False)
class OpenRecords:
    """Decisions of the journal that are not sealed yet."""

    file: JournalFile
    records: Records


def sealed_files(data: Path, model: str = "") -> list[SealedFile]:
    """The sealed files, by the time of their first decision; model: those that may hold decisions of it.

    Raises EvidenceError where one cannot be read.
    """
    directory = data / SEALED_DIRECTORY
    known = read_ledger(data).summaries
    found = []
    for path in _listed(directory, model):
        summary = known.get(str(path.relative_to(directory)))
        try:
            found.append(SealedFile(path, summary or read_summary(path)))
        except EvidenceError:
            # Retention may have been there since.
            if path.exists():
                raise
    return sorted(found, key=lambda file: (file.summary.from_unix_ns, str(file.path)))


def open_files(data: Path) -> Iterator[JournalFile]:
    """The journal's files, as far as they are written. What is in them may be sealed at the same time."""
    for path in journal_files(data):
        try:
            yield read_journal_file(path)
        except FileNotFoundError:
            # It was sealed since.
            continue


def snapshot(data: Path, model: str = "") -> tuple[list[SealedFile], list[OpenRecords]]:
    """What is sealed and what is not, each decision once; model: what may hold decisions of it."""
    journal = list(open_files(data))
    sealed = sealed_files(data, model)
    return sealed, [part for file in journal for part in _unsealed(file, sealed, model)]


def open_notes(data: Path) -> list[JournalFile]:
    """The journal's files whose notes are not sealed yet."""
    directory = data / SEALED_DIRECTORY
    return [file for file in open_files(data) if file.notes and not notes_path(directory, file.name).exists()]


def sealed_notes(data: Path) -> list[Path]:
    """The files of sealed notes."""
    return sorted((data / SEALED_DIRECTORY / NOTES_DIRECTORY).glob(f"[!.]*{SUFFIX}"))


def unlisted(data: Path) -> list[str]:
    """Files that are read as sealed ones are and that the ledger does not name, by path below the data directory: the
    ledger was lost, or somebody else put them there. Not those that are being sealed, whose file of the journal is
    there."""
    directory = data / SEALED_DIRECTORY
    journal = {sealed_name(name_of(path)) for path in journal_files(data)}
    ledger = read_ledger(data)
    named = {directory / file for file in ledger.summaries}
    named |= {notes_path(directory, sealed.segment) for sealed in ledger.sealed.values()}
    there = [*_listed(directory, ""), *sealed_notes(data)]
    return sorted(
        str(path.relative_to(data)) for path in there if path not in named and path.name not in journal
    )


def _listed(directory: Path, model: str) -> list[Path]:
    if model:
        return [path for name in (model, NOBODYS) for path in (directory / name).glob(f"[!.]*{SUFFIX}")]
    return [path for path in directory.glob(f"*/[!.]*{SUFFIX}") if path.parent.name != NOTES_DIRECTORY]


def _unsealed(file: JournalFile, sealed: list[SealedFile], model: str) -> Iterator[OpenRecords]:
    name = sealed_name(file.name)
    there = {one.summary.model for one in sealed if one.path.name == name}
    for of_model, which in file.records.by_model().items():
        if of_model not in there and (not model or of_model in (model, "")):
            yield OpenRecords(file, file.records.part(which))
