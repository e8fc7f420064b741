"""Sealed notes in the transparency log: what was changed, removed or put in is found; what retention took is not."""

import uuid
from pathlib import Path

import pytest

from steelyard.clock import ManualClock
from steelyard.evidence.audit import Audit, audit
from steelyard.evidence.entry import NotesEntry, SegmentEntry, entry_of
from steelyard.evidence.event import Draft
from steelyard.evidence.log import EventLog
from steelyard.evidence.logging_segments import SegmentLogging
from steelyard.evidence.notes_file import read_notes, write_notes
from steelyard.evidence.parquet_segments import ParquetSegments
from steelyard.evidence.retention import remove_old
from steelyard.evidence.sealing import Sealing
from steelyard.evidence.segments import seal_entry
from steelyard.evidence.store import sealed_notes
from steelyard.evidence.tlog import TransparencyLog, key_paths
from steelyard.evidence.verifier import EXPIRED
from tests.evidence.journals import decision, packed, write

NOTES = [
    {"note": "feedback", "decision_id": decision(number).decision_id, "label": number} for number in (1, 2)
]


def opened(data: Path) -> TransparencyLog:
    return TransparencyLog(data, key_paths(data, None, None), ManualClock())


def sealed(data: Path, log: TransparencyLog | None) -> None:
    committed = (lambda one: None) if log is None else SegmentLogging(data, log).commit
    list(Sealing(data, committed).all_closed())


def audited(data: Path, log: TransparencyLog) -> Audit:
    return audit(data, log, ParquetSegments(data))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path, packed(1, 2, 3), notes=NOTES)
    return tmp_path


def test_notes_are_an_entry_and_every_change_of_them_is_found(data: Path) -> None:
    log = opened(data)
    sealed(data, log)
    (path,) = sealed_notes(data)
    _, notes = log.entries()
    assert isinstance(notes, NotesEntry)
    assert (notes.file, notes.count) == (f".notes/{path.name}", 2)
    found = audited(data, log)
    assert (found.faults, found.segments, found.notes, found.unlogged_notes) == ([], 1, 1, 0)
    whole = path.read_bytes()
    for at in range(0, len(whole), 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        (fault,) = audited(data, log).faults
        assert (fault.where, "expected the notes that were sealed" in fault.what) == (str(path), True)
    # Whole, with checksums and all, by somebody who corrects a label.
    write_notes(path, [{**note, "label": 9} for note in NOTES])
    assert read_notes(path, [uuid.UUID(decision(1).decision_id).bytes])[0]["label"] == 9
    assert len(audited(data, log).faults) == 1
    path.unlink()
    (fault,) = audited(data, log).faults
    assert (fault.where, fault.what) == (str(path), "missing")
    path.write_bytes(whole)
    path.with_name("worker-0-1.parquet").write_bytes(whole)
    (fault,) = audited(data, log).faults
    assert fault.what == "no entry of the log is about this file"


def test_notes_of_an_older_release_are_logged_at_the_next_start(data: Path) -> None:
    log = opened(data)
    sealed(data, None)
    log.append(_of_segments(data))
    found = audited(data, log)
    assert (found.faults, found.notes, found.unlogged_notes) == ([], 0, 1)
    sealing = Sealing(data)
    for _ in range(2):
        assert SegmentLogging(data, log).catch_up(sealing.ledger) == []
        found = audited(data, log)
        assert (found.faults, found.size, found.notes, found.unlogged_notes) == ([], 2, 1, 0)


def test_notes_that_were_logged_before_a_kill_stay_as_they_are(data: Path) -> None:
    log = opened(data)
    journal = next((data / "journal").rglob("*.log"))
    content = journal.read_bytes()
    sealed(data, log)
    (path,) = sealed_notes(data)
    written = path.stat().st_ino
    # As if it had been killed before the ledger and the journal heard of it.
    (data / "sealed" / "segments.log").unlink()
    journal.write_bytes(content)
    sealed(data, log)
    assert path.stat().st_ino == written
    found = audited(data, log)
    assert (found.faults, found.size, found.notes) == ([], 2, 1)


def test_notes_go_with_the_last_of_their_decisions(data: Path) -> None:
    log = opened(data)
    sealed(data, log)
    events = EventLog(data, ManualClock())

    def expiring(model: str, files: object) -> None:
        (event,) = events.append([Draft(EXPIRED, model, "server", "90 days", details={"files": files})])
        log.append([entry_of(event)])

    gone = remove_old(data, data / "models", Sealing(data).ledger, 1 << 62, expiring=expiring)
    assert len(list(gone)) == 1
    events.close()
    assert sealed_notes(data) == []
    found = audited(data, log)
    assert (found.faults, found.expired, found.notes) == ([], 1, 0)


def _of_segments(data: Path) -> list[SegmentEntry]:
    """What a release logged that knew of segments alone."""
    ledger = Sealing(data).ledger
    segments = ParquetSegments(data)
    return [
        seal_entry(data, one.model, file, one.from_unix_ns, one.to_unix_ns, segments.records(file))
        for file, one in ledger.summaries.items()
    ]
