"""A default label that nobody has set moves when every worker can follow."""

from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.supervisor.agreeing import Agreeing
from steelyard.supervisor.life import WorkerLife


def life(number: int) -> WorkerLife:
    return WorkerLife(number, f"{number}a", -1, (), lambda life, message: None)


def move(version: int, model: str = "m") -> Mapping[str, Any]:
    return {"model": model, "from": None, "to": {"version": version, "digest": f"sha256:{version}"}}


class Told:
    """Two workers, and the moves that were told of."""

    def __init__(self) -> None:
        self.lives = [life(0), life(1)]
        self.moves: list[tuple[str, int]] = []
        self.agreeing = Agreeing(lambda: self.lives, self._told)

    def _told(self, moves: Sequence[Mapping[str, Any]]) -> None:
        self.moves += [(one["model"], one["to"]["version"]) for one in moves]


async def test_a_move_waits_for_the_last_worker() -> None:
    told = Told()
    first, second = told.lives
    told.agreeing.followed(first, [move(1), move(1, "other")])
    assert not told.moves
    told.agreeing.followed(second, [move(1)])
    assert told.moves == [("m", 1)]
    told.agreeing.followed(second, [move(2)])
    assert told.moves == [("m", 1)]
    told.agreeing.followed(first, [move(2)])
    assert told.moves == [("m", 1), ("m", 2)]


async def test_who_has_ended_keeps_nobody_waiting_and_who_comes_is_waited_for() -> None:
    told = Told()
    first, second = told.lives
    told.agreeing.followed(first, [move(1)])
    told.lives.remove(second)
    told.agreeing.gone(second)
    assert not told.moves
    told.agreeing.followed(first, [move(2)])
    assert told.moves == [("m", 2)]
    third = life(1)
    told.lives.append(third)
    told.agreeing.followed(first, [move(3)])
    assert told.moves == [("m", 2)]
    told.agreeing.followed(third, [move(3)])
    assert told.moves == [("m", 2), ("m", 3)]


async def test_the_others_agree_when_the_one_that_could_not_has_ended() -> None:
    told = Told()
    first, second = told.lives
    for one in (first, second):
        told.agreeing.followed(one, [move(1)])
    told.agreeing.followed(first, [move(2)])
    told.lives.remove(second)
    told.agreeing.gone(second)
    assert told.moves == [("m", 1), ("m", 2)]
