"""Canaries on a real server: who gets the candidate, what the gate does, and what ends it."""

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from steelyard.errors import InvalidRequest, LoadFailed, ModelNotFound
from steelyard.rollout.bucket import bucket
from tests.interop.headers import answer_to, framed
from tests.services.operator import Operator, details, kinds
from tests.support import models
from tests.support.asking import SERVICE, Asker, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
Start = Callable[..., Server]
ALL = "[serving]\nversions = { all = true }\n"
GATE = """
[rollout.gate]
alpha = 0.1
max_requests = {most}
promote = "{promote}"

[[rollout.gate.guardrail]]
on = "error_rate"
margin = {margin}
harm = {harm}
"""


def ids(*values: int) -> dict[str, Any]:
    return {"ids": np.array([values], np.int64)}


def fill(
    repository: Path,
    name: str,
    *,
    promote: str = "manual",
    most: int = 100_000,
    margin: float = 0.1,
    harm: float = 0.2,
    more: str = "",
) -> None:
    """Version 1 takes ids up to 15; version 2 too; version 3 only those up to 7, and fails on others."""
    gate = GATE.format(most=most, promote=promote, margin=margin, harm=harm) if harm else ""
    manifest = ALL + gate + more
    for number, rows in ((1, 16), (2, 16), (3, 8)):
        models.put(repository, name, models.embedding(rows, 4), number, manifest)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each test uses a model of its own."""
    root = tmp_path_factory.mktemp("canaries")
    repository = root / "models"
    fill(repository, "metered", margin=0.001)
    for name in ("keyed", "safe", "harmful", "moved", "stopped", "promoted", "streamed"):
        fill(repository, name)
    fill(repository, "automatic", promote="automatic")
    fill(repository, "undecided", most=100, margin=0.0001, harm=0.9)
    fill(repository, "open", harm=0.0)
    fill(
        repository,
        "slow",
        more="""
[[rollout.gate.guardrail]]
on = "slower_than"
threshold_ms = 0.001
margin = 0.1
harm = 0.2

