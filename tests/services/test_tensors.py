"""Every tensor type and shape that the protocol carries, there and back, and what is refused of the rest."""

from typing import Any

import grpc
import numpy as np
import pytest

from steelyard.wire import encode_bytes_tensor
from steelyard.wire.generated import grpc_service as pb
from tests.support.asking import Asker, arrays, request

INVALID = grpc.StatusCode.INVALID_ARGUMENT

VALUES: dict[str, np.ndarray[Any, Any]] = {
    "BOOL": np.array([[True, False, True, True]]),
    "UINT8": np.array([[0, 1, 254, 255]], np.uint8),
    "UINT16": np.array([[0, 1, 65534, 65535]], np.uint16),
    "UINT32": np.array([[0, 1, 2, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 1, 2, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, -1, 0, 127]], np.int8),
    "INT16": np.array([[-32768, -1, 0, 32767]], np.int16),
    "INT32": np.array([[-(2**31), -1, 0, 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), -1, 0, 2**63 - 1]], np.int64),
    "FP16": np.array([[0.5, -65504, np.inf, np.nan]], np.float16),
    "FP32": np.array([[1e-45, -np.inf, np.inf, np.nan]], np.float32),
    "FP64": np.array([[5e-324, -np.inf, np.inf, np.nan]], np.float64),
    "BF16": np.array([[0x3F80, 0xBF80, 0x7F80, 0x7FC0]], np.uint16),
    "BYTES": np.array([["", "plain", "Grüße 称", "a" * 300]], object),
}

CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def as_sent(array: np.ndarray[Any, Any]) -> list[bytes]:
    return [text.encode() for text in array.ravel().tolist()]


@pytest.mark.parametrize("datatype", VALUES)
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_raw_contents_come_back_as_they_were(ask: Asker, datatype: str, rows: int) -> None:
    sent = np.repeat(VALUES[datatype], rows, axis=0)
    body = request(f"same_{datatype.lower()}", {"x": sent}, datatypes={"x": datatype})
    response = ask.call("ModelInfer", body)
    (output,) = response.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", datatype, [rows, 4])
    assert response.raw_output_contents[0] == body.raw_input_contents[0]


@pytest.mark.parametrize("datatype", CONTENTS)
def test_typed_contents_are_the_same_as_raw_ones(ask: Asker, datatype: str) -> None:
    message = pb.ModelInferRequest(model_name=f"same_{datatype.lower()}")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[1, 4])
    values = as_sent(VALUES[datatype]) if datatype == "BYTES" else VALUES[datatype].ravel().tolist()
    getattr(tensor.contents, CONTENTS[datatype]).extend(values)
    response = ask.call("ModelInfer", message)
    as_raw = request(f"same_{datatype.lower()}", {"x": VALUES[datatype]}, datatypes={"x": datatype})
    assert response.raw_output_contents[0] == as_raw.raw_input_contents[0]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_are_raw_only(ask: Asker, datatype: str) -> None:
    message = pb.ModelInferRequest(model_name=f"same_{datatype.lower()}")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[1, 4])
    tensor.contents.fp32_contents.extend([1.0] * 4)
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in (f"same_{datatype.lower()}", "'x'", datatype, "raw_input_contents"):
        assert part in refusal.message


@pytest.mark.parametrize(
    ("datatype", "field", "value"),
    [
        ("INT8", "int_contents", 128),
        ("INT8", "int_contents", -129),
        ("INT16", "int_contents", 32768),
        ("UINT8", "uint_contents", 256),
        ("UINT16", "uint_contents", 65536),
    ],
)
def test_a_typed_value_out_of_range(ask: Asker, datatype: str, field: str, value: int) -> None:
    message = pb.ModelInferRequest(model_name=f"same_{datatype.lower()}")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[1, 4])
    getattr(tensor.contents, field).extend([0, 0, value, 0])
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in (f"same_{datatype.lower()}", "'x'", datatype, str(value), "index 2"):
        assert part in refusal.message


