"""`steelyard explain` on a real server: what stood when a decision was made, and what came of it since."""

import itertools
import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from click.testing import CliRunner

from steelyard.cli.main import commands, main
from steelyard.evidence.log import EVENTS_FILE
from tests.models.test_signature import Signing, pem
from tests.services.test_capture import PEOPLE, WHOLE, person
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.server import Server
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}
OWNED = '[governance]\nowner = "Risk"\npurpose = "quotes"\nretire_on = 2100-01-31\n'
# Rows of people, from whose scores the model's best is told.
STEPS = (
    PEOPLE
    + """
[[output]]
name = "score"
source = "y"
steps = [{ step = "softmax" }]

[[output]]
name = "best"
source = "y"
steps = [{ step = "softmax" }, { step = "argmax" }]
"""
)
ALL_VERSIONS = "[serving]\nversions = { all = true }\n"
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
    people = models.scaled(dims=("batch", 2))
    models.put(repository, "people", people, 1, WHOLE, STEPS)
    models.put(repository, "blotted", people, 1, WHOLE + 'masks = ["rows.age"]\n', STEPS)
    models.put(repository, "named", people, 1, WHOLE + 'masks = ["rows.name"]\n', STEPS)
    models.put(repository, "secret", people, 1, WHOLE + 'masks = ["best"]\n', STEPS)
    models.put(repository, "plain", models.scaled(2.0), 1, WHOLE)
    models.put(repository, "careful", models.scaled(2.0), 1, '[evidence]\nmode = "required"\n')
    ann = Signing()
    signers = root / "signers"
    signers.mkdir()
    (signers / "ann.pem").write_bytes(pem(ann.key.public_key()))
    models.put(repository, "signed", models.scaled(2.0), 1)
    ann.sign(models.put(repository, "signed", models.scaled(3.0), 2, ALL_VERSIONS))
    # Longer than the caller of `careful` has patience: its answer waits for its record.
    server = Server(repository, root / "log", journal_commit_interval_ms=1000, model_signers=str(signers))
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


def test_who_signed_a_model_is_in_the_record_of_what_it_answered(
    server: Server, asker: Asker, tmp_path: Path
) -> None:
    explain = [sys.executable, "-m", "steelyard.cli.main", "explain", "--data", str(server.data)]
    for version, signer in (("2", "ann"), ("1", "")):
        decision = decided(asker, "signed", version=version)
        explained(server, decision)
        # The record says it, not the files of today.
        for more in ([], ["--repository", str(tmp_path)]):
            done = subprocess.run([*explain, decision, "--json", *more], capture_output=True, check=True)
            found = json.loads(done.stdout)["decision"]
            assert (found["model"], found["version"], found["signer"]) == ("signed", int(version), signer)
        assert (" as primary, signed by ann\n" in shown(server.data, "explain", decision)) == (
            signer == "ann"
        )


def test_a_proof_of_what_is_not_sealed_yet_is_refused_with_where_it_is(server: Server, asker: Asker) -> None:
    decision_id = decided(asker, "nobodys")
    explained(server, decision_id)
    asked = ["audit", "prove", decision_id, "--data", str(server.data)]
    refused = CliRunner().invoke(commands, asked, standalone_mode=False).exception
    assert "is recorded in journal/worker-0/" in str(refused)
    assert "not sealed yet" in str(refused)
    asked[2] = str(uuid.uuid4())
    unknown = CliRunner().invoke(commands, asked, standalone_mode=False).exception
    assert "no sealed segment has a decision" in str(unknown)


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


def captured(server: Server, decision_id: str, *more: str) -> Any:
    """What explain says, once the payload is written as well."""

    def found() -> Any:
        document = told(server.data, "explain", decision_id, *more)
        return document["payload"] and document

    return eventually(found)


def tensors(document: Any) -> dict[str, Any]:
    """What each step made, by its name; of several tensors the last."""
    steps = document["pipeline"]["steps"]
    return {step["name"]: tensor for step in steps for tensor in step["tensors"]}


