"""A candidate's answer against the primary's: what agrees, what is broken, and how badly."""

import math
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steelyard.errors import ManifestError
from steelyard.models.bfloat16 import to_bfloat16
from steelyard.models.datatypes import DATATYPES
from steelyard.models.rollout import CompareRule
from steelyard.rollout.comparison import Comparison, Pair, compile_rules
from steelyard.rollout.rules.breach import grade_of
from steelyard.rollout.sides import BLOCK_VALUES


def output(name: str, datatype: str = "FP32") -> Any:
    return SimpleNamespace(name=name, datatype=datatype)


def rules(
    *given: dict[str, Any], datatype: str = "FP32", tolerances: dict[str, Any] | None = None
) -> Comparison:
    return compile_rules(
        [CompareRule.model_validate(rule) for rule in given], [output("x", datatype)], tolerances or {}
    )


def compared(
    rule: dict[str, Any], primary: Any, candidate: Any, rows: int | None = 1, datatype="FP32"
) -> Pair:
    dtype = next(known.dtype for known in DATATYPES if known.name == datatype)
    return rules(rule, datatype=datatype).compare(
        {"x": np.array(primary, dtype)}, {"x": np.array(candidate, dtype)}, rows
    )


CLOSE = {"output": "x", "absolute": 0.1, "relative": 0.01}


def test_what_is_within_the_tolerance_is_close_and_what_is_beyond_is_graded_by_how_far():
    assert compared(CLOSE, [[1.0, 100.0]], [[1.1, 101.05]]).agrees
    slightly = compared(CLOSE, [[1.0, 100.0]], [[1.0, 101.2]])
    assert slightly.broken == ("close x",)
    assert 0 < slightly.severity < 1
    assert slightly.error["x"].max_absolute == pytest.approx(1.2, rel=1e-5)
    assert slightly.error["x"].max_relative == pytest.approx(0.012, rel=1e-5)
    by_twenty = compared(CLOSE, [[0.0]], [[2.0]])
    assert by_twenty.severity == pytest.approx(math.log10(20))
    assert compared(CLOSE, [[0.0]], [[1e30]]).severity == 3
    assert compared({"output": "x", "absolute": 0.0, "relative": 0.0}, [[0.0]], [[1e-30]]).severity == 3


def test_without_rules_floats_are_close_by_what_was_calibrated_and_the_rest_is_equal():
    outputs = [output("logits"), output("label", "INT64"), output("name", "BYTES")]
    comparison = compile_rules([], outputs, {"logits": (0.5, 0.0)})
    assert comparison.names == ("close logits", "equal label", "equal name")
    primary = {
        "logits": np.array([[1.0]], np.float32),
        "label": np.array([[2**60]]),
        "name": np.array([[b"cat"]], object),
    }
    assert comparison.compare(primary, primary | {"logits": np.array([[1.4]], np.float32)}, 1).agrees
    pair = comparison.compare(
        primary, primary | {"label": np.array([[2**60 + 1]]), "name": np.array([[b"dog"]], object)}, 1
    )
    assert pair.broken == ("equal label", "equal name")
    assert grade_of(pair.severity) == "large"
    assert pair.error["label"].max_absolute == 1
    assert "name" not in pair.error
    uncalibrated = compile_rules([], outputs, {})
    assert not uncalibrated.compare(primary, primary | {"logits": np.array([[1.4]], np.float32)}, 1).agrees


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        ({}, "has none"),
        ({"x": np.zeros((2, 4), np.float32)}, r"expected shape \[2, 3\], came \[2, 4\]"),
        ({"x": np.zeros((2, 3))}, "expected float32, came float64"),
        ({"x": np.array([[0, 0, 0], [0, np.nan, 0]], np.float32)}, "one side only"),
        ({"x": np.array([[0, 0, 0], [0, -np.inf, 0]], np.float32)}, "one side only"),
        ({"x": np.array(0, np.float32)}, "expected shape"),
        ({"x": np.full((2, 3), b"", object)}, "came object"),
    ],
    ids=["missing", "shape", "dtype", "nan", "infinite", "scalar", "bytes"],
)
@pytest.mark.parametrize(
    "rule",
    [
        {"output": "x"},
        {"output": "x", "rule": "equal"},
        {"output": "x", "rule": "cosine"},
        {"output": "x", "rule": "top_1"},
        {"output": "x", "rule": "top_k", "k": 2},
        {"output": "x", "rule": "ranking"},
        {"rule": "expression", "expression": "all(primary.x == candidate.x)"},
        None,
    ],
    ids=lambda rule: rule.get("rule", "close") if rule else "none",
)
def test_what_cannot_be_compared_is_of_the_worst_grade(rule, candidate, says):
    comparison = (
        rules(rule)
        if rule
        else compile_rules([CompareRule(output="y", rule="close")], [output("x"), output("y")], {})
    )
    pair = comparison.compare({"x": np.zeros((2, 3), np.float32)}, candidate, 2)
    assert not pair.agrees
    assert pair.severity == math.inf
    assert grade_of(pair.severity) == "worst"
    assert set(pair.broken) <= set(comparison.names)
    if rule is None or rule.get("rule") != "expression":
        (why,) = pair.why.values()
        assert re.search(says, why)


