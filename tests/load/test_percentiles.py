"""Percentiles are exact: those of numpy's nearest rank, at every one that is asked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from load.percentiles import at_rank, curve, summary_ms

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=300)


@given(VALUES, st.sampled_from([0.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0]))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: list[float], percent: float) -> None:
    ordered = np.sort(np.array(values))
    found = at_rank(ordered, percent)
    assert found in values
    assert (ordered <= found).mean() * 100 >= percent - 1e-6
    assert found == np.percentile(ordered, percent, method="inverted_cdf")


@given(VALUES)
def test_a_curve_never_falls_and_ends_with_the_largest(values: list[float]) -> None:
    found = curve(np.array(values))
    assert found["ms"] == sorted(found["ms"])
    assert found["ms"][-1] == max(values)


def test_what_failed_is_never() -> None:
    found = summary_ms(np.array([1.0] * 98 + [np.inf] * 2))
    assert found["p95"] == 1.0
    assert found["p99"] is None
    assert found["mean"] is None


def test_nothing_has_no_percentiles() -> None:
    assert set(summary_ms(np.array([])).values()) == {None}
    assert curve(np.array([])) == {"percent": [], "ms": []}
