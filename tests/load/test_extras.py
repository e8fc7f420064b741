"""What needs the extra `load`: the report, Locust and LoadGen on a real server, and what is said where it is absent."""

import json
import re
import sys
from pathlib import Path

import pytest

from load.example import SCENARIO
from load.extras import require_installed
from load.mlperf import mlperf, read_summary
from load.report import require_report
from load.scenario import read_scenario
from steelyard.cli.server import Reached
from steelyard.errors import ConfigError
from tests.load.test_runs import SCENARIO as TWO_MODELS
from tests.load.test_runs import load
from tests.support.metrics import metrics
from tests.support.server import Server


def test_what_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("matplotlib", "matplotlib.backends.backend_svg", "locust", "mlperf_loadgen"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"the report needs the package 'matplotlib'.*steelyard\[load\]"):
        require_report()
    with pytest.raises(ConfigError, match=r"Locust needs the package 'locust'.*steelyard\[load\]"):
        require_installed("locust", "Locust")
    scenario, server = read_scenario(SCENARIO), Reached("127.0.0.1:1", None)
    with pytest.raises(
        ConfigError, match=r"LoadGen needs the package 'mlcommons-loadgen'.*steelyard\[load\]"
    ):
        mlperf(scenario, server, "server", 10, 50, 99, 1, tmp_path)


def test_loadgens_summary_ends_where_its_parameters_begin(tmp_path: Path) -> None:
    file = tmp_path / "summary"
    file.write_text(
        "==\nScenario : Server\nResult is : VALID\n  Min queries satisfied : Yes\nTest Parameters Used\nqps : 3\n"
    )
    assert read_summary(file) == {"Scenario": "Server", "Result is": "VALID", "Min queries satisfied": "Yes"}
    with pytest.raises(ConfigError, match="expected LoadGen's summary"):
        read_summary(tmp_path / "none")


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """The scenario of `test_runs`."""
    file = tmp_path / "two.toml"
    file.write_text(TWO_MODELS)
    return file


@pytest.mark.extra
def test_the_report_is_one_file_that_asks_for_nothing(server: Server, scenario: Path, tmp_path: Path) -> None:
    html, result = tmp_path / "report.html", tmp_path / "result.json"
    done = load(
        "run", str(scenario), "--data", str(server.data), "--html", str(html), "--result", str(result)
    )
    assert done.returncode == 0, done.stderr
    page = html.read_text()
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!["']?#)[^>\s]+""", page)
    assert "@import" not in page
    assert page.count("<svg") == 2
    for expected in ("two models", "INVALID_ARGUMENT", "server: p99 ms", "99 %", "refused"):
        assert expected in page
    found = json.loads(result.read_text())
    found["by_request"]["<b>$x & $y</b>"] = found["by_request"].pop("ids")
    odd = tmp_path / "odd.json"
    odd.write_text(json.dumps(found))
    assert load("report", str(odd), str(tmp_path / "odd.html")).returncode == 0
    assert "<b>" not in (tmp_path / "odd.html").read_text()
    again = tmp_path / "again.html"
    assert load("report", str(result), str(again)).returncode == 0
    assert again.read_text() == page
    result.write_text("{}")
    assert "expected the JSON that `run --result` writes" in load("report", str(result), str(again)).stderr


@pytest.mark.extra
def test_users_of_locust_are_counted_by_the_server(server: Server, scenario: Path) -> None:
    before = metrics(server)["steelyard_requests_received_total"]
    done = load(
        *("locust", str(scenario), "--data", str(server.data), "--headless"),
        *("--users", "4", "--spawn-rate", "4", "--run-time", "4s", "--stop-timeout", "10", "--json"),
    )
    assert done.returncode == 0, done.stderr
    wrong = load("locust", str(scenario), "--address", "127.0.0.1:1", "--headless", "--run-time", "1s")
    assert wrong.returncode == 2
    assert "error: server at 127.0.0.1:1" in wrong.stderr
    stats = {entry["name"]: entry for entry in json.loads(done.stdout[done.stdout.index("[") :])}
    assert set(stats) == {"numbers", "ids", "wrong, sent bad"}
    assert sum(entry["num_failures"] for entry in stats.values()) == 0
    counted = metrics(server)["steelyard_requests_received_total"] - before
    assert sum(entry["num_requests"] for entry in stats.values()) == counted > 20


@pytest.mark.extra
@pytest.mark.parametrize("kind", ["server", "offline"])
def test_loadgens_samples_are_answered_over_the_wire(
    server: Server, scenario: Path, tmp_path: Path, kind: str
) -> None:
    before = metrics(server).outcome("answered")
    done = load(
        *(
            "mlperf",
            str(scenario),
            kind,
            "--qps",
            "200",
            "--latency-ms",
            "5000",
            "--percentile",
            "90",
            "--seconds",
            "1",
        ),
        *("--data", str(server.data), "--logs", str(tmp_path / "logs"), "--json"),
    )
    # Offline it is invalid where the server was faster than was expected: LoadGen's own rule.
    assert done.returncode in ((0,) if kind == "server" else (0, 1)), done.stderr
    found = json.loads(done.stdout)
    assert found["scenario"].lower() == kind
    assert found["failed"] == 0
    assert found["samples"] == metrics(server).outcome("answered") - before > 20
    assert (tmp_path / "logs" / "mlperf_log_detail.txt").exists()


@pytest.mark.extra
def test_the_example_and_what_the_load_itself_can_send(tmp_path: Path) -> None:
    done = load("example", "--html", str(tmp_path / "report.html"), "--result", str(tmp_path / "result.json"))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    # Where the machine is busy some deadlines of the example are over before their requests can be sent.
    assert result["all"]["requests"] - result["harness"]["unsent"] >= result["server"]["received"] > 2_500
    done = load("capacity", "--seconds", "0.5", "--most", "2500", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tried"][0]["rate"] == 1000
    assert found["answered_per_s"] > 500