def test_only_what_the_primary_answered_is_compared():
    comparison = compile_rules(
        [
            CompareRule(output="x"),
            CompareRule(output="y"),
            CompareRule(rule="expression", expression="all(primary.y == candidate.y)"),
        ],
        [output("x"), output("y")],
        {},
    )
    x = np.zeros((1, 2), np.float32)
    assert comparison.compare({"x": x}, {"x": x, "y": x, "z": x}, 1).agrees
    pair = comparison.compare({"x": x, "y": x}, {"x": x}, 1)
    assert pair.broken == ("close y", "expression 3")


def test_nan_and_infinities_at_the_same_places_agree():
    same = [[np.nan, np.inf, -np.inf, 1.0]]
    for rule in (CLOSE, *({"output": "x", "rule": rule} for rule in ("equal", "cosine", "top_1", "ranking"))):
        assert compared(rule, same, same).agrees, rule
    assert compared({"output": "x", "rule": "top_k", "k": 2}, same, same).agrees
    assert not compared(CLOSE, [[np.inf]], [[-np.inf]]).agrees
    assert not compared(CLOSE, [[np.nan, 1.0]], [[np.nan, 2.0]]).agrees


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (0, 0, 4)])
@pytest.mark.parametrize("rule", ["close", "equal", "cosine", "top_1", "top_k", "ranking"])
def test_empty_tensors_agree(rule, shape):
    given = {"output": "x", "rule": rule} | ({"k": 1} if rule == "top_k" else {})
    for rows in (None, shape[0]):
        assert compared(given, np.zeros(shape), np.zeros(shape), rows).agrees
    expression = rules({"rule": "expression", "expression": "max(primary.x) == max(candidate.x)"})
    empty = {"x": np.zeros(shape, np.float32)}
    assert expression.compare(empty, empty, shape[0]).agrees


def test_cosine_holds_each_row_and_defines_zero_vectors():
    rule = {"output": "x", "rule": "cosine", "least": 0.9}
    assert compared(rule, [[1, 0], [0, 0]], [[2, 0.1], [0, 0]], 2).agrees
    pair = compared(rule, [[1, 0], [1, 1]], [[1, 0], [1, -1]], 2)
    assert pair.broken == ("cosine x",)
    assert pair.severity == pytest.approx(1)
    assert compared(rule, [[1, 0]], [[0, 0]]).severity == pytest.approx(1)
    # Without rows all is one vector.
    assert compared(rule, [[1, 0], [0, 0.01]], [[1, 0], [0, -0.01]], None).agrees
    huge = {"x": np.full((1, 3), 1e300)}
    assert rules(rule | {"least": 1.0}, datatype="FP64").compare(huge, huge, 1).agrees


def test_the_winner_may_change_where_the_primary_has_as_good_as_a_tie():
    rule = {"output": "x", "rule": "top_1"}
    assert compared(rule, [[1.0, 3.0, 3.0001]], [[1.0, 3.1, 3.0]]).agrees
    pair = compared(rule, [[1.0, 3.0, 2.0], [0, 0, 1]], [[1.0, 2.0, 3.0], [0, 0, 9]], 2)
    assert pair.severity == 2.5
    assert pair.why == {"top_1 x": "1 of 2 winners changed"}
    # A candidate that says the same of everything is not taken to agree.
    assert not compared(rule, [[1.0, 3.0, 2.0]], [[0, 0, 0]]).agrees
    # Along the last axis, for each place of a row.
    assert compared(rule, [[[1, 2], [4, 3]]], [[[3, 4], [9, 0]]]).agrees
    assert not compared(rule, [[[1, 2], [4, 3]]], [[[3, 4], [0, 9]]]).agrees


