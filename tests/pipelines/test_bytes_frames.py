"""Frames of sound: every way to send them, and what is done about wrong sizes."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.errors import InvalidRequest, ManifestError
from steelyard.models.datatypes import BY_NAME
from steelyard.models.spec import TensorSpec
from steelyard.pipelines.bytes.frames import FramesPreparer, FramesStep, compile_frames
from steelyard.pipelines.plan import INLINE_BYTES
from steelyard.pipelines.prepared import Preparation
from tests.pipelines.tensors import of_array, of_bytes

Array = np.ndarray[Any, Any]

SOUND = TensorSpec("sound", "BYTES", (-1,))


def preparer(
    samples: int = 4,
    source: TensorSpec = SOUND,
    target: str = "FP32",
    **options: Any,
) -> FramesPreparer:
    step = FramesStep(step="frames", samples=samples, **options)
    return compile_frames(step, source, TensorSpec("input", target, (-1, samples)))


def filled(made: Preparation, target: str = "FP32") -> Array:
    (tensor,) = made.tensors
    array = np.empty(tensor.shape, BY_NAME[target].dtype)
    tensor.fill(array)
    assert tensor.held_bytes == array.nbytes
    return array


s16 = st.integers(-32768, 32767)


@given(st.lists(st.lists(s16, min_size=4, max_size=4), max_size=5), st.sampled_from(["FP16", "FP32", "FP64"]))
@settings(deadline=None)
def test_s16_is_divided_by_32768(rows: list[list[int]], target: str) -> None:
    expected = [[value / 32768 for value in row] for row in rows]
    packed = preparer(target=target, encoding="s16").prepare(
        [of_bytes([struct.pack("<4h", *row) for row in rows])], len(rows)
    )
    array = np.array(rows, "<i2").reshape(len(rows), 4)
    plain = preparer(source=TensorSpec("sound", "INT16", (-1, 4)), target=target).prepare(
        [of_array(array, "INT16")], len(rows)
    )
    for made in (packed, plain):
        assert not made.problems
        np.testing.assert_allclose(
            filled(made, target), np.reshape(expected, (len(rows), 4)), rtol=1e-3 if target == "FP16" else 0
        )


@given(st.lists(st.lists(st.floats(width=32), min_size=4, max_size=4), max_size=5))
@settings(deadline=None)
def test_f32_comes_as_it_is(rows: list[list[float]]) -> None:
    array = np.array(rows, "<f4").reshape(len(rows), 4)
    packed = preparer(encoding="f32").prepare([of_bytes([row.tobytes() for row in array])], len(rows))
    plain = preparer(source=TensorSpec("sound", "FP32", (-1, 4))).prepare(
        [of_array(array, "FP32")], len(rows)
    )
    assert filled(packed).tobytes() == filled(plain).tobytes() == array.tobytes()


@given(st.lists(st.binary(max_size=12), max_size=6), st.sampled_from(["refuse", "pad"]))
@settings(deadline=None)
def test_a_row_of_a_wrong_size_is_a_problem_of_its_own(elements: list[bytes], short: str) -> None:
    made = preparer(encoding="s16", short=short).prepare([of_bytes(elements)], len(elements))
    array = filled(made)
    bad = {problem.row: problem for problem in made.problems}
    for row, element in enumerate(elements):
        good = len(element) % 2 == 0 and (len(element) == 8 or (short == "pad" and len(element) < 8))
        assert good == (row not in bad)
        heard = np.frombuffer(element, "<i2") / 32768 if good else []
        assert array[row].tolist() == [*heard, *[0.0] * (4 - len(heard))]
        if not good:
            assert bad[row].column == "sound"
            assert bad[row].rule == "size"
            assert bad[row].value == f"{len(element)} bytes"
            assert bad[row].expected == f"{'at most ' if short == 'pad' else ''}4 samples of 2 bytes"


def test_a_tensor_of_another_length_is_padded_or_refused() -> None:
    source = TensorSpec("sound", "INT16", (-1, -1))
    short = of_array(np.array([[16384, -32768]], "<i2"), "INT16")
    assert filled(preparer(source=source, short="pad").prepare([short], 1)).tolist() == [
        [0.5, -1.0, 0.0, 0.0]
    ]
    with pytest.raises(InvalidRequest, match="input 'sound': expected 4 samples in a row, got 2"):
        preparer(source=source).prepare([short], 1)
    long = of_array(np.zeros((1, 5), "<i2"), "INT16")
    with pytest.raises(InvalidRequest, match="expected at most 4 samples in a row, got 5"):
        preparer(source=source, short="pad").prepare([long], 1)


def test_data_that_is_none_and_rows_beyond_the_bound_fail_the_request() -> None:
    with pytest.raises(InvalidRequest, match="input 'sound': expected 2 elements"):
        preparer(encoding="s16").prepare([of_bytes([b"x"])], 2)
    large = preparer(1 << 20, encoding="s16", short="pad")
    with pytest.raises(
        InvalidRequest, match=r"expected rows that make at most \d+ bytes, 65 rows of 1048576"
    ):
        large.prepare([of_bytes([b""] * 65)], 65)
    assert large.looks_at(100, 8) > INLINE_BYTES
    assert preparer(512, encoding="s16").looks_at(100, 8) < INLINE_BYTES


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        (SOUND, "FP32", {}, "expected encoding for BYTES"),
        (TensorSpec("sound", "BYTES", (-1, 2)), "FP32", {"encoding": "s16"}, "expected BYTES of [-1], got [-1, 2]"),
        (TensorSpec("sound", "INT32", (-1, 4)), "FP32", {}, "or INT16 or FP32 of [-1, -1], got INT32 of [-1, 4]"),
        (TensorSpec("sound", "INT16", (-1,)), "FP32", {}, "got INT16 of [-1]"),
        (TensorSpec("sound", "INT16", (-1, 4)), "FP32", {"encoding": "f32"}, "encoding 'f32' is not that of INT16"),
        (TensorSpec("sound", "INT16", (-1, 3)), "FP32", {}, "makes frames of 4 samples, callers send 3"),
        (TensorSpec("sound", "INT16", (-1, 5)), "FP32", {"short": "pad"}, "callers send 5"),
        (SOUND, "INT16", {"encoding": "s16"}, "the model's input 'input' expects INT16 of [-1, 4]"),
    ],
)  # fmt: skip
def test_what_does_not_meet_is_named_with_the_input_and_the_step(
    source: TensorSpec, target: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        preparer(source=source, target=target, **options)
    assert str(caught.value).startswith("input 'sound': step 'frames': ")
    assert message in str(caught.value)
