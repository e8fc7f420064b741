"""Two servers side by side: one in production, and one with the candidate on an address of its own."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from steelyard.cli.main import main
from steelyard.errors import LoadFailed
from steelyard.models.digest import version_digest
from tests.services.operator import Operator, details
from tests.support import models
from tests.support.asking import Asker, arrays, request
from tests.support.server import Server
from tests.support.shadows import hand_over, patiently
from tests.support.waiting import eventually

Start = Callable[..., Server]
SCRIPT = Path(__file__).parents[2] / "deploy" / "side-by-side" / "compare.py"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Doubles; each test uses a model of its own."""
    root = tmp_path_factory.mktemp("production")
    for name in ("away", "late", "worse", "unlike", "changed"):
        models.put(root / "models", name, models.scaled(2.0))
    slow = '[rollout.shadow]\nmax_bytes = "64KiB"\n'
    models.put(root / "models", "slow", models.embedding(), 1, slow)
    server = Server(root / "models", root / "log").wait_ready()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def operator(production: Server) -> Iterator[Operator]:
    with Operator(production.data) as operator:
        yield operator


@pytest.fixture(scope="module")
def asker(production: Server) -> Iterator[Asker]:
    with Asker(production.address) as asker:
        yield asker


def double(asker: Asker, model: str, requests: int = 10) -> None:
    """Every one of so many requests is answered, and by the version in production."""
    rng = np.random.default_rng(1)
    for _ in range(requests):
        sent = rng.random((1, 4), np.float32) + 1
        assert np.array_equal(asker.infer(model, {"x": sent})["y"], 2 * sent)


def status(operator: Operator, model: str) -> dict[str, Any]:
    (found,) = operator.trials(model)["shadows"]
    return dict(found)


def handed_over(asker: Asker, operator: Operator, model: str, requests: int = 10) -> None:
    """So many requests more have been handed to the model's shadow."""
    hand_over(requests, lambda count: double(asker, model, count), lambda: status(operator, model))


def agreed(operator: Operator, model: str) -> int:
    pairs = status(operator, model)["pairs"]
    return int(pairs["agreed"]) if pairs else 0


def test_a_candidate_that_goes_away_and_comes_back(
    start: Start, tmp_path: Path, operator: Operator, asker: Asker, production: Server, capsys
) -> None:
    version = models.put(tmp_path / "elsewhere", "other", models.scaled(2.0), 7)
    candidate = start(tmp_path / "elsewhere").wait_ready()
    address = candidate.address
    event = operator.start_remote_shadow("away", address, model="other", version="7")
    assert event.digest == version_digest(version)
    handed_over(asker, operator, "away", 20)
    patiently(lambda: agreed(operator, "away") == 20)
    assert status(operator, "away")["digests"] == [version_digest(version)]
    assert main(["shadow", "status", "away", "--data", str(production.data)]) == 0
    digest = version_digest(version).removeprefix("sha256:")[:10]
    assert f"{address}/7 ({digest}) beside version 1" in capsys.readouterr().out

    candidate.process.kill()
    candidate.process.wait()
    handed_over(asker, operator, "away", 20)
    patiently(lambda: status(operator, "away")["not_compared"] == {"down": 20})
    assert agreed(operator, "away") == 20
    assert status(operator, "away")["pairs"]["failures"]["candidate_only"] == 0

    start(tmp_path / "elsewhere", grpc_address=address).wait_ready()

    def compared_again() -> bool:
        double(asker, "away")
        return agreed(operator, "away") > 20

    patiently(compared_again)
    assert details(operator.stop_shadow("away", f"{address}/7"))["pairs"] > 20


