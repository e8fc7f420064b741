"""Lists of events fit a message."""

import json

from steelyard.evidence.event import Event
from steelyard.supervisor.admin import newest


def event(sequence: int, model: str = "m", size: int = 0) -> Event:
    return Event(sequence, 0, "label.set", model, "ann", "a test", "", {"said": "x" * size}, "")


def test_the_newest_are_kept_in_their_order() -> None:
    events = [event(number, "mn"[number % 2]) for number in range(1, 11)]
    assert [found.sequence for found in newest(events, "", 3)] == [8, 9, 10]
    assert [found.sequence for found in newest(events, "m", 3)] == [6, 8, 10]
    assert [found.sequence for found in newest(events, "m", 100)] == [2, 4, 6, 8, 10]


def test_what_is_listed_has_at_most_so_many_bytes() -> None:
    events = [event(number, size=200_000) for number in range(1, 101)]
    found = newest(events, "", 100)
    assert 8_000_000 < sum(one.ByteSize() for one in found) <= 8 << 20
    assert found[-1].sequence == 100
    assert [one.sequence for one in found] == list(range(101 - len(found), 101))
    assert json.loads(found[0].details)