def test_steps_are_shown_with_what_they_made(server: Server, asker: Asker) -> None:
    decision = decided(asker, "people", person(age=130, height=2))
    document = captured(server, decision)
    found = document["pipeline"]
    assert (found["note"], found["equal"], found["version"]) == ("", True, "version 1")
    assert found["steps"][0]["found"] == ["row 0, age: range, flag"]
    made = tensors(document)
    table = made["rows/table"]
    assert (table["columns"], table["values"]) == (["age", "height"], [130.0, 2.0])
    assert (table["shape"], table["datatype"], table["note"]) == ([1, 2], "FP32", "as then, by its digest")
    assert made["model"]["values"] == [260.0, 4.0]
    assert made["score/softmax"]["values"] == [1.0, 0.0]
    assert made["best/argmax"]["values"] == [0]
    page = shown(server.data, "explain", decision)
    line = "prepare rows/table: x FP32[1,2] age=130.0, height=2.0 (as then, by its digest)"
    assert f"step          {line}\n" in page
    assert "run again on version 1: the answer is the same\n" in page
    assert told(server.data, "explain", decision, "--no-steps")["pipeline"]["steps"] == []


def test_steps_of_masked_requests_and_answers_show_nothing_of_them(server: Server, asker: Asker) -> None:
    blotted = captured(server, decided(asker, "blotted", person(age=40)))
    note = "not reproducible: rows.age was masked"
    assert blotted["pipeline"]["steps"][0]["note"] == note
    assert {(one["values"], one["note"]) for one in tensors(blotted).values()} <= {(None, note)}
    assert (blotted["pipeline"]["equal"], blotted["pipeline"]["why"]) == (
        None,
        "rows.age: masked before it was kept",
    )
    # A column that no feature is made of is nothing to the tensor.
    found = captured(server, decided(asker, "named", person(age=40, name="Ann")))
    named = tensors(found)
    assert (found["pipeline"]["equal"], named["best/argmax"]["values"]) == (True, [0])
    assert (named["rows/table"]["values"], named["rows/table"]["note"]) == ([40.0, 2.0], "")
    secret = tensors(captured(server, decided(asker, "secret", person(age=40))))
    assert secret["rows/table"]["values"] == [40.0, 2.0]
    for name in ("model", "score/softmax", "best/softmax", "best/argmax"):
        assert (secret[name]["values"], secret[name]["note"]) == (None, "masked")
    # Nor where the answer did not have it.
    answer = asker.call("ModelInfer", request("secret", person(age=40), outputs=["score"]))
    other = tensors(captured(server, answer.parameters["steelyard_decision_id"].string_param))
    assert (other["best/argmax"]["values"], other["model"]["note"]) == (None, "masked")


def test_what_the_caller_of_a_masked_model_was_told_is_not_recorded(server: Server, asker: Asker) -> None:
    for model, recorded in (("people", True), ("blotted", False)):
        refusal = asker.refused(request(model, person(height=-271)))
        assert "-271" in refusal.message
        document = explained(server, refusal.trailing["steelyard-decision-id"])
        assert ("-271" in document["decision"]["message"]) == recorded
        assert ("held back" in document["decision"]["message"]) != recorded


def test_why_steps_are_not_shown(server: Server, asker: Asker, tmp_path: Path) -> None:
    def note(decision_id: str, *more: str) -> str:
        return str(captured(server, decision_id, *more)["pipeline"]["note"])

    missing = explained(server, decided(asker, "owned"))["pipeline"]["note"]
    assert missing == "nothing was captured of the request: [evidence.capture] in model.toml"
    assert note(decided(asker, "plain")).startswith("the version has no pipeline")
    decision = decided(asker, "people", person())
    other = shutil.copytree(server.repository, tmp_path / "models")
    (other / "people" / "1" / "note").write_text("more")
    assert "has the content sha256:" in note(decision, "--repository", str(other))
    told(server.data, "journal", "erase", "--decision", decision, "--reason", "asked for")
    assert note(decision) == "what was captured of the request was erased"


