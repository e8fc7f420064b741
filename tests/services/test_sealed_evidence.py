"""From a decision to its proof, on a real server: sealed, logged, found, proven, bundled; what was changed is seen."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from steelyard.cli.main import commands
from steelyard.evidence import verifier
from steelyard.evidence.store import sealed_files
from tests.services.test_capture import PEOPLE, WHOLE, person
from tests.support import models, profiles
from tests.support.asking import Asker, request
from tests.support.server import Server
from tests.support.shadows import patiently

ONES = {"x": np.ones((1, 4), np.float32)}


def ask(server: Server, *arguments: str, code: int = 0) -> Any:
    done = CliRunner().invoke(
        commands, [*arguments, "--data", str(server.data), "--json"], standalone_mode=False
    )
    assert done.exception is None, done.exception
    assert (done.return_value or 0) == code, done.stdout
    return json.loads(done.stdout)


def audited(server: Server) -> Any:
    """What an audit finds where nothing is wrong, by the key that lies there."""
    return ask(server, "audit", "verify", code=3)


def verified(file: Path, key: str) -> str:
    done = subprocess.run(
        [sys.executable, verifier.__file__, str(file), "--key", key], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("evidence")
    models.put(root / "models", "prices", models.scaled(2.0), 1)
    models.put(root / "models", "old", models.scaled(2.0), 1)
    for number in (1, 2):
        models.put(
            root / "models", "two", models.scaled(number), number, "[serving]\nversions = { all = true }\n"
        )
    people = models.put(
        root / "models", "people", models.scaled(dims=("batch", 2)), manifest=WHOLE, about=PEOPLE
    )
    columns = profiles.numbers("age", *range(20, 60)), profiles.numbers("height", 1, 2, 3)
    (people / "profile.json").write_text(json.dumps(profiles.profile(*columns)))
    server = Server(root / "models", root / "log", journal_segment_age_s=0.2, audit_interval_s=0.5)
    try:
        yield server.wait_ready()
    finally:
        server.stop()


def test_a_decision_is_sealed_proven_and_bundled(server: Server, tmp_path: Path) -> None:
    had = audited(server)["records"]
    with Asker(server.address) as asker:
        for number in range(20):
            asked = request("prices", ONES)
            asked.id = f"order-{number}"
            asker.call("ModelInfer", asked)
        asker.refused(request("nobody", ONES))
    patiently(lambda: audited(server)["records"] == had + 21)
    # They are in the transparency log before they are in the ledger, and found there.
    patiently(lambda: ask(server, "journal", "status")["sealed"]["records"] >= 21)
    counted = ask(server, "journal", "status")
    assert counted["server"]["unaccounted"] == 0
    found = ask(server, "decisions", "--model", "prices", "--where", "request_id='order-7'")
    (one,) = [row["decision_id"] for row in found["decisions"]]
    told = ask(server, "explain", one)
    assert told["where"].startswith("sealed/prices/")
    for number, name in enumerate((one, "order-7")):
        proof = tmp_path / f"{number}.tlog-proof"
        made = ask(server, "audit", "prove", name, "--output", str(proof))
        proven = verifier.check_proof(proof.read_bytes(), verifier.read_key(made["key"]))
        assert verifier.leaf_hash(proven["record"]).hex() == told["leaf_hash"]
        assert "verified" in verified(proof, made["key"])
    bundle = tmp_path / "prices.zip"
    repository = str(server.repository)
    made = ask(
        server, "audit", "bundle", "--model", "prices", "--output", str(bundle), "--repository", repository
    )
    assert made["records"] == 20
    assert "20 records" in verified(bundle, made["key"])

    path = next(file.path for file in sealed_files(server.data) if file.summary.model == "prices")
    whole = path.read_bytes()
    chunk = pq.read_metadata(path).row_group(0).column(0)
    at = chunk.data_page_offset + chunk.total_compressed_size - 1
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    (fault,) = ask(server, "audit", "verify", code=1)["faults"]
    assert fault["where"] == str(path)
    assert "expected the file that was sealed" in fault["what"]
    assert "damaged: column decision_id of records 0 to " in fault["what"]
    # The housekeeper finds it too, by its schedule.
    seen = patiently(lambda: server.events("audit.fault"))
    assert seen[0]["where"] == str(path)
    path.write_bytes(whole)
    assert audited(server)["ok"]


def test_what_retention_removes_is_an_event_and_no_fault(server: Server) -> None:
    had = audited(server)["records"]
    with Asker(server.address) as asker:
        asker.call("ModelInfer", request("old", ONES))
    before = patiently(lambda: (found := audited(server))["records"] > had and found)
    manifest = server.repository / "old" / "model.toml"
    manifest.write_text("[evidence]\nretention_bytes = 1\n")
    # A new housekeeper looks after it at once.
    os.kill(server.events("housekeeper.started")[-1]["pid"], signal.SIGKILL)
    after = patiently(lambda: (found := audited(server))["expired"] and found)
    assert (after["ok"], after["expired"], after["segments"]) == (True, 1, before["segments"] - 1)
    told = ask(server, "history", "old")["events"]
    (event,) = [event for event in told if event["kind"] == "segments.expired"]
    assert len(event["details"]["files"]) == 1


def test_the_archive_of_a_version_says_which_files_its_decisions_are_in(server: Server) -> None:
    def sealed() -> int:
        return sum(file.summary.records for file in sealed_files(server.data) if file.summary.model == "two")

    had = audited(server)["records"]
    with Asker(server.address) as asker:
        for version in "1", "2", "1", "2", "1":
            asker.call("ModelInfer", request("two", ONES, version=version))
    patiently(lambda: sealed() == 5)
    # In the transparency log as well.
    patiently(lambda: audited(server)["records"] == had + 5)
    ask(server, "retire", "two/1", "--replacement", "2", "--grace-s", "0", "--reason", "replaced")

    def archived() -> Any:
        events = ask(server, "history", "two")["events"]
        return [event for event in events if event["kind"] == "retirement.archived"]

    (event,) = patiently(archived)
    directory = server.data / event["details"]["path"]
    found = json.loads((directory / "decisions.json").read_text())
    index = json.loads((directory / "archive.json").read_text())
    content = (directory / "decisions.json").read_bytes()
    assert index["files"]["decisions.json"] == hashlib.sha256(content).hexdigest()
    assert (found["problem"], found["unsealed"]) == ("", [])
    assert sum(one["decisions"] for one in found["sealed"]) == 3
    for one in found["sealed"]:
        file = server.data / "sealed" / one["file"]
        assert one["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert one["log_index"] >= 0


def test_a_flagged_decision_is_found_and_explained_with_what_was_asked(server: Server) -> None:
    with Asker(server.address) as asker:
        answer = asker.call("ModelInfer", request("people", person(age=130)))
        asker.call("ModelInfer", request("people", person(age=30)))
    decision = answer.parameters["steelyard_decision_id"].string_param

    def found() -> list[str]:
        rows = ask(server, "decisions", "--where", "flag='age'")["decisions"]
        return [row["decision_id"] for row in rows]

    assert patiently(found) == [decision]
    assert patiently(lambda: ask(server, "explain", decision)["payload"])["reasons"] == ["rate"]
    told = ask(server, "explain", decision, "--attribute")
    assert {"note": "flags", "decision_id": decision, "flags": ["age"], "rules": ["range"]} in told["notes"]
    (given,), (came,) = told["payload"]["inputs"], told["payload"]["outputs"]
    assert json.loads(given["values"][0]) == {"age": 130, "height": 2}
    assert (came["name"], came["values"]) == ("y", [260.0, 4.0])
    shares = told["attribution"]["attribution"]["shares"]
    assert {share["name"] for share in shares} == {"age", "height"}
    shown = CliRunner().invoke(commands, ["explain", decision, "--attribute", "--data", str(server.data)])
    assert "an approximation: Shapley values" in shown.stdout
    assert "260.0" in shown.stdout
