"""The protocol's rules that need no model: each broken once, with the whole message that a caller gets."""

import struct
from collections.abc import Callable
from types import ModuleType

import pytest
from wire_bodies import field

from steelyard import wire
from steelyard.errors import InvalidRequest, SteelyardError, Unsupported
from steelyard.wire import plain
from steelyard.wire.generated.grpc_service import ModelInferRequest
from steelyard.wire.types import ITEM_BYTES

KNOWN = ", ".join(ITEM_BYTES)


def request() -> ModelInferRequest:
    return ModelInferRequest(model_name="m")


def raw(datatype: str, shape: list[int], content: bytes) -> ModelInferRequest:
    message = request()
    message.inputs.add(name="x", datatype=datatype, shape=shape)
    message.raw_input_contents.append(content)
    return message


def typed(datatype: str, shape: list[int], **contents: list[object]) -> ModelInferRequest:
    message = request()
    tensor = message.inputs.add(name="x", datatype=datatype, shape=shape)
    tensor.contents.SetInParent()
    for name, values in contents.items():
        getattr(tensor.contents, name).extend(values)
    return message


def changed(message: ModelInferRequest, change: Callable[[ModelInferRequest], object]) -> ModelInferRequest:
    change(message)
    return message


def parameter(name: str, **value: object) -> ModelInferRequest:
    message = request()
    message.parameters[name].SetInParent()
    for choice, content in value.items():
        setattr(message.parameters[name], choice, content)
    return message


def both(message: ModelInferRequest) -> None:
    message.inputs[0].contents.int_contents.append(1)


def many_parameters() -> ModelInferRequest:
    message = request()
    for i in range(257):
        message.parameters[f"p{i}"].bool_param = True
    return message


def shared(message: ModelInferRequest) -> None:
    message.inputs[0].parameters["shared_memory_region"].string_param = "region"
    del message.raw_input_contents[:]


def shared_output(message: ModelInferRequest) -> None:
    message.outputs.add(name="y").parameters["shared_memory_region"].string_param = "region"


def no_value(message: ModelInferRequest) -> None:
    message.inputs[0].parameters["p"].SetInParent()


def no_value_of_output(message: ModelInferRequest) -> None:
    message.outputs.add(name="y").parameters["p"].SetInParent()


