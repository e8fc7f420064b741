"""Shadows on a real server: what they see, what the gate makes of it, what ends them, and what outlives what."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

from steelyard.cli.main import main
from steelyard.errors import InvalidRequest, LoadFailed, ModelNotFound
from steelyard.evidence.payload_files import find
from steelyard.wire import decode_response
from tests.services.operator import Operator, details, kinds
from tests.support import models
from tests.support.asking import Asker, arrays, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.shadows import EVERY_S, hand_over, patiently
from tests.support.waiting import eventually

Start = Callable[..., Server]
FIRST = "[serving]\nversions = { list = [1] }\n"
GATE = """
[rollout.gate]
alpha = 0.1
max_requests = {most}
promote = "{promote}"

[[rollout.gate.guardrail]]
on = "disagreement"
margin = {margin}
harm = {harm}

[[rollout.gate.guardrail]]
on = "error_rate"
margin = {margin}
harm = {harm}
"""
DISAGREEMENTS = '\n[evidence.capture]\nreasons = ["disagreement"]\n'
OPEN = GATE.format(most=1_000_000, promote="manual", margin=0.0001, harm=0.9)


def fill(repository: Path, name: str, *factors: float, gate: str = OPEN, more: str = "") -> None:
    """Version 1 is in production, and no other is loaded; each multiplies by its factor."""
    for number, factor in enumerate(factors, 1):
        models.put(repository, name, models.scaled(factor), number, FIRST + gate + more)


def gate(promote: str = "manual", most: int = 100_000, margin: float = 0.2, harm: float = 0.4) -> str:
    return GATE.format(promote=promote, most=most, margin=margin, harm=harm)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each test uses a model of its own."""
    root = tmp_path_factory.mktemp("shadows")
    repository = root / "models"
    fill(repository, "seen", 2.0, 2.5, 3.0)
    fill(repository, "safe", 2.0, 2.0000002, gate=gate())
    fill(repository, "automatic", 2.0, 2.0000002, gate=gate("automatic"))
    fill(repository, "harmful", 2.0, 3.0, gate=gate())
    fill(repository, "undecided", 2.0, 2.0000002, gate=gate(most=100, margin=0.0001))
    fill(repository, "moved", 2.0, 2.5, more=DISAGREEMENTS)
    fill(repository, "calibrated", 2.0, 2.0000002)
    fill(repository, "quiet", 2.0, 2.5)
    fill(repository, "remote", 2.0)
    fill(repository, "hung", 2.0, more="[rollout.shadow]\ntimeout_s = 0.5\n")
    models.put(repository, "unlike", models.scaled(), 1, FIRST)
    models.put(repository, "unlike", models.two_inputs(), 2)
    models.put(repository, "unlike", models.scaled()[:-20], 3)
    models.put(repository, "unlike", models.scaled(), 4)
    server = Server(repository, root / "log").wait_ready()
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


def ask(asker: Asker, model: str, requests: int = 20) -> set[str]:
    """Sends requests one after the other; gives the versions that answered."""
    rng = np.random.default_rng(1)
    found = set()
    for _ in range(requests):
        sent = {"x": rng.random((1, 4), np.float32) + 1}
        response = asker.call("ModelInfer", request(model, sent))
        found.add(response.model_version)
        factor = arrays(response)["y"] / sent["x"]
        assert np.allclose(factor, 2.0)
    return found


def status(operator: Operator, model: str, name: str = "") -> dict[str, Any]:
    """Of a model's only shadow, or of the one that is called so."""
    (found,) = (one for one in operator.trials(model)["shadows"] if name in ("", one["name"]))
    return dict(found)


def seen(operator: Operator, model: str, pairs: int, name: str = "") -> dict[str, Any]:
    """The status of a model's shadow, when it has so many pairs."""

    def counted() -> Any:
        found = status(operator, model, name)
        return found["pairs"] and found["pairs"]["pairs"] >= pairs and found

    return dict(patiently(counted))


def compared(
    asker: Asker, operator: Operator, model: str, requests: int, name: str = ""
) -> tuple[int, dict[str, Any]]:
    """How many requests it took to have so many compared by a shadow that samples all, and its status then."""

    def send(count: int) -> None:
        assert ask(asker, model, count) == {"1"}

    sent = hand_over(requests, send, lambda: status(operator, model, name))
    return sent, seen(operator, model, requests, name)


