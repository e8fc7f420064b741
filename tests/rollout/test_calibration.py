"""Tolerances from the primary's own noise: the pairs that they come of agree by them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from steelyard.models.rollout import CompareRule
from steelyard.rollout.calibration import ABSOLUTE_FLOOR, MOST_RELATIVE, tolerance_of
from steelyard.rollout.comparison import compile_rules
from steelyard.rollout.sides import OutputError


def output(name: str, datatype: str) -> Any:
    return SimpleNamespace(name=name, datatype=datatype)


def test_a_deterministic_output_is_given_the_floor_of_its_datatype():
    outputs = [output("a", "FP32"), output("b", "FP16"), output("c", "INT64"), output("unseen", "FP32")]
    none = OutputError(0.0, 0.0)
    found = tolerance_of([{"a": none, "b": none, "c": none}], outputs)
    assert found == {"a": (ABSOLUTE_FLOOR, 2.0**-21), "b": (ABSOLUTE_FLOOR, 2.0**-8)}
    assert tolerance_of([], outputs) == {}


def test_the_largest_of_all_pairs_counts_twice_and_values_next_to_0_do_not_open_the_relative_part():
    errors = [{"a": OutputError(0.01, 1e-5)}, {"a": OutputError(0.03, 1e-6)}, {}]
    assert tolerance_of(errors, [output("a", "FP32")]) == {"a": (0.06, 2e-5)}
    assert tolerance_of([{"a": OutputError(0.01, 1e9)}], [output("a", "FP32")]) == {
        "a": (0.02, MOST_RELATIVE)
    }


DTYPES = {"FP16": np.dtype(np.float16), "FP32": np.dtype(np.float32), "FP64": np.dtype(np.float64)}


def answers(datatype: str) -> st.SearchStrategy[Any]:
    """Two answers of the same shape; FP64 below half of the largest, twice of which a tolerance cannot be."""
    dtype = DTYPES[datatype]
    largest = 2.0**1000 if datatype == "FP64" else float(np.finfo(dtype).max)
    numbers = st.floats(-largest, largest, width=dtype.itemsize * 8)
    return arrays.array_shapes(max_dims=2, max_side=6).flatmap(
        lambda shape: st.tuples(*(arrays.arrays(dtype, shape, elements=numbers),) * 2)
    )


@settings(max_examples=200)
@given(
    st.sampled_from(list(DTYPES)).flatmap(
        lambda datatype: st.tuples(st.just(datatype), st.lists(answers(datatype), min_size=1, max_size=4))
    )
)
def test_the_pairs_that_it_came_of_agree(drawn):
    datatype, pairs = drawn
    outputs = [output("x", datatype)]
    rules = [
        CompareRule(output="x"),
        CompareRule(output="x", rule="top_1"),
        CompareRule(output="x", rule="top_k", k=2),
    ]
    first = compile_rules(rules, outputs, {})
    errors = [first.compare({"x": p}, {"x": c}, len(p)).error for p, c in pairs]
    calibrated = compile_rules(rules, outputs, tolerance_of(errors, outputs))
    for p, c in pairs:
        assert calibrated.compare({"x": p}, {"x": c}, len(p)).agrees
