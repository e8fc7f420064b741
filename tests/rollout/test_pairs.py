"""What is counted of pairs: exact, bounded, and the same after it was written and read."""

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.errors import DataError
from steelyard.models.bfloat16 import to_bfloat16
from steelyard.rollout.comparison import compile_rules
from steelyard.rollout.histogram import Histogram, bounds, bucket_of
from steelyard.rollout.pairs import MAX_KINDS, RESERVOIR, PairCounts, size_of

OUTPUTS: list[Any] = [
    SimpleNamespace(name="probs", datatype="FP32"),
    SimpleNamespace(name="half", datatype="BF16"),
    SimpleNamespace(name="name", datatype="BYTES"),
]
COMPARISON = compile_rules([], OUTPUTS, {})


def answer(probs: Any) -> dict[str, Any]:
    probs = np.array(probs, np.float32)
    return {"probs": probs, "half": to_bfloat16(probs), "name": np.array([b"cat"], object)}


def add(counts: PairCounts, primary: Any, candidate: Any) -> None:
    left, right = answer(primary), answer(candidate)
    counts.add(COMPARISON.compare(left, right, 1), left, right)


def test_pairs_rules_and_errors_are_counted():
    counts = PairCounts.empty("r", OUTPUTS, COMPARISON)
    assert counts.summary()["agreement"] is None
    add(counts, [[1.0, 2.0]], [[1.0, 2.0]])
    add(counts, [[1.0, 2.0]], [[1.0, 2.5]])
    add(counts, [[1.0, 2.0]], [[1.0, math.nan]])
    add(counts, [[1.0, 2.0]], [[1.0]])
    summary = counts.summary()
    assert (summary["pairs"], summary["agreed"], summary["agreement"]) == (4, 1, 0.25)
    assert summary["broken"] == {"close probs": 3, "close half": 3, "equal name": 0}
    probs = summary["outputs"]["probs"]
    assert probs["absolute"]["count"] == 3
    assert probs["absolute"]["zero"] == 2
    assert probs["absolute"]["max"] == 0.5
    assert probs["relative"]["max"] == 0.25
    assert probs["values"] == 5
    assert summary["outputs"]["half"]["absolute"]["max"] == 0.5
    assert "name" not in summary["outputs"]
    json.dumps(summary, allow_nan=False)


def test_failures_are_counted_by_side_and_by_few_kinds():
    counts = PairCounts.empty("r", OUTPUTS, COMPARISON)
    counts.add_failure("deadline", None)
    for number in range(100):
        counts.add_failure(None, f"{number} " + "x" * 1000)
    counts.add_failure("deadline", "crashed")
    failures = counts.summary()["failures"]
    assert (failures["primary_only"], failures["candidate_only"], failures["both"]) == (1, 100, 1)
    assert failures["primary_kinds"] == {"deadline": 2}
    assert len(failures["candidate_kinds"]) == MAX_KINDS + 1
    assert failures["candidate_kinds"]["other"] == 101 - MAX_KINDS
    with pytest.raises(ValueError, match="came none"):
        counts.add_failure(None, None)


def test_latencies_stand_beside_each_other_at_the_same_batch_size():
    counts = PairCounts.empty("r", OUTPUTS, COMPARISON)
    for ns in range(1_000_000, 2_000_000, 10_000):
        counts.add_latency("primary", 4, ns)
        counts.add_latency("candidate", 4, 2 * ns)
    counts.add_latency("candidate", 33, 5_000_000)
    four, more = counts.summary()["latency"]
    assert (four["rows"], more["rows"]) == (4, 32)
    assert four["primary"]["count"] == 100
    assert four["primary"]["mean_ms"] == pytest.approx(1.495)
    assert four["primary"]["p50_ms"] == pytest.approx(1.5, rel=0.0625)
    assert four["candidate"]["p99_ms"] == pytest.approx(3.96, rel=0.0625)
    assert more["primary"] is None


