"""Whether inputs fit a version: rows, group keys, the model's order, and why others are refused."""

from random import Random
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_bodies import content

from steelyard import wire
from steelyard.errors import InvalidRequest
from steelyard.wire import plain
from steelyard.wire.check import check_outputs, explain_misfit
from steelyard.wire.generated.grpc_service import ModelInferRequest

ITEM_BYTES = {"FP32": 4, "INT64": 8, "UINT8": 1}

Spec = tuple[str, str, tuple[int, ...]]


def body(*tensors: tuple[str, str, list[int]], outputs: tuple[str, ...] = ()) -> bytes:
    message = ModelInferRequest(model_name="m")
    for name, datatype, shape in tensors:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
        size = ITEM_BYTES[datatype]
        for dim in shape:
            size *= dim
        message.raw_input_contents.append(bytes(size))
    for name in outputs:
        message.outputs.add(name=name)
    return message.SerializeToString()


def bind(
    codec: ModuleType, specs: list[Spec], batched: bool, encoded: bytes
) -> tuple[int, tuple[int, ...]] | None:
    bound: tuple[int, tuple[int, ...]] | None = codec.Signature(specs, batched).bind(
        codec.decode_request(encoded)
    )
    return bound


def test_rows_are_the_first_dimension(codec: ModuleType) -> None:
    assert bind(codec, [("x", "FP32", (-1, 16))], True, body(("x", "FP32", [5, 16]))) == (5, ())


def test_without_a_batch_axis_there_is_one_row_and_every_dynamic_dimension_groups(codec: ModuleType) -> None:
    specs: list[Spec] = [("x", "FP32", (-1, 2)), ("y", "INT64", ())]
    assert bind(codec, specs, False, body(("x", "FP32", [5, 2]), ("y", "INT64", []))) == (1, (5,))


def test_dynamic_dimensions_are_the_group_key_in_the_models_order(codec: ModuleType) -> None:
    specs: list[Spec] = [("x", "FP32", (-1, -1, 2)), ("y", "INT64", (-1, -1, -1))]
    encoded = body(("y", "INT64", [3, 1000, 9]), ("x", "FP32", [3, 7, 2]))
    assert bind(codec, specs, True, encoded) == (3, (7, 1000, 9))


def test_inputs_are_put_into_the_models_order(codec: ModuleType) -> None:
    signature = codec.Signature([(name, "UINT8", (-1,)) for name in "abcd"], True)
    request = codec.decode_request(body(*[(name, "UINT8", [2]) for name in "dbca"]))
    assert signature.bind(request) == (2, ())
    assert [tensor.name for tensor in request.inputs] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("shape", [[0, 16], [1, 16], [2**20, 16]])
def test_any_number_of_rows_fits_none_too(codec: ModuleType, shape: list[int]) -> None:
    assert bind(codec, [("x", "UINT8", (-1, 16))], True, body(("x", "UINT8", shape))) == (shape[0], ())


def test_a_dynamic_dimension_may_be_zero(codec: ModuleType) -> None:
    assert bind(codec, [("x", "FP32", (-1, -1))], True, body(("x", "FP32", [3, 0]))) == (3, (0,))


def test_the_batch_axis_is_not_compared(codec: ModuleType) -> None:
    assert bind(codec, [("x", "UINT8", (4, 2))], True, body(("x", "UINT8", [9, 2]))) == (9, ())


def test_a_model_without_inputs_fits_a_request_without(codec: ModuleType) -> None:
    assert bind(codec, [], False, body()) == (1, ())


def test_shapes_of_high_rank(codec: ModuleType) -> None:
    dims = (-1, *range(1, 2), *[1] * 29, -1)
    assert bind(codec, [("x", "UINT8", dims)], True, body(("x", "UINT8", [2, *[1] * 30, 3]))) == (2, (3,))


TWO: list[Spec] = [("x", "FP32", (-1, 16)), ("y", "INT64", (-1, -1))]
X, Y = ("x", "FP32", [2, 16]), ("y", "INT64", [2, 3])
MISFITS = {
    "an unknown input": ((X, ("z", "INT64", [2, 3])), "expected inputs of 'x', 'y', came 'z'"),
    "a missing input": ((X,), "input 'y': expected INT64 [-1, -1], came no such input"),
    "no inputs": ((), "input 'x': expected FP32 [-1, 16], came no such input"),
    "an input twice": ((X, X), "expected each input once, came 'x' twice"),
    "an input too many": ((X, Y, Y), "expected each input once, came 'y' twice"),
    "another datatype": ((("x", "UINT8", [2, 16]), Y), "input 'x': expected datatype FP32, came UINT8"),
    "a rank too low": ((("x", "FP32", [2]), Y), "input 'x': expected 2 dimensions [-1, 16], came 1: [2]"),
    "a scalar": ((("x", "FP32", []), Y), "input 'x': expected 2 dimensions [-1, 16], came 0: []"),
    "a rank too high": (
        (X, ("y", "INT64", [2, 3, 1])),
        "input 'y': expected 2 dimensions [-1, -1], came 3: [2, 3, 1]",
    ),
    "another dimension": (
        (("x", "FP32", [2, 17]), Y),
        "input 'x': expected dimension 1 of [-1, 16] to be 16, came [2, 17]",
    ),
    "other rows": ((Y, ("x", "FP32", [3, 16])), "input 'y': expected 3 rows as in input 'x', came 2"),
}


