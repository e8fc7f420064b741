"""Sealed segments as they are on the disk: Parquet files, read for the transparency log and for those who verify it."""

import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from steelyard.errors import EvidenceError
from steelyard.evidence.ledger import SEALED_DIRECTORY
from steelyard.evidence.lookup import Lookup, places_of
from steelyard.evidence.sealed_file import SUFFIX, read_records
from steelyard.evidence.store import sealed_files

# What a fault names; of a file that is damaged all over this says enough.
_PARTS_NAMED = 8


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
        except (EvidenceError, ValueError) as error:
            raise EvidenceError(f"{path}: {damage(path) or f'cannot be read: {error}'}") from None

    def find(self, decision: str) -> tuple[str, int] | None:
        try:
            place = self._place(uuid.UUID(decision))
        except ValueError:
            place = None
        if place is not None:
            return place
        for found in Lookup(self._data).requests(decision):
            if (place := self._place(uuid.UUID(found.decision.decision_id))) is not None:
                return place
        return None

    def _place(self, decision_id: uuid.UUID) -> tuple[str, int] | None:
        for sealed in sealed_files(self._data):
            if sealed.summary.first_id <= decision_id.hex <= sealed.summary.last_id:
                for group, at in places_of(sealed.path, "decision_id", decision_id.bytes):
                    return str(sealed.path.relative_to(self._directory)), _rows_before(
                        sealed.path, group
                    ) + at[0]
        return None


def damage(path: Path) -> str:
    """Which columns of a sealed file cannot be read, and where in the file they are; empty where all can be."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            found = [
                _chunk(file, group, column)
                for group in range(file.num_row_groups)
                for column in range(file.metadata.num_columns)
                if not _is_whole(file, group, column)
            ]
    except FileNotFoundError:
        return "missing"
    except (OSError, pa.ArrowException, ValueError) as error:
        return f"damaged: its footer cannot be read: {error}"
    if not found:
        return ""
    more = len(found) - _PARTS_NAMED
    return f"damaged: {', '.join(found[:_PARTS_NAMED])}" + (f" and {more} more" if more > 0 else "")


def _is_whole(file: pq.ParquetFile, group: int, column: int) -> bool:
    try:
        file.read_row_group(group, columns=[file.metadata.schema.column(column).path])
    except (OSError, pa.ArrowException, ValueError):
        return False
    return True


def _chunk(file: pq.ParquetFile, group: int, column: int) -> str:
    about = file.metadata.row_group(group).column(column)
    start = about.data_page_offset
    if about.has_dictionary_page:
        start = min(start, about.dictionary_page_offset)
    before = sum(file.metadata.row_group(one).num_rows for one in range(group))
    rows = file.metadata.row_group(group).num_rows
    return (
        f"column {about.path_in_schema} of records {before} to {before + rows - 1}, "
        f"bytes {start} to {start + about.total_compressed_size - 1}"
    )


def _rows_before(path: Path, group: int) -> int:
    metadata = pq.read_metadata(path)
    return sum(metadata.row_group(one).num_rows for one in range(group))
