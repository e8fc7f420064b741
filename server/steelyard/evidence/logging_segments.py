"""What is sealed becomes entries of the transparency log, each file once, before the journal lets go of it."""

from collections.abc import Mapping
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.ledger import SEALED_DIRECTORY, Ledger
from steelyard.evidence.parquet_segments import ParquetSegments
from steelyard.evidence.sealed_file import Pause, Summary
from steelyard.evidence.segments import logged_segments, seal_entry
from steelyard.evidence.tlog import TransparencyLog


class SegmentLogging:
    """Appends segments to a log; the only one that does. Events are appended by others, under the log's own lock."""

    def __init__(self, data: Path, log: TransparencyLog, pause: Pause = lambda: None) -> None:
        """Raises EvidenceError where the log cannot be read."""
        self._data = data
        self._log = log
        self._segments = ParquetSegments(data)
        self._logged = set(logged_segments(log))
        self._pause = pause

    def commit(self, files: Mapping[str, Summary]) -> None:
        """Returns when the log has all of `files`, by path below the directory of sealed files.

        Raises EvidenceError where a file cannot be read, or the disk does not take the entries: all of them or none.
        """
        entries = []
        for file, summary in files.items():
            if file not in self._logged:
                self._pause()
                entries.append(
                    seal_entry(
                        self._data,
                        summary.model,
                        file,
                        summary.from_unix_ns,
                        summary.to_unix_ns,
                        self._segments.records(file),
                    )
                )
        if entries:
            self._log.append(entries)
            self._logged.update(entry.file for entry in entries)

    def catch_up(self, ledger: Ledger) -> list[str]:
        """Appends what was sealed while there was no log; gives why, where that cannot be."""
        failures = []
        for sealed in list(ledger.sealed.values()):
            for file, summary in sealed.files.items():
                try:
                    if self._is_there(file):
                        self.commit({file: summary})
                except EvidenceError as error:
                    failures.append(str(error))
        return failures

    def _is_there(self, file: str) -> bool:
        return (self._data / SEALED_DIRECTORY / file).exists()
