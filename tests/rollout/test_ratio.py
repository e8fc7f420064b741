"""Sample-ratio mismatch: seldom seen where the split is as asked, however often one looks, and soon where it is not."""

import json
import math

import numpy as np
import pytest

from steelyard.rollout.ratio import SampleRatio


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_seldom_alarms_where_the_split_is_as_asked(share: float):
    rng = np.random.default_rng(3)
    runs, alpha = 300, 0.05
    alarms = 0
    for _ in range(runs):
        ratio = SampleRatio(share, alpha)
        for ours in rng.binomial(20, share, size=1000).tolist():
            ratio.observe(ours, 20 - ours)
        alarms += ratio.mismatch
    assert alarms <= runs * alpha + 4.0 * math.sqrt(runs * alpha * (1.0 - alpha))


@pytest.mark.parametrize(
    ("asked", "actual", "within"), [(0.05, 0.06, 20_000), (0.5, 0.45, 5_000), (0.5, 0.0, 60)]
)
def test_finds_a_split_that_is_off(asked: float, actual: float, within: int):
    ratio = SampleRatio(asked, 0.001)
    for n in range(1, within + 1):
        ours = round(n * actual) - round((n - 1) * actual)
        ratio.observe(ours, 1 - ours)
    assert ratio.mismatch
    assert ratio.observed == pytest.approx(actual, abs=0.001)


def test_an_alarm_stays_and_comes_back_from_json():
    ratio = SampleRatio(0.5, 0.001)
    assert ratio.observed == 0.5
    assert ratio.observe(0, 1000)
    assert ratio.observe(1000, 0)
    again = SampleRatio(0.5, 0.001).restore(json.loads(json.dumps(ratio.to_json())))
    assert again.to_json() == ratio.to_json()
    assert again.mismatch


def test_what_is_wrong_is_refused():
    with pytest.raises(ValueError, match="share"):
        SampleRatio(0.0)
    with pytest.raises(ValueError, match="alpha"):
        SampleRatio(0.5, 1.0)
    ratio = SampleRatio(0.5)
    with pytest.raises(ValueError, match="expected a count"):
        ratio.observe(1, -1)
    assert (ratio.candidate, ratio.primary) == (0, 0)
    for state in (
        None,
        {},
        {"candidate": -1, "primary": 0, "mismatch": False},
        {"candidate": 1.0, "primary": 0},
    ):
        with pytest.raises(ValueError, match="expected counts"):
            ratio.restore(state)
