"""The demonstration as a whole, with the real model, a real server and few files."""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from steelyard.demo import run as demo_run
from steelyard.demo.progress import Silent
from steelyard.demo.report import ask_command, print_outcome
from steelyard.demo.trial import KEPT_WORST
from steelyard.demo.trial_report import MEANING, trial_shown
from steelyard.errors import ConfigError, Unavailable
from steelyard.evidence.log import EVENTS_FILE, read_events
from steelyard.models.manifest import read_model_manifest
from steelyard.models.version_manifest import read_version_manifest
from steelyard.supervisor.datadir import find_server

FILES = 40
# Too few to decide by: a guardrail that never sees an event takes 450 files.
SHADOW_FILES = 150
COMMAND = (sys.executable, "-m", "steelyard.cli.main", "demo")
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Where the first test makes the repository, and the others find it."""
    return tmp_path_factory.mktemp("demo") / ".demo"


def wait_until_stopped(directory):
    """Returns when no server has the data directory: whoever has it holds the lock on it."""
    with (directory / "data" / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert find_server(directory / "data") is None


@pytest.fixture(scope="module")
def outcome(directory):
    outcome = demo_run.run(directory, FILES, SHADOW_FILES, False, Silent())
    assert find_server(directory / "data") is None
    return outcome


def test_every_answer_is_the_packages_own(outcome):
    figures = outcome.figures
    assert figures.right
    assert (figures.against_magika.files, figures.against_magika.equal) == (FILES, FILES)
    assert sum(count for _, count in figures.types()) == FILES
    assert figures.packaged.version == "1"
    assert len(figures.packaged.latencies_ms) == FILES
    assert 0 < figures.packaged.latency_ms(50) <= figures.packaged.latency_ms(99)
    assert [stage.count for stage in figures.packaged_account.stages] == [FILES] * 6
    assert figures.packaged_account.rows == FILES
    assert 1 <= figures.packaged_account.mean_batch_rows <= 4


def test_version_2_says_nearly_the_same(outcome):
    figures = outcome.figures
    assert figures.quantized.version == "2"
    assert figures.against_packaged.files == len(figures.quantized.labels) == FILES // 2
    assert figures.against_packaged.equal >= FILES // 2 * 0.8
    assert figures.quantized_account.rows == FILES // 2


def test_what_the_repository_says(outcome, directory):
    model = directory / "models" / "filetype"
    manifest = read_model_manifest(model / "model.toml")
    assert manifest.serving.versions.list == (1,)
    assert [guardrail.on for guardrail in manifest.rollout.gate.guardrail] == ["disagreement", "error_rate"]
    assert manifest.governance.owner == "demo"
    lineage = read_version_manifest(model / "2" / "version.toml").lineage
    assert lineage.parent == "1"
    assert lineage.training_data_digest.startswith("sha256:")
    assert (model / "2" / "model.onnx").stat().st_size < (model / "1" / "model.onnx").stat().st_size / 3


def test_version_2_was_a_shadow_of_version_1(outcome, directory):
    trial = outcome.trial
    seen = trial.seen
    assert (seen["primary"]["version"], seen["candidate"]["version"]) == (1, 2)
    dropped = sum(count for name, count in seen["tap"].items() if name.startswith("dropped_"))
    compared = seen["pairs"]["pairs"]
    assert trial.asked == seen["tap"]["sampled"] == compared + dropped == SHADOW_FILES
    assert seen["pairs"]["agreed"] >= compared * 0.8
    assert trial.verdict == "undecided"
    assert seen["tolerances"]["target_label"][0] > 0
    assert any(one["primary"] and one["candidate"] for one in seen["pairs"]["latency"])
    assert len(trial.worst) == min(KEPT_WORST, compared - seen["pairs"]["agreed"])
    for worst in trial.worst:
        assert Path(worst.path).is_file()
        assert worst.primary.split()[0] != worst.candidate.split()[0]
    json.dumps(trial.document(), allow_nan=False)


def test_the_drill_and_the_verdict_are_in_the_event_log(outcome, directory):
    assert outcome.trial.drill["outcome"] == "passed"
    assert outcome.trial.drill["failed"] == 0
    events = read_events(directory / "data" / EVENTS_FILE).events
    kinds = [event.kind for event in events if event.kind.startswith(("shadow.", "rollback."))]
    assert kinds == ["shadow.calibrated", "shadow.started", "shadow.stopped", "rollback.drilled"]
    champion = [event for event in events if event.details.get("label") == "champion"]
    assert [event.details["to"]["version"] for event in champion] == [1]


def test_every_verdict_is_said_in_a_sentence(outcome, capsys):
    for verdict, meaning in MEANING.items():
        trial = replace(outcome.trial, seen=outcome.trial.seen | {"verdict": verdict})
        Console(width=400).print(trial_shown(trial))
        said = f"Version 2 is {verdict} after {trial.seen['gate']['n']} pairs: {meaning}"
        assert said in capsys.readouterr().out


def test_the_report_shows_the_figures(outcome, directory, capsys):
    print_outcome(outcome, directory)
    shown = capsys.readouterr().out
    assert f"{FILES} of {FILES} answers of version 1" in shown
    for word in (
        "a second",
        "p50 ms",
        "p99 ms",
        "rows a batch",
        "execute",
        "queue",
        "as shadow of",
        "disagreement",
        "undecided",
    ):
        assert word in shown
    assert "still up" not in shown


def test_keep_leaves_a_server_that_answers_the_printed_command(outcome, directory):
    kept = subprocess.run(
        [*COMMAND, "--files", "10", "--shadow-files", "20", "--keep", "--json", "--directory", directory],
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    document = json.loads(kept.stdout)
    pid = document["server"]["pid"]
    try:
        assert find_server(directory / "data").pid == pid
        assert document["against_magika"]["equal"] == document["files"] == 10
        assert document["trial"]["asked"] == 20
        answer = subprocess.run(
            [*shlex.split(ask_command(directory, outcome.sample)), "--version", "1", "--json"],
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        best = json.loads(answer.stdout)["outputs"]["target_label"]["data"][0][0]
        assert best.split(":")[2] in document["types"]
        with pytest.raises(Unavailable, match=f"kill {pid}"):
            demo_run.run(directory, 10, 20, False, Silent())
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until_stopped(directory)


@pytest.mark.parametrize(
    ("number", "during"),
    [
        (signal.SIGINT, "starting steelyard serve"),
        (signal.SIGTERM, "starting steelyard serve"),
        (signal.SIGTERM, "calibrating"),
    ],
)
def test_whoever_ends_the_demo_ends_its_server(outcome, directory, number, during):
    # Whoever runs the tests in the background of a shell has SIGINT ignored, and so has every child.
    demo = subprocess.Popen(
        ["env", "--default-signal=INT", *COMMAND, "--files", "150", "--directory", directory],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with demo:
        for line in demo.stderr:
            if during in line:
                break
        demo.send_signal(number)
        demo.stderr.read()
        assert demo.wait(60) == 130
    wait_until_stopped(directory)


def test_a_server_that_cannot_start_is_shown_with_its_reason(outcome, directory, tmp_path):
    broken = tmp_path / ".demo"
    broken.mkdir()
    (broken / "models").symlink_to(directory / "models")
    (broken / "calibration.txt").write_text("")
    (broken / "data").write_text("not a directory")
    with pytest.raises(Unavailable, match="the server ended with status 2"):
        demo_run.run(broken, 2, 2, False, Silent())


def test_without_its_packages(monkeypatch):
    monkeypatch.setattr(demo_run, "NEEDED", ("magika", "no_such_package"))
    with pytest.raises(ConfigError, match=r"needs no_such_package: pip install 'steelyard\[demo\]'"):
        demo_run.run(Path("unused"), 10, 20, False, Silent())
