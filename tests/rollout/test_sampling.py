"""Which decisions are sampled: the share, one choice in every process, and more of the same at a larger share."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native.decision import new_ids
from steelyard.rollout.sampling import Sampler

shares = st.floats(0, 1)
ids = st.integers(0, 2**128 - 1).map(lambda bits: str(uuid.UUID(int=bits)))


@given(ids, shares, shares)
def test_what_is_taken_at_one_share_is_taken_at_a_larger_one(
    decision_id: str, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    assert Sampler(large).takes(decision_id) or not Sampler(small).takes(decision_id)


@given(ids)
def test_none_and_all(decision_id: str) -> None:
    assert not Sampler(0.0).takes(decision_id)
    assert Sampler(1.0).takes(decision_id)


@given(ids, shares)
def test_the_last_48_bits_decide(decision_id: str, share: float) -> None:
    drawn = int(decision_id[-12:], 16) / 2**48
    if abs(drawn - share) > 2**-47:
        assert Sampler(share).takes(decision_id) is (drawn < share)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_the_share_is_met_by_the_servers_own_ids(share: float) -> None:
    given_ids = new_ids(20_000, 1_700_000_000_000)
    taken = sum(map(Sampler(share).takes, given_ids))
    # Five standard deviations of a binomial share.
    assert abs(taken / 20_000 - share) < 5 * (share * (1 - share) / 20_000) ** 0.5


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="expected a share from 0 to 1"):
        Sampler(share)
