"""A disk that is slow, stuck, full or broken under a real server: who waits, who is refused, and what is counted."""

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from steelyard.cli.main import main
from steelyard.evidence.payload_files import PAYLOADS
from steelyard.evidence.record import unpack
from steelyard.evidence.store import open_files, sealed_files
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.faults import UNTIL_TOLD, Answer, Faults, answers, faulty, is_on_disk_before
from tests.support.metrics import Metrics, metrics
from tests.support.recorded import all_gaps, everything
from tests.support.server import Server
from tests.support.shadows import patiently
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}
CALLS = 24


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    models.put(path, "double", models.scaled())
    models.put(path, "careful", models.scaled())
    (path / "careful" / "model.toml").write_text('[evidence]\nmode = "required"\n')
    return path


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[Faults]:
    """Of the journal's files."""
    with faulty(tmp_path, "/journal/") as found:
        yield found


def names(model: str) -> list[str]:
    """What a test names its requests; none is a part of another."""
    return [f"{model}-{number:04d}-asked" for number in range(CALLS)]


def call_all(ask: Asker, model: str) -> list[Any]:
    return [ask.start(request(model, ONES, id=name)) for name in names(model)]


def is_accounted_for(server: Server) -> bool:
    """Whether each request that came is a record on disk or in a gap, and the metrics say the same."""
    counts = metrics(server)
    fates = {
        fate: metrics(server, record=fate)["steelyard_decisions_total"]
        for fate in ("recorded", "dropped", "unwritten")
    }
    received = counts["steelyard_requests_received_total"]
    records, missing = len(everything(server.data)), sum(gap.count for gap in all_gaps(server.data))
    assert received == fates["recorded"] + fates["dropped"]
    assert missing == fates["dropped"] + fates["unwritten"]
    return records + missing == received


def all_late(server: Server, calls: int) -> Metrics | None:
    """What is counted, once so many were told that their deadline has passed, or have gone."""
    counts = metrics(server, model="careful")
    return counts if counts.refused("deadline") + counts.outcome("cancelled") == calls else None


def all_notes(server: Server) -> list[dict[str, Any]]:
    """What the journal says beside its records."""
    return [note for file in open_files(server.data) for note in file.notes]


def sent(faults: Faults, server: Server) -> dict[bytes, Answer]:
    """The answers that left the worker, by the name that their request had."""
    found = {}
    for answer in answers(faults.events(), server.worker_pid()):
        for name in (*names("double"), *names("careful")):
            if name.encode() in answer.body:
                found[name.encode()] = answer
    return found


def early(faults: Faults, server: Server) -> set[bytes]:
    """Names of those whose answer began to leave before their record was on disk."""
    events = faults.events()
    return {
        name
        for name, answer in sent(faults, server).items()
        if not is_on_disk_before(events, name, answer.began_ns)
    }