def test_the_top_k_count_in_any_order_and_ties_at_the_last_place_are_nobodys_fault():
    rule = {"output": "x", "rule": "top_k", "k": 2}
    assert compared(rule, [[5, 4, 3, 2]], [[4, 5, 3, 2]]).agrees
    pair = compared(rule, [[5, 4, 3, 2]], [[5, 3, 4, 2]])
    assert pair.severity == 1.5
    assert compared(rule | {"least": 0.5}, [[5, 4, 3, 2]], [[5, 3, 4, 2]]).agrees
    assert compared(rule, [[5, 4, 4, 2]], [[5, 3, 4, 2]]).agrees
    assert compared(rule, [[5, 4, 4.0001, 2]], [[5, 4.1, 4, 2]]).agrees
    assert compared(rule, [[5, 4, 3, 2]], [[5, 4, 4, 2]]).agrees
    assert not compared(rule, [[5, 4, 3, 2]], [[1, 1, 1, 1]]).agrees
    assert compared(rule, [[1, 1, 1, 1]], [[1, 1, 1, 1]]).agrees
    assert compared(rule | {"k": 9}, [[5, 4, 3, 2]], [[2, 3, 4, 5]]).agrees


def test_ranking_is_spearmans_correlation():
    rule = {"output": "x", "rule": "ranking", "least": 0.8}
    assert compared(rule, [[1, 2, 3, 4, 5]], [[10, 30, 20, 40, 50]]).agrees  # 1 - 6 * 2 / (5 * 24) = 0.9
    reversed_order = compared(rule, [[1, 2, 3, 4, 5]], [[5, 4, 3, 2, 1]])
    assert reversed_order.severity == pytest.approx(1)
    # Ties share their rank: ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3 are 4.5 / sqrt(4.5 * 5).
    tied = {"output": "x", "rule": "ranking"}
    assert compared(tied | {"least": 0.948}, [[1, 2, 2, 3]], [[1, 2, 3, 4]]).agrees
    assert not compared(tied | {"least": 0.949}, [[1, 2, 2, 3]], [[1, 2, 3, 4]]).agrees
    assert compared(tied, [[7, 7]], [[8, 8]]).agrees
    assert not compared(tied, [[7, 7]], [[8, 9]]).agrees


def test_bf16_are_numbers_and_not_their_bits():
    values = np.array([[1.0, -2.0, 0.0]], np.float32)
    comparison = compile_rules(
        [
            CompareRule(output="x"),
            CompareRule(rule="expression", expression="all(abs(primary.x - candidate.x) < 0.01)"),
        ],
        [output("x", "BF16")],
        {},
    )
    pair = comparison.compare({"x": to_bfloat16(values)}, {"x": to_bfloat16(values * 1.5)}, 1)
    assert pair.error["x"].max_absolute == 1.0
    assert len(pair.broken) == 2
    negative_zero = values * np.array([1, 1, -1], np.float32)
    assert comparison.compare({"x": to_bfloat16(values)}, {"x": to_bfloat16(negative_zero)}, 1).agrees


def test_whole_numbers_of_64_bits_differ_exactly():
    for datatype, primary, candidate in (
        ("INT64", [-(2**63)], [2**63 - 1]),
        ("UINT64", [2**64 - 1], [0]),
    ):
        assert (
            compared({"output": "x"}, primary, candidate, None, datatype).error["x"].max_absolute == 2.0**64
        )
    close = {"output": "x", "absolute": 0.5}
    assert not compared(close, [2**62], [2**62 + 1], None, "INT64").agrees


@pytest.mark.parametrize(
    ("rule", "datatype", "says"),
    [
        ({"output": "y"}, "FP32", "expected one of the outputs x, came 'y'"),
        ({"output": "x", "rule": "top_k", "k": 3}, "BYTES", "needs numbers, output x is BYTES"),
        ({"output": "x", "rule": "close"}, "BOOL", "needs numbers, output x is BOOL"),
        ({"rule": "expression", "expression": "primary.x =="}, "FP32", "column"),
        ({"output": "x", "name": "form x", "rule": "equal"}, "FP32", None),
    ],
)
def test_a_rule_that_does_not_fit_says_so(rule, datatype, says):
    if says is None:
        assert rules(rule, datatype=datatype).names == ("form x",)
        return
    with pytest.raises(ManifestError, match=says):
        rules(rule, datatype=datatype)


