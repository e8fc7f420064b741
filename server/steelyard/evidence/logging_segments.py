"""What is sealed becomes entries of the transparency log, each file once, before the journal lets go of it."""

from collections.abc import Sequence
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.entry import NotesEntry, SegmentEntry
from steelyard.evidence.ledger import SEALED_DIRECTORY, Ledger, Sealed
from steelyard.evidence.notes_file import notes_path
from steelyard.evidence.parquet_segments import ParquetSegments
from steelyard.evidence.sealed_file import Pause
from steelyard.evidence.segments import logged_files, notes_entry, seal_entry
from steelyard.evidence.tlog import TransparencyLog


class SegmentLogging:
    """Appends segments and notes to a log; the only one that does. Events are appended by others, under the log's own
    lock."""

    def __init__(self, data: Path, log: TransparencyLog, pause: Pause = lambda: None) -> None:
        """Raises EvidenceError where the log cannot be read."""
        self._data = data
        self._directory = data / SEALED_DIRECTORY
        self._log = log
        self._segments = ParquetSegments(data)
        self._logged = set(logged_files(log))
        self._pause = pause

    def commit(self, sealed: Sealed) -> None:
        """Returns when the log has all the files that a file of the journal was sealed into.

        Raises EvidenceError where a file cannot be read, or the disk does not take the entries: all of them or none.
        """
        self._append([self._entry(sealed, file) for file in self._unlogged(sealed)])

    def catch_up(self, ledger: Ledger) -> list[str]:
        """Appends what was sealed while there was no log, or by a release that did not log notes; gives why, where that
        cannot be."""
        failures = []
        for sealed in list(ledger.sealed.values()):
            for file in self._unlogged(sealed):
                try:
                    if (self._directory / file).exists():
                        self._append([self._entry(sealed, file)])
                except EvidenceError as error:
                    failures.append(str(error))
        return failures

    def _unlogged(self, sealed: Sealed) -> list[str]:
        """By path below the directory of sealed files."""
        files = list(sealed.files)
        if sealed.notes:
            files.append(str(notes_path(self._directory, sealed.segment).relative_to(self._directory)))
        return [file for file in files if file not in self._logged]

    def _entry(self, sealed: Sealed, file: str) -> SegmentEntry | NotesEntry:
        self._pause()
        summary = sealed.files.get(file)
        if summary is None:
            return notes_entry(self._data, file, sealed.notes)
        span = summary.from_unix_ns, summary.to_unix_ns
        return seal_entry(self._data, summary.model, file, *span, self._segments.records(file))

    def _append(self, entries: Sequence[SegmentEntry | NotesEntry]) -> None:
        if entries:
            self._log.append(entries)
            self._logged.update(entry.file for entry in entries)
