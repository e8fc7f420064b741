"""Buckets, merging and quantiles, and the native buckets against the plain ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native import observe as native
from steelyard.observe.histogram import (
    BUCKETS,
    FIRST_EXPONENT,
    LAST_EXPONENT,
    HistogramCounts,
    bounds,
    bucket_of,
)

any_int64 = st.integers(-(2**63), 2**63 - 1)
near_powers = st.builds(lambda e, d: 2**e + d, st.integers(0, 62), st.integers(-3, 3))
inside = st.integers(2**FIRST_EXPONENT + 1, 2**LAST_EXPONENT)


def counted(durations_ns: list[int]) -> HistogramCounts:
    buckets = np.zeros(BUCKETS, np.uint64)
    np.add.at(buckets, [bucket_of(ns) for ns in durations_ns], 1)
    return HistogramCounts(buckets, sum(durations_ns))


@given(any_int64 | near_powers)
def test_native_and_plain_choose_the_same_bucket(ns: int) -> None:
    assert native.bucket_of(ns) == bucket_of(ns)


@given(any_int64 | near_powers)
def test_a_duration_lies_within_its_buckets_bounds(ns: int) -> None:
    low, high = bounds(bucket_of(ns))
    assert low < max(ns, 1)
    assert high is None or ns <= high


def test_buckets_follow_each_other_without_gap() -> None:
    highs = [bounds(bucket)[1] for bucket in range(BUCKETS - 1)]
    lows = [bounds(bucket)[0] for bucket in range(1, BUCKETS)]
    assert highs == lows
    assert lows == sorted(set(lows))


@given(inside)
def test_a_bucket_is_at_most_a_sixteenth_wide(ns: int) -> None:
    low, high = bounds(bucket_of(ns))
    assert high is not None
    assert (high - low) * 16 <= low


@pytest.mark.parametrize("bucket", [-1, BUCKETS])
def test_there_is_no_bucket_outside(bucket: int) -> None:
    with pytest.raises(IndexError, match=f"bucket {bucket} is not among"):
        bounds(bucket)


@given(st.lists(inside, min_size=1), st.floats(0, 1))
def test_a_quantile_is_off_by_a_bucket_at_most(durations_ns: list[int], q: float) -> None:
    exact = sorted(durations_ns)[max(int(np.ceil(q * len(durations_ns))), 1) - 1]
    assert abs(counted(durations_ns).quantile(q) - exact) <= exact / 16


def test_quantiles_of_nothing_and_of_the_extremes() -> None:
    assert HistogramCounts.empty().quantile(0.5) == 0.0
    assert HistogramCounts.empty().mean_ns == 0.0
    assert counted([2**50]).quantile(0.99) == 2**LAST_EXPONENT
    assert 0 < counted([5]).quantile(0.5) <= 2**FIRST_EXPONENT
    with pytest.raises(ValueError, match=r"within \[0, 1\], got 1\.5"):
        counted([5]).quantile(1.5)


@given(st.lists(any_int64), st.lists(any_int64))
def test_merging_is_counting_together(a: list[int], b: list[int]) -> None:
    together, merged = counted(a + b), counted(a) + counted(b)
    assert (together.buckets == merged.buckets).all()
    assert together.sum_ns == merged.sum_ns
    assert (together - counted(a)).count == len(b)


@given(st.lists(inside | near_powers))
def test_octaves_are_exact(durations_ns: list[int]) -> None:
    expected = [
        sum(ns <= 2**exponent for ns in durations_ns) for exponent in range(FIRST_EXPONENT, LAST_EXPONENT + 1)
    ]
    assert counted(durations_ns).octaves() == expected
