"""`steelyard add`, `check`, and `models` of a stopped server: what lies on disk."""

import json
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.main import main
from steelyard.models.golden import write_golden
from tests.client.served import fill, linear, onnx_file, put


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    assert main([*arguments, "--json"]) == code
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


def test_add_counts_up_from_the_highest(tmp_path: Path, capsys):
    file, repository = onnx_file(tmp_path / "m.onnx", linear(1)), tmp_path / "models"
    first = run(capsys, "add", str(file), "--name", "m", "--repository", str(repository))
    assert (first["name"], first["version"]) == ("m", 1)
    assert first["digest"].startswith("sha256:")
    assert (Path(first["path"]) / "version.toml").is_file()
    assert run(capsys, "add", str(file), "--name", "m", "--repository", str(repository), "--version", "7")
    again = run(capsys, "add", str(file), "--name", "m", "--repository", str(repository))
    assert again["version"] == 8
    assert again["digest"] == first["digest"]
    assert main(["add", str(file), "--name", "m", "--repository", str(repository)]) == 0
    assert "Added m version 9" in capsys.readouterr().out


def test_add_refuses(tmp_path: Path, capsys):
    file = onnx_file(tmp_path / "m.onnx", linear(1))
    options = ["--repository", str(tmp_path / "models")]
    assert main(["add", str(file), "--name", "../m", *options]) == 2
    assert main(["add", str(file), "--name", "m", "--version", "0", *options]) == 2
    assert main(["add", str(file), "--name", "m", "--version", "1", *options]) == 0
    assert main(["add", str(file), "--name", "m", "--version", "1", *options]) == 2
    assert "is there already" in capsys.readouterr().err
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no ONNX")
    assert main(["add", str(broken), "--name", "b", *options]) == 1
    assert "broken.onnx" in capsys.readouterr().err
    assert not (tmp_path / "models" / "b").exists()


def test_check_of_a_version_that_is_let_in_although_an_example_fails(tmp_path: Path, capsys):
    version = put(tmp_path, "m", 1, linear(1))
    write_golden(version, "torn", b"\xff", b"")
    (found,) = run(capsys, "check", str(tmp_path), code=1)["versions"]
    assert "1 of 1 golden examples failed: 'torn'" in found["reason"]
    (tmp_path / "m" / "model.toml").write_text('[serving.golden]\nat_load = "report"\n')
    (found,) = run(capsys, "check", str(tmp_path))["versions"]
    assert (found["ok"], list(found["golden_failing"])) == (True, ["torn"])
    assert main(["check", str(tmp_path)]) == 0
    assert "golden examples fail: 'torn'" in " ".join(capsys.readouterr().out.split())


