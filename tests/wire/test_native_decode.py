"""Decoding: the rules of protobuf, views without copies, and the native decoder held against its twin."""

import gc
import struct
from random import Random
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_bodies import (
    any_body,
    arbitrary_message,
    content,
    field,
    mutated,
    outcome,
    plausible_message,
    rearranged,
    varint,
)

from steelyard import wire
from steelyard.errors import InvalidRequest
from steelyard.wire import plain
from steelyard.wire.generated.grpc_service import InferParameter, ModelInferRequest

SEEDS = st.integers(0, 2**64 - 1)


def same(body: bytes) -> None:
    assert outcome(wire.decode_request, body) == outcome(plain.decode_request, body)


@given(SEEDS)
@settings(max_examples=300, deadline=None)
def test_valid_messages_decode_as_by_the_twin(seed: int) -> None:
    same(plausible_message(Random(seed)).SerializeToString())


@given(SEEDS)
@settings(max_examples=300, deadline=None)
def test_fields_in_any_order_and_twice_decode_as_by_the_twin(seed: int) -> None:
    random = Random(seed)
    same(rearranged(random, plausible_message(random).SerializeToString()))


@given(SEEDS)
@settings(max_examples=500, deadline=None)
def test_mutated_messages_decode_as_by_the_twin(seed: int) -> None:
    random = Random(seed)
    same(mutated(random, plausible_message(random).SerializeToString()))


@given(SEEDS)
@settings(max_examples=500, deadline=None)
def test_arbitrary_fields_decode_as_by_the_twin(seed: int) -> None:
    same(arbitrary_message(Random(seed)))


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_random_bytes_decode_as_by_the_twin(body: bytes) -> None:
    same(body)


def test_many_bodies_of_all_kinds_decode_as_by_the_twin() -> None:
    for seed in range(5000):
        body = any_body(Random(seed))
        assert outcome(wire.decode_request, body) == outcome(plain.decode_request, body), (seed, body)


def test_a_body_cut_off_anywhere_is_refused_or_shorter() -> None:
    random = Random(1)
    body = plausible_message(random).SerializeToString()
    while len(body) < 200:
        body = plausible_message(random).SerializeToString()
    for end in range(len(body)):
        same(body[:end])


def tiny() -> ModelInferRequest:
    message = ModelInferRequest(model_name="tiny", model_version="3", id="request-7")
    message.inputs.add(name="x", datatype="FP32", shape=[2, 3])
    message.raw_input_contents.append(np.arange(6, dtype="<f4").tobytes())
    return message


def test_a_request_comes_out_as_it_went_in(codec: ModuleType) -> None:
    message = tiny()
    message.parameters["priority"].uint64_param = 2**64 - 1
    message.parameters["note"].string_param = "é"
    message.inputs[0].parameters["scale"].double_param = 0.5
    message.outputs.add(name="y").parameters["classification"].int64_param = -3
    body = message.SerializeToString()
    request = codec.decode_request(body)
    assert (request.model_name, request.model_version, request.id) == ("tiny", "3", "request-7")
    assert request.body is body, "nothing is copied"
    assert (request.body_bytes, request.held_bytes) == (len(body), len(body))
    assert request.parameters == {"priority": 2**64 - 1, "note": "é"}
    (tensor,) = request.inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("x", "FP32", (2, 3))
    assert tensor.parameters == {"scale": 0.5}
    np.testing.assert_array_equal(np.frombuffer(tensor.data, "<f4"), np.arange(6))
    (output,) = request.outputs
    assert (output.name, output.parameters) == ("y", {"classification": -3})


def test_an_empty_body_is_an_empty_request(codec: ModuleType) -> None:
    request = codec.decode_request(b"")
    assert content(request) == ("", "", "", b"", 0, [], [], [])


def test_parameters_and_outputs_of_one_request_are_not_those_of_another(codec: ModuleType) -> None:
    body = tiny().SerializeToString()
    first, second = codec.decode_request(body), codec.decode_request(body)
    first.parameters["a"] = 1
    first.inputs[0].parameters["b"] = 2
    assert second.parameters == second.inputs[0].parameters == {}
    assert first.outputs is not second.outputs
    assert first.parameters == {"a": 1}