def test_a_typed_list_of_the_wrong_type(ask: Asker) -> None:
    message = pb.ModelInferRequest(model_name="double")
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp64_contents.extend([1.0] * 4)
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'double'", "'x'", "fp32_contents", "fp64_contents"):
        assert part in refusal.message


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_typed_tensor_shorter_or_longer_than_its_shape(ask: Asker, count: int) -> None:
    message = pb.ModelInferRequest(model_name="double")
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend([1.0] * count)
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'double'", "'x'", "expected 4 elements", f"came {count}"):
        assert part in refusal.message


@pytest.mark.parametrize("size", [0, 12, 15, 17, 20, 32])
def test_a_raw_tensor_shorter_or_longer_than_its_shape(ask: Asker, size: int) -> None:
    message = request("double", {"x": np.zeros((1, 4), np.float32)})
    message.raw_input_contents[0] = bytes(size)
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'double'", "'x'", "FP32 [1, 4]", "expected 16 bytes", f"came {size}"):
        assert part in refusal.message


def test_raw_and_typed_contents_may_not_be_mixed(ask: Asker) -> None:
    message = request("pair", {"a": np.zeros((1, 3), np.float32)})
    tensor = message.inputs.add(name="b", datatype="FP32", shape=[1, 3])
    tensor.contents.fp32_contents.extend([1.0] * 3)
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'pair'", "'b'", "contents", "raw_input_contents", "both"):
        assert part in refusal.message


@pytest.mark.parametrize("count", [1, 3])
def test_raw_contents_have_one_entry_an_input(ask: Asker, count: int) -> None:
    message = request("pair", {"a": np.zeros((1, 3), np.float32), "b": np.zeros((1, 3), np.float32)})
    del message.raw_input_contents[:]
    message.raw_input_contents.extend([bytes(12)] * count)
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'pair'", "expected 2 entries of raw_input_contents", f"came {count}"):
        assert part in refusal.message


@pytest.mark.parametrize("value", [2, 255])
def test_a_boolean_is_0_or_1(ask: Asker, value: int) -> None:
    message = request("same_bool", {"x": np.array([[True, False, True, False]])})
    message.raw_input_contents[0] = bytes([1, 0, value, 0])
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'same_bool'", "'x'", f"came {value}", "index 2"):
        assert part in refusal.message


ELEMENTS = encode_bytes_tensor([b"one", b"two", b"three", b"four"])


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (ELEMENTS[:-1], ["expected 4 bytes of BYTES element 3", "came 3"]),
        (ELEMENTS[:-6], ["expected a length of 4 bytes before BYTES element 3", "came 2 bytes"]),
        (ELEMENTS + b"\0", ["expected 4 BYTES elements", "1 bytes more"]),
        (ELEMENTS + encode_bytes_tensor([b"five"]), ["expected 4 BYTES elements", "8 bytes more"]),
        (b"", ["before BYTES element 0"]),
        (b"\xff\xff\xff\xff" + ELEMENTS, ["expected 4294967295 bytes of BYTES element 0"]),
        (b"\xff\xff\xff\x7f" + ELEMENTS, ["expected 2147483647 bytes of BYTES element 0"]),
    ],
)
def test_raw_strings_with_wrong_lengths(ask: Asker, content: bytes, parts: list[str]) -> None:
    message = request("same_bytes", {"x": VALUES["BYTES"]})
    message.raw_input_contents[0] = content
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'same_bytes'", "'x'", *parts):
        assert part in refusal.message


def test_a_zero_byte_inside_a_string_is_data(ask: Asker) -> None:
    sent = np.array([["a\0b", "\0", "c\0", "\0d"]], object)
    assert arrays(ask.call("ModelInfer", request("same_bytes", {"x": sent})))[
        "y"
    ].ravel().tolist() == as_sent(sent)


