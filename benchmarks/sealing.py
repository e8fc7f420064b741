"""Sealing: bytes a record on disk, column by column, and what a record costs.

It favours nobody: ids, traces and request ids are as random as real ones, and those do not compress.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.decisions import MODEL, START_NS, made
from steelyard.evidence.batch import Records
from steelyard.evidence.sealed_file import write_sealed

RECORDS = 400_000

# At ten thousand a second, such as a journal's file of 64 MiB has.
SPREAD_NS_EACH = 100_000

KINDS = {
    "plain": {},
    "request ids that count": {"request_ids": "counted"},
    "random request ids": {"request_ids": "random"},
    "trace ids": {"traced": True},
    "trace ids, random request ids": {"traced": True, "request_ids": "random"},
}


def run(records: int = RECORDS) -> list[dict[str, Any]]:
    """Seals so many records of each kind, and reads where the bytes went."""
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for kind, settings in KINDS.items():
            each: Records = made(records, 1, START_NS, records * SPREAD_NS_EACH, **settings)  # type: ignore[arg-type]
            path = Path(temporary) / "sealed.parquet"
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            write_sealed(path, each, "worker-0/1.log", MODEL, 0, 1, lambda: None)
            cpu_us = (time.process_time() - began_cpu_s) / records * 1e6
            wall_us = (time.perf_counter() - began_s) / records * 1e6
            found.append(
                {
                    "kind": kind,
                    "records": records,
                    "journal_bytes": float(each.lengths.mean()) + 2,
                    "bytes": path.stat().st_size / records,
                    "cpu_us": cpu_us,
                    "wall_us": wall_us,
                    "columns": _columns(path, records),
                }
            )
    return found


def report(found: list[dict[str, Any]]) -> list[str]:
    """The result as lines of text."""
    lines = [
        f"{'records with':32}{'journal':>10}{'sealed':>10}{'cpu µs':>10}{'wall µs':>10}   bytes a record"
    ]
    for one in found:
        lines.append(
            f"{one['kind']:32}{one['journal_bytes']:10.0f}{one['bytes']:10.1f}{one['cpu_us']:10.2f}{one['wall_us']:10.2f}"
        )
        top = sorted(one["columns"].items(), key=lambda item: -item[1])[:8]
        lines.append("    " + ", ".join(f"{name} {size:.2f}" for name, size in top))
    return lines


def _columns(path: Path, records: int) -> dict[str, float]:
    sizes: dict[str, float] = {}
    metadata = pq.read_metadata(path)
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            column = row_group.column(index)
            sizes[column.path_in_schema] = (
                sizes.get(column.path_in_schema, 0) + column.total_compressed_size / records
            )
    return sizes
