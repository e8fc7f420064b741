"""A sealed file: the decisions of one model in one closed file of the journal, as Parquet."""

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from steelyard.errors import EvidenceError
from steelyard.evidence.batch import Records, numbers, to_exact_table, to_records
from steelyard.evidence.columns import COLUMNS, DICTIONARY, STAGES
from steelyard.evidence.directories import sync_directory
from steelyard.evidence.gone import unreadable
from steelyard.evidence.stage_times import Hours, HourTimes, hours_from_json, hours_of, hours_to_json

FORMAT = 1
SUFFIX = ".parquet"

# Where a file's footer says what it holds.
SUMMARY_KEY = b"steelyard"
HOURS_KEY = b"steelyard.hours"

# Rows that are written, and read, at a time: some ten megabytes of memory.
ROW_GROUP = 1 << 16

# Levels above take twice the time and more for two bytes in a hundred.
ZSTD_LEVEL = 3

# A request id is looked for in every file: the filter says of 99 row groups in 100 that it is not there.
_FALSE_POSITIVES = 0.01

Pause = Callable[[], None]
"""Called between steps of long work: waits while others need the machine."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a sealed file holds, as its footer says."""

    model: str
    """Empty: those for which no version was found."""
    segment: str
    """The file of the journal, such as "worker-0/00001700000000000000.log"."""
    worker: int | None
    pid: int | None
    records: int
    first_id: str
    last_id: str
    """The least and the greatest decision id."""
    from_unix_ns: int
    to_unix_ns: int
    """When the first and the last of them came."""
    format: int = FORMAT

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Summary":
        """Raises EvidenceError where it is none of this format."""
        try:
            summary = cls(**fields)
        except TypeError as error:
            raise EvidenceError(f"expected the summary of a sealed file: {error}") from None
        if summary.format != FORMAT:
            raise EvidenceError(f"expected a sealed file of format {FORMAT}, came {summary.format}")
        for name, kind in _KINDS.items():
            if type(value := getattr(summary, name)) is not kind:
                raise EvidenceError(
                    f"expected the summary of a sealed file: {name} as {kind.__name__}, came {value!r:.80}"
                )
        return summary

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


_KINDS = {
    "model": str,
    "segment": str,
    "records": int,
    "first_id": str,
    "last_id": str,
    "from_unix_ns": int,
    "to_unix_ns": int,
}


def write_sealed(
    path: Path, records: Records, segment: str, model: str, worker: int | None, pid: int | None, pause: Pause
) -> Summary:
    """Writes the records, in their order, and returns when they are on disk under that name, whole and read back.

    Raises EvidenceError where a record is none, or the disk gives something else back; OSError where it takes nothing.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    tables = _tables(records, worker, pause)
    hours: Hours = {}
    ids: list[bytes] = []
    times: list[int] = []
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        first = next(tables)
        with pq.ParquetWriter(file, first.schema, **_settings(first, len(records))) as writer:
            for table in itertools.chain([first], tables):
                writer.write_table(table, row_group_size=ROW_GROUP)
                _count(table, hours, ids, times)
            summary = Summary(
                model,
                segment,
                worker,
                pid,
                len(records),
                min(ids).hex(),
                max(ids).hex(),
                min(times),
                max(times),
            )
            writer.add_key_value_metadata(
                {
                    SUMMARY_KEY: json.dumps(summary.to_json()).encode(),
                    HOURS_KEY: json.dumps(hours_to_json(hours), separators=(",", ":")).encode(),
                }
            )
        file.flush()
        os.fsync(file.fileno())
    _check(temporary, records, pause)
    temporary.replace(path)
    sync_directory(path.parent)
    return summary


def read_summary(path: Path) -> Summary:
    """What a sealed file holds. Raises EvidenceError where it cannot be read, `Gone` where it is no longer there."""
    fields = _metadata(path, SUMMARY_KEY)
    try:
        return Summary.from_json(fields)
    except EvidenceError as error:
        raise EvidenceError(f"{path}: {error}") from None


def read_hours(path: Path) -> Hours:
    """What the stages of its decisions took. Raises as `read_summary`."""
    fields = _metadata(path, HOURS_KEY)
    try:
        return hours_from_json(fields)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise EvidenceError(f"{path}: expected what stages took, by the hour: {error!r:.200}") from None


def read_records(path: Path) -> Iterator[Records]:
    """Its canonical records in their order, some at a time. Raises EvidenceError where it is damaged, `Gone` where
    it is no longer there."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                yield to_records(file.read_row_group(group))
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from None


def _metadata(path: Path, key: bytes) -> Any:
    """What the footer has as JSON."""
    try:
        found: bytes = pq.read_metadata(path).metadata[key]
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from None
    except (KeyError, TypeError):
        raise EvidenceError(f"{path}: expected a sealed file, came one without {key.decode()}") from None
    try:
        return json.loads(found)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"{path}: expected JSON as {key.decode()} of the footer: {error}") from None


def _settings(table: pa.Table, count: int) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": ZSTD_LEVEL,
        "version": "2.6",
        "store_schema": False,
        "write_page_checksum": True,
        "use_dictionary": [column.name for column in COLUMNS if column.encoding == DICTIONARY],
        "column_encoding": {
            column.name: column.encoding for column in COLUMNS if column.encoding != DICTIONARY
        },
    }
    named = len(table) - table["request_id"].null_count
    if named:
        distinct = min(ROW_GROUP, count)
        settings["bloom_filter_options"] = {"request_id": {"ndv": distinct, "fpp": _FALSE_POSITIVES}}
    return settings


def _tables(records: Records, worker: int | None, pause: Pause) -> Iterator[pa.Table]:
    for start in range(0, len(records), ROW_GROUP):
        pause()
        yield to_exact_table(records.part(slice(start, start + ROW_GROUP)), worker)


def _count(table: pa.Table, hours: Hours, ids: list[bytes], times: list[int]) -> None:
    """Takes up what a summary says of a part of the decisions."""
    received = numbers(table["received"])
    times += [int(received.min()), int(received.max())]
    storage = table["decision_id"].combine_chunks().storage
    upper, lower = np.frombuffer(storage.buffers()[1], ">u8", 2 * len(storage)).reshape(-1, 2).T
    for end in (upper.min(), upper.max()):
        halves = lower[upper == end]
        ids += [int(end).to_bytes(8) + int(half).to_bytes(8) for half in (halves.min(), halves.max())]
    answered = numbers(table["code"]) == 0
    stages = {name: numbers(table[name])[answered] for name in STAGES}
    for key, found in hours_of(received[answered], numbers(table["version"])[answered], stages).items():
        hours.setdefault(key, HourTimes({})).add(found)


def _check(path: Path, records: Records, pause: Pause) -> None:
    """Raises EvidenceError where the file does not give the records back: then the journal is not let go."""
    at = 0
    for again in read_records(path):
        pause()
        if not again.equals(records.part(slice(at, at + len(again)))):
            raise EvidenceError(f"{path}: what was written is not what is read")
        at += len(again)
    if at != len(records):
        raise EvidenceError(f"{path}: expected {len(records)} records, came {at}")
