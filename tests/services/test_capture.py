"""Payload capture over the real process: what is kept of requests, masked, and what is erased again."""

import json
import os
import pwd
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from steelyard.cli.main import main
from steelyard.clock import SystemClock
from steelyard.evidence.feedback import add_feedback
from steelyard.evidence.frames import read_segment
from steelyard.evidence.log import EVENTS_FILE, read_events
from steelyard.evidence.payload import Payload, salted
from steelyard.evidence.payload_files import PayloadWriter, find
from steelyard.wire import decode_bytes_tensor, decode_request, decode_response
from tests.evidence.test_payload_files import payload
from tests.services.test_pipelines import elements
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.faults import UNTIL_TOLD, faulty
from tests.support.held_up import HeldUp
from tests.support.server import Server
from tests.support.waiting import eventually

CAPTURED = """
[evidence.capture]
rate = 1.0
reasons = ["flag", "refusal"]
masks = ["rows.name", "parameters.customer"]
"""

WHOLE = """
[evidence.capture]
rate = 1.0
"""

DIGESTED = """
[evidence]
payload_digest = true
[evidence.capture]
reasons = ["error", "refusal"]
"""

PEOPLE = """
[[input]]
name = "rows"

[[input.steps]]
step = "table"
rows = "json"

[[input.steps.column]]
name = "age"
kind = "number"
contract = { max = 120, on_breach = "flag" }

[[input.steps.column]]
name = "height"
kind = "number"
contract = { min = 0 }

[[input.steps.column]]
name = "name"
kind = "text"
required = false

[[input.steps.tensor]]
name = "x"

[[input.steps.tensor.feature]]
column = "age"

[[input.steps.tensor.feature]]
column = "height"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("capture")
    repository = root / "models"
    models.put(repository, "people", models.scaled(dims=("batch", 2)), manifest=CAPTURED, about=PEOPLE)
    models.put(repository, "whole", models.scaled(dims=("batch", 2)), manifest=WHOLE, about=PEOPLE)
    models.put(repository, "digested", models.scaled(), manifest=DIGESTED)
    models.put(repository, "plain", models.scaled())
    server = Server(repository, root / "log").wait_ready()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ask(server: Server) -> Iterator[Asker]:
    with Asker(server.address) as asker:
        yield asker


def asked(ask: Asker, model: str, inputs: dict[str, Any], **how: Any) -> str:
    """Asks, and gives the decision id."""
    answer = ask.call("ModelInfer", request(model, inputs, **how))
    return str(answer.parameters["steelyard_decision_id"].string_param)


def person(**more: Any) -> dict[str, Any]:
    return {"rows": elements(json.dumps({"age": 40, "height": 2, **more}).encode())}


def kept(server: Server, decision: str) -> Payload:
    return eventually(lambda: find(server.data, decision)).read()


def notes(server: Server, decision: str) -> list[dict[str, Any]]:
    """What the journal says of a decision's payload."""
    return [
        note
        for path in (server.data / "journal").rglob("*.log")
        for note in read_segment(path).notes
        if (note["note"], note["decision_id"]) == ("payload", decision)
    ]


def test_what_is_masked_is_nowhere_on_the_disk(server: Server, ask: Asker) -> None:
    row, given = person(age=130, name="Countess Lovelace"), {"customer": "Ada Lovelace", "trial": 3}
    payload = kept(server, asked(ask, "people", row, id="an order", parameters=given))
    assert payload.masked == ("parameters.customer", "rows.name")
    assert set(payload.reasons) == {"flag", "rate"}
    (element,) = decode_bytes_tensor(decode_request(payload.request).inputs[0].data)
    assert json.loads(element) == {"age": 130, "height": 2, "name": None}
    assert decode_request(payload.request).parameters == {"customer": "", "trial": 3}
    assert decode_response(payload.answer).parameters["steelyard_flags"] == "[masked]"
    assert payload.request_id == "an order"
    assert payload.input_digest == salted(payload.salt, payload.request)
    assert payload.output_digest == salted(payload.salt, payload.answer)
    (note,) = eventually(lambda: notes(server, payload.decision_id))
    assert (note["input_digest"], note["masked"]) == (payload.input_digest, list(payload.masked))
    written = [path.read_bytes() for path in (server.data / "payloads").rglob("*") if path.is_file()]
    assert written
    assert not any(b"Lovelace" in content for content in written)


def test_of_what_is_not_kept_salted_digests_stay(server: Server, ask: Asker) -> None:
    given = request("digested", {"x": np.ones((1, 4), "f4")}).SerializeToString()
    answer = ask.raw("ModelInfer", given)
    decision = decode_response(answer).parameters["steelyard_decision_id"]
    payload = kept(server, str(decision))
    assert (payload.reasons, payload.request, payload.answer) == (("digest",), b"", b"")
    assert payload.input_digest == salted(payload.salt, given)
    assert payload.output_digest == salted(payload.salt, answer)


