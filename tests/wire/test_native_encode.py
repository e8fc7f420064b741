"""Responses: what generated messages read from them, for every row of its own request and no other."""

import math
from collections.abc import Callable
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_bodies import parameters

from steelyard import wire
from steelyard.errors import InvalidRequest
from steelyard.wire import plain
from steelyard.wire.generated.grpc_service import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)

DTYPES = {"FP32": "<f4", "INT64": "<i8", "BOOL": "?", "FP16": "<f2", "UINT8": "u1", "BF16": "<u2"}


def decoded(codec: ModuleType, id: str = "", outputs: tuple[str, ...] = ()) -> Any:
    message = ModelInferRequest(model_name="m", id=id)
    for name in outputs:
        message.outputs.add(name=name)
    return codec.decode_request(message.SerializeToString())


def encoder(codec: ModuleType, *outputs: tuple[str, str]) -> Any:
    return codec.ResponseEncoder("m", "3", "sha256:abc", outputs)


def test_what_is_to_be_noticed_is_in_the_parameters(codec: ModuleType) -> None:
    outputs, notices = [("y", "FP32")], {"steelyard_retires": "2027-01-01", "steelyard_replacement": "größer"}
    array = np.zeros((2, 1), "<f4")
    told = codec.ResponseEncoder("m", "3", "sha256:abc", outputs, notices.items())
    for body in told.encode_batch([decoded(codec)] * 2, [1, 1], ["a", "b"], [array], [(1,)], True):
        parameters = ModelInferResponse.FromString(body).parameters
        assert {name: parameters[name].string_param for name in notices} == notices
        assert len(parameters) == 4


def test_each_response_holds_the_rows_of_its_request(codec: ModuleType) -> None:
    array = np.arange(24, dtype="<f4").reshape(6, 4)
    rows = [1, 3, 0, 2]
    requests = [decoded(codec, f"request-{i}") for i in range(4)]
    bodies = encoder(codec, ("y", "FP32")).encode_batch(
        requests, rows, [f"decision-{i}" for i in range(4)], [array], [(4,)], True
    )
    first = 0
    for i, (count, body) in enumerate(zip(rows, bodies, strict=True)):
        response = ModelInferResponse.FromString(body)
        assert (response.model_name, response.model_version, response.id) == ("m", "3", f"request-{i}")
        assert {name: value.string_param for name, value in response.parameters.items()} == {
            "steelyard_decision_id": f"decision-{i}",
            "steelyard_model_digest": "sha256:abc",
        }
        (output,) = response.outputs
        assert (output.name, output.datatype, list(output.shape)) == ("y", "FP32", [count, 4])
        assert list(response.raw_output_contents) == [array[first : first + count].tobytes()]
        first += count


def test_requested_outputs_select_and_order(codec: ModuleType) -> None:
    arrays = [np.full((2, 1), i, "u1") for i in range(3)]
    requests = [decoded(codec, outputs=("c", "a")), decoded(codec, outputs=())]
    shapes = [(1,)] * 3
    encode = encoder(codec, ("a", "UINT8"), ("b", "UINT8"), ("c", "UINT8"))
    first, second = map(
        ModelInferResponse.FromString, encode.encode_batch(requests, [1, 1], ["d", "e"], arrays, shapes, True)
    )
    assert [output.name for output in first.outputs] == ["c", "a"]
    assert list(first.raw_output_contents) == [b"\2", b"\0"]
    assert [output.name for output in second.outputs] == ["a", "b", "c"]


def test_without_a_batch_axis_the_shape_is_whole(codec: ModuleType) -> None:
    arrays = [np.arange(6, dtype="<i8").reshape(2, 3), np.array(True)]
    (body,) = encoder(codec, ("y", "INT64"), ("z", "BOOL")).encode_batch(
        [decoded(codec)], [1], ["d"], arrays, [(2, 3), ()], False
    )
    response = ModelInferResponse.FromString(body)
    assert [list(output.shape) for output in response.outputs] == [[2, 3], []]
    assert list(response.raw_output_contents) == [arrays[0].tobytes(), b"\1"]


def test_a_padded_batch_gives_only_the_rows_asked_for(codec: ModuleType) -> None:
    (body,) = encoder(codec, ("y", "UINT8")).encode_batch(
        [decoded(codec)], [2], ["d"], [np.arange(8, dtype="u1")], [()], True
    )
    assert list(ModelInferResponse.FromString(body).raw_output_contents) == [b"\0\1"]


def test_an_empty_batch_is_no_responses(codec: ModuleType) -> None:
    assert encoder(codec, ("y", "UINT8")).encode_batch([], [], [], [np.zeros(0, "u1")], [()], True) == []