def test_bytes_that_are_no_text_are_refused_and_not_a_failure(ask: Asker) -> None:
    message = request("same_bytes", {"x": VALUES["BYTES"]})
    message.raw_input_contents[0] = encode_bytes_tensor([b"fine", b"\xff\xfe", b"fine", b"fine"])
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'same_bytes'", "'x'", "UTF-8", "element 1"):
        assert part in refusal.message


def test_nan_and_infinities_are_data(ask: Asker) -> None:
    sent = np.array([[np.nan, np.inf, -np.inf, 0.0]], np.float32)
    assert np.array_equal(ask.infer("double", {"x": sent})["y"], sent, equal_nan=True)


def test_a_scalar(ask: Asker) -> None:
    response = ask.call("ModelInfer", request("scalar", {"x": np.array(2.5, np.float32)}))
    assert list(response.outputs[0].shape) == []
    assert arrays(response)["y"] == np.float32(2.5)


def test_an_output_that_is_a_scalar_although_the_input_is_not(ask: Asker) -> None:
    response = ask.call("ModelInfer", request("total", {"x": np.ones((3, 4), np.float32)}))
    assert list(response.outputs[0].shape) == []
    assert arrays(response)["y"] == 12


def test_a_model_without_a_batch_axis(ask: Asker) -> None:
    sent = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(ask.infer("fixed", {"x": sent})["y"], sent)
    texts = np.array(["a", "b", "c"], object)
    assert ask.infer("fixed_strings", {"x": texts})["y"].tolist() == [b"a", b"b", b"c"]


@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 3, 0), (0, 0, 0)])
def test_a_dimension_of_size_zero(ask: Asker, shape: tuple[int, ...]) -> None:
    assert ask.infer("open", {"x": np.zeros(shape, np.float32)})["y"].shape == shape


@pytest.mark.parametrize("model", ["same_bytes", "same_bf16", "same_bool", "same_fp32", "dynamic", "noisy"])
def test_no_rows_at_all(ask: Asker, model: str) -> None:
    width = 8 if model == "dynamic" else 4
    datatype = {"same_bytes": "BYTES", "same_bf16": "BF16", "same_bool": "BOOL"}.get(model, "FP32")
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype=datatype, shape=[0, width])
    message.raw_input_contents.append(b"")
    response = ask.call("ModelInfer", message)
    assert list(response.outputs[0].shape) == [0, width]
    assert list(response.raw_output_contents) == [b""]


@pytest.mark.parametrize("shape", [[2**31 - 1, 0, 2], [0, 2**31 - 1, 2], [2**20, 0, 2**20]])
def test_dimensions_beside_a_zero_are_bounded(ask: Asker, shape: list[int]) -> None:
    """No data comes with them, but a model may well make some."""
    message = pb.ModelInferRequest(model_name="open")
    message.inputs.add(name="x", datatype="FP32", shape=shape)
    message.raw_input_contents.append(b"")
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'open'", "'x'", str(max(shape))):
        assert part in refusal.message


def test_rows_without_data_do_not_become_gigabytes(ask: Asker) -> None:
    message = pb.ModelInferRequest(model_name="row_sums")
    message.inputs.add(name="x", datatype="FP32", shape=[2**31 - 1, 0])
    message.raw_input_contents.append(b"")
    assert ask.refused(message).code is INVALID
    message.inputs[0].shape[0] = 1000
    assert np.array_equal(arrays(ask.call("ModelInfer", message))["y"], np.zeros(1000))


@pytest.mark.parametrize(
    "shape",
    [
        [2**62],
        [2**62, 4],
        [-1, 4],
        [1, -4],
        [-(2**63), 4],
        [2**63 - 1, 4],
        [2**31, 2**31, 2**31],
        [2**32, 2**32, 4],
        [65536, 65536, 65536, 65536],
        [1] * 33,
        [1] * 5000,
        [0, 2**62],
    ],
)
def test_dimensions_that_cannot_be(ask: Asker, shape: list[int]) -> None:
    message = pb.ModelInferRequest(model_name="double")
    message.inputs.add(name="x", datatype="FP32", shape=shape)
    message.raw_input_contents.append(bytes(16))
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    assert "'double'" in refusal.message
    assert "'x'" in refusal.message
    assert "expected" in refusal.message


