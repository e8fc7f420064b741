"""Sealing and search, on a real server: what was answered is found while it serves and after it has stopped."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from steelyard.cli.main import commands
from steelyard.evidence.store import sealed_files
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.server import Server
from tests.support.shadows import patiently

ONES = {"x": np.ones((1, 4), np.float32)}
MANIFEST = '[governance]\nowner = "risk team"\n'


def ask(server: Server, *arguments: str) -> Any:
    done = CliRunner().invoke(
        commands, [*arguments, "--data", str(server.data), "--json"], standalone_mode=False
    )
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("sealed")
    version = models.put(root / "models", "prices", models.scaled(2.0), 1, MANIFEST)
    (version / "version.toml").write_text(
        '[lineage]\ncode_revision = "4f2a"\ntraining_command = "make train"\n'
    )
    server = Server(root / "models", root / "log", journal_segment_age_s=0.2)
    try:
        yield server.wait_ready()
    finally:
        server.stop()


def test_what_was_answered_is_sealed_found_and_explained(server: Server) -> None:
    with Asker(server.address) as asker:
        for number in range(20):
            asked = request("prices", ONES)
            asked.id = f"order-{number}"
            asker.call("ModelInfer", asked)
        asker.refused(request("nobody", ONES))
    patiently(lambda: sum(file.summary.records for file in sealed_files(server.data)) == 21)
    found = ask(server, "decisions", "--model", "prices", "--where", "version=1 and outcome='answered'")
    assert len(found["decisions"]) == 20
    counted = ask(
        server, "sql", "SELECT outcome, count(*) n, max(model) m FROM decisions GROUP BY 1 ORDER BY 1"
    )
    assert counted["rows"] == [
        {"outcome": "answered", "n": 20, "m": "prices"},
        {"outcome": "refused", "n": 1, "m": "nobody"},
    ]
    told = ask(server, "explain", "order-7")
    assert told["decision"]["request_id"] == "order-7"
    assert told["governance"] == {"owner": "risk team"}
    assert told["lineage"] == {"code_revision": "4f2a", "training_command": "make train"}
    assert told["lineage_note"] == ""
    assert told["hour_count"] >= 1
    assert told["labels"]
    assert any(event["kind"].startswith("label.") for event in told["events"])
    by_id = ask(server, "explain", told["decision"]["decision_id"])
    assert by_id["leaf_hash"] == told["leaf_hash"]
    assert uuid.UUID(by_id["decision"]["decision_id"]).version == 7


def test_a_housekeeper_that_dies_is_started_again(server: Server) -> None:
    def housekeepers() -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if b"housekeeper_main" in (path / "cmdline").read_bytes():
                    stat = (path / "stat").read_text().rpartition(")")[2].split()
                    if int(stat[1]) == server.process.pid and stat[0] != "Z":
                        found.append(int(path.name))
            except OSError:
                continue
        return found

    (first,) = patiently(housekeepers)
    assert os.sched_getscheduler(first) == os.SCHED_IDLE
    started = len(server.events("housekeeper.started"))
    os.kill(first, signal.SIGKILL)
    patiently(lambda: len(server.events("housekeeper.started")) > started)
    sealed = sum(file.summary.records for file in sealed_files(server.data))
    with Asker(server.address) as asker:
        asker.call("ModelInfer", request("prices", ONES))
    patiently(lambda: sum(file.summary.records for file in sealed_files(server.data)) == sealed + 1)
    assert server.events("housekeeper.died")
