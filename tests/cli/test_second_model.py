"""docs/second-model.md, word for word: from an ONNX file to the first governed answer of a server in production."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from steelyard.client import Client
from steelyard.supervisor.datadir import RunningServer, find_server
from tests.support.waiting import eventually

PAGE = (Path(__file__).parents[2] / "docs" / "second-model.md").read_text()

# What people type in a minute, without haste. The page promises two minutes in all, of which ten seconds are the
# machine's: those are printed, and held by no test, which cannot know what else the machine does.
CHARACTERS_A_MINUTE = 300
TYPED_S = 110.0

COMMANDS = re.findall(r"^    \$ ((?:.*\\\n)*.*)$", PAGE, re.MULTILINE)


@dataclass
class Walked:
    """What became of the page's commands."""

    directory: Path
    server: RunningServer
    said: dict[str, str] = field(default_factory=dict)
    """What each printed, by the command's first words."""
    seconds: dict[str, float] = field(default_factory=dict)
    """From the start of each command's process to its end; of the server, until it was ready."""


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    directory = tmp_path_factory.mktemp("walkthrough")
    (directory / "churn.py").write_text(code("python"))
    environment = with_commands(directory)
    serve = [command for command in COMMANDS if command.endswith("&")]
    assert len(serve) == 1
    before, after = COMMANDS[: COMMANDS.index(serve[0])], COMMANDS[COMMANDS.index(serve[0]) + 1 :]
    for command in before:
        run(command, directory, environment)
    log = (directory / "log").open("wb")
    words = shlex.split(serve[0].removesuffix("&"))
    began = time.monotonic()
    with log, subprocess.Popen(words, cwd=directory, env=environment, stdout=log, stderr=log) as process:
        try:
            data = directory / "models" / ".steelyard"
            found = Walked(directory, eventually(lambda: find_server(data)))
            found.seconds["steelyard serve"] = time.monotonic() - began
            for command in after:
                name = " ".join(command.split()[:2])
                began = time.monotonic()
                found.said[name] = run(command, directory, environment)
                found.seconds[name] = time.monotonic() - began
            yield found
        finally:
            process.terminate()
            assert process.wait(30) == 0, (directory / "log").read_text()


def code(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def with_commands(directory: Path) -> dict[str, str]:
    """The environment of someone who has installed Steelyard, on free ports."""
    commands = directory / "bin"
    commands.mkdir()
    python = shlex.quote(sys.executable)
    for name, line in (("steelyard", f"{python} -P -m steelyard.cli.main"), ("python3", python)):
        (commands / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (commands / name).chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STEELYARD_")}
    return clean | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "STEELYARD_GRPC_ADDRESS": "127.0.0.1:0",
        "STEELYARD_HTTP_ADDRESS": "127.0.0.1:0",
    }


def run(command: str, directory: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=directory, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def test_what_is_typed_and_what_it_takes(walked: Walked) -> None:
    typed = sum(map(len, COMMANDS))
    typed_s = typed / CHARACTERS_A_MINUTE * 60
    for name, seconds in walked.seconds.items():
        print(f"{name:24}{seconds:6.2f} s")
    machine_s = sum(walked.seconds.values())
    print(f"{'the machine in all':24}{machine_s:6.2f} s\n{f'typing {typed} characters':24}{typed_s:6.2f} s")
    assert typed_s < TYPED_S


def test_the_model_is_owned_tested_and_was_asked(walked: Walked) -> None:
    said = walked.said["steelyard new"]
    assert f"The server at {walked.server.grpc_address} answered the example" in said
    assert re.search(r"steelyard explain [0-9a-f-]{36} --data models/.steelyard", said)
    printed = PAGE[PAGE.index("It prints") : PAGE.index("and how long each step took")]
    for line in printed.splitlines()[2:]:
        assert words(line) in words(said), line
    assert "churn" in walked.said["steelyard inventory"]
    assert "Churn, churn@example.org" in walked.said["steelyard explain"]
    assert "churn version 1" in walked.said["steelyard infer"]
    with Client(walked.server.grpc_address) as client:
        (counted,) = client.statistics()
    assert counted.requests == 2


def words(text: str) -> str:
    """Without what differs from run to run."""
    return " ".join(re.sub(r"[0-9a-f]{8}-[0-9a-f-]+|sha256:[^)]*|\d{4}-\d\d-\d\d|127\S+", "…", text).split())


def test_the_dashboard_asks_for_what_the_server_tells(walked: Walked) -> None:
    document: Any = json.loads((walked.directory / "models" / "churn" / "dashboard.json").read_text())
    asked = {
        name
        for panel in document["panels"]
        for target in panel["targets"]
        for name in re.findall(r"steelyard_\w+", target["expr"])
    }
    with urllib.request.urlopen(f"http://{walked.server.http_address}/metrics", timeout=10) as page:
        told = set(re.findall(r"steelyard_\w+", page.read().decode()))
    assert asked
    assert asked <= told
