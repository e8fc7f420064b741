"""Answers as the client reads them, and requests as it writes them: the native codec held against its twin."""

import gc
import math
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_bodies import (
    any_body,
    arbitrary_message,
    field,
    mutated,
    outcome,
    parameters,
    plausible_answer,
    plausible_stream,
    raw_content,
    rearranged,
    varint,
)

from steelyard import wire
from steelyard.errors import SteelyardError
from steelyard.wire import plain
from steelyard.wire.generated.grpc_service import (
    InferParameter,
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from steelyard.wire.types import ITEM_BYTES

SEEDS = st.integers(0, 2**64 - 1)


def same(body: bytes) -> None:
    assert outcome(wire.decode_response, body) == outcome(plain.decode_response, body)


def same_of_stream(body: bytes) -> None:
    assert outcome(wire.decode_stream_response, body) == outcome(plain.decode_stream_response, body)


@given(SEEDS)
@settings(max_examples=300, deadline=None)
def test_valid_answers_decode_as_by_the_twin(seed: int) -> None:
    same(plausible_answer(Random(seed)).SerializeToString())
    same_of_stream(plausible_stream(Random(seed)).SerializeToString())


@given(SEEDS)
@settings(max_examples=300, deadline=None)
def test_fields_in_any_order_and_twice_decode_as_by_the_twin(seed: int) -> None:
    random = Random(seed)
    same(rearranged(random, plausible_answer(random).SerializeToString()))
    same_of_stream(rearranged(random, plausible_stream(random).SerializeToString()))


@given(SEEDS)
@settings(max_examples=500, deadline=None)
def test_mutated_answers_decode_as_by_the_twin(seed: int) -> None:
    random = Random(seed)
    same(mutated(random, plausible_answer(random).SerializeToString()))
    same_of_stream(mutated(random, plausible_stream(random).SerializeToString()))


@given(SEEDS)
@settings(max_examples=500, deadline=None)
def test_arbitrary_fields_decode_as_by_the_twin(seed: int) -> None:
    same(arbitrary_message(Random(seed), "response"))
    same_of_stream(arbitrary_message(Random(seed), "stream"))


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_random_bytes_decode_as_by_the_twin(body: bytes) -> None:
    same(body)
    same_of_stream(body)


def test_many_bodies_of_all_kinds_decode_as_by_the_twin() -> None:
    for seed in range(3000):
        same(any_body(Random(seed), plausible_answer, "response"))
        same_of_stream(any_body(Random(seed), plausible_stream, "stream"))


def test_an_answer_cut_off_anywhere_is_refused_or_shorter() -> None:
    body = answer().SerializeToString()
    stream = ModelStreamInferResponse(infer_response=answer()).SerializeToString()
    for end in range(len(body)):
        same(body[:end])
    for end in range(len(stream)):
        same_of_stream(stream[:end])


def answer() -> ModelInferResponse:
    message = ModelInferResponse(model_name="tiny", model_version="3", id="request-7")
    message.parameters["steelyard_decision_id"].string_param = "d"
    message.parameters["rows"].int64_param = 2
    for name, datatype, values in (
        ("y", "FP32", np.arange(6, dtype="<f4").reshape(2, 3)),
        ("mask", "BOOL", np.array([True])),
        ("label", "BYTES", np.array([b"cat"])),
        ("big", "INT64", np.array([2**62, -1])),
    ):
        message.outputs.add(name=name, datatype=datatype, shape=values.shape)
        raw = b"\3\0\0\0cat" if datatype == "BYTES" else values.tobytes()
        message.raw_output_contents.append(raw)
    return message


def test_an_answer_comes_out_as_it_went_in(codec: ModuleType) -> None:
    message = answer()
    message.parameters["nothing"].SetInParent()
    message.outputs[0].parameters["scale"].double_param = 0.5
    response = codec.decode_response(message.SerializeToString())
    assert (response.model_name, response.model_version, response.id) == ("tiny", "3", "request-7")
    assert response.parameters == {"steelyard_decision_id": "d", "rows": 2}
    assert [(output.name, output.datatype, output.shape) for output in response.outputs] == [
        ("y", "FP32", (2, 3)),
        ("mask", "BOOL", (1,)),
        ("label", "BYTES", (1,)),
        ("big", "INT64", (2,)),
    ]
    assert response.outputs[0].parameters == {"scale": 0.5}
    assert [bytes(output.data) for output in response.outputs] == list(message.raw_output_contents)
    assert all(output.data.readonly for output in response.outputs)


def test_an_empty_body_is_an_empty_answer(codec: ModuleType) -> None:
    response = codec.decode_response(b"")
    assert (response.model_name, response.id, response.parameters, response.outputs) == ("", "", {}, [])
    assert codec.decode_stream_response(b"")[0] == ""


@pytest.mark.parametrize("shift", range(8))
def test_content_is_a_view_where_it_is_aligned_and_aligned_where_it_is_not(shift: int) -> None:
    body = field(3, 2, b"i" * shift) + answer().SerializeToString()
    whole = np.frombuffer(body, np.uint8)
    response = wire.decode_response(body)
    for output in response.outputs:
        content = np.frombuffer(output, np.uint8)
        item = ITEM_BYTES[output.datatype] or 1
        assert content.ctypes.data % item == 0
        place = whole.ctypes.data + body.index(content.tobytes())
        assert np.shares_memory(content, whole) == (place % item == 0)


def test_content_keeps_the_answer() -> None:
    view = wire.decode_response(answer().SerializeToString()).outputs[2].data
    gc.collect()
    assert bytes(view) == b"\3\0\0\0cat"


def test_an_error_of_a_stream_has_no_outputs(codec: ModuleType) -> None:
    about = answer()
    about.raw_output_contents.append(b"surplus")
    message = ModelStreamInferResponse(error_message="full", infer_response=about)
    error, response = codec.decode_stream_response(message.SerializeToString())
    assert (error, response.id, response.outputs) == ("full", "request-7", [])
    assert response.parameters["rows"] == 2


def test_parts_of_a_response_in_a_stream_are_added_up(codec: ModuleType) -> None:
    first = ModelInferResponse(model_name="a", id="7")
    first.outputs.add(name="y", datatype="UINT8", shape=[1])
    second = ModelInferResponse(model_name="b", raw_output_contents=[b"\5"])
    body = field(2, 2, first.SerializeToString()) + field(2, 2, second.SerializeToString())
    _, response = codec.decode_stream_response(body)
    assert (response.model_name, response.id) == ("b", "7")
    assert [bytes(output.data) for output in response.outputs] == [b"\5"]


def output(datatype: str, shape: list[int], raw: bytes) -> ModelInferResponse:
    message = ModelInferResponse(model_name="m", raw_output_contents=[raw])
    message.outputs.add(name="y", datatype=datatype, shape=shape)
    return message


def many(**fields: Any) -> ModelInferResponse:
    return ModelInferResponse(model_name="m", **fields)


Y = "model 'm': output 'y': the answer has "
ONE = InferParameter(int64_param=1)
REFUSED = {
    "an unknown datatype": (output("FP31", [1], b"1234"), Y + "an unknown datatype 'FP31'"),
    "too many dimensions": (output("INT8", [1] * 33, b"1"), Y + "33 dimensions, more than 32"),
    "a negative dimension": (
        output("INT8", [-1, -1], b"1"),
        Y + r"shape [-1, -1] of INT8, which no message can hold",
    ),
    "a shape that overflows": (
        output("INT8", [2**31 - 1] * 3 + [0], b""),
        Y + f"shape {[2**31 - 1] * 3 + [0]} of INT8, which no message can hold",
    ),
    "half an element": (output("FP32", [1], b"12345"), Y + "5 bytes that are no elements of FP32"),
    "too few elements": (output("FP32", [2], b"1234"), Y + "1 elements for shape [2] of FP32"),
    "too many elements": (output("INT64", [], bytes(16)), Y + "2 elements for shape [] of INT64"),
    "a string cut off": (output("BYTES", [1], b"\5\0\0\0a"), Y + "5 bytes that are no elements of BYTES"),
    "a length cut off": (output("BYTES", [1], b"\0\0\0"), Y + "3 bytes that are no elements of BYTES"),
    "too many strings": (output("BYTES", [1], bytes(8)), Y + "2 elements for shape [1] of BYTES"),
    "too few strings": (output("BYTES", [3], bytes(8)), Y + "2 elements for shape [3] of BYTES"),
    "no boolean": (output("BOOL", [2], b"\1\2"), Y + "BOOL elements that are neither 0 nor 1"),
    "a raw content too many": (
        many(raw_output_contents=[b""]),
        "model 'm': the answer has 0 outputs and 1 raw contents",
    ),
    "typed contents": (
        many(outputs=[{"name": "y", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [1.0]}}]),
        "model 'm': the answer has 1 outputs and 0 raw contents",
    ),
    "outputs without end": (many(outputs=[{}] * 1025), "model 'm': the answer has more than 1024 outputs"),
    "parameters without end": (
        many(parameters={str(i): ONE for i in range(257)}),
        "model 'm': the answer has more than 256 parameters in one place",
    ),
    "parameters of an output without end": (
        many(outputs=[{"datatype": "BYTES", "shape": [0], "parameters": {str(i): ONE for i in range(257)}}],
             raw_output_contents=[b""]),
        "model 'm': the answer has more than 256 parameters in one place",
    ),
    "parameters in all": (
        many(outputs=[{"parameters": {str(i): ONE for i in range(200)}}] * 82),
        "model 'm': the answer has more than 16384 parameters in all",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_breaks_a_rule_is_refused(codec: ModuleType, message: ModelInferResponse, expected: str) -> None:
    with pytest.raises(SteelyardError) as caught:
        codec.decode_response(message.SerializeToString())
    assert str(caught.value) == expected
    assert type(caught.value) is SteelyardError, "not the caller's mistake"
    with pytest.raises(SteelyardError) as caught:
        codec.decode_stream_response(ModelStreamInferResponse(infer_response=message).SerializeToString())
    assert str(caught.value) == expected


def test_malformed_bytes_are_called_so(codec: ModuleType) -> None:
    with pytest.raises(SteelyardError, match=r"^the answer is no ModelInferResponse: .* came 2 bytes"):
        codec.decode_response(b"\x0a\x05")
    with pytest.raises(SteelyardError, match=r"^the answer is no ModelStreamInferResponse: .* came 2 bytes"):
        codec.decode_stream_response(b"\x12\x05")
    with pytest.raises(SteelyardError, match="no ModelStreamInferResponse"):
        codec.decode_stream_response(field(2, 2, b"\x0a\x05"))


@pytest.mark.parametrize(("depth", "legal"), [(99, True), (100, False), (50_000, False)])
def test_groups_in_a_stream_are_nested_a_hundred_deep_with_their_message(
    codec: ModuleType, depth: int, legal: bool
) -> None:
    body = field(2, 2, b"\x43" * depth + b"\x44" * depth)
    if legal:
        assert codec.decode_stream_response(body)[1].model_name == ""
    else:
        with pytest.raises(SteelyardError, match="no ModelStreamInferResponse"):
            codec.decode_stream_response(body)


def test_a_field_of_requests_alone_is_unknown_in_an_answer(codec: ModuleType) -> None:
    assert codec.decode_response(field(7, 2, b"raw") + field(1, 2, b"m")).model_name == "m"
    assert codec.decode_response(field(6, 0, varint(3))).outputs == []


# Requests.


def request(random: Random) -> tuple[Any, ...]:
    """Arguments of encode_request."""
    inputs = []
    for i in range(random.choice((0, 1, 1, 2, 5))):
        datatype = random.choice(list(ITEM_BYTES))
        shape = tuple(random.choice((0, 1, 2, 130)) for _ in range(random.randrange(4)))
        raw = raw_content(random, datatype, min(math.prod(shape), 1000), lambda: False)
        inputs.append((f"input{i}", datatype, shape, raw))
    values = [True, -1, 0, 2**63 - 1, 2**63, 2**64 - 1, 0.5, -0.0, "", "é" * 70]
    names = ["priority", "timeout", "é", "", "x" * 200]
    given = {name: random.choice(values) for name in random.sample(names, random.randrange(len(names)))}
    asked = [
        (name, random.choice(({}, {"classification": random.choice((1, 300))})))
        for name in random.sample(("a", "b" * 130, "ü"), random.randrange(4))
    ]
    return random.choice(("m", "ü")), random.choice(("", "3")), random.choice(("", "7")), given, inputs, asked


@given(SEEDS)
@settings(max_examples=300, deadline=None)
def test_requests_are_written_as_by_the_twin(seed: int) -> None:
    arguments = request(Random(seed))
    body = wire.encode_request(*arguments)
    message = ModelInferRequest.FromString(body)
    assert message == ModelInferRequest.FromString(plain.encode_request(*arguments))
    assert len(body) == message.ByteSize()


def test_a_request_goes_in_as_it_comes_out(codec: ModuleType) -> None:
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    given = {"flag": True, "priority": 2, "count": -1}
    body = codec.encode_request(
        "m", "3", "id", given, [("x", "FP32", array.shape, array)], [("y", {"classification": 5}), ("z", {})]
    )
    read = wire.decode_request(body)
    assert (read.model_name, read.model_version, read.id) == ("m", "3", "id")
    assert parameters(read.parameters) == parameters(given)
    assert [(t.name, t.datatype, t.shape, bytes(t.data)) for t in read.inputs] == [
        ("x", "FP32", (2, 3), array.tobytes())
    ]
    assert [(o.name, o.parameters) for o in read.outputs] == [("y", {"classification": 5}), ("z", {})]
    message = ModelInferRequest.FromString(body)
    assert message.parameters["priority"].WhichOneof("parameter_choice") == "uint64_param"
    assert message.parameters["count"].WhichOneof("parameter_choice") == "int64_param"


@pytest.mark.parametrize("content", [np.zeros((0, 3), "<f4"), np.zeros((), "<f4"), np.zeros((3, 1), "?")])
def test_contents_of_any_shape_are_written(codec: ModuleType, content: Any) -> None:
    body = codec.encode_request("m", "", "", {}, [("x", "FP32", content.shape, content)], [])
    assert list(ModelInferRequest.FromString(body).raw_input_contents) == [content.tobytes()]


WRONG: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    "a parameter of another kind": (TypeError, {"parameters": {"p": None}}),
    "a number too large": (OverflowError, {"parameters": {"p": 2**64}}),
    "a number too small": (OverflowError, {"parameters": {"priority": -(2**63) - 1}}),
    "text that is no UTF-8": (UnicodeEncodeError, {"id": "\ud800"}),
    "an input without a shape": (TypeError, {"inputs": [("x", "FP32", None, b"")]}),
    "an input without content": (TypeError, {"inputs": [("x", "FP32", (), None)]}),
    "an input without a name": (TypeError, {"inputs": [(None, "FP32", (), b"")]}),
    "too many dimensions": (ValueError, {"inputs": [("x", "FP32", (1,) * 33, b"")]}),
    "content that is not contiguous": (
        ValueError, {"inputs": [("x", "FP32", (3, 2), np.zeros((2, 3), "<f4").T)]},
    ),
    "an output without parameters": (TypeError, {"outputs": [("y", None)]}),
    "an output without a name": (TypeError, {"outputs": [(None, {})]}),
    "no model": (TypeError, {"model": None}),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "changes"), WRONG.values(), ids=WRONG)
def test_arguments_of_another_kind_do_no_harm(kind: type[Exception], changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {
        "model": "m",
        "version": "",
        "id": "",
        "parameters": {},
        "inputs": [],
        "outputs": [],
    }
    with pytest.raises(kind):
        wire.encode_request(*(arguments | changes).values())