def test_content_is_a_view_into_the_body_that_keeps_it() -> None:
    body = tiny().SerializeToString()
    whole = np.frombuffer(body, np.uint8)
    tensor = wire.decode_request(body).inputs[0]
    assert np.shares_memory(np.frombuffer(tensor, np.uint8), whole)
    assert np.shares_memory(np.frombuffer(tensor.data, np.uint8), whole)
    view = tensor.data
    expected = np.arange(6, dtype="<f4").tobytes()
    del body, whole, tensor
    gc.collect()
    assert bytes(view) == expected


def test_content_is_read_only(codec: ModuleType) -> None:
    view = codec.decode_request(tiny().SerializeToString()).inputs[0].data
    assert view.readonly
    with pytest.raises(TypeError):
        view[0] = 1


@pytest.mark.parametrize(("datatype", "name"), [("FP32", "fp32_contents"), ("FP64", "fp64_contents")])
def test_packed_floats_are_a_view_too(datatype: str, name: str) -> None:
    message = ModelInferRequest()
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[3])
    getattr(tensor.contents, name).extend([1.0, 2.0, 3.0])
    body = message.SerializeToString()
    request = wire.decode_request(body)
    assert np.shares_memory(np.frombuffer(request.inputs[0], np.uint8), np.frombuffer(body, np.uint8))
    assert request.held_bytes == len(body)


def test_what_typed_contents_become_is_counted_as_held(codec: ModuleType) -> None:
    message = ModelInferRequest()
    message.inputs.add(name="x", datatype="INT64", shape=[100]).contents.int64_contents.extend(range(100))
    body = message.SerializeToString()
    assert codec.decode_request(body).held_bytes == len(body) + 800


def with_input(payload: bytes) -> bytes:
    return field(5, 2, field(1, 2, b"x") + payload)


def typed(datatype: str, shape: int, contents: bytes) -> bytes:
    return with_input(field(2, 2, datatype.encode()) + field(3, 0, varint(shape)) + field(5, 2, contents))


def test_numbers_packed_and_unpacked_mix(codec: ModuleType) -> None:
    contents = (
        field(2, 0, varint(1)) + field(2, 2, varint(2) + varint(-3)) + field(2, 0, varint(4, padding=5))
    )
    (tensor,) = codec.decode_request(typed("INT16", 4, contents)).inputs
    assert struct.unpack("<4h", tensor.data) == (1, 2, -3, 4)


def test_contents_that_come_in_parts_are_merged(codec: ModuleType) -> None:
    parts = b"".join(field(5, 2, field(6, 2, struct.pack("<f", value))) for value in (1.0, 2.0, 3.0))
    body = with_input(field(2, 2, b"FP32") + field(3, 2, varint(3)) + parts + field(5, 2, b""))
    (tensor,) = codec.decode_request(body).inputs
    assert struct.unpack("<3f", tensor.data) == (1.0, 2.0, 3.0)


def test_a_signalling_nan_keeps_its_bits(codec: ModuleType) -> None:
    bits = b"\x01\x00\xa0\x7f"
    (tensor,) = codec.decode_request(typed("FP32", 1, field(6, 2, bits))).inputs
    assert bytes(tensor.data) == bits


@pytest.mark.parametrize("rank", [0, 1, 8, 9, 32])
def test_shapes_of_every_rank(codec: ModuleType, rank: int) -> None:
    message = ModelInferRequest()
    message.inputs.add(name="x", datatype="INT8", shape=[1] * rank)
    message.raw_input_contents.append(b"\x05")
    (tensor,) = codec.decode_request(message.SerializeToString()).inputs
    assert tensor.shape == (1,) * rank


def test_the_last_of_a_repeated_singular_field_counts(codec: ModuleType) -> None:
    body = field(1, 2, b"a") + field(1, 2, b"tiny") + field(3, 2, b"1") + field(3, 2, b"2")
    request = codec.decode_request(body)
    assert (request.model_name, request.id) == ("tiny", "2")


def test_the_last_of_equal_map_keys_and_of_a_oneof_counts(codec: ModuleType) -> None:
    one = InferParameter(int64_param=1).SerializeToString()
    two = InferParameter(string_param="two").SerializeToString()
    key = field(1, 2, b"k")
    body = field(4, 2, key + field(2, 2, one)) + field(4, 2, key + field(2, 2, one + two))
    assert codec.decode_request(body).parameters == {"k": "two"}


