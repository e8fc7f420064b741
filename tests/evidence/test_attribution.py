"""Attribution against Shapley values by definition, and that it says how far it may be off."""

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.errors import InvalidRequest
from steelyard.evidence import attribution
from steelyard.evidence.attribution import MAX_EXACT_FEATURES, occlusion, shapley
from steelyard.evidence.background import Background
from steelyard.models.profile import Profile
from tests.support import profiles


def by_definition(score: Callable[[Any], Any], row: Any, background: Any) -> list[float]:
    """The mean over all orders of what each feature adds to those before it."""
    features = len(row)

    def known(subset: tuple[int, ...]) -> float:
        rows = np.array(background, object)
        for place in subset:
            rows[:, place] = row[place]
        return float(np.mean(score(rows)))

    found = [0.0] * features
    for order in itertools.permutations(range(features)):
        for place, feature in enumerate(order):
            found[feature] += known(order[: place + 1]) - known(order[:place])
    return [one / math.factorial(features) for one in found]


def products(rows: Any) -> Any:
    """A score whose features act together."""
    numbers = rows.astype(np.float64)
    return numbers[:, 0] * numbers[:, 1] + np.maximum(numbers[:, -1], 0) - numbers.sum(axis=1) ** 2 / 9


numbers = st.floats(-3, 3)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), features=st.integers(2, 4), draws=st.integers(1, 4))
def test_of_few_features_it_is_the_definition(data: st.DataObject, features: int, draws: int) -> None:
    row = data.draw(st.lists(numbers, min_size=features, max_size=features))
    rows = st.lists(st.lists(numbers, min_size=features, max_size=features), min_size=draws, max_size=draws)
    background = np.array(data.draw(rows), object)
    found = shapley(products, [f"f{place}" for place in range(features)], row, background, background)
    expected = by_definition(products, row, background)
    assert [share.contribution for share in found.shares] == pytest.approx(expected, abs=1e-9)
    assert found.gap == pytest.approx(0, abs=1e-9)
    assert found.method == "subsets"


def test_permutations_come_within_their_error_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    row = rng.normal(size=4).tolist()
    population = rng.normal(size=(50, 4)).astype(object)
    expected = by_definition(products, row, population)
    monkeypatch.setattr(attribution, "MAX_EXACT_FEATURES", 1)
    background = population[rng.integers(0, 50, 2000)]
    found = shapley(products, list("abcd"), row, background, population, seed=1)
    assert found.method == "permutation"
    for share, exact in zip(found.shares, expected, strict=True):
        assert 0 < share.error < 0.2
        assert abs(share.contribution - exact) < 5 * share.error
    # The parts of the sum hang together, so that its error is at most the sum of theirs.
    assert abs(found.gap) < 5 * sum(share.error for share in found.shares)


@pytest.mark.parametrize("features", [3, MAX_EXACT_FEATURES, MAX_EXACT_FEATURES + 1, 40])
def test_what_acts_alone_gets_what_it_does(features: int) -> None:
    weights = np.arange(features) - 1.5

    def score(rows: Any) -> Any:
        return rows.astype(np.float64) @ weights

    rng = np.random.default_rng(0)
    row = rng.normal(size=features).tolist()
    background = np.tile(rng.normal(size=features), (4, 1)).astype(object)
    found = shapley(score, [str(place) for place in range(features)], row, background, background)
    alone = (np.array(row) - background[0].astype(float)) * weights
    assert [share.contribution for share in found.shares] == pytest.approx(alone.tolist())
    assert [share.error for share in found.shares] == pytest.approx([0] * features)
    without = occlusion(score, [share.name for share in found.shares], row, list(background[0]))
    assert [share.contribution for share in without.shares] == pytest.approx(alone.tolist())
    assert without.gap == pytest.approx(0)
    assert (without.base, without.value) == pytest.approx((found.base, found.value))


def test_occlusion_says_what_it_leaves_over() -> None:
    found = occlusion(products, ["a", "b"], [2.0, 3.0], [0.0, 0.0])
    shares = sum(share.contribution for share in found.shares)
    assert found.gap == pytest.approx(found.value - found.base - shares)
    assert abs(found.gap) > 1


def test_more_background_makes_the_error_smaller() -> None:
    rng = np.random.default_rng(5)
    background = rng.normal(size=(4000, 3)).astype(object)
    errors = [
        max(
            share.error
            for share in shapley(products, list("abc"), [1, 2, 3], background[:draws], background).shares
        )
        for draws in (40, 4000)
    ]
    assert errors[1] < errors[0] / 5


def test_what_cannot_be_explained() -> None:
    nothing = np.empty((1, 0), object)
    with pytest.raises(InvalidRequest, match="expected 1 to 1024 features, got 0"):
        shapley(products, [], [], nothing, nothing)
    many = np.zeros((4000, 1000), object)
    with pytest.raises(InvalidRequest, match="8000000 runs, expected at most"):
        shapley(products, [str(place) for place in range(1000)], [0] * 1000, many, many)
    with pytest.raises(InvalidRequest, match="no finite number"):
        occlusion(lambda rows: np.full(len(rows), np.nan), ["a"], [1.0], [0.0])


def test_rows_are_drawn_as_the_profile_has_them() -> None:
    document = profiles.profile(
        profiles.numbers("income", *range(99), 1e9),
        profiles.integers("children", 0, 0, 0, 1, 2),
        profiles.texts("country", "AT", "AT", "AT", "BE"),
    )
    profile = Profile.model_validate_json(json.dumps(document))
    background = Background(profile)
    assert all(name in background for name in ("income", "children", "country"))
    assert "age" not in background
    rows = background.draw(["country", "income", "children"], 4000, seed=2)
    assert np.array_equal(rows, background.draw(["country", "income", "children"], 4000, seed=2))
    assert np.mean(rows[:, 0] == "AT") == pytest.approx(0.75, abs=0.04)
    # An outlier is among them, and does not hide the others.
    assert np.median(rows[:, 1].astype(float)) == pytest.approx(49.5, abs=3)
    assert set(rows[:, 2]) <= {0, 1, 2}
    country, income, children = background.middle(["country", "income", "children"])
    assert (country, children) == ("AT", 0)
    assert income == pytest.approx(49.5, abs=1)
