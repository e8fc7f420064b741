"""Payload capture over the real process: what is kept of requests, masked, and what is erased again."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from steelyard.evidence.payload import Payload, salted
from steelyard.evidence.payload_files import find
from steelyard.wire import decode_bytes_tensor, decode_request, decode_response
from tests.services.test_pipelines import elements
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.server import Server
from tests.support.waiting import eventually

CAPTURED = """
[evidence.capture]
rate = 1.0
reasons = ["flag", "refusal"]
masks = ["rows.name"]
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


def test_what_is_masked_is_nowhere_on_the_disk(server: Server, ask: Asker) -> None:
    payload = kept(server, asked(ask, "people", person(age=130, name="Countess Lovelace"), id="an order"))
    assert payload.masked == ("rows.name",)
    assert set(payload.reasons) == {"flag", "rate"}
    (element,) = decode_bytes_tensor(decode_request(payload.request).inputs[0].data)
    assert json.loads(element) == {"age": 130, "height": 2, "name": None}
    assert decode_response(payload.answer).parameters["steelyard_flags"] == "[masked]"
    assert payload.request_id == "an order"
    assert payload.input_digest == salted(payload.salt, payload.request)
    assert payload.output_digest == salted(payload.salt, payload.answer)
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