def test_a_candidate_that_is_there_only_later(
    start: Start, tmp_path: Path, operator: Operator, asker: Asker
) -> None:
    models.put(tmp_path / "elsewhere", "late", models.scaled(2.0))
    candidate = start(tmp_path / "elsewhere").wait_ready()
    address = candidate.address
    candidate.stop()
    event = operator.start_remote_shadow("late", address)
    assert event.digest == ""
    handed_over(asker, operator, "late")
    patiently(lambda: status(operator, "late")["not_compared"] == {"down": 10})
    start(tmp_path / "elsewhere", grpc_address=address).wait_ready()

    def compared() -> bool:
        double(asker, "late")
        return agreed(operator, "late") > 0

    patiently(compared)
    operator.stop_shadow("late")


def test_a_candidate_that_is_too_slow_gets_no_more_than_it_answers(
    start: Start, tmp_path: Path, operator: Operator, production: Server
) -> None:
    models.put(
        tmp_path / "elsewhere", "slow", models.slow_embedding(2000), 1, "[serving]\nbatching = false\n"
    )
    candidate = start(tmp_path / "elsewhere").wait_ready()
    operator.start_remote_shadow("slow", candidate.address, concurrency=2)

    def ask(seed: int) -> int:
        ids = np.random.default_rng(seed).integers(0, 16, (1, 1))
        with Asker(production.address) as asker:
            for _ in range(500):
                answer = asker.call("ModelInfer", request("slow", {"ids": ids}))
                assert (arrays(answer)["vectors"] == ids[0, 0]).all()
        return 500

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(ask, range(2))) == 1000
    found = eventually(
        lambda: status(operator, "slow")["tap"].get("sampled") == 1000 and status(operator, "slow")
    )
    tap = found["tap"]
    assert tap["dropped_budget"] + tap["dropped_paused"] > 0
    assert tap["waiting_bytes"] <= 64 << 10
    assert set(found["not_compared"]) <= {"overloaded"}
    assert found["pairs"]["failures"]["candidate_only"] == 0
    operator.stop_shadow("slow")
    assert operator.trials("slow")["shadows"] == []


GATE = """
[rollout.gate]
promote = "automatic"

[[rollout.gate.guardrail]]
on = "disagreement"
margin = 0.2
harm = 0.4
"""