def test_check_of_what_is_right(tmp_path: Path, capsys):
    put(tmp_path, "m", 1, linear(1))
    put(tmp_path, "m", 2, linear(2))
    report = run(capsys, "check", str(tmp_path))
    assert report["ok"] is True
    (found,) = report["versions"]
    assert (found["model"], found["version"], found["ok"], found["reason"]) == ("m", 2, True, "")
    assert found["inputs"] == ["X FP32[-1, 4]"]
    assert found["outputs"] == ["Y FP32[-1, 3]"]
    assert found["batching"] is True
    assert found["batching_reason"]
    assert found["digest"].startswith("sha256:")
    assert found["device"]
    assert main(["check", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 can be served" in out
    assert "X FP32[-1, 4] -> Y FP32[-1, 3]" in out
    assert not (tmp_path / ".steelyard").exists()


def test_check_says_why_rows_of_different_length_share_no_batch(tmp_path: Path, capsys):
    put(tmp_path, "m", 1, linear(1))
    (tmp_path / "m" / "1" / "version.toml").write_text('[[input]]\nname = "X"\nragged = true\n')
    (found,) = run(capsys, "check", str(tmp_path))["versions"]
    assert (found["ok"], found["ragged"]) == (True, False)
    assert "'X'" in found["ragged_reason"]
    assert main(["check", str(tmp_path)]) == 0
    assert "not ragged: " in " ".join(capsys.readouterr().out.split())


def test_check_says_where_the_thread_budget_cuts_what_a_manifest_asks_for(tmp_path: Path, capsys):
    put(tmp_path, "m", 1, linear(1))
    (tmp_path / "m" / "model.toml").write_text("[serving]\nthreads = 99\n")
    (found,) = run(capsys, "check", str(tmp_path), "--threads", "2")["versions"]
    assert found["ok"] is True
    assert (
        found["threads_reason"]
        == "model.toml asks for 99, 2 are used, which is the thread budget (--threads)"
    )
    assert main(["check", str(tmp_path), "--threads", "2"]) == 0
    assert "threads: model.toml asks for 99, 2 are used" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "m" / "model.toml").write_text("[serving]\nthreads = 2\n")
    (found,) = run(capsys, "check", str(tmp_path), "--threads", "2")["versions"]
    assert found["threads_reason"] == ""


def test_check_finds_what_is_wrong(tmp_path: Path, capsys):
    fill(tmp_path)
    (tmp_path / "empty").mkdir()
    put(tmp_path, "misspelt", 1, linear(1))
    (tmp_path / "misspelt" / "model.toml").write_text("[serving]\nmax_bach = 3\n")
    put(tmp_path, "unwanted", 1, linear(1))
    (tmp_path / "unwanted" / "model.toml").write_text("[serving]\nversions = { list = [9] }\n")
    put(tmp_path, "contradicts", 1, linear(1))
    (tmp_path / "contradicts" / "1" / "version.toml").write_text('[[input]]\nname = "Z"\n')
    put(tmp_path, "half", 1, linear(1))
    (tmp_path / "half" / "2").mkdir()
    report = run(capsys, "check", str(tmp_path), code=1)
    assert report["ok"] is False
    wrong = {entry["model"]: entry for entry in report["versions"] if not entry["ok"]}
    right = {(entry["model"], entry["version"]) for entry in report["versions"] if entry["ok"]}
    assert set(wrong) == {"broken", "empty", "misspelt", "unwanted", "contradicts", "half/2"}
    assert right == {("bfloat", 1), ("half", 1), ("identity", 1), ("linear", 1), ("linear", 2)}
    assert "max_batch" in wrong["misspelt"]["reason"]
    assert "asks for none" in wrong["unwanted"]["reason"]
    assert "Z" in wrong["contradicts"]["reason"]
    assert main(["check", str(tmp_path)]) == 1
    assert "5 of 11 can be served, 6 wrong" in capsys.readouterr().out


def test_check_for_production(tmp_path: Path, capsys):
    put(tmp_path, "m", 1, linear(1))
    report = run(capsys, "check", str(tmp_path), "--profile", "production", code=1)
    assert "owner" in report["versions"][0]["reason"]


def test_check_of_an_empty_repository(tmp_path: Path, capsys):
    assert run(capsys, "check", str(tmp_path)) == {"ok": True, "versions": []}


def test_models_of_a_stopped_server(tmp_path: Path, capsys, monkeypatch):
    repository = tmp_path / "models"
    fill(repository)
    put(repository, "linear", 3, linear(3))
    (repository / "linear" / "model.toml").write_text("[serving]\nbatching = false\n")
    (repository / "empty").mkdir()
    put(repository, "misspelt", 1, linear(1))
    (repository / "misspelt" / "model.toml").write_text("[serving]\nmax_bach = 3\n")
    monkeypatch.chdir(repository)
    found = run(capsys, "models", "--repository", ".")
    assert found["server"] is None
    rows = {(row["name"], row["version"]): row for row in found["models"]}
    assert rows["linear", 3]["state"] == "STOPPED"
    assert rows["linear", 3]["reason"] == ""
    assert rows["linear", 3]["batching"] == "false"
    assert rows["linear", 3]["digest"].startswith("sha256:")
    assert rows["linear", 3]["requests"] is None
    assert rows["linear", 1]["reason"] == "not wanted by the version policy"
    assert rows["empty", None]["state"] == "UNAVAILABLE"
    assert "max_batch" in rows["misspelt", None]["reason"]
    for same in (["--data", ".steelyard"], []):
        assert run(capsys, "models", *same)["models"] == found["models"]
    assert main(["models", "--repository", str(repository)]) == 0
    out = capsys.readouterr().out
    assert "No server is running" in out
    assert "STOPPED" in out


def test_models_where_nothing_says_which(tmp_path: Path, capsys):
    assert main(["models", "--data", str(tmp_path / "data")]) == 2
    assert "--repository" in capsys.readouterr().err
