"""`python -m load run` on a real server: what it counts is what the server counts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.certificates import Authority
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]

SCENARIO = """
name = "two models"
processes = 2
warm_up = 10
scrape_interval_s = 0.25

[[phase]]
arrivals = "poisson"
rate = 300
seconds = 1

[[phase]]
arrivals = "burst"
size = 60
every_s = 0.5
seconds = 1

[[request]]
name = "numbers"
model = "same"
rows = [1, 4]
share = 2

[[request]]
name = "ids"
model = "embed"
lengths = "2..20"
deadline_ms = 20000
priority = 1

[[request]]
name = "wrong"
model = "same"
bad_share = 1.0
"""


def load(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "load", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **options
    )


@pytest.fixture(scope="module")
def result(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one run of the scenario found."""
    directory = tmp_path_factory.mktemp("run")
    (directory / "two.toml").write_text(SCENARIO)
    file = directory / "result.json"
    done = load("run", str(directory / "two.toml"), "--data", str(server.data), "--result", str(file))
    assert done.returncode == 0, done.stderr
    assert f"written: {file}" in done.stdout
    assert "the server counts" in done.stdout
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_every_request_is_counted_once_here_and_there(result: dict[str, Any]) -> None:
    everything, served = result["all"], result["server"]
    assert everything["requests"] == sum(everything["codes"].values()) == served["received"]
    assert everything["codes"]["OK"] == served["outcomes"]["answered"]
    assert set(served["outcomes"]) == {"answered", "refused"}
    assert sum(served["refused"].values()) == served["outcomes"]["refused"]
    assert served["stages"]["total"]["count"] == everything["codes"]["OK"]
    assert result["harness"]["unsent"] == 0


def test_bad_requests_are_refused_and_good_ones_answered(result: dict[str, Any]) -> None:
    bad = result["bad"]
    assert bad["accepted"] == 0
    assert set(bad["codes"]) == {"INVALID_ARGUMENT", "NOT_FOUND"}
    assert sum(bad["codes"].values()) == bad["requests"] > 50
    for name in ("numbers", "ids"):
        assert set(result["by_request"][name]["codes"]) == {"OK"}
    assert result["by_request"]["wrong"]["requests"] == 0
    assert result["by_request"]["ids"]["within_deadline"] == result["by_request"]["ids"]["requests"]


def test_parts_make_up_the_whole(result: dict[str, Any]) -> None:
    total = result["all"]["requests"]
    assert sum(part["requests"] for part in result["by_phase"]) == total
    assert (
        sum(part["requests"] for part in result["by_request"].values()) + result["bad"]["requests"] == total
    )
    assert result["by_phase"][1]["requests"] == 120
    windows = result["windows"]
    assert sum(windows["due"]) == total
    assert {code: sum(counts) for code, counts in windows["ended"].items()} == result["all"]["codes"]


def test_the_servers_own_stages_are_on_the_same_axis(result: dict[str, Any]) -> None:
    series = result["server"]["series"]
    assert series["at_s"] == sorted(series["at_s"])
    assert len(series["at_s"]) >= 4
    answered = sum(point["count"] for point in series["stages"]["total"])
    assert answered == result["all"]["codes"]["OK"]
    # What a caller sees holds what the server sees.
    assert result["all"]["latency_ms"]["mean"] > result["server"]["stages"]["total"]["mean_ms"]


def test_the_same_over_tls(server: Server, authority: Authority, tmp_path: Path) -> None:
    scenario, file = tmp_path / "two.toml", tmp_path / "result.json"
    scenario.write_text(SCENARIO)
    arguments = ("run", str(scenario), "--data", str(server.data), "--tls")
    done = load(*arguments, "--root-file", str(authority.file), "--result", str(file))
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert found["address"] in server.running.grpc_tls_addresses
    everything, served = found["all"], found["server"]
    assert everything["requests"] == sum(everything["codes"].values()) == served["received"] > 300
    assert everything["codes"]["OK"] == served["outcomes"]["answered"]
    assert set(found["bad"]["codes"]) == {"INVALID_ARGUMENT", "NOT_FOUND"}
    assert found["harness"]["unsent"] == 0
    # Nobody is asked whose certificate was issued by others.
    stranger = Authority(tmp_path, "stranger")
    done = load(*arguments, "--root-file", str(stranger.file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "certificate" in done.stderr


def test_what_is_wrong_is_one_line(server: Server, tmp_path: Path) -> None:
    scenario = tmp_path / "wrong.toml"
    scenario.write_text(SCENARIO.replace('"embed"', '"none"'))
    done = load("run", str(scenario), "--data", str(server.data))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "none" in done.stderr
    scenario.write_text(SCENARIO)
    done = load("run", str(scenario), "--data", str(server.data), "--result", str(tmp_path / "no" / "result"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected a directory to write it to" in done.stderr
    scenario.write_text(SCENARIO.replace("rate = 300", "rate = 'many'"))
    done = load("run", str(scenario), "--address", "127.0.0.1:1", "--json")
    assert done.returncode == 2
    assert "[phase 1 'poisson'] rate: expected a number, got 'many'" in json.loads(done.stderr)["error"]


def is_over(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_processes_that_send_end_with_the_one_that_started_them(server: Server, tmp_path: Path) -> None:
    scenario = tmp_path / "long.toml"
    scenario.write_text(SCENARIO.replace("seconds = 1\n", "seconds = 60\n"))
    command = [sys.executable, "-m", "load", "run", str(scenario), "--data", str(server.data), "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as running:
        before = metrics(server)["steelyard_requests_received_total"]
        eventually(lambda: metrics(server)["steelyard_requests_received_total"] > before + 100)
        senders = psutil.Process(running.pid).children()
        assert len(senders) >= 2
        running.kill()
    eventually(lambda: all(map(is_over, senders)))
