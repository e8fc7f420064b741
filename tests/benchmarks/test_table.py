"""The table of benchmarks, what is asked of it on the command line, and what is kept of a run."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import measure
from benchmarks.table import BENCHMARKS, chosen


def test_names_are_one_benchmark_each_and_groups_are_told_from_them() -> None:
    names = [benchmark.name for benchmark in BENCHMARKS]
    assert len(set(names)) == len(names)
    assert chosen([]) == list(BENCHMARKS)
    assert [benchmark.name for benchmark in chosen(["soak", "wire"])] == ["wire", "soak"]
    for group in {benchmark.group for benchmark in BENCHMARKS}:
        assert {benchmark.group for benchmark in chosen([group])} == {group}
    with pytest.raises(ValueError, match="came 'nothing'"):
        chosen(["wire", "nothing"])


@pytest.mark.extra
@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_every_benchmark_has_what_the_table_says_of_it(benchmark) -> None:
    measurement = benchmark.measurement()
    assert callable(measurement.report)
    assert benchmark.quick
    assert all(measurement.takes(parameter) for parameter in benchmark.quick)


@pytest.mark.extra
def test_the_command_prints_a_table_and_writes_json_with_the_host_and_a_picture(tmp_path: Path) -> None:
    names = ("wire", "observe", "rooms")
    found = CliRunner().invoke(measure, [*names, "--quick", "--out", str(tmp_path)])
    assert found.exit_code == 0, found.output
    for line in ("| BYTES [8] |", "six observations, prometheus_client", "| admission and queue |"):
        assert line in found.output
    for name in names:
        document = json.loads((tmp_path / "results" / f"{name}.json").read_text())
        assert (document["quick"], document["given"]) == (True, {})
        assert document["host"]["cores"] >= 1
        assert document["host"]["onnxruntime"]
        assert document["found"]
        assert (tmp_path / "plots" / f"{name}.svg").read_text().endswith("</svg>\n")


@pytest.mark.extra
def test_rounds_and_seconds_are_as_many_as_are_asked_for(tmp_path: Path) -> None:
    found = CliRunner().invoke(measure, ["observe", "--rounds", "2", "--out", str(tmp_path)])
    assert found.exit_code == 0, found.output
    document = json.loads((tmp_path / "results" / "observe.json").read_text())
    assert (document["quick"], document["given"]) == (False, {"rounds": 2})
    assert {len(row["rounds"]) for row in document["found"].values()} == {2}
    asked = ["switching", "--rounds", "1", "--seconds", "0.2", "--out", str(tmp_path)]
    found = CliRunner().invoke(measure, asked)
    assert found.exit_code == 0, found.output
    document = json.loads((tmp_path / "results" / "switching.json").read_text())
    assert document["given"] == {"rounds": 1, "seconds": 0.2}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["wire", "soak", "--rounds", "3"], "take --rounds; these do not: soak"),
        (["wire", "soak", "--seconds", "3"], "take --seconds; these do not: wire, soak"),
        (["wire", "--quick", "--rounds", "3"], "--quick has figures of its own for --rounds"),
        (["wire", "--rounds", "0"], "0 is not in the range x>=1"),
        (["wire", "--seconds", "0"], "0.0 is not in the range x>0"),
        (["nothing"], "came 'nothing'"),
    ],
)
def test_what_cannot_be_measured_so_is_wrong_usage(tmp_path: Path, asked: list[str], told: str) -> None:
    found = CliRunner().invoke(measure, [*asked, "--out", str(tmp_path)])
    assert found.exit_code == 2
    assert told in " ".join(found.output.split())
    assert not list(tmp_path.iterdir())


def test_the_list_runs_nothing_and_names_what_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.delitem(sys.modules, "benchmarks.image", raising=False)
    found = CliRunner().invoke(measure, ["--list", "wire", "image", "--out", str(tmp_path)])
    assert found.exit_code == 0
    wire, image, installed = found.output.splitlines()
    assert wire.startswith("wire")
    assert "needs" not in wire
    assert image.endswith("(needs cv2, which is not installed)")
    assert ".[bench,examples]" in installed
    found = CliRunner().invoke(measure, ["wire", "image", "--out", str(tmp_path)])
    assert found.exit_code == 1
    assert "cv2 (image)" in found.output
    assert not list(tmp_path.iterdir())
