"""Sealed segments as they are on the disk: Parquet files, read for the transparency log and for those who verify it."""

import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from steelyard.errors import EvidenceError
from steelyard.evidence.apart import ReaderEnded, apart
from steelyard.evidence.gone import Gone, unreadable
from steelyard.evidence.ledger import SEALED_DIRECTORY
from steelyard.evidence.places import places_of
from steelyard.evidence.sealed_file import SUFFIX, read_records
from steelyard.evidence.store import sealed_files

# A file of the journal at its largest is read in a tenth of it, also at idle priority beside others.
EXAMINED_WITHIN_S = 600.0


class ParquetSegments:
    """Reads the sealed files of one data directory, as `SealedSegments` says."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._directory = data / SEALED_DIRECTORY

    def records(self, file: str) -> Iterator[bytes]:
        parts = PurePosixPath(file).parts
        # Names come from the log, and what stands in an entry may have been written by anybody.
        if len(parts) != 2 or ".." in parts or "/" in parts or not file.endswith(SUFFIX):
            raise EvidenceError(f"{file[:256]}: expected MODEL/FILE{SUFFIX}")
        path = self._directory / file
        try:
            for part in read_records(path):
                yield from part.to_list()
        except Gone:
            raise
        except (EvidenceError, ValueError) as error:
            raise EvidenceError(f"{path}: cannot be read: {error}") from None

    def examined(self, file: str) -> tuple[int, bytes]:
        reading = "steelyard.evidence.examining:examined"
        try:
            found: tuple[int, bytes] = apart(reading, self._data, file, within_s=EXAMINED_WITHIN_S)
        except ReaderEnded:
            raise EvidenceError(
                f"{self._directory / file}: damaged: it ends the process that reads it, or keeps it for more than "
                f"{EXAMINED_WITHIN_S:g} s"
            ) from None
        return found

    def find(self, decision: str) -> tuple[str, int] | None:
        try:
            decision_id = uuid.UUID(decision)
        except ValueError:
            return None
        for sealed in sealed_files(self._data):
            if sealed.summary.first_id <= decision_id.hex <= sealed.summary.last_id:
                for group, at in places_of(sealed.path, "decision_id", [decision_id.bytes]):
                    return str(sealed.path.relative_to(self._directory)), _rows_before(
                        sealed.path, group
                    ) + at[0]
        return None


def _rows_before(path: Path, group: int) -> int:
    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from None
    return sum(metadata.row_group(one).num_rows for one in range(group))