@pytest.mark.parametrize(
    ("name", "datatype", "shape", "parts"),
    [
        ("z", "FP32", [1, 4], ["expected inputs of 'x'", "came 'z'"]),
        ("", "FP32", [1, 4], ["expected inputs of 'x'", "came ''"]),
        ("x", "FP64", [1, 2], ["'x'", "expected datatype FP32", "came FP64"]),
        ("x", "fp32", [1, 4], ["'x'", "expected a datatype", "came 'fp32'"]),
        ("x", "", [1, 4], ["'x'", "expected a datatype", "came ''"]),
        ("x", "FP32", [4], ["'x'", "expected 2 dimensions", "came 1", "[4]"]),
        ("x", "FP32", [], ["'x'"]),
        ("x", "FP32", [1, 2, 2], ["'x'", "expected 2 dimensions", "came 3", "[1, 2, 2]"]),
        ("x", "FP32", [2, 2], ["'x'", "dimension 1", "to be 4", "came [2, 2]"]),
    ],
)
def test_an_input_that_does_not_fit(
    ask: Asker, name: str, datatype: str, shape: list[int], parts: list[str]
) -> None:
    message = pb.ModelInferRequest(model_name="double")
    message.inputs.add(name=name, datatype=datatype, shape=shape)
    message.raw_input_contents.append(bytes(16 if shape else 4))
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'double'", *parts):
        assert part in refusal.message


def test_a_missing_input_a_doubled_one_and_different_rows(ask: Asker) -> None:
    three = np.zeros((1, 3), np.float32)
    missing = ask.refused(request("pair", {"a": three}))
    assert missing.code is INVALID
    assert "'b'" in missing.message
    doubled = request("pair", {"a": three, "b": three})
    doubled.inputs[1].name = "a"
    refusal = ask.refused(doubled)
    assert refusal.code is INVALID
    assert "each input once" in refusal.message
    rows = ask.refused(request("pair", {"a": three, "b": np.zeros((2, 3), np.float32)}))
    assert rows.code is INVALID
    for part in ("'pair'", "'b'", "expected 1 rows", "came 2"):
        assert part in rows.message
    nothing = ask.refused(pb.ModelInferRequest(model_name="pair"))
    assert nothing.code is INVALID
    assert "'a'" in nothing.message


def test_inputs_in_any_order(ask: Asker) -> None:
    a, b = np.full((1, 3), 5, np.float32), np.full((1, 3), 2, np.float32)
    assert ask.infer("pair", {"b": b, "a": a})["difference"].tolist() == [[3.0] * 3]


def test_ten_thousand_inputs(ask: Asker) -> None:
    message = pb.ModelInferRequest(model_name="double")
    for index in range(10_000):
        message.inputs.add(name=f"x{index}", datatype="FP32", shape=[1, 4])
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'double'", "at most 1024 inputs", "came"):
        assert part in refusal.message


def test_an_output_whose_declared_shape_is_wrong(ask: Asker) -> None:
    for width in (8, 3, 20, 8):
        sent = np.random.default_rng(width).random((2, width), np.float32)
        assert np.array_equal(ask.infer("misdeclared", {"x": sent})["y"], sent)


def test_an_output_with_rows_of_its_own(ask: Asker) -> None:
    for values, expected in ([3, 1, 2], [1, 2, 3]), ([5, 5, 5, 5], [5]), ([7], [7]), ([], []):
        found = ask.infer("distinct", {"x": np.array(values, np.int64)})["y"]
        assert found.tolist() == expected


def test_shared_memory_is_not_there(ask: Asker) -> None:
    message = request("double", {"x": np.zeros((1, 4), np.float32)})
    message.inputs[0].parameters["shared_memory_region"].string_param = "region"
    del message.raw_input_contents[:]
    refusal = ask.refused(message)
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED
    assert "'double'" in refusal.message
    assert "'x'" in refusal.message
