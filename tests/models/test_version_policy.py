"""Which versions a policy asks for."""

from hypothesis import given
from hypothesis import strategies as st

from steelyard.models.manifest import Serving, VersionPolicy
from steelyard.models.versions import wanted


def test_each_policy():
    available = [10, 2, 9, 1]
    assert wanted(VersionPolicy(latest=1), available) == [10]
    assert wanted(VersionPolicy(latest=3), available) == [2, 9, 10]
    assert wanted(VersionPolicy(latest=9), available) == [1, 2, 9, 10]
    assert wanted(VersionPolicy(all=True), available) == [1, 2, 9, 10]
    assert wanted(VersionPolicy(list=(9, 1, 5)), available) == [1, 9]
    assert wanted(VersionPolicy(latest=1), []) == []


def test_the_default_is_the_highest():
    assert wanted(Serving().versions, [1, 2]) == [2]


@given(st.sets(st.integers(1, 50)), st.integers(1, 60))
def test_the_latest_are_the_highest_in_order(available, count):
    chosen = wanted(VersionPolicy(latest=count), available)
    assert chosen == sorted(available)[-count:]