@pytest.mark.parametrize(("tensors", "expected"), MISFITS.values(), ids=MISFITS)
def test_a_misfit_is_explained(
    codec: ModuleType, tensors: tuple[tuple[str, str, list[int]], ...], expected: str
) -> None:
    request = codec.decode_request(body(*tensors))
    assert codec.Signature(TWO, True).bind(request) is None
    with pytest.raises(InvalidRequest) as caught:
        explain_misfit(request, "m", TWO, True)
    assert str(caught.value) == f"model 'm': {expected}"


def test_a_misfit_of_a_first_dimension_without_a_batch_axis() -> None:
    request = wire.decode_request(body(("x", "UINT8", [2, 3])))
    with pytest.raises(InvalidRequest, match=r"dimension 0 of \[4, 3\] to be 4, came \[2, 3\]"):
        explain_misfit(request, "m", [("x", "UINT8", (4, 3))], False)


def test_known_inputs_are_listed_only_so_far() -> None:
    specs = [(f"input{i:04}", "UINT8", (-1,)) for i in range(1000)]
    with pytest.raises(InvalidRequest, match="and 980 more, came 'x'") as caught:
        explain_misfit(wire.decode_request(body(("x", "UINT8", [1]))), "m", specs, True)
    assert len(str(caught.value)) < 500


@given(st.integers(0, 2**64 - 1))
@settings(max_examples=300, deadline=None)
def test_binds_as_the_twin(seed: int) -> None:
    random = Random(seed)
    batched = random.random() < 0.7
    specs: list[Spec] = []
    tensors = []
    rows = random.randrange(4)
    for name in random.sample("abcdef", random.randrange(1, 5)):
        dims = tuple(random.choice((-1, 1, 2, 130)) for _ in range(random.randrange(int(batched), 4)))
        datatype = random.choice(list(ITEM_BYTES))
        specs.append((name, datatype, dims))
        shape = [random.choice((0, 1, 130)) if dim == -1 else dim for dim in dims]
        if batched:
            shape[0] = rows
        tensors.append((name, datatype, shape))
    random.shuffle(tensors)
    if random.random() < 0.5:
        at = random.randrange(len(tensors))
        name, datatype, shape = tensors[at]
        match random.randrange(6):
            case 0:
                tensors[at] = (random.choice("abcdefg"), datatype, shape)
            case 1:
                tensors[at] = (name, random.choice(list(ITEM_BYTES)), shape)
            case 2:
                tensors[at] = (name, datatype, [*shape, 1])
            case 3 if shape:
                shape[random.randrange(len(shape))] = random.choice((0, 1, 2))
            case 4:
                tensors.append(tensors[at])
            case _:
                del tensors[at]
    encoded = body(*tensors)
    native, twin = wire.decode_request(encoded), plain.decode_request(encoded)
    bound = wire.Signature(specs, batched).bind(native)
    assert bound == plain.Signature(specs, batched).bind(twin)
    if bound is not None:
        assert content(native) == content(twin)
    else:
        messages = []
        for request in (native, twin):
            with pytest.raises(InvalidRequest) as caught:
                explain_misfit(request, "m", specs, batched)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
        assert "came others" not in messages[0]


@pytest.mark.parametrize(
    ("specs", "batched"),
    [
        ([("x", "FP31", (-1,))], True),
        ([("x", "FP32", ())], True),
        ([("x", "FP32", (1,) * 33)], False),
        ([("x", "FP32", (1,)), ("x", "FP32", (1,))], False),
    ],
)
def test_an_impossible_signature_is_a_mistake_of_ours(
    codec: ModuleType, specs: list[Spec], batched: bool
) -> None:
    with pytest.raises(ValueError, match="expected"):
        codec.Signature(specs, batched)


def test_a_signature_is_made_once() -> None:
    signature = wire.Signature([("x", "FP32", (-1,))], True)
    with pytest.raises(TypeError):
        signature.__init__([], False)  # type: ignore[misc]


def test_what_was_not_decoded_is_not_bound() -> None:
    with pytest.raises(TypeError):
        wire.Signature([], False).bind(wire.InferRequest())
    request = wire.decode_request(body(("x", "UINT8", [1])))
    request.inputs[0] = "x"  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        wire.Signature([("x", "UINT8", (-1,))], True).bind(request)


@pytest.mark.parametrize("outputs", [(), ("y",), ("z", "y")])
def test_known_outputs_pass(codec: ModuleType, outputs: tuple[str, ...]) -> None:
    check_outputs(codec.decode_request(body(outputs=outputs)), "m", ["y", "z"])


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (("y", "w"), "model 'm': expected requested outputs of 'y', 'z', came 'w'"),
        (("y", "z", "y"), "model 'm': expected 'y' once in outputs, came twice"),
    ],
)
def test_other_outputs_do_not(codec: ModuleType, outputs: tuple[str, ...], expected: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_outputs(codec.decode_request(body(outputs=outputs)), "m", ["y", "z"])
    assert str(caught.value) == expected
