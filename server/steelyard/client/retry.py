"""When a refused call is sent again: only where the server says so, and after the time that it says."""

from collections.abc import Callable
from dataclasses import dataclass

from steelyard.client.failures import Failure
from steelyard.wire.status import Status

PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts"

_RETRYABLE = frozenset({Status.RESOURCE_EXHAUSTED, Status.UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Retry:
    """How far to follow a server that says when to ask again."""

    max_attempts: int = 3
    """How often a call is sent at most, the first time included; 1: never again."""
    max_wait_s: float = 30.0
    """A server that says to wait longer than this is not asked again: the caller hears of it at once."""
    jitter: float = 0.2
    """Up to this part of the wait is added at random: callers refused together must not return together."""

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or not self.max_wait_s >= 0 or not 0 <= self.jitter <= 1:
            raise ValueError(
                "expected max_attempts of 1 or more, max_wait_s of 0 or more and jitter from 0 to 1, "
                f"came {self.max_attempts}, {self.max_wait_s} and {self.jitter}"
            )


class Attempts:
    """The attempts at one call. Holds no clock: the time, in seconds of any one clock, comes in."""

    __slots__ = ("_deadline_s", "_retry", "_uniform", "made")

    def __init__(self, retry: Retry, deadline_s: float | None, uniform: Callable[[], float]) -> None:
        """
        deadline_s: when the call ends, whatever became of it; None: never.
        uniform: gives a number from 0 to 1 for the jitter.
        """
        self._retry = retry
        self._deadline_s = deadline_s
        self._uniform = uniform
        self.made = 0

    def begin(self, now_s: float) -> tuple[float | None, tuple[tuple[str, str], ...]]:
        """Counts an attempt; returns how many seconds it has (None: no limit), and its metadata."""
        metadata = ((PREVIOUS_ATTEMPTS, str(self.made)),) if self.made else ()
        self.made += 1
        return (None if self._deadline_s is None else max(0.0, self._deadline_s - now_s)), metadata

    def wait_s(self, failure: Failure, now_s: float) -> float | None:
        """Seconds to wait before the next attempt, or None where the failure stands."""
        if failure.code not in _RETRYABLE or self.made >= self._retry.max_attempts:
            return None
        if failure.pushback_ms is None or failure.pushback_ms < 0:
            return None
        told_s = failure.pushback_ms / 1000
        wait_s = told_s * (1 + self._retry.jitter * self._uniform())
        if told_s > self._retry.max_wait_s:
            return None
        if self._deadline_s is not None and now_s + wait_s >= self._deadline_s:
            return None
        return wait_s