X = "model 'm': input 'x': expected "
BROKEN: dict[str, tuple[ModelInferRequest, str]] = {
    "contents and raw": (
        changed(raw("INT8", [1], b"1"), both),
        X + "contents or raw_input_contents in a request, came both",
    ),
    "a surplus raw entry": (
        changed(raw("INT8", [1], b"1"), lambda m: m.raw_input_contents.append(b"")),
        "model 'm': expected 1 entries of raw_input_contents, one for each input, came 2",
    ),
    "a missing raw entry": (
        changed(raw("INT8", [1], b"1"), lambda m: m.inputs.add(name="z", datatype="INT8", shape=[1])),
        "model 'm': expected 2 entries of raw_input_contents, one for each input, came 1",
    ),
    "no content at all": (
        changed(raw("INT8", [2], b"12"), lambda m: m.ClearField("raw_input_contents")),
        X + "2 elements for INT8 [2], came 0",
    ),
    "raw shorter than its shape": (
        raw("FP32", [2, 3], bytes(20)),
        X + "24 bytes of raw content for FP32 [2, 3], came 20",
    ),
    "raw longer than its shape": (
        raw("FP16", [3], bytes(7)),
        X + "6 bytes of raw content for FP16 [3], came 7",
    ),
    "raw of a scalar": (raw("FP64", [], bytes(4)), X + "8 bytes of raw content for FP64 [], came 4"),
    "raw of a shape of size zero": (
        raw("FP64", [0, 3], bytes(8)),
        X + "0 bytes of raw content for FP64 [0, 3], came 8",
    ),
    "typed of a wrong count": (
        typed("INT64", [3], int64_contents=[1, 2]),
        X + "3 elements for INT64 [3], came 2",
    ),
    "typed of a surplus": (typed("BYTES", [0], bytes_contents=[b""]), X + "0 elements for BYTES [0], came 1"),
    "typed of another list": (
        typed("INT64", [2], int_contents=[1, 2]),
        X + "INT64 in int64_contents, came int_contents",
    ),
    "typed of two lists": (
        typed("INT32", [2], int_contents=[1, 2], fp32_contents=[1]),
        X + "INT32 in int_contents, came fp32_contents",
    ),
    "FP16 as contents": (
        typed("FP16", [1], fp32_contents=[1]),
        X + "FP16 in raw_input_contents, the only form it has, came contents",
    ),
    "BF16 as contents": (
        typed("BF16", [0]),
        X + "BF16 in raw_input_contents, the only form it has, came contents",
    ),
    "INT8 too high": (
        typed("INT8", [2], int_contents=[127, 128]),
        X + "INT8 elements from -128 to 127, came 128 at index 1",
    ),
    "INT8 too low": (
        typed("INT8", [1], int_contents=[-129]),
        X + "INT8 elements from -128 to 127, came -129 at index 0",
    ),
    "INT16": (
        typed("INT16", [2], int_contents=[-32769, 40000]),
        X + "INT16 elements from -32768 to 32767, came -32769 at index 0",
    ),
    "UINT8": (
        typed("UINT8", [1], uint_contents=[256]),
        X + "UINT8 elements from 0 to 255, came 256 at index 0",
    ),
    "UINT16": (
        typed("UINT16", [3], uint_contents=[0, 65535, 65536]),
        X + "UINT16 elements from 0 to 65535, came 65536 at index 2",
    ),
    "a BOOL that is neither": (
        raw("BOOL", [3], b"\0\1\2"),
        X + "BOOL elements to be 0 or 1, came 2 at index 2",
    ),
    "no datatype": (raw("", [1], b""), X + f"a datatype of {KNOWN}, came ''"),
    "an unknown datatype": (raw("FP31", [1], b""), X + f"a datatype of {KNOWN}, came 'FP31'"),
    "a negative dimension": (
        raw("FP32", [-1, 2], b""),
        X + "dimensions from 0 to 2147483647, came shape [-1, 2]",
    ),
    "shapes of 2**62": (
        raw("FP32", [2**62, 4], b""),
        X + f"dimensions from 0 to 2147483647, came shape [{2**62}, 4]",
    ),
    "a product that overflows": (
        raw("UINT8", [2**30, 2**30, 2**4], b""),
        X + f"a tensor of less than 2**63 bytes, came shape [{2**30}, {2**30}, 16]",
    ),
    "a product that overflows with its item": (
        raw("BYTES", [2**30, 2**30, 2], b""),
        X + f"a tensor of less than 2**63 bytes, came shape [{2**30}, {2**30}, 2]",
    ),
    "an overflow beside a zero": (
        raw("FP64", [0, 2**30, 2**30, 2], b""),
        X + f"a tensor of less than 2**63 bytes, came shape [0, {2**30}, {2**30}, 2]",
    ),
    "a product just short of an overflow": (
        raw("UINT8", [2**30, 2**30, 7], b"a"),
        X + f"{7 * 2**60} bytes of raw content for UINT8 [{2**30}, {2**30}, 7], came 1",
    ),
    "too many dimensions": (raw("FP32", [1] * 33, b""), X + "at most 32 dimensions, came 33"),
    "BYTES with a length cut off": (
        raw("BYTES", [2], b"\1\0\0\0a\1\0\0"),
        X + "a length of 4 bytes before BYTES element 1, came 3 bytes",
    ),
    "BYTES with a tail cut off": (raw("BYTES", [1], b"\3\0\0\0ab"), X + "3 bytes of BYTES element 0, came 2"),
    "BYTES with a length of 4 GiB": (
        raw("BYTES", [1], b"\xff\xff\xff\xffab"),
        X + "4294967295 bytes of BYTES element 0, came 2",
    ),
    "BYTES with too few elements": (
        raw("BYTES", [3], bytes(8)),
        X + "a length of 4 bytes before BYTES element 2, came 0 bytes",
    ),
    "BYTES with too many elements": (
        raw("BYTES", [1], bytes(8)),
        X + "1 BYTES elements, came 4 bytes more than those",
    ),
    "a long id": (
        changed(request(), lambda m: setattr(m, "id", "é" * 65)),
        "model 'm': expected an id of at most 128 bytes, came 130",
    ),
    "shared memory": (
        changed(raw("INT8", [1], b"1"), shared),
        "model 'm': input 'x': expected data in the message, came a reference to shared memory,"
        " which this server does not do",
    ),
    "shared memory for an output": (
        changed(raw("INT8", [1], b"1"), shared_output),
        "model 'm': output 'y': expected data in the message, came a reference to shared memory,"
        " which this server does not do",
    ),
    "a parameter without a value": (parameter("p"), "model 'm': parameter 'p': expected a value, came none"),
    "an input's parameter without a value": (
        changed(raw("INT8", [1], b"1"), no_value),
        "model 'm': input 'x': parameter 'p': expected a value, came none",
    ),
    "an output's parameter without a value": (
        changed(request(), no_value_of_output),
        "model 'm': output 'y': parameter 'p': expected a value, came none",
    ),
    "too many parameters": (many_parameters(), "model 'm': expected at most 256 parameters, came more"),
    "priority as a string": (
        parameter("priority", string_param="1"),
        "model 'm': parameter 'priority': expected a whole number, 0 or more, came str '1'",
    ),
    "priority as a bool": (
        parameter("priority", bool_param=True),
        "model 'm': parameter 'priority': expected a whole number, 0 or more, came bool True",
    ),
    "a timeout below zero": (
        parameter("timeout", int64_param=-1),
        "model 'm': parameter 'timeout': expected a whole number, 0 or more, came int -1",
    ),
    "a timeout as a double": (
        parameter("timeout", double_param=1.5),
        "model 'm': parameter 'timeout': expected a whole number, 0 or more, came float 1.5",
    ),
    "a sequence id as a double": (
        parameter("sequence_id", double_param=1.0),
        "model 'm': parameter 'sequence_id': expected a whole number or a string, came float 1.0",
    ),
    "a sequence start as a number": (
        parameter("sequence_start", int64_param=1),
        "model 'm': parameter 'sequence_start': expected a bool, came int 1",
    ),
    "a sequence end as a string": (
        parameter("sequence_end", string_param="x" * 100),
        f"model 'm': parameter 'sequence_end': expected a bool, came str '{'x' * 80}'... (100 characters)",
    ),
    "binary data as a number": (
        parameter("binary_data_output", uint64_param=0),
        "model 'm': parameter 'binary_data_output': expected a bool, came int 0",
    ),
}


