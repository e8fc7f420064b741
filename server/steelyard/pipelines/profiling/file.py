"""A file of training data, CSV or Parquet by its content, to its profile."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa

from steelyard.errors import DataError
from steelyard.models.profile import Profile
from steelyard.pipelines.profiling.csv_data import CsvData
from steelyard.pipelines.profiling.data import Data
from steelyard.pipelines.profiling.parquet_data import ParquetData
from steelyard.pipelines.profiling.profile import make_profile

_PARQUET = b"PAR1"
# No text has one, and nearly every other file has one near its beginning.
_NOT_TEXT = b"\0"
_LOOKED_AT_BYTES = 4096


def profile_file(
    path: Path, *, left_out: Collection[str], missing_texts: Sequence[str], delimiter: str
) -> tuple[Data, Profile]:
    """What a CSV or Parquet file has for columns, and what these hold.

    left_out: columns that are not looked at. missing_texts: texts that mean a missing value in every column, beside
    those that do anyway. Raises DataError for a file that is neither or cannot be read to its end, has no row, or has
    columns that no request could.
    """
    if not path.is_file():
        raise DataError(f"{path}: expected a regular file")
    try:
        with path.open("rb") as stream:
            begin = stream.read(_LOOKED_AT_BYTES)
        data: Data
        if begin.startswith(_PARQUET):
            data = ParquetData(path, left_out, missing_texts)
        elif _NOT_TEXT in begin:
            raise DataError("expected CSV in UTF-8 or Parquet, came neither")
        else:
            data = CsvData(path, left_out, missing_texts, delimiter)
        return data, make_profile(data)
    except DataError as exc:
        raise DataError(f"{path}: {exc}") from exc
    except (pa.ArrowException, UnicodeError, OSError) as exc:
        # pyarrow raises its own errors, those of the file system, and Python's for names that are not UTF-8.
        raise DataError(f"{path}: cannot be read as CSV in UTF-8 or Parquet: {exc}") from exc