[[rollout.gate.guardrail]]
on = "disagreement"
margin = 0.1
harm = 0.2
""",
    )
    models.put(repository, "other", models.scaled(), 1, ALL)
    models.put(repository, "other", models.two_inputs(), 2)
    server = Server(repository, root / "log").wait_ready()
    with Operator(server.data) as operator:
        for name in os.listdir(repository):
            operator.set(name, "champion", "1")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def asker(server: Server) -> Iterator[Asker]:
    with Asker(server.address) as asker:
        yield asker


@pytest.fixture(scope="module")
def operator(server: Server) -> Iterator[Operator]:
    with Operator(server.data) as operator:
        yield operator


def version(asker: Asker, model: str, key: str = "", pinned: str = "", **how: Any) -> str:
    parameters = {"steelyard_key": key} if key else None
    message = request(model, ids(1), version=pinned, parameters=parameters)
    return str(asker.call("ModelInfer", message, **how).model_version)


def load(server: Server, model: str, requests: int, sent: dict[str, Any] | None = None) -> list[str]:
    """The versions that answered so many requests, "" where one failed."""

    def some(count: int) -> list[str]:
        with Asker(server.address) as asker:
            found = []
            for _ in range(count):
                try:
                    answer = asker.call("ModelInfer", request(model, sent or ids(1)))
                    found.append(str(answer.model_version))
                except grpc.RpcError:
                    found.append("")
            return found

    with ThreadPoolExecutor(4) as callers:
        return [one for part in callers.map(some, [requests // 4] * 4) for one in part]


def ended(canary: dict[str, Any]) -> int:
    """How many requests of a canary have ended, of both arms."""
    return sum(arm["requests"] for arm in canary["arms"].values())


def test_a_key_gets_the_same_arm_and_keeps_it_as_the_share_grows(
    server: Server, asker: Asker, operator: Operator
) -> None:
    event = operator.start_canary("keyed", "2", 0.3)
    keys = [f"customer {number}" for number in range(200)]
    expected = {key: "2" if bucket(event.sequence, key) < 0.3 else "1" for key in keys}
    assert 30 < list(expected.values()).count("2") < 90
    for key in keys:
        assert version(asker, "keyed", key) == expected[key]
        assert version(asker, "keyed", metadata=[("steelyard-key", key)]) == expected[key]
    # Who pins a version or a label gets that.
    for key in keys[:20]:
        assert version(asker, "keyed", key, pinned="1") == "1"
        assert version(asker, "keyed", key, pinned="champion") == "1"
        assert version(asker, "keyed", key, pinned="2") == "2"
    arms = eventually(lambda: ended(canary := operator.trials("keyed")["canary"]) == 400 and canary)
    # Each key is counted once, however often it comes.
    assert arms["split"]["units"] == 200
    operator.stop_canary("keyed")
    assert {version(asker, "keyed", key) for key in keys[:50]} == {"1"}
    again = operator.start_canary("keyed", "2", 0.6)
    assert {key for key in keys if bucket(event.sequence, key) < 0.3} <= {
        key for key in keys if bucket(event.sequence, key) < 0.6
    }
    # Another canary shuffles anew.
    assert {key for key in keys if version(asker, "keyed", key) == "2"} == {
        key for key in keys if bucket(again.sequence, key) < 0.6
    }
    operator.stop_canary("keyed")


def test_metadata_that_cannot_be_read_refuses_nobody(server: Server, operator: Operator) -> None:
    if operator.trials("open")["canary"] is None:
        operator.start_canary("open", "2", 0.5)
    sent = framed(request("open", ids(1)).SerializeToString())
    answer = answer_to(server.address, f"{SERVICE}ModelInfer", sent, {"other-bin": "!", "steelyard-key": "k"})
    assert answer.status == 0, answer
    assert not server.events("request.fault")


@pytest.mark.parametrize("key", [3, True, "", "x" * 257])
def test_a_key_that_cannot_be_is_none(asker: Asker, operator: Operator, key: Any) -> None:
    if operator.trials("open")["canary"] is None:
        operator.start_canary("open", "2", 0.5)
    number = operator.trials("open")["canary"]["number"]
    for _ in range(20):
        answer = asker.call("ModelInfer", request("open", ids(1), parameters={"steelyard_key": key}))
        decision_id = answer.parameters["steelyard_decision_id"].string_param
        assert answer.model_version == ("2" if bucket(number, decision_id) < 0.5 else "1")


def test_without_a_key_the_decision_id_says_who_gets_the_candidate(asker: Asker, operator: Operator) -> None:
    event = operator.start_canary("stopped", "2", 0.5)
    found = []
    for _ in range(200):
        response = asker.call("ModelInfer", request("stopped", ids(1)))
        decision_id = response.parameters["steelyard_decision_id"].string_param
        found.append(response.model_version)
        assert (bucket(event.sequence, decision_id) < 0.5) == (response.model_version == "2")
    assert 50 < found.count("2") < 150
    # A request that is refused has the id that chose its arm, too.
    refusal = asker.refused(request("stopped", {"ids": np.ones((1, 1), np.float32)}))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    stopped = details(operator.stop_canary("stopped"))
    assert stopped["outcome"] == "stopped"
    assert operator.trials("stopped")["canary"] is None
    with pytest.raises(LoadFailed, match="has no canary"):
        operator.stop_canary("stopped")


def test_a_safe_candidate_goes_from_step_to_step_and_waits_for_a_person(
    server: Server, operator: Operator
) -> None:
    operator.start_canary("safe", "2", 0.3, 0.6)

    def decided() -> bool:
        load(server, "safe", 200)
        return operator.trials("safe")["canary"]["verdict"] == "safe"

    eventually(decided)
    canary = operator.trials("safe")["canary"]
    assert canary["share"] == 0.6
    assert canary["gate"]["verdict"] == "safe"
    events = operator.rollout("safe")
    assert kinds(events) == [
        "label.followed",
        "label.set",
        "canary.started",
        "gate.decided",
        "canary.stepped",
        "gate.decided",
    ]
    path = details(events[3])["path"]
    assert path[0]["n"] < path[-1]["n"]
    assert path[-1]["verdict"] == "safe"
    assert details(events[2])["plan"]["guardrail"][0]["margin"] == 0.1
    assert not canary["split"]["mismatch"]
    assert operator.labels("safe")["champion"] == (1, False)
    operator.promote_canary("safe")
    assert operator.labels("safe")["champion"] == (2, False)
    assert set(load(server, "safe", 40)) == {"2"}
    assert kinds(operator.events("safe"))[-2:] == ["canary.stopped", "label.set"]


def test_a_safe_candidate_is_promoted_where_the_manifest_says_so(server: Server, operator: Operator) -> None:
    operator.start_canary("automatic", "2", 0.5)

    def promoted() -> bool:
        load(server, "automatic", 200)
        return operator.labels("automatic")["champion"] == (2, False)

    eventually(promoted)
    moved = operator.events("automatic")[-1]
    assert (moved.kind, moved.actor) == ("label.set", "server")
    assert "promote = automatic" in moved.reason
    assert operator.trials("automatic")["canary"] is None


def test_a_harmful_candidate_is_taken_back_at_once(server: Server, operator: Operator) -> None:
    operator.start_canary("harmful", "3", 0.5, 0.8)

    def gone() -> bool:
        # Version 3 does not know this id.
        found = load(server, "harmful", 100, ids(9))
        assert "1" in found
        return operator.trials("harmful")["canary"] is None

    eventually(gone)
    assert set(load(server, "harmful", 100, ids(9))) == {"1"}
    decided, stopped = operator.events("harmful")[-2:]
    assert details(decided)["verdict"] == details(stopped)["outcome"] == "harmful"
    assert details(decided)["look"]["decided_by"] == "error_rate"
    assert details(stopped)["arms"]["candidate"]["failed"] > 0
    assert details(stopped)["arms"]["primary"]["failed"] == 0
    assert operator.labels("harmful")["champion"] == (1, False)


def test_undecided_at_the_end_is_no_promotion(server: Server, operator: Operator) -> None:
    operator.start_canary("undecided", "2", 0.5)

    def ended() -> bool:
        load(server, "undecided", 100)
        return operator.trials("undecided")["canary"] is None

    eventually(ended)
    assert details(operator.events("undecided")[-1])["outcome"] == "exhausted"
    assert operator.labels("undecided")["champion"] == (1, False)


def test_slowness_is_weighed_and_disagreement_is_left_out(server: Server, operator: Operator) -> None:
    operator.start_canary("slow", "2", 0.5)
    load(server, "slow", 200)
    canary = eventually(
        lambda: (
            operator.trials("slow")["canary"]["arms"]["candidate"]["requests"]
            and operator.trials("slow")["canary"]
        )
    )
    assert [guardrail["name"] for guardrail in canary["gate"]["guardrails"]] == [
        "error_rate",
        "slower_than_0.001ms",
    ]
    assert canary["left_out"] == ["disagreement"]
    operator.stop_canary("slow")


@pytest.mark.parametrize(
    ("model", "candidate", "shares", "error", "why"),
    [
        ("open", "1", (0.5,), LoadFailed, "canary already|in production already"),
        ("moved", "1", (0.5,), LoadFailed, "in production already"),
        ("moved", "9", (0.5,), ModelNotFound, "no version '9'"),
        ("nothing", "1", (0.5,), ModelNotFound, "nothing"),
        ("moved", "2", (), InvalidRequest, "1 to 100 shares"),
        ("moved", "2", (0.5, 0.5), InvalidRequest, "rise between 0 and 1"),
        ("moved", "2", (0.5, 1.0), InvalidRequest, "rise between 0 and 1"),
        ("moved", "2", (0.0,), InvalidRequest, "rise between 0 and 1"),
        ("moved", "2", (float("nan"),), InvalidRequest, "rise between 0 and 1"),
        ("other", "2", (0.5,), LoadFailed, "does not fit the version in production"),
    ],
)
def test_a_canary_that_cannot_be_started(
    operator: Operator,
    model: str,
    candidate: str,
    shares: tuple[float, ...],
    error: type[Exception],
    why: str,
) -> None:
    with pytest.raises(error, match=why):
        operator.start_canary(model, candidate, *shares)


def test_steps_without_a_guardrail_are_refused(server: Server, operator: Operator) -> None:
    if operator.trials("open")["canary"] is not None:
        operator.stop_canary("open")
    with pytest.raises(LoadFailed, match="no guardrail"):
        operator.start_canary("open", "2", 0.1, 0.5)


def test_a_label_that_moves_ends_the_canary_of_what_it_left(
    server: Server, asker: Asker, operator: Operator
) -> None:
    operator.start_canary("moved", "2", 0.5)
    operator.set("moved", "champion", "3")
    assert operator.trials("moved")["canary"] is None
    assert {version(asker, "moved") for _ in range(40)} == {"3"}
    # A rollback while a canary moves: the label that is acknowledged last is in force.
    operator.start_canary("moved", "2", 0.5)
    operator.roll_back("moved")
    assert operator.trials("moved")["canary"] is None
    assert {version(asker, "moved") for _ in range(40)} == {"1"}
    stopped = operator.events("moved", "canary.stopped")
    assert [details(event)["outcome"] for event in stopped] == ["label moved", "label moved"]


def test_a_canary_outlives_the_worker_and_the_server(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    fill(repository, "m", margin=0.001)
    settings = {"data": str(tmp_path / "data")}
    server = start(repository, **settings).wait_ready()
    with Operator(server.data) as operator:
        operator.set("m", "champion", "1")
        number = operator.start_canary("m", "2", 0.5, 0.7).sequence
        load(server, "m", 200)
        # A request is a unit when its arm is chosen, and is counted in the arm when it ends. What was not reported yet
        # is lost with the worker.
        counted = eventually(lambda: ended(canary := operator.trials("m")["canary"]) == 200 and canary)
        assert counted["split"]["units"] == 200
        os.kill(server.worker_pid(), signal.SIGKILL)
        # Before both arms are loaded the default version answers, and nobody counts.
        eventually(lambda: len(server.events("server.ready")) == 2)
        with Asker(server.address) as asker:
            eventually(lambda: version(asker, "m", "a"))
            keys = [str(key) for key in range(50)]
            found = {key: version(asker, "m", key) for key in keys}
        assert found == {key: "2" if bucket(number, key) < 0.5 else "1" for key in keys}
        # Which keys were counted, the new worker does not know; requests without one are units of their own.
        load(server, "m", 52)
        after = eventually(lambda: ended(canary := operator.trials("m")["canary"]) > 302 and canary)
        assert after["split"]["units"] == 252
    server.stop()
    server = start(repository, **settings).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        canary = operator.trials("m")["canary"]
        assert canary["split"]["units"] >= counted["split"]["units"] + 50
        assert {key: version(asker, "m", key) for key in keys} == found
        server.process.kill()
        server.process.wait()
    server = start(repository, **settings).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        assert operator.trials("m")["canary"]["number"] == number
        assert {key: version(asker, "m", key) for key in keys} == found
        operator.stop_canary("m")
        assert {version(asker, "m", key) for key in keys} == {"1"}


def test_what_the_metrics_say(server: Server, operator: Operator) -> None:
    operator.start_canary("metered", "2", 0.25)
    load(server, "metered", 200)
    eventually(lambda: metrics(server, model="metered", arm="candidate")["steelyard_canary_arm_requests"])
    found = metrics(server, model="metered")
    assert found["steelyard_canary_share"] == 0.25
    assert metrics(server, model="metered", verdict="undecided")["steelyard_gate_verdict"] == 1
    bounds = {
        bound: metrics(server, model="metered", bound=bound)["steelyard_gate_worse"]
        for bound in ("lower", "mean", "upper")
    }
    assert -1 <= bounds["lower"] < bounds["mean"] < bounds["upper"] <= 1
    page = server.get("/metrics")[1]
    kinds_there = set(re.findall(r"^# TYPE (steelyard_\w+) ", page, re.MULTILINE))
    documented = set(re.findall(r"^\| `(steelyard_\w+)` \|", DOCUMENT.read_text(), re.MULTILINE))
    assert {name for name in kinds_there if "info" not in name and "build" not in name} <= documented
    operator.stop_canary("metered")


def test_a_key_in_a_stream(server: Server, asker: Asker, operator: Operator) -> None:
    from steelyard.wire.generated import grpc_service as pb

    event = operator.start_canary("streamed", "2", 0.5)
    keys = [str(key) for key in range(30)]
    call = asker.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    bodies = [
        request("streamed", ids(1), id=key, parameters={"steelyard_key": key}).SerializeToString()
        for key in keys
    ]
    answers = [pb.ModelStreamInferResponse.FromString(answer).infer_response for answer in call(iter(bodies))]
    assert {answer.id: answer.model_version for answer in answers} == {
        key: "2" if bucket(event.sequence, key) < 0.5 else "1" for key in keys
    }
    operator.stop_canary("streamed")


def test_a_candidate_slower_than_its_callers_deadlines_is_harmful(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    manifest = ALL + GATE.format(most=100_000, promote="manual", margin=0.2, harm=0.4)
    models.put(repository, "m", models.slow_embedding(1, 8), 1, manifest)
    models.put(repository, "m", models.slow_embedding(1000), 2)
    server = start(repository, data=str(tmp_path / "data")).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        operator.set("m", "champion", "1")
        operator.start_canary("m", "2", 0.5)

        def gone() -> bool:
            for _ in range(10):
                with contextlib.suppress(grpc.RpcError):
                    version(asker, "m", timeout=0.15)
            return operator.trials("m")["canary"] is None

        eventually(gone)
        stopped = details(operator.events("m")[-1])
        assert stopped["outcome"] == "harmful"
        assert stopped["arms"]["candidate"]["failed"] > stopped["arms"]["primary"]["failed"]