def test_the_values_of_both_sides_are_sampled_within_bounds():
    counts = PairCounts.empty("r", OUTPUTS, COMPARISON)
    random = np.random.default_rng(0)
    for _ in range(500):
        values = random.normal(size=(1, 100))
        add(counts, values, values + 1.0)
    found = counts.summary()["outputs"]["probs"]
    assert found["values"] == RESERVOIR
    # Normal distributions one deviation apart differ by 2 * Phi(0.5) - 1.
    assert found["distance"] == pytest.approx(math.erf(0.5 / math.sqrt(2)), abs=0.06)
    assert len(counts.to_json()) < 400_000


def test_counts_go_on_as_if_they_had_never_been_written():
    straight = PairCounts.empty("r", OUTPUTS, COMPARISON)
    taken_up = PairCounts.empty("r", OUTPUTS, COMPARISON)
    random = np.random.default_rng(1)
    for _ in range(300):
        values = random.normal(size=(1, 50)) * 10 ** random.uniform(-9, 9)
        for counts in (straight, taken_up):
            add(counts, values, values * 1.001)
            counts.add_latency("primary", 7, int(abs(values[0, 0]) * 1e6))
        taken_up = PairCounts.from_json(taken_up.to_json())
    assert taken_up == straight
    assert taken_up.to_json() == straight.to_json()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version"),
        ({"pairs": -1}, "pairs"),
        ({"pairs": "1"}, "pairs"),
        ({"agreed": 1.5}, "agreed"),
        ({"more": 1}, "more"),
        ({"broken": {str(number): 1 for number in range(1000)}}, "broken"),
        ({"primary_ns": {"0": {}}}, "primary_ns"),
        ({"outputs": {"x": {"bfloat16": False, "values": {"seed": 1, "primary": [1.0]}}}}, "as many values"),
        ({"outputs": {"x": {"bfloat16": False, "values": {"seed": 1, "primary": [1.0] * 3000}}}}, "primary"),
        (
            {
                "outputs": {
                    "x": {"bfloat16": False, "values": {"seed": 1}, "absolute": {"buckets": {"9999": 1}}}
                }
            },
            "buckets",
        ),
    ],
)
def test_what_was_not_written_by_this_is_refused(change, says):
    document = json.loads(PairCounts.empty("r", OUTPUTS, COMPARISON).to_json())
    with pytest.raises(DataError, match=says):
        PairCounts.from_json(json.dumps(document | change))
    for text in ("", "{}", "[]", "{"):
        with pytest.raises(DataError, match="counts of pairs"):
            PairCounts.from_json(text)


@given(st.lists(st.floats(0, 1e17, allow_nan=False), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_off_by_a_bucket_at_most(values, q):
    values = [value if value > 1e-17 else 0.0 for value in values]
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(math.ceil(q * len(values)), 1) - 1]
    assert histogram.quantile(q) == pytest.approx(exact, rel=0.0626, abs=0)
    assert histogram.count == len(values)
    assert histogram.largest == max(values)


@given(st.floats(min_value=2.0**-60, max_value=2.0**59))
def test_a_value_lies_within_its_bucket(value):
    low, high = bounds(bucket_of(value))
    assert low <= value < high
    assert high <= low * 1.0626


@pytest.mark.parametrize("value", [5e-324, 1e300])
def test_what_lies_beyond_all_buckets_is_counted_at_the_end(value):
    histogram = Histogram()
    histogram.add(value)
    assert histogram.count == 1
    assert histogram.quantile(0.5) <= value


def test_batch_sizes_are_exact_where_they_are_small_and_few_where_they_are_large():
    assert [size_of(rows) for rows in range(17)] == [1, *range(1, 17)]
    sizes = {size_of(rows) for rows in range(1, 1 << 21, 7)} | {size_of(1 << 40)}
    assert len(sizes) <= 150
    assert all(size_of(rows) <= rows < size_of(rows) * 1.126 for rows in range(1, 100_000, 13))
