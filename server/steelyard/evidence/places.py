"""Where in a Parquet file values are: only row groups that can have one of them are read."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steelyard.evidence.batch import blobs
from steelyard.evidence.gone import unreadable

Values = Sequence[bytes] | Sequence[str] | Sequence[int]
"""Ascending; of an id its 16 bytes."""


def places_of(path: Path, column: str, values: Values) -> Iterator[tuple[int, list[int]]]:
    """Where a file has one of some values: row groups, and places in them.

    Where the footer's least and greatest value tell that a row group has none, its column is not read; of those that
    are read one is in memory at a time. Raises EvidenceError where the file cannot be read, `Gone` where it is there no
    longer.
    """
    try:
        with pq.ParquetFile(path) as file:
            index = file.schema_arrow.get_field_index(column)
            for group in range(file.num_row_groups):
                among = _possible(values, file.metadata.row_group(group).column(index).statistics)
                if not among:
                    continue
                found = file.read_row_group(group, columns=[column])[column].combine_chunks()
                stored = found.storage if isinstance(found, pa.ExtensionArray) else found
                there = pc.is_in(stored, value_set=_array(among))
                places = pc.indices_nonzero(there).to_pylist()
                if places:
                    yield group, places
    except (OSError, pa.ArrowException, ValueError) as error:
        raise unreadable(path, error) from None


def rows_at(path: Path, group: int, places: Sequence[int], columns: list[str] | None = None) -> pa.Table:
    """Rows of a row group, with all columns or some. Raises as `places_of`."""
    try:
        with pq.ParquetFile(path) as file:
            return file.read_row_group(group, columns=columns).take(_array(places))
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from None


def _possible(wanted: Sequence[Any], statistics: Any) -> Sequence[Any]:
    """Those of the values that a row group may have; all, where its footer does not tell."""
    if statistics is None or not statistics.has_min_max:
        return wanted
    least, greatest = statistics.min, statistics.max
    # Texts are compared by the writer's order of their bytes, which we do not rely on.
    if not wanted or isinstance(wanted[0], str) or type(least) is not type(wanted[0]):
        return wanted
    return wanted[bisect_left(wanted, least) : bisect_right(wanted, greatest)]


def _array(values: Values) -> pa.Array:
    """From their bytes: to make an array of a list, Arrow imports pandas where that is there, to ask whether it is one
    of its own, which takes longer than most reading."""
    texts = [value.encode() for value in values if isinstance(value, str)]
    if texts:
        return blobs(texts, pa.string())
    ids = b"".join(value for value in values if isinstance(value, bytes))
    kind, held = (pa.binary(16), ids) if ids else (pa.int64(), np.array(values, np.int64))
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(held)])
