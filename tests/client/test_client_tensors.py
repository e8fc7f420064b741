"""Arrays of every datatype and layout become the protocol's raw form, and come back equal."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from steelyard.client.results import decode_response
from steelyard.client.tensors import Array, EncodedTensor, Tensor, encode_tensor
from steelyard.errors import InvalidRequest, SteelyardError
from steelyard.models.datatypes import DATATYPES
from steelyard.wire import encode_response

NUMERIC = [datatype for datatype in DATATYPES if datatype.name not in ("BF16", "BYTES")]
shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays(draw: st.DrawFn):
    """An array of any numeric datatype, in any byte order, possibly transposed or strided."""
    datatype = draw(st.sampled_from(NUMERIC))
    dtype = datatype.dtype.newbyteorder(draw(st.sampled_from("<>")))
    array = draw(npst.arrays(dtype, draw(shapes)))
    if draw(st.booleans()):
        array = array.T
    if array.ndim and draw(st.booleans()):
        array = array[::-1]
    return datatype, array


def answered(encoded: EncodedTensor) -> Array:
    """What comes of a tensor that is sent back as it came."""
    return decode_response(encode_response("m", "1", "", {}, [encoded]), 0, 1)[encoded.name]


@settings(deadline=None)
@given(arrays())
def test_numbers_there_and_back(made):
    datatype, array = made
    encoded = encode_tensor("X", array)
    assert (encoded.datatype, encoded.shape) == (datatype.name, array.shape)
    assert bytes(encoded.raw) == np.ascontiguousarray(array, dtype=datatype.dtype).tobytes()
    back = answered(encoded)
    assert back.shape == array.shape
    assert back.tobytes() == array.astype(datatype.dtype).tobytes()
    assert back.flags.aligned
    assert not back.flags.writeable


@settings(deadline=None)
@given(npst.arrays(object, shapes, elements=st.binary(max_size=5)))
def test_bytes_there_and_back(array):
    encoded = encode_tensor("X", array)
    assert encoded.datatype == "BYTES"
    back = answered(encoded)
    assert back.shape == array.shape
    assert back.tolist() == array.tolist()


@pytest.mark.parametrize(
    "array",
    [
        np.array([["ä", "b"]]),
        np.array([[b"\xc3\xa4", b"b"]]),
        np.array([["ä", b"b"]], dtype=object),
    ],
)
def test_text_is_sent_as_utf8(array):
    encoded = encode_tensor("X", array)
    assert (encoded.datatype, encoded.shape) == ("BYTES", (1, 2))
    assert answered(encoded).tolist() == [["ä".encode(), b"b"]]


def test_bfloat16_by_name_and_by_dtype():
    values = np.array([1.0, -2.5], dtype=ml_dtypes.bfloat16)
    bits = values.view(np.uint16)
    by_dtype, by_name = encode_tensor("X", values), encode_tensor("X", Tensor(bits, "BF16"))
    assert by_dtype.datatype == by_name.datatype == "BF16"
    assert bytes(by_dtype.raw) == bytes(by_name.raw) == bits.tobytes()
    back = answered(by_dtype)
    assert back.view(ml_dtypes.bfloat16).tolist() == [1.0, -2.5]


def test_contiguous_arrays_are_not_copied():
    array = np.zeros((4, 4), np.float32)
    assert np.shares_memory(np.frombuffer(encode_tensor("X", array).raw, np.float32), array)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "expected a numpy array, came list"),
        (np.zeros(2, np.complex64), "complex64 is no datatype"),
        (np.array(["2026-01-01"], dtype="datetime64[D]"), "is no datatype"),
        (np.array([1, "a"], dtype=object), "expected elements of str or bytes, came int"),
        (np.array(["\ud800"], dtype=object), "UTF-8"),
        (Tensor(np.zeros(2, np.float32), "BF16"), "expected an array of uint16 for BF16, came float32"),
        (Tensor(np.zeros(2, np.float32), "FP99"), "came 'FP99'"),
        (Tensor(np.zeros(2, np.float32), "BYTES"), "expected an array of str or bytes for BYTES"),
    ],
)
def test_what_the_protocol_cannot_carry(value, message: str):
    with pytest.raises(InvalidRequest, match=message) as caught:
        encode_tensor("X", value)
    assert "'X'" in str(caught.value)


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [("FP32", (2,), b"1234"), ("FP32", (1,), b"123"), ("FP32", (-1, -1), b"1234"), ("X", (1,), b""),
     ("BYTES", (1,), b"\x05\0\0\0a"), ("BYTES", (2,), b"\0\0\0\0"), ("BOOL", (1,), b"\2")],
)  # fmt: skip
def test_answers_that_do_not_fit(datatype: str, shape: tuple[int, ...], raw: bytes):
    with pytest.raises(SteelyardError, match="output 'Y': the answer has"):
        decode_response(encode_response("m", "1", "", {}, [("Y", datatype, shape, raw)]), 0, 1)