def test_nothing_is_kept_of_a_model_that_does_not_ask_for_it(server: Server, ask: Asker) -> None:
    asked(ask, "plain", {"x": np.ones((1, 4), "f4")})
    # What came later is on the disk.
    kept(server, asked(ask, "people", person()))
    assert not (server.data / "payloads" / "plain").exists()


class Told:
    """What commands say as JSON, run in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, data: Path, *arguments: str, code: int = 0) -> Any:
        assert main([*arguments, "--data", str(data), "--json"]) == code
        said = self._capsys.readouterr()
        return json.loads(said.out or said.err)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(capsys)


def replayed(data: Path, *arguments: str) -> Any:
    """In a process of its own, since it makes itself the last in the queue for processors."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "steelyard.cli.main",
        "replay",
        *arguments,
        "--data",
        str(data),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_was_asked_is_asked_again_apart_from_the_server(server: Server, ask: Asker) -> None:
    decision = asked(ask, "whole", person(age=130), id="to be replayed")
    kept(server, decision)
    found = replayed(server.data, "to be replayed")
    assert (found["decision_id"], found["verdict"], found["now"]["name"]) == (decision, "equal", "version 1")
    kept(server, asked(ask, "whole", person(age=3)))
    many = replayed(server.data, "--since", "1h", "--filter", "version=1", "--model", "whole")
    assert many["verdicts"] == {"equal": many["replayed"]}
    assert many["replayed"] >= 2


def test_what_is_erased_is_gone_and_the_events_say_so(server: Server, ask: Asker, told: Told) -> None:
    salts = {}
    for key in ("one", "two"):
        decision = asked(ask, "whole", person(age=77), parameters={"steelyard_key": key})
        salts[decision] = kept(server, decision).salt.hex().encode()
    (of_one, salt), (of_two, other) = salts.items()
    assert told(server.data, "journal", "erase", "--key", "one", "--reason", "asked to") == {
        "erased": [of_one]
    }
    written = b"".join(path.read_bytes() for path in (server.data / "payloads" / "whole").iterdir())
    assert salt not in written
    assert other in written
    assert find(server.data, of_one).head.erased
    assert told(server.data, "journal", "erase", "--decision", of_two, "--reason", "too") == {
        "erased": [of_two]
    }
    assert told(server.data, "journal", "erase", "--decision", of_two, "--reason", "again") == {"erased": []}
    refused = told(server.data, "journal", "erase", "--decision", "nobody", "--reason", "x", code=1)
    assert "no payload of decision 'nobody' is kept" in refused["error"]
    recorded = read_events(server.data / EVENTS_FILE).events
    begun = [event for event in recorded if event.kind == "payload.erasing"]
    events = [event for event in recorded if event.kind == "payload.erased"]

    def done(number: int) -> dict[str, int]:
        return {"erasing": begun[number - 1].sequence, "failures": 0}

    peer = {"peer_uid": os.getuid(), "peer_user": pwd.getpwuid(os.getuid()).pw_name}
    assert [(event.model, event.reason, event.details) for event in events] == [
        ("whole", "asked to", {"by": "key", **done(1), "decisions": [of_one], **peer}),
        ("whole", "too", {"by": "decision", **done(2), "decisions": [of_two], **peer}),
        # Nothing was left of it, and nothing is known of the last one.
        ("", "again", {"by": "decision", **done(3), "decisions": [], **peer}),
        ("", "x", {"by": "decision", **done(4), "decisions": [], **peer}),
    ]
    assert [event.details for event in begun] == [
        {"by": "key", **peer},
        {"by": "decision", "decision": of_two, **peer},
        {"by": "decision", "decision": of_two, **peer},
        {"by": "decision", **peer},
    ]


def test_an_erasure_reaches_what_waits_to_be_written(
    start: Callable[..., Server], tmp_path: Path, told: Told
) -> None:
    repository = tmp_path / "models"
    models.put(repository, "kept", models.scaled(), manifest=WHOLE)
    inputs = {"x": np.ones((1, 4), np.float32)}
    with faulty(tmp_path, "/payloads/") as faults:
        server = start(repository).wait_ready()
        faults.set(write_delay_us=UNTIL_TOLD)
        with Asker(server.address) as ask:
            decisions = {
                asked(ask, "kept", inputs, parameters={"steelyard_key": "customer 17"}) for _ in range(20)
            }
        erase = ("journal", "erase", "--key", "customer 17", "--reason", "asked to")
        refused = told(server.data, *erase, code=1)
        assert "0 erased" in refused["error"]
        assert "worker 0: payloads that wait to be written were not within 5 s" in refused["error"]
        faults.set(write_delay_us=0)
        assert set(told(server.data, *erase)["erased"]) == decisions
        (path,) = (server.data / "payloads" / "kept").glob("*.payloads")
        assert b"customer 17" not in path.read_bytes()


