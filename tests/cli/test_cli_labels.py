"""`steelyard label`, `rollback` and `history` with a real server, running and stopped."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.main import main
from tests.support import models
from tests.support.server import Server
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("labels")
    for number in (1, 2, 3):
        models.put(root / "models", "prices", models.scaled(number), number)
    server = Server(root / "models", root / "log").wait_ready()
    yield server
    server.stop()


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str]):
    """Runs a command with --json; gives its code and what it prints."""

    def run(*arguments: str) -> tuple[int, Any]:
        code = main([*arguments, "--data", str(server.data), "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out or captured.err)

    return run


def test_a_label_is_set_listed_rolled_back_and_told(server: Server, run, capsys) -> None:
    code, event = run("label", "set", "prices", "champion", "1", "--reason", "to be safe")
    assert code == 0
    assert (event["kind"], event["reason"]) == ("label.set", "to be safe")
    assert "@" in event["actor"]
    assert event["details"]["to"]["version"] == 1
    (label,) = run("label", "list", "prices")[1]["labels"]
    assert (label["label"], label["version"], label["follows"]) == ("champion", 1, False)
    assert label["previous"]["version"] == 3
    code, error = run("label", "set", "prices", "champion", "2", "--from", "2", "--reason", "x")
    assert code == 1
    assert "expected label champion to stand for version 2" in error["error"]
    assert run("rollback", "prices", "--drill", "--stay-ms", "1", "--reason", "a drill")[0] == 0
    assert run("rollback", "prices", "--reason", "worse")[1]["details"]["to"]["version"] == 3
    assert run("label", "set", "prices", "night", "2", "--reason", "at night")[0] == 0
    assert run("label", "remove", "prices", "night", "--reason", "no more")[1]["details"]["to"] is None
    assert run("rollback", "prices", "--label", "night", "--reason", "x")[0] == 1
    kinds = [event["kind"] for event in run("history", "prices")[1]["events"]]
    assert kinds[:2] == ["version.registered", "version.loaded"]
    kinds = [kind for kind in kinds if not kind.startswith("version.")]
    assert kinds[:4] == ["label.followed", "label.set", "rollback.drilled", "label.rolled_back"]
    assert kinds[-1] == "label.removed"
    # What is loaded is recorded a moment after it answers: two looks may differ by that.
    eventually(lambda: run("history", "--limit", "1")[1]["events"] == run("history")[1]["events"][-1:])
    assert main(["history", "prices", "--data", str(server.data)]) == 0
    shown = capsys.readouterr().out
    for part in ("champion: version 1 -> version 3", "to be safe", "label.rolled_back"):
        assert part in shown
    assert main(["label", "list", "--data", str(server.data)]) == 0
    assert "champion" in capsys.readouterr().out


def test_a_stopped_server_is_listed_and_cannot_be_changed(tmp_path: Path, capsys) -> None:
    models.put(tmp_path / "models", "m", models.scaled(), 1)
    server = Server(tmp_path / "models", tmp_path / "log").wait_ready()
    data = ["--data", str(server.data)]
    assert main(["label", "set", "m", "challenger", "1", "--reason", "kept", *data]) == 0
    server.stop()
    capsys.readouterr()
    assert main(["label", "list", *data, "--json"]) == 0
    labels = json.loads(capsys.readouterr().out)["labels"]
    assert [(label["label"], label["version"]) for label in labels] == [("challenger", 1), ("champion", 1)]
    assert main(["history", *data, "--json"]) == 0
    kinds = [event["kind"] for event in json.loads(capsys.readouterr().out)["events"]]
    assert kinds == [
        "server.started",
        "configuration.changed",
        "version.registered",
        "version.loaded",
        "label.followed",
        "label.set",
    ]
    for arguments in (["label", "list", "other"], ["rollback", "m", "--reason", "x"]):
        assert main([*arguments, *data]) == 1
        assert "error: no" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["label", "set", "m", "champion", "1"],
        ["rollback", "m"],
        ["label", "set", "m", "champion", "1", "--from", "0", "--reason", "x"],
        ["rollback", "m", "--drill", "--stay-ms", "70000", "--reason", "x"],
        ["history", "--limit", "0"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")
