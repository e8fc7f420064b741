"""`steelyard journal erase` where no server runs: what is recorded of it, and what it reaches."""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.main import main
from steelyard.clock import ManualClock
from steelyard.evidence.event import Event
from steelyard.evidence.feedback import add_feedback, feedback_of
from steelyard.evidence.log import EVENTS_FILE, read_events
from steelyard.evidence.logging_segments import SegmentLogging
from steelyard.evidence.payload import Payload
from steelyard.evidence.payload_files import PayloadWriter, find
from steelyard.evidence.sealing import Sealing
from steelyard.evidence.tlog import TransparencyLog, key_paths
from tests.evidence.journals import decision, packed, write
from tests.evidence.test_payload_files import payload
from tests.support.held_up import HeldUp
from tests.support.waiting import eventually

CLOCK = ManualClock()
KEY = "customer-17"


@pytest.fixture
def one(tmp_path: Path) -> Payload:
    """What is kept of a request."""
    kept = payload(CLOCK, key=KEY)
    writer = PayloadWriter(tmp_path, "worker-0", CLOCK)
    writer.append(kept)
    writer.close()
    return kept


def erase(data: Path, capfd: Any, *arguments: str, code: int = 0, reason: str = "asked for") -> Any:
    command = ["journal", "erase", *arguments, "--reason", reason, "--data", str(data), "--json"]
    assert main(command) == code
    captured = capfd.readouterr()
    return json.loads(captured.out or captured.err)


def events(data: Path) -> list[Event]:
    return list(read_events(data / EVENTS_FILE).events)


@pytest.mark.parametrize("reason", [" ", "x" * 1001])
def test_without_a_reason_that_can_be_recorded_nothing_is_erased(
    tmp_path: Path, one: Payload, reason: str, capfd: Any
) -> None:
    refused = erase(tmp_path, capfd, "--decision", one.decision_id, code=1, reason=reason)
    assert refused["error"].startswith("payload.erasing: expected ")
    assert find(tmp_path, one.decision_id).read() == one
    assert events(tmp_path) == []


def test_one_that_is_killed_in_the_middle_has_said_what_it_was_about_to_do(
    tmp_path: Path, one: Payload, capfd: Any
) -> None:
    held_up = HeldUp(tmp_path, "m")
    arguments = ["journal", "erase", "--key", KEY, "--reason", "contract ended", "--data", str(tmp_path)]
    process = subprocess.Popen([sys.executable, "-P", "-m", "steelyard.cli.main", *arguments])
    try:
        eventually(lambda: find(tmp_path, one.decision_id).head.erased)
    finally:
        process.kill()
        process.wait()
    (said,) = events(tmp_path)
    assert (said.kind, said.reason, said.details) == ("payload.erasing", "contract ended", {"by": "key"})
    held_up.path.unlink()
    assert erase(tmp_path, capfd, "--decision", one.decision_id) == {"erased": []}
    assert [event.kind for event in events(tmp_path)][1:] == ["payload.erasing", "payload.erased"]
    assert KEY.encode() not in (tmp_path / EVENTS_FILE).read_bytes()
    assert main(["history", "--data", str(tmp_path)]) == 0
    shown = capfd.readouterr().out
    assert f"by decision, decision {one.decision_id}" in shown
    assert "by decision, 0 decisions" in shown


def test_feedback_is_erased_by_request_and_by_key_as_records_say(tmp_path: Path, capfd: Any) -> None:
    """Some decisions are sealed, and some are in the open journal."""
    log = TransparencyLog(tmp_path, key_paths(tmp_path, None, None), CLOCK)
    write(tmp_path, packed(*range(8), key=KEY) + packed(*range(8, 16)))
    list(Sealing(tmp_path, SegmentLogging(tmp_path, log).commit).all_closed())
    write(tmp_path, packed(16, key=KEY) + packed(17), 2, closed=False)
    said = {number: decision(number).decision_id for number in (3, 9, 10, 16, 17)}
    for one in said.values():
        add_feedback(tmp_path, uuid.UUID(one), "Ann Example", "sales", CLOCK)
    for arguments, numbers in (
        (("--key", KEY), {3, 16}),
        (("--decision", "order-9"), {9}),
        (("--decision", "order-17"), {17}),
    ):
        erased = erase(tmp_path, capfd, *arguments)["erased"]
        assert sorted(erased) == sorted(said[number] for number in numbers)
        assert (events(tmp_path)[-1].model, events(tmp_path)[-1].details["decisions"]) == ("prices", erased)
        for number in numbers:
            assert feedback_of(tmp_path, said[number]).feedback == ()
    assert [one.value for one in feedback_of(tmp_path, said[10]).feedback] == ["Ann Example"]
