"""Two arms: bounds that hold at every look, whatever the split and the drift, and what they save."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.rollout.arms import TwoArms, rate

COUNTS = st.tuples(st.integers(0, 60), st.integers(0, 5000))
ALPHA = st.floats(1e-3, 0.3)


@settings(deadline=None)
@given(
    share=st.sampled_from([0.01, 0.05, 0.5, 0.9]),
    batches=st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=4),
    alpha=ALPHA,
    other=ALPHA,
    at=st.floats(-0.2, 0.2),
)
def test_bounds(share: float, batches, alpha: float, other: float, at: float):
    arms = TwoArms(share)
    for candidate, primary in batches:
        arms.observe(candidate, primary)
    lower, upper = arms.lower(alpha), arms.upper(alpha)
    assert -1.0 <= lower <= upper <= 1.0
    assert lower <= arms.mean <= upper
    if alpha <= other:
        assert lower <= arms.lower(other) + 1e-12
        assert upper >= arms.upper(other) - 1e-12
    if abs(at - lower) > 1e-9:
        assert arms.over(at, alpha) == (lower > at)
    if abs(at - upper) > 1e-9:
        assert arms.under(at, alpha) == (upper < at)
    again = TwoArms(share).restore(json.loads(json.dumps(arms.to_json())))
    assert again.to_json() == arms.to_json()
    assert (again.lower(alpha), again.upper(alpha)) == (lower, upper)


def test_without_one_arm_nothing_is_known():
    arms = TwoArms(0.5)
    assert (arms.mean, arms.lower(0.05), arms.upper(0.05)) == (0.0, -1.0, 1.0)
    arms.observe((0, 0), (0, 10_000))
    assert (arms.lower(0.05), arms.upper(0.05)) == (-1.0, 1.0)
    # A candidate that seldom fails cannot be much worse than any primary; how much better it is, nobody knows.
    one = TwoArms(0.5)
    one.observe((0, 10_000), (0, 0))
    assert 0.0 < one.upper(0.05) < 0.01
    assert one.lower(0.05) == -1.0


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, math.nan])
def test_a_share_is_between_0_and_1(share: float):
    with pytest.raises(ValueError, match="share: expected more than 0"):
        TwoArms(share)


@pytest.mark.parametrize("state", [None, {}, {"candidate": {}, "primary": {}}, {"candidate": 1}])
def test_what_is_no_state_is_refused(state: object):
    with pytest.raises(ValueError, match="expected"):
        TwoArms(0.5).restore(state)


def requests_until(share: float, needed) -> int:
    n = 100
    while not needed(n):
        n = int(n * 1.02) + 1
    return n


@pytest.mark.parametrize(("share", "saved"), [(0.05, 0.85), (0.5, 0.6)])
def test_fewer_requests_than_a_sequence_for_each_arm(share: float, saved: float):
    """At expected counts: a candidate with 3 % errors beside one with 1 %, to be found worse by 1 % or more."""

    def counts(n: int) -> tuple[tuple[int, int], tuple[int, int]]:
        ours, theirs = round(n * share), round(n * (1 - share))
        return (round(0.03 * ours), ours - round(0.03 * ours)), (
            round(0.01 * theirs),
            theirs - round(0.01 * theirs),
        )

    def together(n: int) -> bool:
        arms = TwoArms(share)
        for _ in range(20):
            arms.observe(*((a // 20, b // 20) for a, b in counts(n)))
        return arms.over(0.01, 0.05)

    def apart(n: int) -> bool:
        low, high = rate(), rate()
        for _ in range(20):
            for sequence, (events, others) in zip((low, high), counts(n), strict=True):
                sequence.observe({1.0: events // 20, 0.0: others // 20})
        return low.lower(0.025) - high.upper(0.025) > 0.01

    assert requests_until(share, together) < saved * requests_until(share, apart)


@pytest.mark.parametrize("planned", [0.05, 0.5])
@pytest.mark.parametrize("actual", [0.05, 0.3])
@pytest.mark.parametrize("drift", [False, True])
def test_bounds_hold_at_every_look(planned: float, actual: float, drift: bool):
    """The difference of the arms' running means leaves either bound, at any look, in no more runs than α."""
    rng = np.random.default_rng(11)
    runs, alpha, looks, size = 300, 0.1, 60, 100
    missed_low = missed_high = 0
    for _ in range(runs):
        arms = TwoArms(planned)
        expected = [0.0, 0.0]
        low = high = False
        for look in range(looks):
            q = 0.01 + (0.1 if drift and look % 20 < 3 else 0.0)
            p = q + (0.03 if drift and arms.mean <= 0.0 else 0.0)
            ours = int(rng.binomial(size, actual))
            a, b = int(rng.binomial(ours, p)), int(rng.binomial(size - ours, q))
            arms.observe((a, ours - a), (b, size - ours - b))
            expected[0] += p * ours
            expected[1] += q * (size - ours)
            if arms.candidate.n and arms.primary.n:
                true = expected[0] / arms.candidate.n - expected[1] / arms.primary.n
                low = low or arms.over(true, alpha)
                high = high or arms.under(true, alpha)
        missed_low += low
        missed_high += high
    most = runs * alpha + 4.0 * math.sqrt(runs * alpha * (1.0 - alpha))
    assert missed_low <= most
    assert missed_high <= most