@given(st.integers(0, 2**64 - 1))
@settings(max_examples=200, deadline=None)
def test_batches_encode_as_by_the_twin(seed: int) -> None:
    random = Random(seed)
    batched = random.random() < 0.8
    rows = [random.choice((0, 1, 1, 2, 200)) for _ in range(random.randrange(1, 5) if batched else 1)]
    names = [f"output{i}" for i in range(random.randrange(4))]
    datatypes = [random.choice(list(DTYPES)) for _ in names]
    shapes = [tuple(random.choice((0, 1, 3, 150)) for _ in range(random.randrange(3))) for _ in names]
    arrays = [
        np.frombuffer(random.randbytes((sum(rows) if batched else 1) * math.prod(shape) * 8), "u1")[
            : (sum(rows) if batched else 1) * math.prod(shape) * np.dtype(DTYPES[datatype]).itemsize
        ].view(DTYPES[datatype])
        for shape, datatype in zip(shapes, datatypes, strict=True)
    ]
    ids = [random.choice(("", "7", "é" * 64)) for _ in rows]
    asked = [tuple(random.sample(names, random.randrange(len(names) + 1))) for _ in rows]
    decisions = [random.choice(("", "0190b5d0-0000-7000-8000-000000000000", "d" * 200)) for _ in rows]
    results = [
        encoder(codec, *zip(names, datatypes, strict=True)).encode_batch(
            [decoded(codec, id, outputs) for id, outputs in zip(ids, asked, strict=True)],
            rows,
            decisions,
            arrays,
            shapes,
            batched,
        )
        for codec in (wire, plain)
    ]
    assert [*map(ModelInferResponse.FromString, results[0])] == [
        *map(ModelInferResponse.FromString, results[1])
    ]
    assert [len(body) for body in results[0]] == [len(body) for body in results[1]]


def arguments(codec: ModuleType, **changes: Any) -> list[Any]:
    given: dict[str, Any] = {
        "requests": [decoded(codec), decoded(codec)],
        "rows": [1, 2],
        "decision_ids": ["d", "e"],
        "arrays": [np.zeros((3, 4), "<f4")],
        "shapes": [(4,)],
        "batched": True,
    }
    return list((given | changes).values())