def test_candidates_are_asked_and_nobody_notices(server: Server, asker: Asker, operator: Operator) -> None:
    started = operator.start_shadow("seen", "2")
    operator.start_shadow("seen", "3", 0.5)
    assert details(started)["candidate"]["version"] == 2
    assert details(started)["plan"]["gate"]["guardrail"][0]["margin"] == 0.0001
    sent, found = compared(asker, operator, "seen", 100, "2")
    assert found["pairs"]["agreed"] == 0
    assert found["agreement"]["share"] == 0.0
    assert found["agreement"]["least"] == 0.0 < found["agreement"]["most"] < 0.5
    assert found["pairs"]["outputs"]["y"]["absolute"]["max"] == pytest.approx(1.0, rel=0.2)
    assert found["pairs"]["latency"][0]["rows"] == 1
    assert found["tap"]["sampled"] == sent
    half = seen(operator, "seen", 10, "3")
    assert 0.2 * sent <= half["tap"]["sampled"] <= 0.8 * sent
    # Neither is loaded in the worker, and each has a process of its own.
    assert asker.refused(request("seen", {"x": np.ones((1, 4), np.float32)}, version="2")).code in (
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
    )
    found = metrics(server, model="seen", candidate="2")
    assert found["steelyard_shadow_up"] == 1
    assert (
        metrics(server, model="seen", candidate="2", outcome="disagreed")["steelyard_shadow_pairs_total"]
        == 100
    )
    stopped = details(operator.stop_shadow("seen", "2"))
    assert (stopped["outcome"], stopped["pairs"]) == ("stopped", 100)
    before = status(operator, "seen")["tap"]["sampled"]
    ask(asker, "seen", 100)
    eventually(lambda: status(operator, "seen")["tap"]["sampled"] > before)
    assert [one["name"] for one in operator.trials("seen")["shadows"]] == ["3"]
    last = operator.trials("seen")["last_shadow"]
    assert last["seen"]["pairs"]["pairs"] == 100
    operator.stop_shadow("seen")