def test_feedback_that_came_later_is_shown_with_how_late(
    server: Server, asker: Asker, capsys: pytest.CaptureFixture[str]
) -> None:
    decision = decided(asker, "plain", id="order-1")
    explained(server, decision)
    added = told(server.data, "feedback", "add", "order-1", "--value", '{"y": 3}', "--source", "sales")
    assert (added["decision_id"], added["value"], added["source"]) == (decision, {"y": 3}, "sales")
    told(server.data, "feedback", "add", decision, "--value", "true", "--source", "support")
    document = told(server.data, "explain", decision)
    assert [(one["value"], one["source"]) for one in document["feedback"]] == [
        ({"y": 3}, "sales"),
        (True, "support"),
    ]
    assert all(one["late_ms"] >= 0 for one in document["feedback"])
    assert 'feedback      {"y": 3} by sales, 0:00:' in shown(server.data, "explain", decision)
    # What no record has is refused, and so is a name of several, and what is no JSON.
    add = ["feedback", "add", "--source", "sales", "--data", str(server.data)]
    assert main([*add, "nothing", "--value", "1"]) == 1
    assert "no decision and no request 'nothing' is recorded" in capsys.readouterr().err
    again = decided(asker, "plain", id="order-1")
    explained(server, again)
    assert main([*add, "order-1", "--value", "1"]) == 1
    assert f"stands for 2 decisions, name one by its id: {again}, {decision}" in capsys.readouterr().err
    for value in ("nothing", "NaN"):
        assert main([*add, again, "--value", value]) == 2
        assert f"--value: expected JSON, got '{value}'" in capsys.readouterr().err
    assert told(server.data, "explain", again)["feedback"] == []


def test_an_erasure_reaches_feedback_by_decision_by_request_and_by_key(server: Server, asker: Asker) -> None:
    key = {"steelyard_key": "customer-17"}
    by_id, kept = decided(asker, "owned"), decided(asker, "owned")
    named = decided(asker, "plain", id="order-9")
    keyed = [decided(asker, model, parameters=key) for model in ("owned", "plain")]
    for decision in (by_id, kept, named, *keyed):
        explained(server, decision)
        told(server.data, "feedback", "add", decision, "--value", '"Ann Example"', "--source", "sales")
    for flag, wanted, erased in (
        ("--decision", by_id, [by_id]),
        ("--decision", "order-9", [named]),
        ("--key", "customer-17", keyed),
    ):
        found = told(server.data, "journal", "erase", flag, wanted, "--reason", "asked for")
        assert sorted(found["erased"]) == sorted(erased)
        for decision in erased:
            assert told(server.data, "explain", decision)["feedback"] == []
    assert [one["value"] for one in told(server.data, "explain", kept)["feedback"]] == ["Ann Example"]
    events = told(server.data, "history", "owned")["events"]
    said = [event["details"] for event in events if event["kind"] == "payload.erased"]
    assert [(one["by"], one["decisions"]) for one in said] == [("decision", [by_id]), ("key", [keyed[0]])]


def test_a_caller_that_heard_something_else_than_what_is_recorded_is_noted(
    server: Server, asker: Asker
) -> None:
    numbers = itertools.count()

    def impatient() -> Any:
        """Where the machine is busy a caller gives up before it is answered: then the next one is asked."""
        name = f"impatient-{next(numbers)}"
        call = asker.start(request("careful", ONES, id=name), timeout=0.5)
        if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            found = explained(server, name)
            return found["decision"]["outcome"] == "answered" and name
        return None

    name = eventually(impatient)
    found = eventually(lambda: (one := told(server.data, "explain", name))["notes"] and one)
    (note,) = found["notes"]
    # Whichever the server saw first: that the deadline was over, or that the caller had gone.
    status = {1: "CANCELLED", 4: "DEADLINE_EXCEEDED"}[note["code"]]
    assert note["note"] == "told"
    assert f"; but its caller heard {status}\n" in shown(server.data, "explain", name)
