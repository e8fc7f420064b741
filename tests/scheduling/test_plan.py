"""How rows that wait are best cut into runs: the native plan against its plain twin, and what it costs to learn."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native.batch import plan as native
from steelyard.scheduling.cost import CostModel
from steelyard.scheduling.curve import EFFICIENT_WITHIN
from steelyard.scheduling.kept_costs import SHAPES_KEPT
from steelyard.scheduling.plan import plan as plain

costs = st.dictionaries(st.integers(1, 300), st.floats(1.0, 1e12), min_size=1, max_size=40)
# By the row the same, but for some per cent: where it is decided whether batches pay at all.
alike = st.dictionaries(st.integers(1, 64), st.floats(0.97, 1.03), max_size=20).map(
    lambda shares: {1: 1e6} | {rows: rows * share * 1e6 for rows, share in shares.items()}
)


@given(costs | alike, st.integers(1, 256), st.floats(0, 1e9), st.sampled_from((0.0, EFFICIENT_WITHIN, 0.5)))
def test_the_native_plan_is_that_of_its_twin(
    by_rows: dict[int, float], limit: int, overhead_ns: float, within: float
) -> None:
    sizes = sorted(by_rows)
    live = [by_rows[rows] for rows in sizes]
    found = native(array("q", sizes), array("d", live), limit, overhead_ns, within)
    assert found == plain(sizes, live, limit, overhead_ns, within)


def test_where_single_rows_are_as_cheap_as_any_none_run_together() -> None:
    alone = plain([1, 2, 8], [1e6, 2.01e6, 7.95e6], 8, 0.0, 0.01)
    assert list(alone[1]) == [1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert set(alone[2][1:]) == {1}
    saving = plain([1, 2, 8], [1e6, 2.01e6, 7.9e6], 8, 0.0, 0.01)
    assert saving[2][8] == 8
    assert plain([1, 2, 8], [1e6, 2.01e6, 7.95e6], 8, 1e5, 0.01)[2][8] == 8


@pytest.mark.parametrize(
    ("sizes", "live", "limit"), [([], [], 4), ([1], [1.0, 2.0], 4), ([0, 1], [1.0, 2.0], 4), ([1], [1.0], 0)]
)
def test_both_refuse_what_is_no_curve(sizes: list[int], live: list[float], limit: int) -> None:
    with pytest.raises(ValueError, match="as many costs as sizes"):
        native(array("q", sizes), array("d", live), limit, 0.0, 0.03)
    with pytest.raises(ValueError, match="as many costs as sizes"):
        plain(sizes, live, limit, 0.0, 0.03)


def test_shapes_without_end_push_out_no_shape_that_comes_again_and_again() -> None:
    cost = CostModel()
    cost.learn({1: 1_000_000, 2: 1_500_000, 4: 2_000_000}, shape=(16,))
    for length in range(1000, 3000):
        cost.observe(1, 5_000_000, (length,))
        cost.observe(2, 3_000_000, (20,))
    assert len(cost.curves()) == SHAPES_KEPT
    assert {(16,), (20,)} <= {shape for shape, _ in cost.curves()}
    assert {length for (length,), _ in cost.curves() if length >= 1000} == set(
        range(1000, 1000 + SHAPES_KEPT - 2)
    )


def test_a_shape_that_comes_again_soon_takes_the_place_of_the_one_that_rested_longest() -> None:
    cost = CostModel()
    cost.learn({1: 1_000_000, 2: 1_500_000}, shape=(1,))
    for length in range(2, SHAPES_KEPT + 1):
        cost.observe(1, 2_000_000, (length,))
    cost.observe(1, 2_000_000, (2,))
    for _ in range(2):
        cost.observe(1, 2_000_000, (999,))
    known = {shape for shape, _ in cost.curves()}
    assert (999,) in known
    assert (2,) in known
    assert (3,) not in known