def test_payloads_of_a_server_that_has_stopped_are_erased_too(tmp_path: Path, told: Told) -> None:
    clock = SystemClock()
    writer = PayloadWriter(tmp_path, "worker-0", clock)
    one = payload(clock, key="one")
    writer.append(one)
    writer.close()
    assert told(tmp_path, "journal", "erase", "--key", "one", "--reason", "r") == {
        "erased": [one.decision_id]
    }
    assert find(tmp_path, one.decision_id).head.erased
    kinds = [event.kind for event in read_events(tmp_path / EVENTS_FILE).events]
    assert kinds == ["payload.erasing", "payload.erased"]


def test_an_erasure_goes_on_without_its_caller_and_a_kill_in_the_middle_leaves_who_began_it(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    models.put(repository, "kept", models.scaled(), manifest=WHOLE)
    inputs = {"x": np.ones((1, 4), np.float32)}
    server = start(repository).wait_ready()

    def recorded() -> list[str]:
        events = read_events(server.data / EVENTS_FILE).events
        return [event.kind for event in events if event.kind.startswith("payload.")]

    def left(key: str) -> HeldUp:
        """Has what carried a key erased, up to a file at which that is held up, and goes away."""
        with Asker(server.address) as ask:
            decision = asked(ask, "kept", inputs, parameters={"steelyard_key": key})
        kept(server, decision)
        held_up = HeldUp(server.data, "kept")
        command = ["journal", "erase", "--key", key, "--reason", "asked to", "--data", str(server.data)]
        caller = subprocess.Popen([sys.executable, "-P", "-m", "steelyard.cli.main", *command])
        try:
            eventually(lambda: find(server.data, decision).head.erased)
        finally:
            caller.kill()
            caller.wait()
        return held_up

    held_up = left("one")
    assert recorded() == ["payload.erasing"]
    held_up.let_go()
    eventually(lambda: recorded() == ["payload.erasing", "payload.erased"])
    left("two")
    server.process.kill()
    server.process.wait()
    assert recorded() == ["payload.erasing", "payload.erased", "payload.erasing"]


def test_a_stop_does_not_wait_for_an_erasure_that_reads_records(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start().wait_ready()
    add_feedback(server.data, uuid.uuid4(), "Ann Example", "sales", SystemClock())
    # Whoever reads the journal waits here for ever.
    journal = server.data / "journal" / "worker-7"
    journal.mkdir(parents=True)
    os.mkfifo(journal / "00000000000000000001.log")
    command = ["journal", "erase", "--key", "one", "--reason", "asked to", "--data", str(server.data)]
    caller = subprocess.Popen(
        [sys.executable, "-P", "-m", "steelyard.cli.main", *command], stderr=subprocess.PIPE, text=True
    )

    def reader() -> psutil.Process | None:
        children = psutil.Process(server.process.pid).children()
        return next((one for one in children if "steelyard.evidence.apart" in one.cmdline()), None)

    reading = eventually(reader)
    assert reading is not None
    assert server.stop() == 0
    assert not reading.is_running()
    _, told = caller.communicate()
    assert (caller.returncode, "it was broken off: erase again" in told) == (1, True)
    events = read_events(server.data / EVENTS_FILE).events
    assert [event.kind for event in events][-2:] == ["payload.erasing", "payload.erased"]
    assert (events[-1].details["decisions"], events[-1].details["failures"]) == ([], 1)


def test_what_was_refused_is_kept_and_refused_again(server: Server, ask: Asker) -> None:
    refusal = ask.refused(request("digested", {"x": np.ones((1, 3), "f4")}))
    decision = refusal.trailing["steelyard-decision-id"]
    payload = kept(server, decision)
    assert (payload.reasons, payload.status) == (("refusal",), 3)
    assert payload.answer.decode() == refusal.message
    assert replayed(server.data, decision)["verdict"] == "equal"


def test_what_became_of_payloads_is_a_metric(server: Server, ask: Asker) -> None:
    kept(server, asked(ask, "whole", person()))
    found = {name: count for name, count in counted(server).items() if name[0] == "whole"}
    assert found.pop(("whole", "kept")) >= 1
    assert set(found.values()) == {0}


def counted(server: Server) -> dict[tuple[str, str], float]:
    """Payloads by model and outcome, once a worker has told of some of "whole"."""

    def scraped() -> dict[tuple[str, str], float]:
        _, page = server.get("/metrics")
        found = re.findall(
            r'^steelyard_payloads_total{model="(\w+)",outcome="(\w+)"} (\S+)$', page, re.MULTILINE
        )
        counts = {(model, outcome): float(count) for model, outcome, count in found}
        return counts if counts.get(("whole", "kept")) else {}

    return eventually(scraped)
