"""Several worker processes behind one port: one server to whoever asks."""

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from steelyard.cli.main import main
from steelyard.wire.generated import grpc_service as pb
from tests.services.operator import Operator
from tests.services.test_golden_rounds import NOT_SERVING, SERVING, health, put_example
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.callers import Callers, asker_of, peers_of, worker_pids
from tests.support.certificates import Authority
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.shadows import hand_over, patiently
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}
ALL = "[serving]\nversions = { all = true }\n"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
# Examined when it is loaded, and never again.
EXAMINED = '[serving.golden]\ninterval_s = 0\nat_load = "report"\nwhile_failing = "not_serving"\n'


def _adds_up(server: Server) -> bool:
    whole = metrics(server)
    ended = sum(whole.outcome(how) for how in ("answered", "refused", "failed", "cancelled", "lost"))
    return whole["steelyard_requests_received_total"] == ended


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers; each test uses models of its own."""
    root = tmp_path_factory.mktemp("workers")
    repository = root / "models"
    repository.mkdir()
    for name in ("shared", "counted", "out"):
        models.put(repository, name, models.scaled())
    for number, factor in enumerate((1.0, 2.0), 1):
        for name in ("moved", "tried", "shadowed"):
            models.put(repository, name, models.scaled(factor), number, ALL)
    models.put(repository, "followed", models.scaled())
    server = Server(repository, root / "log", workers=2, poll_interval_s=0.2)
    yield server.wait_ready()
    assert server.stop() == 0


@pytest.fixture(scope="module")
def askers(server: Server) -> Iterator[list[Asker]]:
    """A channel to each worker."""
    found = [asker_of(server, pid) for _, pid in sorted(worker_pids(server).items())]
    yield found
    for asker in found:
        asker.channel.close()


def test_both_are_asked_and_counted_on_one_page(server: Server, askers: list[Asker]) -> None:
    pids = worker_pids(server)
    assert len(pids) == len(set(pids.values())) == 2
    for times, asker in enumerate(askers, 2):
        for _ in range(times):
            asker.infer("shared", ONES)
    assert metrics(server, model="shared")["steelyard_requests_received_total"] == 5
    assert metrics(server, model="shared").outcome("answered") == 5
    eventually(lambda: _adds_up(server))
    whole = metrics(server)
    assert whole["steelyard_worker_up"] == 2
    for pid in pids.values():
        assert peers_of(pid)


def test_statistics_are_the_same_whichever_is_asked(askers: list[Asker]) -> None:
    for asker in askers:
        asker.infer("counted", ONES)
    told = [
        asker.call("ModelStatistics", pb.ModelStatisticsRequest(name="counted")).model_stats[0]
        for asker in askers
    ]
    assert told[0] == told[1]
    assert (told[0].execution_count, told[0].inference_stats.success.count) == (2, 2)


def test_a_model_is_unloaded_and_loaded_by_all(askers: list[Asker]) -> None:
    for asked, other in (askers, askers[::-1]):
        asked.call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="out"))
        for asker in askers:
            assert asker.refused(request("out", ONES)).code is UNAVAILABLE
            (found,) = [m for m in asker.call("RepositoryIndex").models if m.name == "out"]
            assert found.state == "UNAVAILABLE"
        other.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="out"))
        for asker in askers:
            assert asker.infer("out", ONES)
    for asker in askers:
        refusal = asker.refused(pb.RepositoryModelLoadRequest(model_name="nobody"), "RepositoryModelLoad")
        assert refusal.code is grpc.StatusCode.NOT_FOUND


def test_no_request_is_answered_by_the_version_that_a_label_has_left(server: Server) -> None:
    with Operator(server.data) as operator, Callers("moved", ONES, server.address) as callers:
        for version, move in (
            ("1", lambda: operator.set("moved", "champion", "1")),
            ("2", lambda: operator.set("moved", "champion", "2")),
            ("1", lambda: operator.roll_back("moved")),
        ):
            move()
            moved_s = time.monotonic()
            callers.go_on()
            assert {one.version for one in callers.ended if one.began_s > moved_s} == {version}
    assert not callers.failures


def test_a_canary_is_split_and_counted_as_by_one(server: Server, askers: list[Asker]) -> None:
    keys = [f"key {number}" for number in range(40)]
    with Operator(server.data) as operator:
        operator.set("tried", "champion", "1")
        operator.start_canary("tried", "2", 0.5)
        for key in keys:
            asked = request("tried", ONES, parameters={"steelyard_key": key})
            versions = {asker.call("ModelInfer", asked).model_version for asker in askers}
            assert len(versions) == 1
        canary = eventually(
            lambda: (
                (found := operator.trials("tried")["canary"])["arms"]["primary"]["requests"]
                + found["arms"]["candidate"]["requests"]
                == 2 * len(keys)
                and found
            )
        )
        # Each caller once, though both workers have seen them all.
        assert canary["split"]["units"] == len(keys)
        operator.stop_canary("tried")
        for asker in askers:
            assert {asker.call("ModelInfer", request("tried", ONES)).model_version for _ in range(9)} == {"1"}


def test_a_shadow_sees_the_requests_of_both(server: Server, askers: list[Asker]) -> None:
    with Operator(server.data) as operator:
        operator.set("shadowed", "champion", "1")
        operator.start_shadow("shadowed", "2")

        def status() -> dict[str, Any]:
            (found,) = operator.trials("shadowed")["shadows"]
            return found

        for asker in askers:
            hand_over(5, lambda count, by=asker: [by.infer("shadowed", ONES) for _ in range(count)], status)
        patiently(lambda: status()["pairs"] is not None and status()["pairs"]["pairs"] == 10)
        operator.stop_shadow("shadowed")


def test_a_new_version_is_followed_to_by_all_together(server: Server) -> None:
    with Callers("followed", ONES, server.address) as callers, Operator(server.data) as operator:
        models.put(server.repository, "followed", models.scaled(2.0), 2)
        eventually(lambda: operator.labels("followed")["champion"] == (2, True))
        followed = operator.events("followed", "label.followed")[-1]
        eventually(lambda: {one.version for one in callers.ended[-20:]} == {"2"})
    assert not callers.failures
    # Nobody goes there alone: the event is recorded when both serve the version, and in force after that.
    assert min(one.ended_unix_ms for one in callers.ended if one.version == "2") >= followed.unix_ms


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """Two workers on every kind of listener, whose processes tests end, and who issued its certificate."""
    root = tmp_path_factory.mktemp("harmed")
    repository = root / "models"
    models.put(repository, "double", models.scaled())
    models.put(repository, "stall", models.stall())
    put_example(
        models.put(repository, "examined", models.scaled(), manifest=EXAMINED), "right", "examined", 2.0
    )
    authority = Authority(root, "issuer")
    pair = authority.issue("server")
    with tempfile.TemporaryDirectory() as short:
        server = Server(
            repository,
            root / "log",
            workers=2,
            grpc_address=["127.0.0.1:0", f"unix:{short}/s"],
            grpc_tls_address="127.0.0.1:0",
            tls_certificate=str(pair.certificate),
            tls_key=str(pair.key),
        )
        yield server.wait_ready(), authority.file
        assert server.stop() == 0


def test_a_worker_that_is_killed_takes_its_own_calls_only(harmed: tuple[Server, Path]) -> None:
    server, _ = harmed
    killed, spared = (pid for _, pid in sorted(worker_pids(server).items()))
    lives = len(server.events("worker.ready"))
    before = metrics(server)["steelyard_worker_restarts_total"]
    with asker_of(server, killed) as doomed, asker_of(server, spared) as other:
        # So that it is known to be no run for the event loop.
        doomed.infer("stall", {"turns": np.array([200_000], np.int64)})
        under_way = doomed.start(request("stall", {"turns": np.array([2**40], np.int64)}))
        eventually(lambda: metrics(server, model="stall")["steelyard_in_flight"] == 1)
        with Callers("double", ONES, server.address) as callers:
            os.kill(killed, signal.SIGKILL)
            assert under_way.code() is UNAVAILABLE
            assert other.infer("double", ONES)
            assert server.is_ready()
            after = worker_pids(server, lives + 1)
            callers.go_on()
    # A caller has one call under way at a time.
    assert len(callers.failures) <= len(callers)
    assert all(one.unavailable for one in callers.failures), callers.failures
    assert killed not in after.values()
    assert spared in after.values()
    assert metrics(server, model="stall").outcome("lost") == 1
    assert metrics(server, model="double").outcome("lost") <= len(callers.failures)
    assert metrics(server)["steelyard_worker_restarts_total"] == before + 1
    eventually(lambda: _adds_up(server))


def test_while_a_worker_is_away_another_accepts_its_callers(harmed: tuple[Server, Path]) -> None:
    server, roots = harmed
    killed, _ = (pid for _, pid in sorted(worker_pids(server).items()))
    lives = len(server.events("worker.ready"))
    # Without its repository no worker comes back.
    away = server.repository.rename(server.repository.with_name("away"))
    try:
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: metrics(server)["steelyard_worker_up"] == 1)
        with contextlib.ExitStack() as stack:
            # That all of them were dealt to the other one is as likely as 16 heads in a row.
            askers = [stack.enter_context(Asker(server.address)) for _ in range(12)]
            secure = server.running.grpc_tls_addresses[0]
            askers += [stack.enter_context(Asker(secure, roots)) for _ in range(4)]
            for asker in askers:
                assert asker.infer("double", ONES)
            away.rename(server.repository)
            worker_pids(server, lives + 1)
            for asker in askers:
                assert asker.infer("double", ONES)
    finally:
        if away.exists():
            away.rename(server.repository)
    eventually(lambda: _adds_up(server))


def test_what_one_worker_finds_wrong_turns_the_servers_health_until_it_is_gone(
    harmed: tuple[Server, Path],
) -> None:
    server, _ = harmed
    killed, spared = (pid for _, pid in sorted(worker_pids(server).items()))
    lives = len(server.events("worker.ready"))
    golden = server.repository / "examined" / "1" / "golden"
    ready = pb.ModelReadyRequest(name="examined")
    with asker_of(server, spared) as other:
        statuses = health(other, "examined")
        assert next(statuses) == SERVING
        put_example(golden.parent, "wrong", "examined", 2.5)
        os.kill(killed, signal.SIGKILL)
        # The one that takes its place has found it when it loaded.
        assert next(statuses) == NOT_SERVING
        assert not other.call("ModelReady", ready).ready
        (found,) = [m for m in other.call("RepositoryIndex").models if m.name == "examined"]
        assert (found.state, found.reason) == ("READY", "golden examples fail in another worker")
        assert other.infer("examined", ONES)
        shutil.rmtree(golden / "wrong")
        (killed,) = set(worker_pids(server, lives + 1).values()) - {spared}
        os.kill(killed, signal.SIGKILL)
        assert next(statuses) == SERVING
        assert other.call("ModelReady", ready).ready
    worker_pids(server, lives + 2)


def test_workers_are_replaced_and_no_call_fails(
    harmed: tuple[Server, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    server, roots = harmed
    addresses = [*server.running.grpc_addresses, *server.running.grpc_tls_addresses]
    before = worker_pids(server)
    lives = len(server.events("worker.ready"))
    counted = metrics(server, model="double").outcome("answered")
    restarts = metrics(server)["steelyard_worker_restarts_total"]
    with Callers("double", ONES, *addresses, roots=roots, each=2) as callers:
        assert main(["restart", "--data", str(server.data), "--json"]) == 0
        callers.go_on()
        after = worker_pids(server, lives + 2)
        replaced = json.loads(capsys.readouterr().out)
        assert [(one["worker"], one["before_pid"], one["pid"]) for one in replaced] == [
            (number, before[number], after[number]) for number in sorted(before)
        ]
        for pid in before.values():
            assert not psutil.pid_exists(pid)
        # Once more, asked for by a signal, into the segments that the first ones have left.
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(server.events("worker.replaced")) == 4)
        callers.go_on()
    assert not callers.failures
    assert metrics(server, model="double").outcome("answered") == counted + len(callers.ended)
    eventually(lambda: _adds_up(server))
    assert metrics(server)["steelyard_worker_restarts_total"] == restarts


def test_a_process_that_cannot_serve_replaces_nobody(
    harmed: tuple[Server, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    server, _ = harmed
    before = worker_pids(server)
    restarts = metrics(server)["steelyard_worker_restarts_total"]
    away = server.repository.rename(server.repository.with_name("away"))
    try:
        assert main(["restart", "--data", str(server.data)]) == 1
    finally:
        away.rename(server.repository)
    assert str(server.repository) in capsys.readouterr().err
    with Asker(server.address) as asker:
        assert asker.infer("double", ONES)
    assert worker_pids(server) == before
    assert metrics(server)["steelyard_worker_restarts_total"] == restarts