def test_no_byte_of_a_required_answer_leaves_before_its_record_is_on_disk(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    server = start(repository).wait_ready()
    faults.set(sync_delay_us=30_000)
    with Asker(server.address) as ask:
        # One after the other and all at once: commits of one, and of many.
        for name in names("careful")[:4]:
            assert ask.start(request("careful", ONES, id=name)).code() is grpc.StatusCode.OK
        for call in [ask.start(request("careful", ONES, id=name)) for name in names("careful")[4:]]:
            assert call.code() is grpc.StatusCode.OK
    # What a call wrote is logged when it returns, which may be after it was received.
    eventually(lambda: set(sent(faults, server)) == {name.encode() for name in names("careful")})
    assert early(faults, server) == set()


def test_the_same_is_seen_to_be_otherwise_where_nothing_waits(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    """What the test above looks at can tell: answers of a model that does not wait leave while a sync is held."""
    server = start(repository).wait_ready()
    faults.set(sync_delay_us=UNTIL_TOLD)
    with Asker(server.address) as ask:
        waiting = call_all(ask, "careful")
        assert [call.code() for call in call_all(ask, "double")] == [grpc.StatusCode.OK] * CALLS
        assert not any(call.done() for call in waiting)
        faults.set(sync_delay_us=0)
        assert [call.code() for call in waiting] == [grpc.StatusCode.OK] * CALLS
    eventually(lambda: len(sent(faults, server)) == 2 * CALLS)
    assert early(faults, server) == {name.encode() for name in names("double")}


def test_nobody_is_told_of_success_that_could_not_be_synced(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    server = start(repository).wait_ready()
    faults.set(sync_errno=errno.EIO)
    with Asker(server.address) as ask:
        calls = call_all(ask, "careful")
        assert [call.code() for call in calls] == [grpc.StatusCode.UNAVAILABLE] * CALLS
        assert [call.code() for call in call_all(ask, "double")] == [grpc.StatusCode.OK] * CALLS
        assert not {name for name in sent(faults, server) if name.startswith(b"careful")}
        faults.set(sync_errno=0)
        assert ask.start(request("careful", ONES)).code() is grpc.StatusCode.OK
    assert metrics(server, model="careful").outcome("answered") == 1
    # Their records may be in the file all the same, as answered: a note says what their callers heard.
    told = {dict(call.trailing_metadata())["steelyard-decision-id"] for call in calls}
    notes = eventually(lambda: len(found := all_notes(server)) == CALLS and found)
    assert {(note["decision_id"], note["note"], note["code"]) for note in notes} == {
        (one, "told", 14) for one in told
    }
    assert server.events("journal.refused")
    eventually(lambda: server.events("journal.over"))


def test_a_slow_disk_keeps_those_waiting_who_asked_for_it(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    server = start(repository).wait_ready()
    faults.set(write_delay_us=200_000, sync_delay_us=200_000)
    with Asker(server.address) as ask:
        waiting = call_all(ask, "careful")
        assert [call.code() for call in call_all(ask, "double")] == [grpc.StatusCode.OK] * CALLS
        assert [call.code() for call in waiting] == [grpc.StatusCode.OK] * CALLS
        faults.set(write_delay_us=UNTIL_TOLD)
        # A write is under way from here on, and is not before all of these are answered.
        waiting = call_all(ask, "careful")
        assert [call.code() for call in call_all(ask, "double")] == [grpc.StatusCode.OK] * CALLS
        assert not any(call.done() for call in waiting)
        faults.set(write_delay_us=0, sync_delay_us=0)
        assert [call.code() for call in waiting] == [grpc.StatusCode.OK] * CALLS
    eventually(lambda: is_accounted_for(server))
    assert not {name for name in early(faults, server) if name.startswith(b"careful")}
    assert not all_gaps(server.data)


def test_what_a_stuck_disk_does_not_take_is_bounded_and_counted(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    server = start(repository).wait_ready()
    with Asker(server.address) as ask:
        faults.set(write_delay_us=UNTIL_TOLD)
        # Records as long as callers can make them: so few fill the ring.
        long = request("double", ONES, id="i" * 128, parameters={"steelyard_key": "k" * 255})
        found = list(ask.stream([long] * 18_000))
        assert not any(answer.error_message for answer in found)
        refused = ask.refused(request("careful", ONES))
        assert (refused.code, "the journal is full" in refused.message) == (
            grpc.StatusCode.UNAVAILABLE,
            True,
        )
        assert [call.code() for call in call_all(ask, "double")] == [grpc.StatusCode.OK] * CALLS
    counts = metrics(server)
    assert 7 << 20 < counts["steelyard_journal_waiting_bytes"] <= 8 << 20
    assert metrics(server, record="dropped")["steelyard_decisions_total"] >= CALLS
    faults.set(write_delay_us=0)
    eventually(lambda: is_accounted_for(server))
    assert {gap.why for gap in all_gaps(server.data)} == {"the ring was full"}


def test_answers_that_wait_for_a_stuck_disk_are_bounded(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    models.put(repository, "wide", models.identity("FP32", ("batch", 1 << 20)))
    (repository / "wide" / "model.toml").write_text(
        '[evidence]\nmode = "required"\n[serving]\nmax_batch = 1\n'
    )
    server = start(repository).wait_ready()
    with Asker(server.address) as ask:
        faults.set(write_delay_us=UNTIL_TOLD)
        # 4 MiB each, and as much again of what was asked: 64 MiB are reached by some of them.
        message = request("wide", {"x": np.ones((1, 1 << 20), np.float32)})
        calls = [ask.start(message) for _ in range(24)]
        refused = eventually(lambda: [call for call in calls if call.done()])
        assert {call.code() for call in refused} == {grpc.StatusCode.UNAVAILABLE}
        assert all("wait for the journal's disk hold 64 MiB" in call.details() for call in refused)
        eventually(lambda: metrics(server, model="wide")["steelyard_requests_received_total"] == 24)
        faults.set(write_delay_us=0)
        codes = [call.code() for call in calls]
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    assert 4 <= codes.count(grpc.StatusCode.OK) <= 17
    eventually(lambda: is_accounted_for(server))


def test_a_deadline_does_not_wait_for_the_disk(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    server = start(repository).wait_ready()
    with Asker(server.address) as ask:
        faults.set(sync_delay_us=UNTIL_TOLD)
        patient = call_all(ask, "careful")
        # By the request's own parameter, in microseconds, and by the call's deadline, which the client looks after too.
        late = [
            *(ask.start(request("careful", ONES, parameters={"timeout": 200_000})) for _ in range(CALLS)),
            *(ask.start(request("careful", ONES), timeout=0.3) for _ in range(3)),
        ]
        assert {call.code() for call in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        assert all("for its record" in call.details() for call in late[:CALLS])
        # The client's own three are told by the server, or have gone before that: whichever was first.
        counts = eventually(lambda: all_late(server, len(late)))
        gone = int(counts.outcome("cancelled"))
        assert gone <= 3
        assert not any(call.done() for call in patient)
        faults.set(sync_delay_us=0)
        assert [call.code() for call in patient] == [grpc.StatusCode.OK] * CALLS
    assert metrics(server, model="careful").outcome("answered") == CALLS
    eventually(lambda: is_accounted_for(server))
    told = {dict(call.trailing_metadata())["steelyard-decision-id"] for call in late[:CALLS]}
    notes = eventually(lambda: len(found := all_notes(server)) == len(late) and found)
    assert told <= {note["decision_id"] for note in notes}
    assert {note["note"] for note in notes} == {"told"}
    assert sorted(note["code"] for note in notes) == [1] * gone + [4] * (len(late) - gone)
    assert all(note["code"] == 4 for note in notes if note["decision_id"] in told)


def test_what_was_not_written_when_a_worker_was_killed_is_noted_as_unsure(
    start: Callable[..., Server], repository: Path, faults: Faults, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed in a sync: what came after it was in the ring. What was being synced is in the file, and gets no note."""
    server = start(repository).wait_ready()
    with Asker(server.address) as ask:
        faults.set(sync_delay_us=UNTIL_TOLD)
        written = ask.start(request("careful", ONES, id="written"))
        eventually(lambda: len(everything(server.data)) == 1)
        waiting = ask.start(request("careful", ONES, id="waiting"))
        assert ask.start(request("double", ONES, id="answered")).code() is grpc.StatusCode.OK
        eventually(lambda: metrics(server, record="recorded")["steelyard_decisions_total"] == 3)
        worker = server.worker_pid()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: is_dead(worker))
        faults.set(sync_delay_us=0)
        assert {written.code(), waiting.code()} == {grpc.StatusCode.UNAVAILABLE}
    notes = eventually(lambda: len(found := all_notes(server)) == 2 and found)
    named = {one.request_id: one.decision_id for one in map(unpack, everything(server.data))}
    assert {(note["note"], note["decision_id"]) for note in notes} == {
        ("unsure", named[name]) for name in ("waiting", "answered")
    }
    for name, said in (("waiting", True), ("written", False)):
        assert main(["explain", named[name], "--data", str(server.data)]) == 0
        assert ("but its caller may not have heard it" in capsys.readouterr().out) is said


def is_dead(pid: int) -> bool:
    """Whether a process runs no longer, though its parent may not have asked for its status."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_disk_that_takes_nothing_and_is_mended(
    start: Callable[..., Server], repository: Path, faults: Faults, how: str
) -> None:
    server = start(repository).wait_ready()
    why = os.strerror(errno.ENOSPC if how == "full" else errno.EROFS)
    with Asker(server.address) as ask:
        assert ask.start(request("careful", ONES)).code() is grpc.StatusCode.OK
        if how == "full":
            faults.set(write_errno=errno.ENOSPC)
        else:
            faults.set(write_errno=errno.EROFS, sync_errno=errno.EROFS, open_errno=errno.EROFS)
        refusals = [ask.refused(request("careful", ONES)) for _ in range(3)]
        assert {refusal.code for refusal in refusals} == {grpc.StatusCode.UNAVAILABLE}
        assert all(why in refusal.message for refusal in refusals)
        assert [call.code() for call in call_all(ask, "double")] == [grpc.StatusCode.OK] * CALLS
        faults.set(write_errno=0, sync_errno=0, open_errno=0)
        assert ask.start(request("careful", ONES)).code() is grpc.StatusCode.OK
    eventually(lambda: is_accounted_for(server))
    assert {gap.why for gap in all_gaps(server.data)} == {f"the journal could not be written: {why}"}
    # Told once, not once a try.
    assert [event["reason"] for event in server.events("journal.refused")] == [why]
    told = [unpack(record) for record in everything(server.data)]
    assert sum(one.model == "careful" and one.code == 0 for one in told) == 2


def test_a_server_over_a_directory_that_is_read_only_says_so_and_ends(
    start: Callable[..., Server], repository: Path, faults: Faults
) -> None:
    faults.set(open_errno=errno.EROFS)
    server = start(repository)
    assert server.process.wait(60) != 0
    assert "the journal cannot be written: Read-only file system" in server.output()
    assert "Traceback" not in server.output()


def test_what_a_full_disk_keeps_from_being_sealed_is_sealed_when_there_is_room(
    start: Callable[..., Server], repository: Path, tmp_path: Path
) -> None:
    with faulty(tmp_path, "/sealed/") as faults:
        server = start(repository, journal_segment_age_s=0.2).wait_ready()
        faults.set(write_errno=errno.ENOSPC)
        with Asker(server.address) as ask:
            assert [call.code() for call in call_all(ask, "careful")] == [grpc.StatusCode.OK] * CALLS
        why = eventually(lambda: server.events("journal.not_sealed") or server.events("housekeeper.failed"))
        assert os.strerror(errno.ENOSPC) in why[0]["reason"]
        assert sum(file.summary.records for file in sealed_files(server.data)) == 0
        assert len(everything(server.data)) == CALLS
        faults.set(write_errno=0)
        eventually(lambda: sum(file.summary.records for file in sealed_files(server.data)) == CALLS)
        assert len(everything(server.data)) == CALLS
        assert not all_gaps(server.data)


def test_a_full_disk_is_emptied_of_what_may_go(
    start: Callable[..., Server], repository: Path, tmp_path: Path
) -> None:
    with faulty(tmp_path, "/models-data/") as faults:
        server = start(repository, journal_segment_age_s=0.2).wait_ready()
        with Asker(server.address) as ask:
            assert [call.code() for call in call_all(ask, "double")] == [grpc.StatusCode.OK] * CALLS
        patiently(lambda: sum(file.summary.records for file in sealed_files(server.data)) == CALLS)
        faults.set(write_errno=errno.ENOSPC)
        (repository / "double" / "model.toml").write_text("[evidence]\nretention_bytes = 1\n")
        payload = server.data / PAYLOADS / "double" / "1500000000000-worker-0-1.payloads"
        payload.parent.mkdir(parents=True)
        payload.write_bytes(b"of years ago")
        os.utime(payload, (1_500_000_000, 1_500_000_000))
        # Another looks at once at what is to be removed.
        looked_again(server)
        patiently(lambda: not payload.exists())
        failed = patiently(lambda: server.events("housekeeper.failed"))
        assert os.strerror(errno.ENOSPC) in failed[0]["reason"]
        # No event could say that they go.
        assert sum(file.summary.records for file in sealed_files(server.data)) == CALLS
        faults.set(write_errno=0)
        looked_again(server)
        patiently(lambda: not sealed_files(server.data, "double"))


def looked_again(server: Server) -> None:
    """Has another housekeeper begin."""
    began = patiently(lambda: server.events("housekeeper.started"))
    os.kill(began[-1]["pid"], signal.SIGKILL)
    patiently(lambda: len(server.events("housekeeper.started")) > len(began))
