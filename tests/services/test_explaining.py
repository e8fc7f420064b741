"""`steelyard explain` on a real server: what stood when a decision was made, and what came of it since."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from steelyard.cli.main import commands
from steelyard.evidence.log import EVENTS_FILE
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.server import Server
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}
OWNED = '[governance]\nowner = "Risk"\npurpose = "quotes"\nretire_on = 2100-01-31\n'
LINEAGE = '[lineage]\ncode_revision = "4f2a"\ntraining_command = "make train"\n'


def told(data: Path, *arguments: str) -> Any:
    done = CliRunner().invoke(commands, [*arguments, "--data", str(data), "--json"], standalone_mode=False)
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def shown(data: Path, *arguments: str) -> str:
    done = CliRunner().invoke(commands, [*arguments, "--data", str(data)], standalone_mode=False)
    assert done.exception is None, done.exception
    return done.stdout


def explained(server: Server, decision_id: str) -> Any:
    """What explain says, once the decision is recorded."""
    return eventually(lambda: told(server.data, "explain", decision_id))


def decided(asker: Asker, model: str, inputs: Any = None, **more: Any) -> str:
    """The id of a decision of `model`."""
    answer = asker.call("ModelInfer", request(model, inputs or ONES, **more))
    return str(answer.parameters["steelyard_decision_id"].string_param)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("explained")
    repository = root / "models"
    models.put(repository, "owned", models.scaled(2.0), 1, OWNED, LINEAGE)
    models.put(repository, "nobodys", models.scaled(2.0), 1)
    server = Server(repository, root / "log")
    try:
        yield server.wait_ready()
    finally:
        server.stop()


@pytest.fixture(scope="module")
def asker(server: Server) -> Iterator[Asker]:
    with Asker(server.address) as asker:
        yield asker


def test_owner_and_lineage_are_those_of_the_moment(server: Server, asker: Asker, tmp_path: Path) -> None:
    def known() -> bool:
        return any(
            event["kind"] == "owner.changed" for event in told(server.data, "history", "owned")["events"]
        )

    eventually(known)
    first = decided(asker, "owned")
    before = explained(server, first)
    assert before["governance"] == {"owner": "Risk", "purpose": "quotes", "retire_on": "2100-01-31"}
    assert (before["governance_note"], before["governance_since"]) == ("", {})
    told(server.data, "owner", "owned", "--set", "Pricing", "--reason", "reorganisation")
    second = decided(asker, "owned")
    after = explained(server, second)
    assert after["governance"]["owner"] == "Pricing"
    # The first one is still what it was, whatever the files say or whether they are there at all.
    again = told(server.data, "explain", first, "--repository", str(tmp_path))
    assert again["governance"] == before["governance"]
    assert again["governance_since"] == {"owner": {"from": "Risk", "to": "Pricing"}}
    assert again["lineage"] == {"code_revision": "4f2a", "training_command": "make train"}
    assert (again["governance_note"], again["lineage_note"]) == ("", "")
    page = shown(server.data, "explain", first)
    assert "owner then    owner Risk, purpose quotes, retire_on 2100-01-31\n" in page
    assert "owner now     owner Pricing in the place of Risk\n" in page


def test_a_model_that_nobody_owned_then_is_said_to_be_nobodys(server: Server, asker: Asker) -> None:
    decision = decided(asker, "nobodys")
    told(server.data, "owner", "nobodys", "--set", "Pricing", "--reason", "found")
    found = explained(server, decision)
    assert found["governance"] == {}
    assert found["governance_since"] == {"owner": {"from": None, "to": "Pricing"}}


def test_what_no_event_holds_is_said_to_be_todays(server: Server, asker: Asker, tmp_path: Path) -> None:
    decision = decided(asker, "owned")
    explained(server, decision)
    copy = shutil.copytree(
        server.data, tmp_path / "data", ignore=shutil.ignore_patterns("*.sock", "payloads")
    )
    (copy / EVENTS_FILE).unlink()
    found = told(copy, "explain", decision, "--repository", str(server.repository))
    assert found["governance"]["owner"] == "Risk"
    assert found["governance_note"] == "as model.toml says today: no event of the time holds it"
    assert found["lineage"]["code_revision"] == "4f2a"
    assert found["lineage_note"] == "as version.toml says today: no event of the time holds it"