def test_rules_have_names_of_their_own():
    with pytest.raises(ManifestError, match="names that differ"):
        rules({"output": "x"}, {"output": "x", "absolute": 1.0})
    assert rules({"output": "x"}, {"output": "x", "absolute": 1.0, "name": "loose"}).names == (
        "close x",
        "loose",
    )
    with pytest.raises(ManifestError, match="which is a rule's of its own"):
        compile_rules([CompareRule(output="y", name="form x")], [output("x"), output("y")], {})


def test_a_large_output_is_compared_as_a_small_one_is():
    primary = np.linspace(0, 1, 3 * BLOCK_VALUES + 5, dtype=np.float32).reshape(-1, 1)
    candidate = primary.copy()
    candidate[-1] += 1
    for rule in (CLOSE, {"output": "x", "rule": "equal"}):
        pair = compared(rule, primary, candidate, len(primary))
        assert "1 " in pair.why[pair.broken[0]]
        assert pair.error["x"].max_absolute == pytest.approx(1)
    expression = rules({"rule": "expression", "expression": "primary.x[0] == candidate.x[0]"})
    pair = expression.compare({"x": primary}, {"x": candidate}, len(primary))
    assert pair.why == {"expression 1": f"1 of {len(primary)} rows break it"}


ELEMENTS = {
    known.dtype: st.binary(max_size=3) | st.none() | st.text(max_size=3)
    if known.name == "BYTES"
    else arrays.from_dtype(known.dtype)
    for known in DATATYPES
    if known.name != "BF16"
}
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)


def array_like(dtype: Any, shape: Any) -> st.SearchStrategy[Any]:
    return arrays.arrays(dtype, shape, elements=ELEMENTS[dtype])


ANY_ARRAY = st.sampled_from(list(ELEMENTS)).flatmap(lambda dtype: array_like(dtype, SHAPES))
ANY_PAIR = ANY_ARRAY.flatmap(
    lambda array: st.tuples(
        st.just(array),
        st.fixed_dictionaries({"x": array_like(array.dtype, array.shape)})
        | st.dictionaries(st.sampled_from("xy"), ANY_ARRAY, max_size=2),
    )
)
ALL = [
    {"output": "x", "rule": rule} | ({"k": 2} if rule == "top_k" else {})
    for rule in ("close", "equal", "cosine", "top_1", "top_k", "ranking")
] + [{"rule": "expression", "expression": "all(abs(primary.x - candidate.x) <= 1e-3 * abs(primary.x))"}]


@settings(max_examples=300)
@given(ANY_PAIR, st.integers(0, 3) | st.none())
def test_nothing_that_a_candidate_answers_raises(answers, rows):
    primary, candidate = answers
    datatype = next((known.name for known in DATATYPES if known.dtype == primary.dtype), "BYTES")
    given = [
        rule for rule in ALL if primary.dtype.kind in "iuf" or rule.get("rule") in ("equal", "expression")
    ]
    pair = rules(*given, datatype=datatype).compare({"x": primary}, candidate, rows)
    assert pair.agrees == (not pair.broken) == (pair.severity == 0)
    assert pair.severity >= 0
    assert set(pair.why) == set(pair.broken)
    for error in pair.error.values():
        assert math.isfinite(error.max_absolute)
        assert math.isfinite(error.max_relative)


@settings(max_examples=200)
@given(ANY_ARRAY.filter(lambda array: array.dtype.kind != "O"), st.integers(0, 3) | st.none())
def test_every_answer_agrees_with_itself(primary, rows):
    datatype = next(known.name for known in DATATYPES if known.dtype == primary.dtype)
    given = ALL[:-1] if primary.dtype.kind in "iuf" else [{"output": "x", "rule": "equal"}]
    strict = [rule | ({"least": 1.0} if rule["rule"] in ("cosine", "ranking") else {}) for rule in given]
    assert rules(*strict, datatype=datatype).compare({"x": primary}, {"x": primary.copy()}, rows).agrees


FLOATS = st.floats(-1e6, 1e6, width=32)


def by_hand(absolute: float, relative: float) -> Callable[[float, float], bool]:
    return lambda p, c: abs(c - p) <= absolute + relative * abs(p)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1), st.floats(0, 10), st.floats(0, 1))
def test_close_is_what_it_says(values, absolute, relative):
    primary, candidate = (np.array(side, np.float32)[np.newaxis] for side in zip(*values, strict=True))
    pair = rules({"output": "x", "absolute": absolute, "relative": relative}).compare(
        {"x": primary}, {"x": candidate}, 1
    )
    close = by_hand(absolute, relative)
    assert pair.agrees == all(close(float(p), float(c)) for p, c in values)
    assert pair.error["x"].max_absolute == max(abs(c - p) for p, c in values)
