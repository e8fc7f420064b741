"""The table of benchmarks, and what is kept of a run."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

# The table brings OpenCV and Matplotlib with it, which are installed for the benchmarks alone.
pytestmark = pytest.mark.extra


def test_names_are_one_benchmark_each_and_groups_are_told_from_them() -> None:
    from benchmarks.table import BENCHMARKS, chosen

    names = [benchmark.name for benchmark in BENCHMARKS]
    assert len(set(names)) == len(names)
    assert chosen([]) == list(BENCHMARKS)
    assert [benchmark.name for benchmark in chosen(["soak", "wire"])] == ["wire", "soak"]
    for group in {benchmark.group for benchmark in BENCHMARKS}:
        assert {benchmark.group for benchmark in chosen([group])} == {group}
    with pytest.raises(ValueError, match="came 'nothing'"):
        chosen(["wire", "nothing"])


def test_the_command_prints_a_table_and_writes_json_with_the_host_and_a_picture(tmp_path: Path) -> None:
    from benchmarks.__main__ import measure

    names = ("wire", "observe", "rooms")
    found = CliRunner().invoke(measure, [*names, "--quick", "--out", str(tmp_path)])
    assert found.exit_code == 0, found.output
    for line in ("| BYTES [8] |", "six observations, prometheus_client", "| admission and queue |"):
        assert line in found.output
    for name in names:
        document = json.loads((tmp_path / "results" / f"{name}.json").read_text())
        assert document["quick"] is True
        assert document["host"]["cores"] >= 1
        assert document["host"]["onnxruntime"]
        assert document["found"]
        assert (tmp_path / "plots" / f"{name}.svg").read_text().endswith("</svg>\n")


def test_an_unknown_name_is_wrong_usage_and_the_list_runs_nothing(tmp_path: Path) -> None:
    from benchmarks.__main__ import measure

    assert CliRunner().invoke(measure, ["nothing"]).exit_code == 2
    found = CliRunner().invoke(measure, ["--list", "--out", str(tmp_path)])
    assert found.output.splitlines()[0].startswith("wire")
    assert not list(tmp_path.iterdir())
