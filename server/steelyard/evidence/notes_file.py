"""Sealed notes: what became known of decisions after they were recorded, as Parquet."""

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steelyard.errors import EvidenceError
from steelyard.evidence.batch import blobs
from steelyard.evidence.directories import sync_directory
from steelyard.evidence.places import places_of, rows_at
from steelyard.evidence.sealed_file import ROW_GROUP, SUFFIX
from steelyard.evidence.segments import NOTES_DIRECTORY

SCHEMA = pa.schema([("decision_id", pa.uuid()), ("kind", pa.string()), ("note", pa.string())])

_NOBODY = uuid.UUID(int=0)


def notes_path(directory: Path, segment: str) -> Path:
    """Where the notes of a journal's file are, below the directory of sealed files."""
    worker, _, file = segment.partition("/")
    return directory / NOTES_DIRECTORY / f"{worker}-{Path(file).stem}{SUFFIX}"


def notes_table(notes: Sequence[dict[str, Any]]) -> pa.Table:
    """Notes as columns: of which decision ("decision_id"), what kind ("note"), and all else as JSON."""
    ids = b"".join(_id(note).bytes for note in notes)
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(notes), [None, pa.py_buffer(ids)])
    columns = [
        pa.ExtensionArray.from_storage(pa.uuid(), storage),
        blobs([str(note.get("note", "")).encode() for note in notes], pa.string()),
        blobs([json.dumps(_rest(note), separators=(",", ":")).encode() for note in notes], pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def write_notes(path: Path, notes: Sequence[dict[str, Any]]) -> None:
    """Writes notes, by decision, and returns when they are on disk under that name. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        pq.write_table(
            notes_table(sorted(notes, key=lambda note: _id(note).int)),
            file,
            row_group_size=ROW_GROUP,
            compression="zstd",
            version="2.6",
            store_schema=False,
            use_dictionary=["kind"],
            column_encoding={"decision_id": "DELTA_BYTE_ARRAY", "note": "PLAIN"},
            write_page_checksum=True,
        )
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def count_notes(path: Path) -> int | None:
    """How many notes a file has; None where none is there, or it cannot be read."""
    try:
        count: int = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException):
        return None
    return count


def read_notes(path: Path, ids: Sequence[bytes], kind: str = "") -> list[dict[str, Any]]:
    """The notes of some decisions, of one kind or of all; what is of others is not taken out of the columns.

    ids: of the decisions, 16 bytes each, ascending. Raises EvidenceError where they cannot be read.
    """
    notes = []
    for group, places in places_of(path, "decision_id", ids):
        rows = rows_at(path, group, places)
        if kind:
            rows = rows.filter(pc.equal(rows["kind"], kind))
        for row in rows.to_pylist():
            try:
                rest = json.loads(row["note"])
            except ValueError as error:
                raise EvidenceError(f"{path}: cannot be read: {error}") from None
            one = row["decision_id"]
            decision_id = str(one if isinstance(one, uuid.UUID) else uuid.UUID(bytes=one))
            notes.append({"note": row["kind"], "decision_id": decision_id, **rest})
    return notes


def _rest(note: dict[str, Any]) -> dict[str, Any]:
    """What the other columns do not have."""
    known = set() if _id(note) == _NOBODY else {"note", "decision_id"}
    return {key: value for key, value in note.items() if key not in known}


def _id(note: dict[str, Any]) -> uuid.UUID:
    return id_of(note.get("decision_id"))


def id_of(decision_id: Any) -> uuid.UUID:
    """What the column has for a decision's id: of what is none, as of a note of no decision, zeros."""
    try:
        return uuid.UUID(decision_id)
    except (ValueError, TypeError, AttributeError):
        return _NOBODY
