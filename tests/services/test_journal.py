"""The journal of a real server: every request that came to an end is in it once, whoever is killed."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from steelyard.evidence.record import Decision, Outcome, unpack
from steelyard.evidence.recovery import UNKNOWN_WHY
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.metrics import metrics
from tests.support.recorded import all_gaps, everything
from tests.support.server import Server
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    models.put(path, "double", models.scaled())
    models.put(path, "careful", models.scaled())
    (path / "careful" / "model.toml").write_text('[evidence]\nmode = "required"\n')
    models.put(path, "silent", models.scaled())
    (path / "silent" / "model.toml").write_text('[evidence]\nmode = "off"\n')
    return path


def decisions(server: Server) -> list[Decision]:
    """All that is recorded, of files that are written as well."""
    return [unpack(record) for record in everything(server.data)]


def gaps(server: Server) -> int:
    return sum(gap.count for gap in all_gaps(server.data))


def test_each_end_is_a_record_that_names_it(start: Callable[..., Server], repository: Path) -> None:
    server = start(repository).wait_ready()
    trace = "0af7651916cd43dd8448eb211c80319c"
    with Asker(server.address) as ask:
        told: Counter[str] = Counter()
        for model in ("double", "careful", "silent"):
            for number in range(20):
                call = ask.start(
                    request(model, ONES, id=f"{model}-{number}"),
                    metadata=[("traceparent", f"00-{trace}-b7ad6b7169203331-01")],
                )
                assert call.code() is grpc.StatusCode.OK
                told[dict(call.trailing_metadata())["steelyard-decision-id"]] += model != "silent"
        refused = ask.start(request("double", {"x": np.ones((1, 5), np.float32)}))
        assert refused.code() is grpc.StatusCode.INVALID_ARGUMENT
        nobody = ask.start(request("nobody", ONES))
        assert nobody.code() is grpc.StatusCode.NOT_FOUND
        found = eventually(lambda: len(found := decisions(server)) == 42 and found)
    assert Counter(one.decision_id for one in found if one.outcome is Outcome.ANSWERED) == +told
    answered = [one for one in found if one.outcome is Outcome.ANSWERED]
    assert {one.trace_id for one in answered} == {trace}
    assert {one.request_id for one in answered} == {
        f"{model}-{number}" for model in ("double", "careful") for number in range(20)
    }
    assert all(one.caller.startswith("ipv4:127.0.0.1:") and one.batch and one.execute_ns for one in answered)
    assert {(one.model, one.version, bool(one.digest)) for one in answered} == {
        ("double", 1, True),
        ("careful", 1, True),
    }
    others = {(one.outcome, one.model, one.code, one.version) for one in found if one not in answered}
    assert others == {(Outcome.REFUSED, "double", 3, 1), (Outcome.REFUSED, "nobody", 5, 0)}
    counts = metrics(server)
    assert counts["steelyard_requests_received_total"] == 62
    assert metrics(server, record="recorded")["steelyard_decisions_total"] == 42
    assert metrics(server, record="off")["steelyard_decisions_total"] == 20


@pytest.mark.parametrize("model", ["double", "careful"])
def test_no_answered_decision_is_missing_when_a_worker_is_killed(
    start: Callable[..., Server], repository: Path, model: str
) -> None:
    """What a killed worker had not written is in a memory that outlives it; what was in it is a gap."""
    killed_often(start, repository, model, starts=1)


@pytest.mark.siege
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", ["double", "careful"])
def test_the_same_with_a_hundred_kills(start: Callable[..., Server], repository: Path, model: str) -> None:
    killed_often(start, repository, model, starts=34)


def killed_often(start: Callable[..., Server], repository: Path, model: str, starts: int) -> None:
    """Kills the workers of one server after the other, over the same data, three times each: a worker that dies again
    and again is started after longer and longer pauses."""
    chance = random.Random(starts)
    told: list[str] = []
    taken_along = 0.0
    for _ in range(starts):
        server = start(repository).wait_ready()
        told += killed_thrice(server, model, chance)
        taken_along += metrics(server, record="taken_along")["steelyard_decisions_total"]
        server.stop()
    found = Counter(one.decision_id for one in decisions(server))
    missing = set(told) - set(found)
    print(f"{model}: {3 * starts} kills, {len(told)} answers received, {len(missing)} of them not recorded")
    print(
        f"{taken_along:.0f} requests went with a worker unrecorded, {gaps(server)} are in gaps of the journal"
    )
    assert max(found.values(), default=1) == 1
    assert not missing
    assert gaps(server) == taken_along
    assert len(told) >= 6 * starts


@pytest.mark.parametrize("model", ["double", "careful"])
def test_a_server_that_is_killed_whole_under_load(
    start: Callable[..., Server], repository: Path, model: str
) -> None:
    """The ring is gone with it: what waited for the disk is on it, of the others the next start says that it does not
    know."""
    killed_whole(start, repository, model, kills=2)


@pytest.mark.siege
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("model", ["double", "careful"])
def test_the_same_with_fifty_kills(start: Callable[..., Server], repository: Path, model: str) -> None:
    killed_whole(start, repository, model, kills=50)


def killed_whole(start: Callable[..., Server], repository: Path, model: str, kills: int) -> None:
    chance = random.Random(kills)
    told: list[str] = []
    for _ in range(kills):
        server = start(repository).wait_ready()
        with Asker(server.address) as ask:
            told += told_until_killed(server, ask, model, chance, whole=True)
        server.process.wait(20)
    server = start(repository).wait_ready()
    server.stop()
    found = Counter(one.decision_id for one in decisions(server))
    missing = set(told) - set(found)
    unknown = sum(gap.why == UNKNOWN_WHY for gap in all_gaps(server.data))
    print(f"{model}: {kills} kills, {len(told)} answers received, {len(missing)} of them not recorded")
    assert max(found.values(), default=1) == 1
    assert unknown == kills
    assert model == "double" or not missing
    assert len(told) >= 2 * kills


def killed_thrice(server: Server, model: str, chance: random.Random) -> list[str]:
    told: list[str] = []
    for _ in range(3):
        killed = server.worker_pid()
        with Asker(server.address) as ask:
            told += told_until_killed(server, ask, model, chance)
        eventually(lambda gone=killed: server.worker_pid() != gone and server.is_ready())
        eventually(lambda: unaccounted(server) == 0)
    return told


def told_until_killed(
    server: Server, ask: Asker, model: str, chance: random.Random, whole: bool = False
) -> list[str]:
    """The decision ids of answers, one of which is the last thing that its worker, or the whole server, did.

    Killed when that one is answered, while others are asked: at any moment of batches, commits and writes.
    """
    worker = server.worker_pid()

    def kill(_: object) -> None:
        if whole:
            # It would write what its worker has left.
            os.kill(server.process.pid, signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        if whole:
            os.kill(server.process.pid, signal.SIGKILL)

    last = chance.randrange(1, 150)
    calls = []
    for number in range(200):
        calls.append(ask.start(request(model, ONES)))
        if number == last:
            calls[-1].add_done_callback(kill)
    return [
        dict(call.trailing_metadata())["steelyard-decision-id"]
        for call in calls
        if call.code() is grpc.StatusCode.OK
    ]


def unaccounted(server: Server) -> float:
    """Requests that are in no process any longer, less those of which it is known what became of their record."""
    ends = sum(metrics(server).outcome(end) for end in ("answered", "refused", "failed", "cancelled", "lost"))
    fates = ("recorded", "sampled_out", "dropped", "off", "taken_along")
    return ends - sum(metrics(server, record=fate)["steelyard_decisions_total"] for fate in fates)


def test_a_server_that_is_killed_whole_says_that_it_does_not_know(
    start: Callable[..., Server], repository: Path
) -> None:
    server = start(repository).wait_ready()
    told = []
    with Asker(server.address) as ask:
        for _ in range(50):
            call = ask.start(request("careful", ONES))
            assert call.code() is grpc.StatusCode.OK
            told.append(dict(call.trailing_metadata())["steelyard-decision-id"])
        worker = server.worker_pid()
        os.kill(server.process.pid, signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(20)
    again = start(repository).wait_ready()
    assert again.events("journal.recovered")
    again.stop()
    assert set(told) <= {one.decision_id for one in decisions(again)}
