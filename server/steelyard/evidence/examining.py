"""What is in a sealed file that is not as it was sealed, or where it is damaged; called in a process apart."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from steelyard.errors import EvidenceError
from steelyard.evidence.ledger import SEALED_DIRECTORY
from steelyard.evidence.merkle import Records
from steelyard.evidence.parquet_segments import ParquetSegments

# What a fault names; of a file that is damaged all over this says enough.
_PARTS_NAMED = 8


def examined(data: Path, file: str) -> tuple[int, bytes]:
    """Number and root of the records in a sealed file. Raises EvidenceError that says where it is damaged."""
    try:
        tree = Records(ParquetSegments(data).records(file))
        return tree.count, tree.root()
    except (EvidenceError, pa.ArrowException, ValueError, TypeError, LookupError, MemoryError) as error:
        path = data / SEALED_DIRECTORY / file
        what = damage(path) or str(error).removeprefix(f"{path}: ")
        raise EvidenceError(f"{path}: {what}") from None


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
