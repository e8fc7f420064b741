"""Scores, vectors and casts over whole batches, against the plain definition of each, row by row."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from steelyard.models.bfloat16 import from_bfloat16
from steelyard.pipelines.outputs.casts import cast
from steelyard.pipelines.outputs.scores import best_index, best_indexes, sigmoid, softmax
from steelyard.pipelines.outputs.vectors import first_token, largest_of_tokens, mean_of_tokens, unit_length

Array = np.ndarray[Any, Any]

FLOAT_TYPES = st.sampled_from([np.float16, np.float32, np.float64])
NUMBER_TYPES = st.sampled_from(
    [np.float16, np.float32, np.float64, np.bool_]
    + [getattr(np, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=12)
# Few different values, so that there are ties, and every special one.
FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, math.nan, math.inf, -math.inf])
TOLERANCE = {np.dtype(np.float16): 2e-3, np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-12}


def floats(least: float | None = None, most: float | None = None) -> st.SearchStrategy[Array]:
    return FLOAT_TYPES.flatmap(
        lambda dtype: hnp.arrays(
            dtype, SHAPES, elements=st.floats(least, most, width=np.dtype(dtype).itemsize * 8)
        )
    )


def ranked(row: Sequence[Any]) -> list[int]:
    """Indexes from the best to the worst, as the definition has it."""
    missing = [value != value for value in row]
    return sorted(range(len(row)), key=lambda at: (missing[at], 0 if missing[at] else -row[at], at))


@given(floats(-60000, 60000))
@settings(deadline=None)
def test_softmax_is_its_definition(scores: Array) -> None:
    wide = scores.astype(np.longdouble)
    powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
    expected = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float64)
    made = softmax(scores)
    assert made.dtype == scores.dtype
    np.testing.assert_allclose(made, expected, rtol=0, atol=TOLERANCE[scores.dtype])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1.0, math.nan, 2.0], [math.nan] * 3),
        ([math.inf, 1.0, math.inf], [0.5, 0.0, 0.5]),
        ([-math.inf, -math.inf], [0.5, 0.5]),
        ([-math.inf, 3.0], [0.0, 1.0]),
        ([1e300, -1e300], [1.0, 0.0]),
    ],
)
def test_softmax_of_what_is_not_finite_is_defined(row: list[float], expected: list[float]) -> None:
    np.testing.assert_array_equal(softmax(np.array([row, [0.0] * len(row)]))[0], expected)


@given(floats())
@settings(deadline=None)
def test_softmax_and_sigmoid_take_any_number_without_a_warning(scores: Array) -> None:
    for made in (softmax(scores), sigmoid(scores)):
        assert made.shape == scores.shape
        assert made.dtype == scores.dtype
        told = made[~np.isnan(made)]
        assert ((told >= 0) & (told <= 1)).all()
    assert (np.isnan(sigmoid(scores)) == np.isnan(scores)).all()


@given(floats(-700, 700))
@settings(deadline=None)
def test_sigmoid_is_its_definition(scores: Array) -> None:
    expected = 1 / (1 + np.exp(-scores.astype(np.longdouble)))
    np.testing.assert_allclose(
        sigmoid(scores), expected.astype(np.float64), rtol=0, atol=TOLERANCE[scores.dtype]
    )


def test_softmax_of_no_classes_or_no_rows_is_empty() -> None:
    for shape in ((3, 0), (0, 3)):
        assert softmax(np.zeros(shape, np.float32)).shape == shape


@given(
    NUMBER_TYPES.flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            SHAPES,
            elements=FEW | st.floats(width=16)
            if np.dtype(dtype).kind == "f"
            else hnp.from_dtype(np.dtype(dtype)),
        )
    ),
    st.data(),
)
@settings(deadline=None)
def test_the_best_are_the_first_of_the_order_by_definition(scores: Array, data: st.DataObject) -> None:
    classes = scores.shape[-1]
    k = data.draw(st.integers(1, classes))
    made = best_indexes(scores, k).reshape(-1, k)
    rows = scores.reshape(-1, classes)
    for row, order in zip(rows.tolist(), made.tolist(), strict=True):
        assert order == ranked(row)[:k]
    assert best_index(scores).reshape(-1).tolist() == [ranked(row)[0] for row in rows.tolist()]
    assert best_indexes(scores, k).dtype == best_index(scores).dtype == np.int64


@pytest.mark.parametrize("k", [5, 64, 65, 90])
def test_few_or_many_of_many_classes_are_in_the_same_order(k: int) -> None:
    random = np.random.default_rng(k)
    scores = random.choice(np.array([0.0, -0.0, 1.0, math.nan, -math.inf, math.inf], np.float32), (7, 90))
    assert best_indexes(scores, k).tolist() == [ranked(row)[:k] for row in scores.tolist()]


vectors = FLOAT_TYPES.flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6),
        elements=st.floats(-100, 100, width=np.dtype(dtype).itemsize * 8),
    )
)


@given(vectors, st.data())
@settings(deadline=None)
def test_pooling_looks_at_the_tokens_of_the_mask_alone(tokens: Array, data: st.DataObject) -> None:
    mask = data.draw(hnp.arrays(np.int64, tokens.shape[:2], elements=st.integers(0, 1)))
    mean, largest = mean_of_tokens(tokens, mask), largest_of_tokens(tokens, mask)
    assert mean.dtype == largest.dtype == tokens.dtype
    for row, (content, counts) in enumerate(zip(tokens, mask.astype(bool), strict=True)):
        kept = content[counts].astype(np.float64)
        expected = kept.mean(axis=0) if len(kept) else np.zeros(tokens.shape[2])
        np.testing.assert_allclose(mean[row], expected, rtol=2e-3, atol=100 * TOLERANCE[tokens.dtype])
        assert (
            largest[row].tolist()
            == (content[counts].max(axis=0) if len(kept) else np.zeros(tokens.shape[2])).tolist()
        )


@given(vectors)
@settings(deadline=None)
def test_pooling_without_a_mask_takes_every_token(tokens: Array) -> None:
    every = np.ones(tokens.shape[:2], np.int32)
    assert mean_of_tokens(tokens, None).tolist() == mean_of_tokens(tokens, every).tolist()
    assert largest_of_tokens(tokens, None).tolist() == largest_of_tokens(tokens, every).tolist()
    assert first_token(tokens).tolist() == [row[0].tolist() for row in tokens]


@given(vectors, st.integers(1, 5))
@settings(deadline=None)
def test_padding_and_the_rest_of_the_batch_change_no_bit(tokens: Array, more: int) -> None:
    mask = np.ones(tokens.shape[:2], np.int64)
    padded = np.concatenate([tokens, np.full((len(tokens), more, tokens.shape[2]), 7, tokens.dtype)], axis=1)
    wider = np.concatenate([mask, np.zeros((len(tokens), more), np.int64)], axis=1)
    for pool in (mean_of_tokens, largest_of_tokens):
        whole = pool(tokens, mask)
        assert pool(padded, wider).tobytes() == whole.tobytes()
        for row in range(len(tokens)):
            assert (
                pool(tokens[row : row + 1], mask[row : row + 1]).tobytes() == whole[row : row + 1].tobytes()
            )
            assert unit_length(whole[row : row + 1]).tobytes() == unit_length(whole)[row : row + 1].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 2, 3, 17])
def test_padding_changes_no_bit_of_long_texts(dtype: type, width: int) -> None:
    tokens = np.random.default_rng(0).normal(size=(2, 70, width)).astype(dtype)
    for length in range(1, 70):
        own, mask = tokens[:, :length], np.ones((2, length), np.int64)
        wider = np.zeros((2, 70), np.int64)
        wider[:, :length] = 1
        assert mean_of_tokens(tokens, wider).tobytes() == mean_of_tokens(own, mask).tobytes()


def test_no_tokens_are_zeros() -> None:
    none = np.zeros((2, 0, 3), np.float32)
    assert mean_of_tokens(none, None).tolist() == largest_of_tokens(none, None).tolist() == [[0.0] * 3] * 2


@given(floats(-200, 200))
@settings(deadline=None)
def test_vectors_of_unit_length_have_it_or_are_zeros(given: Array) -> None:
    made = unit_length(given)
    norms = np.sqrt((given.astype(np.float64) ** 2).sum(axis=-1, keepdims=True))
    assert made.dtype == given.dtype
    expected = given / np.where(norms > 1e-5, norms, 1)
    usual = np.broadcast_to((norms > 1e-5) | (norms == 0), given.shape)
    np.testing.assert_allclose(made[usual], expected[usual], rtol=0, atol=2 * TOLERANCE[given.dtype])


INTEGERS = st.sampled_from(
    [getattr(np, f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)]
)


@given(
    NUMBER_TYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=2, max_side=6))),
    INTEGERS,
)
@settings(deadline=None)
def test_casts_to_integers_cut_to_the_range(values: Array, dtype: Any) -> None:
    limits = np.iinfo(dtype)
    made = cast(values, np.dtype(dtype))
    assert made.dtype == dtype
    for value, came in zip(values.ravel().tolist(), made.ravel().tolist(), strict=True):
        if value != value:
            assert came == 0
        else:
            cut = min(max(value, limits.min), limits.max)
            assert came == int(cut)


@given(NUMBER_TYPES.flatmap(lambda dtype: hnp.arrays(dtype, 5)), FLOAT_TYPES)
@settings(deadline=None)
def test_casts_to_floats_and_truth_are_those_of_numpy(values: Array, dtype: Any) -> None:
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(cast(values, np.dtype(dtype)), values.astype(dtype))
    assert cast(values, np.dtype(bool)).tolist() == [value != 0 for value in values.tolist()]


@given(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=8))
@settings(deadline=None)
def test_bfloat16_is_the_upper_half_of_a_float32(bits: list[int]) -> None:
    made = from_bfloat16(np.array(bits, np.uint16))
    assert made.view(np.uint32).tolist() == [value << 16 for value in bits]
