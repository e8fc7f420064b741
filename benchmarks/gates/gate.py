"""A gate: one thing of ours and one that it is held against, which take turns in the same run."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ROUNDS = 11

# Long enough that the clock and the loop around the work are nothing; short enough for many rounds.
ROUND_S = 0.025


@dataclass(frozen=True, slots=True)
class Sides:
    """Either does a round of its work and says what a unit of it cost, in any unit that both share."""

    ours: Callable[[], float]
    reference: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Gate:
    """A ratio with a name: how many times as fast our side is as the reference."""

    name: str
    title: str
    open: Callable[[], contextlib.AbstractContextManager[Sides]]
    rounds: int = ROUNDS

    def measure(self) -> list[float]:
        """reference ÷ ours of every round; the side that goes first changes with the round."""
        ratios = []
        with self.open() as sides:
            sides.ours()
            sides.reference()
            for turn in range(self.rounds):
                if turn % 2:
                    ours, reference = sides.ours(), sides.reference()
                else:
                    reference, ours = sides.reference(), sides.ours()
                ratios.append(reference / ours)
        return ratios


def cpu_cost(work: Callable[[], object], units: int = 1) -> Callable[[], float]:
    """A side that repeats `work` for about ROUND_S: CPU seconds a unit, of which a call does `units`.

    CPU time and not the time that passes, so that a process that takes the core away costs neither side anything.
    """
    repetitions = 0

    def round_of_work() -> float:
        nonlocal repetitions
        if not repetitions:
            repetitions = _repetitions(work)
        began = time.process_time()
        for _ in range(repetitions):
            work()
        return (time.process_time() - began) / (repetitions * units)

    return round_of_work


def _repetitions(work: Callable[[], object]) -> int:
    count = 1
    while True:
        began = time.process_time()
        for _ in range(count):
            work()
        took_s = time.process_time() - began
        if took_s > ROUND_S / 8:
            return max(1, int(count * ROUND_S / took_s))
        count *= 4


@contextlib.contextmanager
def both(ours: Callable[[], float], reference: Callable[[], float]) -> Iterator[Sides]:
    """Sides that need nothing to be opened or closed."""
    yield Sides(ours, reference)