def test_what_outlives_the_server_in_production(start: Start, tmp_path: Path) -> None:
    models.put(tmp_path / "here", "m", models.scaled(2.0), 1, GATE)
    version = models.put(tmp_path / "elsewhere", "m", models.scaled(2.0), 1)
    digest = version_digest(version)
    candidate = start(tmp_path / "elsewhere").wait_ready()
    server = start(tmp_path / "here").wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        number = operator.start_remote_shadow("m", candidate.address, version="1").sequence

        def decided() -> Any:
            double(asker, "m")
            return operator.events("m", "gate.decided")

        (event,) = patiently(decided)
        assert details(event)["verdict"] == "safe"
        assert (event.digest, details(event)["digests"]) == (digest, [digest])
        server.process.kill()
        server.process.wait()
    server = start(tmp_path / "here").wait_ready()
    with Operator(server.data) as operator, Asker(server.address) as asker:
        eventually(lambda: operator.trials("m")["shadows"])
        before = agreed(operator, "m")

        def goes_on() -> bool:
            double(asker, "m")
            return agreed(operator, "m") > before + 10

        patiently(goes_on)
        found = status(operator, "m")
        assert (found["number"], found["verdict"]) == (number, "safe")
        # What another server has cannot be promoted here.
        assert operator.labels("m") == {"champion": (1, True)}
        assert operator.stop_shadow("m").digest == digest


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with what does not fit a version that takes x and gives y, FP32 [batch, 4]; and with what is worse."""
    root = tmp_path_factory.mktemp("elsewhere")
    models.put(root / "models", "inputs", models.two_inputs())
    models.put(root / "models", "shape", models.scaled(2.0, ("batch", 5)))
    models.put(root / "models", "datatype", models.identity("FP64"))
    models.put(root / "models", "worse", models.scaled(2.5))
    server = Server(root / "models", root / "log").wait_ready()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("model", "version", "why"),
    [
        ("inputs", "", r"input 'x': expected FP32 \[-1, 4\], the candidate has none"),
        ("shape", "", r"input 'x': expected FP32 \[-1, 4\], got FP32 \[-1, 5\]"),
        ("datatype", "", r"output 'y': expected FP32 \[-1, 4\], got FP64 \[-1, 4\]"),
        ("nothing", "", "the candidate's server at .*'nothing'"),
        ("shape", "9", "the candidate's server at .*version"),
    ],
)
def test_a_candidate_that_takes_or_gives_something_else_is_refused(
    operator: Operator, elsewhere: Server, model: str, version: str, why: str
) -> None:
    with pytest.raises(LoadFailed, match=why):
        operator.start_remote_shadow("unlike", elsewhere.address, model=model, version=version)
    assert not operator.events("unlike", "shadow.started")
    assert operator.trials("unlike")["shadows"] == []


def test_a_candidate_that_takes_something_else_when_it_comes_back(
    start: Start, tmp_path: Path, operator: Operator, asker: Asker
) -> None:
    repository = tmp_path / "elsewhere"
    version = models.put(repository, "changed", models.scaled(2.0))
    candidate = start(repository).wait_ready()
    address = candidate.address
    operator.start_remote_shadow("changed", address)
    candidate.stop()
    (version / "model.onnx").write_bytes(models.two_inputs())
    start(repository, grpc_address=address).wait_ready()

    def refused() -> bool:
        double(asker, "changed")
        pairs = status(operator, "changed")["pairs"]
        return bool(pairs["failures"]["candidate_kinds"].get("INVALID_ARGUMENT"))

    patiently(refused)
    operator.stop_shadow("changed")


def test_the_worst_of_a_server_elsewhere_run_again(
    operator: Operator, asker: Asker, production: Server, elsewhere: Server, capsys
) -> None:
    operator.start_remote_shadow("worse", elsewhere.address)
    handed_over(asker, operator, "worse")
    patiently(lambda: status(operator, "worse")["pairs"]["pairs"] == 10)
    data = ["--data", str(production.data)]
    assert main(["shadow", "worst", "worse", *data, "--json"]) == 0
    worst = json.loads(capsys.readouterr().out)["disagreements"]
    assert {one["candidate"] for one in worst} == {elsewhere.address}
    again = ["shadow", "replay", "worse", worst[0]["decision_id"], *data]
    again += ["--repository", str(production.repository), "--json"]
    assert main(again) == 1
    replayed = json.loads(capsys.readouterr().out)
    assert (replayed["reproduced"], replayed["other_content"]) == (True, [])
    operator.stop_shadow("worse")


def compare(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """How the script ends, and what it prints; the servers that it has started must be gone then."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--directory", str(tmp_path / "made"), *arguments],
        capture_output=True,
        text=True,
        timeout=180,
    )
    for process in re.findall(r"process (\d+)", done.stdout):
        assert not psutil.pid_exists(int(process))
    return done.returncode, done.stdout + done.stderr


@pytest.mark.extra
def test_the_script_compares_two_servers(tmp_path: Path) -> None:
    code, printed = compare(tmp_path)
    assert code == 0, printed
    for part in (
        "$ steelyard shadow calibrate compared",
        "$ steelyard shadow start compared --candidate 127.0.0.1:",
        "gate: safe",
        ", 0 failed",
    ):
        assert part in printed


def test_the_script_finds_that_models_of_the_callers_differ(tmp_path: Path) -> None:
    files = []
    for name, factor in (("one", 2.0), ("other", 2.5)):
        files.append(tmp_path / f"{name}.onnx")
        files[-1].write_bytes(models.scaled(factor))
    gate = '[[rollout.gate.guardrail]]\non = "disagreement"\nmargin = 0.1\nharm = 0.2\n'
    (tmp_path / "rules.toml").write_text(gate)
    code, printed = compare(tmp_path, *map(str, files), "--manifest", str(tmp_path / "rules.toml"))
    assert code == 1, printed
    assert "gate: harmful, by disagreement" in printed
    assert ", 0 failed" in printed
    assert compare(tmp_path)[0] == 2, "its directory is there already"