def test_unknown_fields_of_every_kind_are_skipped(codec: ModuleType) -> None:
    group = (
        field(90, 3, b"") + field(5, 0, varint(1)) + field(91, 3, b"") + field(91, 4, b"") + field(90, 4, b"")
    )
    unknown = (
        field(99, 0, varint(2**64 - 1))
        + field(98, 1, b"12345678")
        + field(97, 2, b"whatever")
        + field(96, 5, b"1234")
        + group
    )
    body = (
        unknown
        + field(1, 2, b"tiny")
        + with_input(unknown + field(2, 2, b"INT8") + field(5, 2, unknown + field(2, 0, varint(1)) + unknown))
    )
    request = codec.decode_request(body)
    assert request.model_name == "tiny"
    assert bytes(request.inputs[0].data) == b"\x01"


def test_a_known_field_of_another_wire_type_is_unknown(codec: ModuleType) -> None:
    assert codec.decode_request(field(1, 0, varint(7)) + field(7, 5, b"1234")).model_name == ""


MALFORMED = {
    "field number 0": field(0, 2, b""),
    "a tag of six bytes": varint(1 << 3 | 2, padding=5) + b"\x01a",
    "a tag over 32 bits": varint(2**32 + 10) + b"\x01a",
    "wire type 6": b"\x0e\x00",
    "wire type 7": b"\x0f\x00",
    "a varint of eleven bytes": b"\x40" + b"\xff" * 10 + b"\x01",
    "a varint cut off": b"\x40\xff",
    "a length over what remains": b"\x0a\x05abc",
    "a length of 4 GiB": b"\x0a" + varint(2**32) + b"abc",
    "a length of 2**64 - 1": b"\x0a" + varint(2**64 - 1) + b"abc",
    "a length over its input": field(5, 2, b"\x0a\x05abc") + b"defgh",
    "eight bytes cut off": b"\x41abc",
    "four bytes cut off": b"\x45abc",
    "the end of no group": b"\x44",
    "the end of another group": b"\x43\x4c",
    "a group without end": b"\x43\x40\x01",
    "floats of five bytes": typed("FP32", 1, field(6, 2, b"12345")),
    "doubles of nine bytes": typed("FP64", 1, field(7, 2, b"123456789")),
    "a packed number cut off": typed("INT32", 1, field(2, 2, b"\x81") + b"\x01"),
    "a name that is no UTF-8": field(1, 2, b"\xff"),
    "a surrogate in UTF-8": field(1, 2, b"\xed\xa0\x80"),
    "a name that is replaced and no UTF-8": field(1, 2, b"\xff") + field(1, 2, b"a"),
    "an id that is no UTF-8": field(3, 2, b"\xc3"),
    "a datatype that is no UTF-8": with_input(field(2, 2, b"\xff")),
    "a key that is no UTF-8": field(4, 2, field(1, 2, b"\xff")),
    "a value that is no UTF-8": field(4, 2, field(2, 2, field(3, 2, b"\xff"))),
    "an output that is no UTF-8": field(6, 2, field(1, 2, b"\xff")),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_body_is_called_so(codec: ModuleType, body: bytes) -> None:
    with pytest.raises(InvalidRequest, match=rf"^malformed ModelInferRequest: .* came {len(body)} bytes"):
        codec.decode_request(body)


@pytest.mark.parametrize(("depth", "legal"), [(100, True), (101, False), (50_000, False)])
def test_groups_are_nested_a_hundred_deep_and_no_deeper(codec: ModuleType, depth: int, legal: bool) -> None:
    body = b"\x43" * depth + b"\x44" * depth
    if legal:
        assert codec.decode_request(body).model_name == ""
    else:
        with pytest.raises(InvalidRequest, match="malformed"):
            codec.decode_request(body)


def test_only_bytes_are_decoded() -> None:
    with pytest.raises(TypeError):
        wire.decode_request(bytearray(b""))  # type: ignore[arg-type]


def test_names_met_often_come_as_one_object_and_the_rest_is_forgotten() -> None:
    body = tiny().SerializeToString()
    assert wire.decode_request(body).inputs[0].name is wire.decode_request(body).inputs[0].name
    for i in range(2000):
        assert wire.decode_request(field(1, 2, f"model-{i}".encode())).model_name == f"model-{i}"
        assert wire.decode_request(field(1, 2, f"modèle-{i}".encode())).model_name == f"modèle-{i}"
    assert wire.decode_request(field(1, 2, b"n" * 100)).model_name == "n" * 100
