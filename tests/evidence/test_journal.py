"""The journal's thread and its files: what it writes, what it cannot write, and what is left when it is killed."""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from steelyard._native.decision import new_ids
from steelyard._native.journal import Ring, Subject
from steelyard._native.observe import Segment, Ticket
from steelyard.clock import ManualClock
from steelyard.errors import EvidenceError
from steelyard.evidence import journal as module
from steelyard.evidence.frames import Kind, frame, read_segment
from steelyard.evidence.journal import Journal, Trouble
from steelyard.evidence.record import unpack
from steelyard.evidence.recovery import LOST_WHY, UNKNOWN_WHY, recover
from steelyard.observe.segment import SegmentReader
from steelyard.observe.segment_file import create_segment
from steelyard.wire import decode_request
from steelyard.wire.generated import grpc_service as pb
from tests.support.waiting import eventually


class Kept:
    """A ring, and a journal that writes it."""

    def __init__(self, directory: Path, **more: Any) -> None:
        self.directory = directory
        self.fd = create_segment("test")
        self.segment = Segment(self.fd, os.getpid(), 1)
        self.ring = Ring(self.segment.memory)
        self.synced: list[tuple[int, OSError | None]] = []
        self.troubles: list[Trouble] = []
        how = {"segment_bytes": 1 << 20, "segment_age_s": 60.0, "commit_interval_s": 0.0, **more}
        self.journal = Journal(
            directory,
            0,
            self.ring,
            ManualClock(),
            **how,
            on_synced=lambda position, error: self.synced.append((position, error)),
            told=self.troubles.append,
        )
        self.ids: list[str] = []

    def put(self, count: int) -> list[str]:
        request = pb.ModelInferRequest(model_name="m")
        call = SimpleNamespace(peer="me", traceparent=b"")
        decoded = decode_request(request.SerializeToString())
        tickets = [Ticket(call, decoded, 1, (), 1, 1) for _ in range(count)]
        ids = new_ids(count, 5 + len(self.ids))
        subject = Subject("m", 1, bytes(32), "", 1.0)
        self.ring.batch(subject, tickets, ids, 0, 10**18, 1, 1, 1, 1, 1, count)
        self.ids += ids
        return ids

    def counts(self) -> Any:
        return SegmentReader(self.fd).snapshot().decisions

    def recorded(self) -> list[str]:
        return [
            unpack(record).decision_id
            for path in sorted(self.directory.glob("*.log"))
            for record in read_segment(path).records
        ]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "journal")
    yield made
    made.journal.close()
    os.close(made.fd)


def test_what_is_put_is_in_files_in_order_and_the_last_says_what_it_holds(kept: Kept) -> None:
    for count in (1, 500, 64):
        kept.put(count)
        kept.journal.commit()
    kept.journal.close()
    assert kept.recorded() == kept.ids
    (path,) = kept.directory.iterdir()
    reading = read_segment(path)
    assert reading.end is not None
    assert (reading.end["records"], reading.torn_bytes, reading.begin["worker"]) == (565, 0, 0)
    counts = kept.counts()
    assert (counts.recorded, counts.written, counts.synced, counts.waiting_bytes) == (565, 565, 565, 0)


def test_files_are_closed_when_they_are_large(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "journal", segment_bytes=1 << 16)
    for _ in range(3):
        kept.put(600)
        position = kept.ring.head
        kept.journal.commit()
        eventually(lambda at=position: kept.ring.tail == at)
    kept.journal.close()
    assert len(list(kept.directory.iterdir())) >= 3
    assert kept.recorded() == kept.ids
    os.close(kept.fd)