WRONG: dict[str, dict[str, Any]] = {
    "too few rows of data": {"rows": [2, 2]},
    "rows that are many": {"rows": [2**31 - 1, 2**31 - 1]},
    "rows below zero": {"rows": [4, -1]},
    "a row too large": {"shapes": [(5,)]},
    "a row that overflows": {"shapes": [(2**31 - 1,) * 3]},
    "a dimension below zero": {"shapes": [(-1,)]},
    "too many dimensions": {"shapes": [(1,) * 33]},
    "rows of fewer requests": {"rows": [1]},
    "ids of fewer requests": {"decision_ids": ["d"]},
    "fewer arrays": {"arrays": []},
    "fewer shapes": {"shapes": []},
    "elements of another size": {"arrays": [np.zeros((3, 4), "<f8")]},
    "several requests without a batch axis": {"batched": False},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_arguments_that_do_not_fit_are_refused(codec: ModuleType, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|cannot be encoded"):
        encoder(codec, ("y", "FP32")).encode_batch(*arguments(codec, **changes))


def test_arrays_have_to_be_contiguous(codec: ModuleType) -> None:
    array = np.zeros((4, 3), "<f4").T
    with pytest.raises((ValueError, TypeError), match="contiguous"):
        encoder(codec, ("y", "FP32")).encode_batch(*arguments(codec, arrays=[array]))


def test_unknown_requested_outputs_are_a_mistake_of_ours(codec: ModuleType) -> None:
    given = arguments(codec, requests=[decoded(codec, outputs=("z",)), decoded(codec)])
    with pytest.raises(ValueError, match="came 'z'"):
        encoder(codec, ("y", "FP32")).encode_batch(*given)


def test_bytes_outputs_are_encoded_elsewhere(codec: ModuleType) -> None:
    with pytest.raises(ValueError, match="BYTES are encoded one response at a time"):
        encoder(codec, ("y", "BYTES")).encode_batch(*arguments(codec))


@pytest.mark.parametrize(
    "outputs", [[("y", "FP31")], [("y", "FP32"), ("y", "FP32")], [(str(i), "FP32") for i in range(1025)]]
)
def test_impossible_outputs_are_a_mistake_of_ours(codec: ModuleType, outputs: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="expected"):
        encoder(codec, *outputs)


@pytest.mark.parametrize(
    "changes",
    [
        {"requests": [None, None]},
        {"requests": [object(), object()]},
        {"decision_ids": [None, None]},
        {"rows": [None, None]},
        {"arrays": [None]},
        {"shapes": [None]},
        {"requests": [wire.InferRequest(), wire.InferRequest()]},
    ],
)
def test_arguments_of_another_kind_do_no_harm(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        encoder(wire, ("y", "FP32")).encode_batch(*arguments(wire, **changes))


def test_the_general_form_takes_every_kind_of_parameter(codec: ModuleType) -> None:
    given = {"b": True, "i": -(2**63), "u": 2**64 - 1, "s": "é", "f": -0.5, "zero": 0, "no": False, "": ""}
    outputs = [
        ("y", "FP32", (1, 2), np.array([[1, 2]], "<f4")),
        ("s", "BYTES", [2], codec.encode_bytes_tensor(["a", b"\0"])),
        ("scalar", "UINT8", (), memoryview(b"\7")),
        ("empty", "INT64", (0, 3), b""),
    ]
    response = ModelInferResponse.FromString(codec.encode_response("m", "1", "id", given, outputs))
    values = {
        name: getattr(value, value.WhichOneof("parameter_choice") or "")
        for name, value in response.parameters.items()
    }
    assert parameters(values) == parameters(given)
    assert response.parameters["u"].WhichOneof("parameter_choice") == "uint64_param"
    assert [(o.name, o.datatype, tuple(o.shape)) for o in response.outputs] == [
        (name, datatype, tuple(shape)) for name, datatype, shape, _ in outputs
    ]
    assert list(response.raw_output_contents) == [
        np.array([1, 2], "<f4").tobytes(),
        b"\1\0\0\0a\1\0\0\0\0",
        b"\7",
        b"",
    ]


def test_the_general_form_is_that_of_the_twin_byte_for_byte() -> None:
    def encoded(codec: ModuleType) -> bytes:
        outputs = [("y", "FP32", (300, 1), bytes(1200))]
        body: bytes = codec.encode_response("m", "", "", {"one": 1.5}, outputs)
        return body

    assert encoded(wire) == encoded(plain)


def test_parameters_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError):
        wire.encode_response("m", "1", "", {"p": b"bytes"}, [])  # type: ignore[dict-item]
    with pytest.raises(OverflowError):
        wire.encode_response("m", "1", "", {"p": 2**64}, [])
    with pytest.raises(OverflowError):
        wire.encode_response("m", "1", "", {"p": -(2**63) - 1}, [])


def test_a_response_is_wrapped_for_a_stream(codec: ModuleType) -> None:
    body = codec.encode_response("m", "1", "7", {}, [("y", "UINT8", (200,), bytes(200))])
    message = ModelStreamInferResponse.FromString(codec.wrap_stream_response(body))
    assert message.error_message == ""
    assert message.infer_response == ModelInferResponse.FromString(body)


def test_an_error_in_a_stream_says_of_which_request_it_is(codec: ModuleType) -> None:
    whose = codec.encode_response("m", "2", "7", {"why": 3}, [])
    message = ModelStreamInferResponse.FromString(codec.stream_error("no such model", whose))
    assert message.error_message == "no such model"
    about = message.infer_response
    assert (about.model_name, about.model_version, about.id) == ("m", "2", "7")
    assert about.parameters["why"].int64_param == 3
    assert ModelStreamInferResponse.FromString(codec.stream_error("x")).error_message == "x"


@given(st.lists(st.binary(max_size=20)))
@settings(max_examples=100, deadline=None)
def test_bytes_elements_come_back(values: list[bytes]) -> None:
    raw = wire.encode_bytes_tensor(values)
    assert raw == plain.encode_bytes_tensor(values)
    assert wire.decode_bytes_tensor(raw) == plain.decode_bytes_tensor(raw) == values


@given(st.binary(max_size=24))
@settings(max_examples=300, deadline=None)
def test_any_bytes_split_as_by_the_twin(data: bytes) -> None:
    def split(decode: Callable[[bytes], list[bytes]]) -> list[bytes] | str:
        try:
            return decode(data)
        except InvalidRequest as error:
            return str(error)

    assert split(wire.decode_bytes_tensor) == split(plain.decode_bytes_tensor)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\1\0\0", "BYTES tensor: expected a length of 4 bytes before element 0, came 3 bytes"),
        (b"\0\0\0\0\2\0\0\0a", "BYTES tensor: expected 2 bytes of element 1, came 1"),
        (b"\xff\xff\xff\xffa", "BYTES tensor: expected 4294967295 bytes of element 0, came 1"),
    ],
)
def test_elements_cut_off_are_refused(codec: ModuleType, data: bytes, expected: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        codec.decode_bytes_tensor(memoryview(data))
    assert str(caught.value) == expected


def test_a_tensor_is_split_without_a_view_of_it() -> None:
    message = ModelInferRequest()
    message.inputs.add(name="x", datatype="BYTES", shape=[2]).contents.bytes_contents.extend([b"a", b"\0b"])
    tensor = wire.decode_request(message.SerializeToString()).inputs[0]
    assert wire.decode_bytes_tensor(tensor) == [b"a", b"\0b"]


def test_elements_of_another_kind_are_refused() -> None:
    with pytest.raises(TypeError):
        wire.encode_bytes_tensor([1])  # type: ignore[list-item]
