"""What an audit finds: nothing in what nobody touched, and the place of whatever was changed."""

import fcntl
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.clock import ManualClock
from steelyard.evidence.audit import Audit, Span, audit
from steelyard.evidence.audited import audit_whole, last_audit
from steelyard.evidence.entry import entry_of
from steelyard.evidence.event import Draft
from steelyard.evidence.frames import Kind, frame, json_frame
from steelyard.evidence.log import EventLog
from steelyard.evidence.segments import logged_files
from steelyard.evidence.tlog import LogReader, TransparencyLog, key_paths
from steelyard.evidence.verifier import EXPIRED
from tests.evidence.sealed import MINUTE_NS, START_NS, FramedSegments, filled

MINUTES = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("audit") / "data"
    filled(data, MINUTES)
    (data / "journal" / "worker-0").mkdir(parents=True)
    whole = b"".join(frame(Kind.RECORDS, bytes(size)) for size in (4, 30))
    (data / "journal" / "worker-0" / "1.log").write_bytes(whole + json_frame(Kind.END, {"records": 2}))
    return data


def audited(data: Path, **options) -> Audit:
    keys = key_paths(data, None, None)
    from steelyard.evidence.tlog import open_reader

    return audit(data, open_reader(data, keys), FramedSegments(data), **options)


def covered(data: Path) -> list[Path]:
    """Every file that an audit vouches for."""
    files = [path for path in sorted(data.rglob("*")) if path.is_file()]
    return [
        path for path in files if path.name not in ("lock", "log.key", "log.key.pub") and path.stat().st_size
    ]


def test_nothing_is_wrong_with_what_nobody_touched(data: Path):
    found = audited(data)
    assert found.faults == []
    assert (found.segments, found.events, found.waiting_events) == (2 * MINUTES, 4 * MINUTES, 0)
    assert found.records > 2 * MINUTES


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_anywhere_is_found_and_located(data: Path, draw: st.DataObject):
    path = draw.draw(st.sampled_from(covered(data)))
    content = path.read_bytes()
    at = draw.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[at] ^= 1 << draw.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    try:
        faults = audited(data).faults
    finally:
        path.write_bytes(content)
    assert faults
    assert any(str(path) in fault.where or str(path) in fault.what for fault in faults), faults
    # Nothing else is accused: what follows from one flip is told of the same file.
    assert {str(path) in fault.where + fault.what for fault in faults} == {True}, faults


def test_a_frame_that_is_being_written_is_no_fault(tmp_path: Path):
    filled(tmp_path, 1)
    path = tmp_path / "journal" / "worker-0" / "1.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(frame(Kind.RECORDS, bytes(4)) + frame(Kind.RECORDS, bytes(9))[:-3])
    with path.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert audited(tmp_path).ok
    assert "damaged after byte 16" in audited(tmp_path).faults[0].what


def test_a_file_that_no_entry_is_about_is_a_fault_unless_it_is_sealed_meanwhile(tmp_path: Path):
    filled(tmp_path, 1)
    sealed, journal = tmp_path / "sealed" / "prices", tmp_path / "journal" / "worker-0"
    journal.mkdir(parents=True)
    # One is being sealed when the audit begins, one is begun after that; both are done before it ends.
    (sealed / "worker-0-5.parquet").write_bytes(b"being sealed")
    (journal / "5.log").write_bytes(frame(Kind.RECORDS, bytes(4)) + json_frame(Kind.END, {}))

    def seal(done: int, total: int) -> None:
        (journal / "5.log").unlink(missing_ok=True)
        (sealed / "worker-0-6.parquet").write_bytes(b"sealed meanwhile")

    assert audited(tmp_path, progress=seal).faults == []
    where = {fault.where for fault in audited(tmp_path).faults}
    assert where == {"prices/worker-0-5.parquet", "prices/worker-0-6.parquet"}