def test_nobody_hears_of_a_commit_before_the_disk_has_it(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes its time: `on_synced` is called when `fdatasync` has returned, and not before."""
    answers, reached = threading.Event(), threading.Event()
    sync = os.fdatasync

    def slow(fd: int) -> None:
        reached.set()
        assert answers.wait(20)
        sync(fd)

    monkeypatch.setattr(module.os, "fdatasync", slow)
    kept.put(3)
    position = kept.ring.head
    kept.journal.commit()
    assert reached.wait(20)
    assert kept.counts().written == 3
    assert not kept.synced
    assert kept.counts().synced == 0
    answers.set()
    eventually(lambda: kept.synced)
    assert kept.synced[0] == (position, None)


def test_a_full_disk_is_told_and_leaves_a_gap(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.put(2)
    kept.journal.commit()
    eventually(lambda: kept.synced)

    def full(fd: int, data: Any, at: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "pwrite", full)
        lost = kept.put(7)
        kept.journal.commit()
        eventually(lambda: len(kept.synced) > 1 and kept.ring.tail == kept.ring.head)
    assert kept.synced[1][1] is not None
    assert kept.synced[1][1].errno == errno.ENOSPC
    assert (kept.troubles[0].kind, kept.troubles[0].lost) == ("refused", 7)
    kept.put(4)
    kept.journal.close()
    assert kept.recorded() == [one for one in kept.ids if one not in lost]
    (path,) = kept.directory.iterdir()
    assert sum(gap.count for gap in read_segment(path).gaps) == 7
    assert kept.counts().unwritten == 7
    assert kept.troubles[-1].kind == "over"


def test_a_write_that_is_cut_short_leaves_no_half_of_it(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle of a frame, and has room again for a shorter one."""
    pwrite, calls = os.pwrite, []

    def filling(fd: int, data: Any, at: int) -> int:
        calls.append(at)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(fd, bytes(data)[: len(data) // 2], at)

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "pwrite", filling)
        lost = kept.put(500)
        kept.journal.commit()
        eventually(lambda: kept.synced and kept.ring.tail == kept.ring.head)
    kept.put(1)
    kept.journal.close()
    (path,) = kept.directory.iterdir()
    reading = read_segment(path)
    assert reading.end is not None
    assert kept.recorded() == [one for one in kept.ids if one not in lost]
    assert sum(gap.count for gap in reading.gaps) == 500


def test_a_file_that_could_not_be_synced_is_never_trusted_again(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "fdatasync", broken)
        kept.put(3)
        kept.journal.commit()
        eventually(lambda: kept.synced)
    assert kept.synced[0][1] is not None
    kept.put(2)
    kept.journal.commit()
    eventually(lambda: kept.synced[-1][1] is None)
    kept.journal.close()
    first, second = sorted(kept.directory.glob("*.log"))
    assert read_segment(first).end is None
    assert len(read_segment(second).records) == 2
    assert kept.counts().synced == 2


def test_notes_that_are_too_long_or_too_many_are_told_and_take_nothing_with_them(tmp_path: Path) -> None:
    # One file, however many passes the writer makes of it.
    kept = Kept(tmp_path / "journal", segment_bytes=1 << 30)
    assert not kept.journal.note({"note": "x" * 100_000})
    taken = [kept.journal.note({"note": "é" * 8000, "place": place}) for place in range(500)]
    kept.put(1)
    kept.journal.close()
    (path,) = kept.directory.iterdir()
    reading = read_segment(path)
    assert reading.end is not None
    assert [note["place"] for note in reading.notes] == list(range(sum(taken)))
    assert kept.recorded() == kept.ids
    assert [trouble.kind for trouble in kept.troubles] == ["notes_lost"]
    os.close(kept.fd)


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvidenceError, match="the journal cannot be written"):
        Kept(tmp_path / "file" / "journal")


def killed(kept: Kept, torn: bytes = b"") -> Path:
    """The file of a process that was killed: without an end, unlocked, and with what was half written."""
    kept.journal.close()
    (path,) = kept.directory.glob("*.log")
    reading = read_segment(path)
    data = path.read_bytes()
    end = frame(Kind.END, data[-200:])
    at = data.rindex(b'{"records":') - 12
    path.write_bytes(data[:at] + torn)
    assert end
    assert reading.end is not None
    return path


@pytest.mark.parametrize("torn", [b"", b"\x07", frame(Kind.RECORDS, b"x" * 99)[:60]])
def test_what_a_killed_process_left_is_completed_from_its_ring(kept: Kept, torn: bytes) -> None:
    kept.put(5)
    path = killed(kept, torn)
    unsure = kept.put(9)
    (recovered,) = recover(kept.directory, kept.ring, 3, 10**18)
    assert (recovered.path, recovered.records, recovered.torn_bytes) == (path, 14, len(torn))
    reading = read_segment(path)
    assert kept.recorded() == kept.ids
    assert [(gap.count, gap.why) for gap in reading.gaps] == [(3, LOST_WHY)]
    assert [(note["note"], note["decision_id"]) for note in reading.notes] == [
        ("unsure", one) for one in unsure
    ]
    assert reading.end is not None
    assert kept.ring.head == kept.ring.tail
    assert recover(kept.directory, kept.ring, 0, 10**18) == []


def test_a_chunk_that_was_written_and_not_yet_taken_is_not_written_twice(kept: Kept) -> None:
    path = killed(kept)
    kept.put(6)
    chunk, _ = kept.ring.peek(1 << 18)
    path.write_bytes(path.read_bytes() + frame(Kind.RECORDS, chunk))
    kept.put(2)
    recover(kept.directory, kept.ring, 0, 10**18)
    assert kept.recorded() == kept.ids
    assert [note["decision_id"] for note in read_segment(path).notes] == kept.ids[-8:]


def test_where_the_ring_is_gone_as_well_the_gap_says_that_nobody_knows(kept: Kept) -> None:
    kept.put(5)
    path = killed(kept, b"\x01\x02")
    recover(kept.directory, None, 0, 10**18)
    reading = read_segment(path)
    assert kept.recorded() == kept.ids
    assert [(gap.count, gap.why) for gap in reading.gaps] == [(0, UNKNOWN_WHY)]
    assert reading.end is not None


def test_an_audit_that_looks_at_a_file_does_not_keep_it_from_being_closed(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.put(5)
    path = killed(kept)
    audit = os.open(path, os.O_RDONLY)
    fcntl.flock(audit, fcntl.LOCK_SH)
    real, refused = fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        try:
            real(fd, operation)
        except BlockingIOError:
            refused.append(fd)
            real(audit, fcntl.LOCK_UN)
            raise

    monkeypatch.setattr(fcntl, "flock", flock)
    (recovered,) = recover(kept.directory, kept.ring, 0, 10**18)
    os.close(audit)
    assert (recovered.path, len(refused)) == (path, 1)
    assert read_segment(path).end is not None


def test_a_file_that_is_being_written_is_left_alone(kept: Kept) -> None:
    kept.put(5)
    kept.journal.commit()
    eventually(lambda: kept.synced)
    assert recover(kept.directory, None, 0, 10**18) == []
    kept.put(5)
    kept.journal.close()
    assert kept.recorded() == kept.ids
