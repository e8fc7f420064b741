"""A little of the fuzzing, always the same."""

import pytest

from steelyard.rpc import codes
from steelyard.rpc.calls import Happening
from steelyard.rpc.client_calls import ClientHappening
from tests.rpc.answered import CALLS
from tests.rpc.fuzz import ANSWERS, Caller, Front, frames, fuzz, recordings


@pytest.mark.parametrize("number", range(len(recordings())))
def test_what_was_recorded_is_understood(number: int) -> None:
    data = recordings()[number]
    assert b"".join(frames(data)) == data
    front = Front(plain=False, seed=1)
    front.take(data)
    begun = (Happening.REQUEST, Happening.OPENED)
    assert any(isinstance(said, tuple) and said and said[0] in begun for said in front.said)


@pytest.mark.parametrize("number", range(len(recordings(ANSWERS))))
def test_what_was_answered_is_understood(number: int) -> None:
    data = recordings(ANSWERS)[number]
    assert b"".join(frames(data)) == data
    caller = Caller(seed=1, acts=False)
    caller.take(data, [len(data)])
    assert len(caller.told) == len(CALLS)
    ends = [told[told.index(ClientHappening.ENDED) :] for told in caller.told.values()]
    # The rest is what each server was asked to fail, or does not have.
    assert sum(codes.OK in end[:3] for end in ends) >= 3
    assert not any(codes.UNAVAILABLE in end[:3] for end in ends)


@pytest.mark.parametrize(("side", "count"), [("server", 6_000), ("client", 2_000)])
def test_thousands_of_mutations(side: str, count: int) -> None:
    assert fuzz(seed=1, count=count, sides=[side]) == count
