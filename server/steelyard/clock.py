"""Time as an argument: the process's clock, and one that tests move by hand."""

import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """What the server asks for the time."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        ...

    def unix_ns(self) -> int:
        """Nanoseconds since the epoch."""
        ...


class SystemClock:
    """The machine's clocks."""

    now_ns = staticmethod(time.monotonic_ns)
    unix_ns = staticmethod(time.time_ns)


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ns: int = 1_000_000_000, unix_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._unix_ns = unix_ns

    def now_ns(self) -> int:
        return self._now_ns

    def unix_ns(self) -> int:
        return self._unix_ns

    def advance(self, ns: int) -> None:
        """Moves both clocks forward by `ns` nanoseconds."""
        self._now_ns += ns
        self._unix_ns += ns


def rfc3339(unix_ms: int) -> str:
    """A time in UTC, to the second."""
    moment = datetime.datetime.fromtimestamp(unix_ms // 1000, datetime.UTC)
    return moment.isoformat().replace("+00:00", "Z")