@pytest.mark.parametrize(("message", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule(codec: ModuleType, message: ModelInferRequest, expected: str) -> None:
    with pytest.raises(SteelyardError) as caught:
        codec.decode_request(message.SerializeToString())
    assert str(caught.value) == expected
    assert type(caught.value) is (Unsupported if "shared memory" in expected else InvalidRequest)


LEGAL: dict[str, tuple[ModelInferRequest, bytes]] = {
    "a scalar": (raw("FP32", [], b"1234"), b"1234"),
    "size zero": (raw("FP32", [0, 5], b""), b""),
    "size zero without content": (
        changed(raw("FP32", [0], b""), lambda m: m.ClearField("raw_input_contents")),
        b"",
    ),
    "size zero with empty contents": (typed("INT8", [2, 0]), b""),
    "the largest dimension beside a zero": (raw("BOOL", [2**31 - 1, 0], b""), b""),
    "BYTES": (raw("BYTES", [2], b"\0\0\0\0\2\0\0\0a\0"), b"\0\0\0\0\2\0\0\0a\0"),
    "BYTES of a scalar": (raw("BYTES", [], b"\1\0\0\0a"), b"\1\0\0\0a"),
    "typed BYTES": (typed("BYTES", [2], bytes_contents=[b"a\0", b""]), b"\2\0\0\0a\0\0\0\0\0"),
    "BOOL": (typed("BOOL", [2], bool_contents=[True, False]), b"\1\0"),
    "INT8": (typed("INT8", [2], int_contents=[-128, 127]), b"\x80\x7f"),
    "INT16": (typed("INT16", [2], int_contents=[-32768, 32767]), b"\x00\x80\xff\x7f"),
    "INT32": (typed("INT32", [1], int_contents=[-2]), b"\xfe\xff\xff\xff"),
    "INT64": (typed("INT64", [1], int64_contents=[-(2**63)]), struct.pack("<q", -(2**63))),
    "UINT8": (typed("UINT8", [1], uint_contents=[255]), b"\xff"),
    "UINT16": (typed("UINT16", [1], uint_contents=[65535]), b"\xff\xff"),
    "UINT32": (typed("UINT32", [1], uint_contents=[2**32 - 1]), b"\xff\xff\xff\xff"),
    "UINT64": (typed("UINT64", [1], uint64_contents=[2**64 - 1]), b"\xff" * 8),
    "FP32": (
        typed("FP32", [2], fp32_contents=[float("nan"), float("-inf")]),
        struct.pack("<2f", float("nan"), float("-inf")),
    ),
    "FP64": (typed("FP64", [1], fp64_contents=[0.1]), struct.pack("<d", 0.1)),
    "BF16": (raw("BF16", [2], b"1234"), b"1234"),
    "NaN": (raw("FP16", [1], b"\x00\x7e"), b"\x00\x7e"),
}


@pytest.mark.parametrize(("message", "expected"), LEGAL.values(), ids=LEGAL)
def test_what_is_legal(codec: ModuleType, message: ModelInferRequest, expected: bytes) -> None:
    (tensor,) = codec.decode_request(message.SerializeToString()).inputs
    assert bytes(tensor.data) == expected


@pytest.mark.parametrize("name", ["priority", "timeout", "sequence_id"])
@pytest.mark.parametrize("choice", ["int64_param", "uint64_param"])
def test_whole_numbers_come_in_either_form(codec: ModuleType, name: str, choice: str) -> None:
    assert codec.decode_request(parameter(name, **{choice: 7}).SerializeToString()).parameters == {name: 7}


def test_other_parameters_may_have_any_type(codec: ModuleType) -> None:
    message = parameter("triton_x", string_param="a")
    message.parameters["sequence_id"].string_param = "s"
    assert codec.decode_request(message.SerializeToString()).parameters == {
        "triton_x": "a",
        "sequence_id": "s",
    }


def test_an_id_of_128_bytes_is_taken(codec: ModuleType) -> None:
    assert codec.decode_request(field(3, 2, b"i" * 128)).id == "i" * 128


@pytest.mark.parametrize(("tag", "what"), [(b"\x2a\x00", "inputs"), (b"\x32\x00", "requested outputs")])
def test_ten_thousand_tensors_are_refused(codec: ModuleType, tag: bytes, what: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^model 'm': expected at most 1024 {what}, came more$"):
        codec.decode_request(field(1, 2, b"m") + tag * 10_000)


def test_parameters_are_bounded_over_the_whole_request(codec: ModuleType) -> None:
    message = request()
    for i in range(70):
        tensor = message.inputs.add(name=f"x{i}", datatype="INT8", shape=[0])
        for j in range(250):
            tensor.parameters[f"p{j}"].bool_param = True
    with pytest.raises(
        InvalidRequest, match=r"^model 'm': expected at most 16384 parameters in all, came more$"
    ):
        codec.decode_request(message.SerializeToString())


def test_parameters_that_replace_each_other_are_bounded_too() -> None:
    with pytest.raises(InvalidRequest, match="expected at most 16384 parameters in all"):
        wire.decode_request(b"\x22\x00" * 20_000)


def test_names_in_messages_are_cut(codec: ModuleType) -> None:
    message = raw("INT8", [2], b"")
    message.model_name = "n" * 10_000
    message.inputs[0].name = "../" * 10_000
    with pytest.raises(InvalidRequest) as caught:
        codec.decode_request(message.SerializeToString())
    assert len(str(caught.value)) < 400


def test_the_first_rule_broken_is_the_same_for_both() -> None:
    message = raw("FP31", [-1], b"")
    message.parameters["priority"].string_param = "high"
    message.id = "i" * 200
    errors = []
    for decode in (wire.decode_request, plain.decode_request):
        with pytest.raises(InvalidRequest) as caught:
            decode(message.SerializeToString())
        errors.append(str(caught.value))
    assert errors[0] == errors[1] == "model 'm': expected an id of at most 128 bytes, came 200"
