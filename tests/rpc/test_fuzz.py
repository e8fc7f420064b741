"""A little of the fuzzing, always the same."""

import pytest

from steelyard.rpc.calls import Happening
from tests.rpc.fuzz import Front, frames, fuzz, recordings


@pytest.mark.parametrize("number", range(len(recordings())))
def test_what_was_recorded_is_understood(number: int) -> None:
    data = recordings()[number]
    assert b"".join(frames(data)) == data
    front = Front(plain=False, seed=1)
    front.take(data)
    begun = (Happening.REQUEST, Happening.OPENED)
    assert any(isinstance(said, tuple) and said and said[0] in begun for said in front.said)


def test_twenty_thousand_mutations() -> None:
    assert fuzz(seed=1, count=20_000) == 20_000
