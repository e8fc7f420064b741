"""Requests as they are written and answers as they are read, held against the codec of the server."""

import numpy as np
import pytest

from steelyard.client import Request
from steelyard.client.failures import Failure, error_of
from steelyard.client.requests import encode_request
from steelyard.client.results import decode_response
from steelyard.client.stream import StreamCodec
from steelyard.client.wiring import DEFAULT_MAX_MESSAGE_BYTES
from steelyard.config import Settings
from steelyard.errors import InvalidRequest, Overloaded, SteelyardError, TooLarge
from steelyard.wire import decode_request, encode_response, stream_error, wrap_stream_response
from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.status import STATUS_OF, Status, status_of


def test_the_default_limit_is_the_servers():
    assert Settings().max_message_bytes == DEFAULT_MAX_MESSAGE_BYTES


def test_the_server_reads_what_is_written():
    body = encode_request(
        Request(
            model="m",
            version=3,
            inputs={"X": np.arange(6, dtype=np.int16).reshape(2, 3), "S": np.array([b"a\0", b""], object)},
            outputs=["B", "A"],
            classes={"A": 5},
            request_id="mine",
            priority=2,
            parameters={"flag": True, "count": -1, "large": 2**64 - 1, "half": 0.5, "text": "t"},
        )
    )
    read = decode_request(body)
    assert (read.model_name, read.model_version, read.id) == ("m", "3", "mine")
    assert read.parameters == {
        "flag": True, "count": -1, "large": 2**64 - 1, "half": 0.5, "text": "t", "priority": 2,
    }  # fmt: skip
    assert [(t.name, t.datatype, t.shape) for t in read.inputs] == [
        ("X", "INT16", (2, 3)),
        ("S", "BYTES", (2,)),
    ]
    assert np.frombuffer(read.inputs[0].data, "<i2").tolist() == list(range(6))
    assert bytes(read.inputs[1].data) == b"\x02\0\0\0a\0\0\0\0\0"
    assert [(o.name, o.parameters) for o in read.outputs] == [("B", {}), ("A", {"classification": 5})]


def test_text_and_numbers_of_numpy_are_text_and_numbers():
    body = encode_request(
        Request(
            model=np.str_("m"),
            version=np.int64(3),  # type: ignore[arg-type]
            inputs={np.str_("X"): np.zeros(1, np.uint8)},
            outputs=[np.str_("A")],
            classes={"A": np.int64(5)},  # type: ignore[dict-item]
            priority=np.int64(2),  # type: ignore[arg-type]
            parameters={np.str_("k"): np.str_("v"), "half": np.float64(0.5)},
        )
    )
    read = decode_request(body)
    assert (read.model_name, read.model_version, read.inputs[0].name) == ("m", "3", "X")
    assert read.parameters == {"priority": 2, "k": "v", "half": 0.5}
    assert [(o.name, o.parameters) for o in read.outputs] == [("A", {"classification": 5})]


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 70_000])
def test_lengths_of_raw_contents(size: int):
    read = decode_request(encode_request(Request(model="m", inputs={"X": np.ones(size, np.uint8)})))
    assert bytes(read.inputs[0].data) == b"\1" * size


def test_classes_alone_are_the_outputs():
    read = decode_request(encode_request(Request(model="m", inputs={}, classes={"A": 1})))
    assert [o.name for o in read.outputs] == ["A"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"outputs": ["A"], "classes": {"B": 1}},
        {"parameters": {"p": None}},
        {"parameters": {"p": 2**64}},
        {"parameters": {"p": -(2**63) - 1}},
        {"request_id": "\ud800"},
        {"priority": -1},
        {"priority": "high"},
        {"request_id": 7},
        {"classes": {"A": "five"}},
        {"outputs": [1]},
    ],
)
def test_requests_that_cannot_be_written(wrong):
    with pytest.raises(InvalidRequest):
        encode_request(Request(model="m", inputs={}, **wrong))


def test_an_answer_is_read():
    values = np.array([[1, 2]], np.float32)
    parameters = {"steelyard_decision_id": "d", "steelyard_model_digest": "sha256:00"}
    body = encode_response("m", "4", "mine", parameters, [("Y", "FP32", (1, 2), values)])
    result = decode_response(body, 5, 1)
    assert result["Y"].tolist() == [[1, 2]]
    assert (result.model, result.version, result.request_id) == ("m", "4", "mine")
    assert (result.decision_id, result.digest, result.datatypes) == ("d", "sha256:00", {"Y": "FP32"})
    assert (result.elapsed_ns, result.attempts) == (5, 1)


def test_what_an_answer_says_beside_its_outputs_is_read():
    message = pb.ModelInferResponse(model_name="m", model_version="1")
    message.parameters["steelyard_decision_id"].string_param = "id"
    message.parameters["steelyard_rows_marked"].int64_param = 2
    message.parameters["steelyard_flags"].string_param = "row 1: no"
    message.parameters["nothing"].SetInParent()
    result = decode_response(message.SerializeToString(), 1, 1)
    assert result.parameters == {"steelyard_rows_marked": 2, "steelyard_flags": "row 1: no"}
    assert result.decision_id == "id"


def test_an_answer_of_another_server_is_read():
    result = decode_response(encode_response("m", "4", "", {}, []), 0, 1)
    assert (result.decision_id, result.digest, result.outputs) == ("", "", {})


@pytest.mark.parametrize("body", [b"\xff", b"\x2a\x03\x0a\x01Y"])
def test_answers_that_are_none(body: bytes):
    with pytest.raises(SteelyardError, match="the answer"):
        decode_response(body, 0, 1)


def test_answers_of_a_stream_find_their_requests():
    codec = StreamCodec()
    ids = [
        decode_request(codec.encode(Request(model="m", inputs={}, request_id=given))).id
        for given in ("", "mine", "")
    ]
    assert ids == ["0", "mine", "2"]
    good = codec.decode(wrap_stream_response(encode_response("m", "1", "mine", {}, [])))
    assert good.result is not None
    assert (good.request_id, good.error, good.result.request_id) == ("mine", None, "mine")
    assert good.result.elapsed_ns > 0
    parameters = {"steelyard_status": 8, "steelyard_retry_after_ms": 20, "steelyard_decision_id": "d"}
    bad = codec.decode(stream_error("full", encode_response("m", "", "2", parameters, [])))
    assert (bad.request_id, bad.result, str(bad.error)) == ("2", None, "full")
    assert isinstance(bad.error, Overloaded)
    assert (bad.error.retry_after_ms, bad.error.decision_id) == (20, "d")
    untold = codec.decode(stream_error("no such model"))
    assert (untold.request_id, str(untold.error)) == ("", "no such model")
    with pytest.raises(SteelyardError, match="ModelStreamInferResponse"):
        codec.decode(b"\xff")


@pytest.mark.parametrize("code", sorted(set(STATUS_OF.values())))
def test_errors_travel_back_as_the_same_status(code: Status):
    error = error_of(Failure(code, "why", None, "d"), "here:1")
    assert status_of(error) is code
    assert "why" in str(error)
    assert error.decision_id == "d"


def test_resource_exhausted_is_two_errors():
    shed = error_of(Failure(Status.RESOURCE_EXHAUSTED, "why", 12, None), "here:1")
    assert isinstance(shed, Overloaded)
    assert shed.retry_after_ms == 12
    assert isinstance(error_of(Failure(Status.RESOURCE_EXHAUSTED, "why", None, None), "here:1"), TooLarge)


def test_unknown_codes_are_plain_errors():
    assert type(error_of(Failure(16, "who are you", None, None), "here:1")) is SteelyardError