def test_a_flipped_bit_in_many_tiles_is_located(tmp_path: Path):
    log = TransparencyLog(tmp_path, key_paths(tmp_path, None, None), ManualClock())
    events = EventLog(tmp_path, ManualClock())
    log.append([entry_of(event) for event in events.append([Draft("k", "m", "a", "r")] * 700)])
    events.close()
    assert audited(tmp_path).ok
    for name, where in (
        ("tile/0/001", "hash 3 was changed"),
        ("tile/1/000.p/2", "hash 0 was changed"),
        ("tile/entries/001", "was changed"),
        ("tile/0/002.p/188", "hash 3 was changed"),
    ):
        path = tmp_path / "tlog" / name
        content = bytearray(path.read_bytes())
        content[3 * 32 if "0/00" in name else 5] ^= 4
        kept = path.read_bytes()
        path.write_bytes(content)
        (fault,) = audited(tmp_path).faults
        assert fault.where == str(path)
        assert where in fault.what
        path.write_bytes(kept)


@pytest.mark.parametrize(
    "name", ["sealed/prices/1.records", "tlog/tile/0/000.p/*", "events.log", "tlog/checkpoint"]
)
def test_a_file_that_is_gone_is_missed(tmp_path: Path, name: str):
    filled(tmp_path / "data")
    path = sorted((tmp_path / "data").glob(name), key=lambda path: path.stat().st_mtime_ns)[-1]
    path.unlink()
    found = audited(tmp_path / "data")
    assert any(str(path) in fault.where and "missing" in fault.what for fault in found.faults), found.faults


def test_a_segment_that_an_event_says_is_gone_is_no_fault(tmp_path: Path):
    log = filled(tmp_path / "data")
    (tmp_path / "data" / "sealed" / "faces" / "0.records").unlink()
    clock = ManualClock()
    events = EventLog(tmp_path / "data", clock)
    said = events.append(
        [Draft(EXPIRED, "faces", "server", "90 days", details={"files": ["faces/0.records"]})]
    )
    events.close()
    found = audited(tmp_path / "data")
    assert (found.ok, found.expired, found.waiting_events) == (True, 1, 1)
    TransparencyLog(tmp_path / "data", key_paths(tmp_path / "data", None, None), clock).append(
        [entry_of(said[0])]
    )
    found = audited(tmp_path / "data")
    assert (found.ok, found.expired, found.waiting_events) == (True, 1, 0)
    assert "faces/0.records" in logged_files(log)


def test_only_what_is_in_the_time_asked_for_is_read(data: Path):
    second = Span(START_NS + MINUTE_NS, START_NS + 2 * MINUTE_NS)
    found = audited(data, span=second)
    assert (found.ok, found.segments, found.events) == (True, 2, 4)


def test_a_log_that_was_written_anew_did_not_grow_from_the_one_seen_before(tmp_path: Path):
    """Whoever has the key can make another log of what suits them; a checkpoint kept elsewhere shows it."""
    data = tmp_path / "data"
    log = filled(data, 2)
    seen = log.note()
    shutil.copytree(data, tmp_path / "copy")
    filled_on(data)
    assert audited(data, seen=seen).ok
    shutil.rmtree(data / "tlog")
    (data / "sealed" / "faces" / "0.records").unlink()
    again = TransparencyLog(data, key_paths(data, None, None), ManualClock())
    again.append([entry for entry in log_of(tmp_path / "copy").entries() if entry.model == "prices"])
    found = audited(data, seen=seen)
    assert any("the checkpoint seen before" in fault.where for fault in found.faults)


def filled_on(data: Path) -> None:
    clock = ManualClock()
    events = EventLog(data, clock)
    entries = [entry_of(event) for event in events.append([Draft("k", "prices", "a", "r")])]
    TransparencyLog(data, key_paths(data, None, None), clock).append(entries)
    events.close()


def log_of(data: Path) -> LogReader:
    from steelyard.evidence.tlog import open_reader

    return open_reader(data, key_paths(data, None, None))


def test_an_audit_is_remembered_and_a_failed_one_does_not_count_as_done(tmp_path: Path):
    data = tmp_path / "data"
    filled(data)
    keys, clock = key_paths(data, None, None), ManualClock()
    assert last_audit(data) is None
    assert audit_whole(data, keys, FramedSegments(data), clock).ok
    first = clock.unix_ns() // 1_000_000
    clock.advance(5_000_000_000)
    (data / "sealed" / "faces" / "0.records").unlink()
    assert not audit_whole(data, keys, FramedSegments(data), clock).ok
    last = last_audit(data)
    assert last is not None
    assert (last.unix_ms, last.succeeded_unix_ms, last.faults) == (first + 5000, first, 1)
