"""When a server that could not be reached is tried again."""

from collections.abc import Callable

# A server that restarts is back in a second or so; gRPC's own back-off would wait up to two minutes.
FIRST_S = 0.1
LONGEST_S = 2.0
FACTOR = 1.6
JITTER = 0.2


class Backoff:
    """Waits grow by FACTOR from FIRST_S to LONGEST_S, each up to JITTER longer or shorter: clients that lost their
    server together must not return together. Holds no clock: the time, in seconds of any one clock, comes in."""

    def __init__(self, uniform: Callable[[], float]) -> None:
        """uniform: gives a number from 0 to 1 for the jitter."""
        self._uniform = uniform
        self._next_s = FIRST_S
        self._until_s = float("-inf")
        self.problem = ""
        """Why the last attempt failed."""

    def may_try(self, now_s: float) -> bool:
        """Whether the wait is over."""
        return now_s >= self._until_s

    def failed(self, now_s: float, problem: str) -> None:
        """An attempt has failed."""
        self.problem = problem
        self._until_s = now_s + self._next_s * (1 + JITTER * (2 * self._uniform() - 1))
        self._next_s = min(self._next_s * FACTOR, LONGEST_S)

    def succeeded(self) -> None:
        """A server has answered: the next wait is the first again."""
        self._next_s = FIRST_S
        self._until_s = float("-inf")