def test_the_worst_are_listed_and_run_again(
    server: Server, asker: Asker, operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    operator.start_shadow("moved", "2")
    compared(asker, operator, "moved", 20)
    data = ["--data", str(server.data)]
    assert main(["shadow", "status", "moved", *data]) == 0
    shown = capsys.readouterr().out
    for part in ("agreement: 0.00 % of 20 pairs", "broken: close y 20", "gate: undecided", "handed over"):
        assert part in shown
    assert main(["shadow", "worst", "moved", *data, "--json"]) == 0
    worst = json.loads(capsys.readouterr().out)["disagreements"]
    assert worst
    assert worst[0]["broken"] == ["close y"]
    # The request is kept as the manifest asks for it, with what the version in production answered.
    kept = find(server.data, worst[0]["decision_id"]).read()
    assert (kept.model, kept.version, kept.reasons) == ("moved", 1, ("disagreement",))
    assert decode_response(kept.answer).parameters["steelyard_decision_id"] == kept.decision_id
    decision = worst[0]["decision_id"]
    assert main(["explain", decision, *data, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["shadows"]
    assert (told["candidate"], told["sampled"], told["disagreed"]) == ("2", True, True)
    assert told["broken"] == ["close y"]
    assert told["digest"] == details(operator.events("moved", "shadow.started")[0])["candidate"]["digest"]
    (answered,) = told["answer"]
    (primary,) = decode_response(kept.answer).outputs
    both = np.array(answered["values"], np.float32), np.frombuffer(primary.data, np.float32)
    assert np.allclose(both[0] / both[1], 1.25)
    assert told["errors"]["y"]["max_absolute"] == pytest.approx(np.abs(both[0] - both[1]).max(), rel=1e-5)
    assert main(["explain", decision, *data]) == 0
    page = capsys.readouterr().out
    for part in ("shadow        candidate 2 sha256:", "by close y: ", "it answered y FP32[1,4] ["):
        assert part in page
    again = [
        "shadow",
        "replay",
        "moved",
        worst[0]["decision_id"],
        "--repository",
        str(server.repository),
        *data,
    ]
    assert main(again) == 1
    assert "differs by close y" in capsys.readouterr().out
    assert main([*again, "--json"]) == 1
    replayed = json.loads(capsys.readouterr().out)
    assert replayed["primary"]["agrees"]
    assert replayed["candidate"]["agrees"]
    assert not replayed["now"]["agrees"]
    assert main(["journal", "erase", "--decision", decision, "--reason", "asked to", *data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"erased": [decision]}
    assert find(server.data, decision).head.erased
    assert main(again) == 1
    assert "nothing to compare" in capsys.readouterr().out
    assert main(["explain", decision, *data, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["shadows"]
    assert (told["answer"], told["errors"], told["note"]) == (None, {}, "its answer was erased")
    assert main(["shadow", "replay", "moved", "nothing", "--repository", str(server.repository), *data]) == 1
    assert "no shadow has kept" in capsys.readouterr().err
    # Agreements are counted, and not kept by decision.
    operator.start_shadow("calibrated", "2", 1.0)
    agreed = asker.call("ModelInfer", request("calibrated", {"x": np.ones((1, 4), np.float32)}))
    one = agreed.parameters["steelyard_decision_id"].string_param

    def explained() -> Any:
        assert main(["explain", one, *data, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    (shadow,) = eventually(explained)["shadows"]
    assert (shadow["disagreed"], shadow["note"]) == (
        None,
        "no disagreement over it: they agreed, or it was not compared",
    )
    operator.stop_shadow("calibrated")
    # The label moves, and what was compared with its holder ends.
    operator.set("moved", "champion", "2")
    assert operator.trials("moved")["shadows"] == []
    assert details(operator.events("moved", "shadow.stopped")[0])["outcome"] == "label moved"
    assert main(["shadow", "status", "moved", *data]) == 0
    assert "the last one ended" in capsys.readouterr().out


def until_decided(asker: Asker, operator: Operator, model: str) -> dict[str, Any]:
    def decided() -> Any:
        if operator.labels(model)["champion"][0] == 1:
            ask(asker, model, 50)
        return operator.events(model, "gate.decided")

    return details(patiently(decided)[0])


def test_a_safe_candidate_is_said_to_be_safe_and_no_more(asker: Asker, operator: Operator) -> None:
    operator.start_shadow("safe", "2")
    decided = until_decided(asker, operator, "safe")
    assert decided["verdict"] == "safe"
    assert decided["path"][-1]["verdict"] == "safe"
    assert operator.trials("safe")["shadows"][0]["verdict"] == "safe"
    assert operator.labels("safe")["champion"] == (1, True)
    operator.stop_shadow("safe")


def test_a_safe_candidate_is_promoted_where_the_manifest_says_so(asker: Asker, operator: Operator) -> None:
    operator.start_shadow("automatic", "2")
    until_decided(asker, operator, "automatic")
    eventually(lambda: operator.labels("automatic")["champion"] == (2, False))
    assert ask(asker, "automatic") == {"2"}
    assert kinds(operator.events("automatic"))[-3:] == ["gate.decided", "shadow.stopped", "label.set"]
    operator.roll_back("automatic")
    assert ask(asker, "automatic") == {"1"}


def test_a_harmful_candidate_is_ended(asker: Asker, operator: Operator) -> None:
    operator.start_shadow("harmful", "2")
    decided = until_decided(asker, operator, "harmful")
    assert (decided["verdict"], decided["look"]["decided_by"]) == ("harmful", "disagreement")
    eventually(lambda: not operator.trials("harmful")["shadows"])
    assert ask(asker, "harmful") == {"1"}


def test_undecided_at_the_end_is_no_verdict(asker: Asker, operator: Operator) -> None:
    operator.start_shadow("undecided", "2")
    assert until_decided(asker, operator, "undecided")["verdict"] == "exhausted"
    eventually(lambda: not operator.trials("undecided")["shadows"])
    assert operator.labels("undecided")["champion"] == (1, True)


def test_a_calibration_is_what_the_next_shadow_goes_by(asker: Asker, operator: Operator) -> None:
    with ThreadPoolExecutor(1) as pool:
        calibrating = pool.submit(operator.calibrate, "calibrated", 50)
        with Asker(asker.address) as other:
            while wait([calibrating], EVERY_S).not_done:
                ask(other, "calibrated", 20)
    found = details(calibrating.result())
    assert found["requests"] >= 50
    assert found["unlike"] == 0
    started = details(operator.start_shadow("calibrated", "2"))
    assert started["plan"]["tolerances"] == found["tolerances"]
    operator.stop_shadow("calibrated")


def test_a_calibration_without_traffic(operator: Operator) -> None:
    with pytest.raises(LoadFailed, match="came 0: calibrate under traffic"):
        operator.calibrate("quiet", 10, 300)
    assert not operator.events("quiet", "shadow.calibrated")


@pytest.mark.parametrize(
    ("model", "candidate", "sample", "error", "why"),
    [
        ("unlike", "2", 1.0, LoadFailed, "does not fit the version in production"),
        ("unlike", "3", 1.0, LoadFailed, "cut off"),
        ("unlike", "4", 1.0, LoadFailed, "in production already"),
        ("unlike", "1", 1.0, LoadFailed, "in production already"),
        ("unlike", "9", 1.0, ModelNotFound, "no version '9' in the repository"),
        ("unlike", "../quiet/1", 1.0, ModelNotFound, "no version"),
        ("unlike", "sha256:000000000000", 1.0, ModelNotFound, "no version"),
        ("unlike", "2", 0.0, InvalidRequest, "a sample above 0"),
        ("unlike", "2", 1.5, InvalidRequest, "at most 1"),
        ("nothing", "2", 1.0, ModelNotFound, "'nothing'"),
    ],
)
def test_a_shadow_that_cannot_be_started(
    operator: Operator, model: str, candidate: str, sample: float, error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        operator.start_shadow(model, candidate, sample)
    assert not operator.events(model, "shadow.started")


def test_a_server_that_is_down_costs_nobody_anything(asker: Asker, operator: Operator) -> None:
    # Nothing listens on this port of the loopback network.
    operator.start_remote_shadow("remote", "127.0.0.66:9")

    def send(count: int) -> None:
        assert ask(asker, "remote", count) == {"1"}

    hand_over(50, send, lambda: status(operator, "remote"))
    patiently(lambda: status(operator, "remote")["not_compared"] == {"down": 50})
    assert status(operator, "remote")["pairs"]["pairs"] == 0
    operator.stop_shadow("remote", "127.0.0.66:9")


@pytest.mark.parametrize(
    "remote",
    [
        {"address": ""},
        {"address": "nowhere"},
        {"address": "host:0"},
        {"address": "unix:run/server.sock"},
        {"address": "unix:/run/server.sock", "tls": True},
        {"address": "127.0.0.1:1", "root_file": "/does/not/exist"},
        {"address": "127.0.0.1:1", "concurrency": 1000},
        {"address": "127.0.0.1:1", "token_file": "/does/not/exist"},
        {"address": "127.0.0.1:1", "tls": True, "root_file": "/does/not/exist"},
    ],
)
def test_an_address_or_credentials_that_cannot_be(operator: Operator, remote: dict[str, Any]) -> None:
    with pytest.raises((InvalidRequest, LoadFailed)):
        operator.start_remote_shadow("remote", **remote)
    assert not operator.trials("remote")["shadows"]


def shadow_pid(server: Server, number: int = 0) -> int:
    """The process of a server's shadow."""
    children = psutil.Process(server.process.pid).children()
    found = [child for child in children if "steelyard.supervisor.shadow_main" in child.cmdline()]
    return int(found[number].pid)


def test_what_outlives_the_candidate_the_worker_and_the_server(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    fill(repository, "m", 2.0, 2.5)
    settings = {"data": str(tmp_path / "data")}
    server = start(repository, **settings).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        number = operator.start_shadow("m", "2").sequence
        compared(asker, operator, "m", 30)
        os.kill(shadow_pid(server), signal.SIGKILL)
        assert ask(asker, "m", 30) == {"1"}

        def again() -> bool:
            ask(asker, "m", 5)
            found = status(operator, "m")
            return bool(found["pairs"]["pairs"] > 60 and found["exits"] == {"crashed": 1})

        patiently(again)
        os.kill(server.worker_pid(), signal.SIGKILL)
    with Operator(server.data) as operator, Asker(server.address) as asker:
        eventually(lambda: ask(asker, "m", 1))
        before = operator.trials("m")["shadows"][0]["pairs"]["pairs"]

        def counted() -> bool:
            ask(asker, "m", 5)
            return bool(operator.trials("m")["shadows"][0]["pairs"]["pairs"] > before + 10)

        patiently(counted)
        tap = operator.trials("m")["shadows"][0]["tap"]
        assert tap["sampled"] > 60
        before = operator.trials("m")["shadows"][0]["pairs"]["pairs"]
    server.stop()
    server = start(repository, **settings).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        assert seen(operator, "m", before)["number"] == number
        patiently(lambda: status(operator, "m")["state"] == "running")

        def counts_on() -> bool:
            ask(asker, "m", 5)
            return bool(operator.trials("m")["shadows"][0]["pairs"]["pairs"] > before + 10)

        patiently(counts_on)
        server.process.kill()
        server.process.wait()
    server = start(repository, **settings).wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        eventually(lambda: operator.trials("m")["shadows"])
        operator.stop_shadow("m")
        assert operator.trials("m")["shadows"] == []
        assert ask(asker, "m") == {"1"}
        assert kinds(operator.rollout("m")) == ["label.followed", "shadow.started", "shadow.stopped"]
    server.stop()
    # What was stopped is not started again.
    server = start(repository, **settings).wait_ready()
    with Operator(server.data) as operator:
        assert operator.trials("m")["shadows"] == []


def test_a_candidate_whose_content_changed_while_the_server_was_away_is_not_resumed(
    start: Start, tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    fill(repository, "m", 2.0, 2.5)
    settings = {"data": str(tmp_path / "data")}
    server = start(repository, **settings).wait_ready()
    with Operator(server.data) as operator:
        operator.start_shadow("m", "2")
    server.stop()
    (repository / "m" / "2" / "model.onnx").write_bytes(models.scaled(7.0))
    server = start(repository, **settings).wait_ready()
    with Operator(server.data) as operator:
        stopped = eventually(lambda: operator.events("m", "shadow.stopped"))[0]
        assert details(stopped)["outcome"] == "not resumed"
        assert "other content" in stopped.reason


def test_a_drill_ends_no_shadow(asker: Asker, operator: Operator, server: Server) -> None:
    fill(server.repository, "drilled", 2.0, 2.0)
    asker.call("RepositoryModelLoad", load_request("drilled"))
    operator.set("drilled", "champion", "2")
    operator.set("drilled", "champion", "1")
    models.put(server.repository, "drilled", models.scaled(2.5), 3)
    operator.start_shadow("drilled", "3")
    operator.roll_back("drilled", drill=True, stay_ms=50)
    assert len(operator.trials("drilled")["shadows"]) == 1
    compared(asker, operator, "drilled", 20)
    operator.stop_shadow("drilled")


def load_request(model: str) -> Any:
    from steelyard.wire.generated import grpc_service as pb

    return pb.RepositoryModelLoadRequest(model_name=model)


@pytest.mark.parametrize("name", ["../../x", "a\0b", "/etc", ".hidden", "x" * 256])
def test_what_is_no_model_name_is_refused_at_once(server: Server, operator: Operator, name: str) -> None:
    for ask in (
        lambda: operator.start_shadow(name, "2"),
        lambda: operator.start_remote_shadow(name, "127.0.0.1:1"),
        lambda: operator.stop_shadow(name),
        lambda: operator.calibrate(name, 1),
        lambda: operator.trials(name),
        lambda: operator.labels(name),
        lambda: operator.events(name),
    ):
        with pytest.raises(InvalidRequest, match="model name"):
            ask()


def test_an_empty_name_is_every_model_in_lists_only(server: Server, operator: Operator) -> None:
    assert operator.labels("")
    assert operator.events("")
    with pytest.raises(InvalidRequest, match="a model's name is empty"):
        operator.trials("")
    with pytest.raises(InvalidRequest, match="a model's name is empty"):
        operator.start_shadow("", "2")
