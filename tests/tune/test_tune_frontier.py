"""The frontier and the choice, and their picture."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from steelyard.tune.candidate import Candidate
from steelyard.tune.frontier import Point, choose, frontier
from steelyard.tune.picture import svg
from steelyard.tune.sample import Sample, at_rank, sample_of

BASE, OTHER = Candidate(2, 1, 64, 0, False, "all"), Candidate(1, 2, 4, 500, True, "extended")
RATES = (10.0, 20.0, 30.0)


def point(candidate: Candidate, rate: float, p99_ms: float, delivered: float = 1.0, failed: int = 0) -> Point:
    return Point(candidate, rate, Sample(rate * delivered, p99_ms / 2, p99_ms, 100, failed, delivered))


points = st.lists(
    st.builds(
        point,
        st.sampled_from([BASE, OTHER]),
        st.sampled_from(RATES),
        st.one_of(st.floats(0.1, 1000), st.just(float("inf"))),
        st.floats(0.0, 1.1),
        st.integers(0, 1),
    ),
    max_size=12,
)


@given(points)
def test_nothing_beats_a_point_of_the_frontier(all_points: list[Point]):
    best = frontier(all_points)
    for one in best:
        assert not any(
            other.sample.answers_per_s >= one.sample.answers_per_s and other.sample.p99_ms < one.sample.p99_ms
            for other in all_points
        )
    times = [one.sample.p99_ms for one in best]
    assert times == sorted(times)


@given(points, st.floats(0.1, 500))
def test_what_is_chosen_meets_the_p99_there_and_at_lower_rates(all_points: list[Point], p99_ms: float):
    chosen = choose(all_points, BASE, p99_ms)
    if chosen is not None:
        same = [one for one in all_points if one.candidate == chosen.candidate]
        assert all(one.meets(p99_ms) for one in same if one.rate_per_s <= chosen.rate_per_s)
    ElementTree.fromstring(svg("a < b", all_points, chosen, p99_ms))


def test_the_present_way_stays_unless_another_serves_more_or_is_clearly_faster():
    assert choose([point(BASE, 20, 10), point(OTHER, 20, 9.5)], BASE, 15) == point(BASE, 20, 10)
    assert choose([point(BASE, 20, 10), point(OTHER, 20, 8)], BASE, 15) == point(OTHER, 20, 8)
    assert choose([point(BASE, 20, 10), point(OTHER, 30, 14)], BASE, 15) == point(OTHER, 30, 14)
    assert choose([point(BASE, 28, 10), point(OTHER, 30, 14)], BASE, 15) == point(BASE, 28, 10)
    assert choose([point(BASE, 20, 10), point(OTHER, 30, 14, failed=1)], BASE, 15) == point(BASE, 20, 10)
    assert choose([point(BASE, 20, 16)], BASE, 15) is None


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=300))
def test_percentiles_are_values_that_were_met(values: list[float]):
    ordered = sorted(values)
    rank = at_rank(ordered, 99)
    assert sum(one <= rank for one in ordered) >= 0.99 * len(ordered)
    assert sample_of(values, 2.0, 3).p99_ms == rank
