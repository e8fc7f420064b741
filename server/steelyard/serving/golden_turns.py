"""When golden examples of a version are due: its rounds, of which each of several workers takes its own."""

import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from steelyard.serving.version import ServedVersion


@dataclass(slots=True, eq=False)
class Turn:
    """Where a version stands: when its next example is due, and which are left of its round, None before it.

    asked: whether another round is asked for, as soon as this one is over. told: whether this one was.
    """

    version: ServedVersion
    interval_ns: int
    due_ns: int
    left: deque[Path] | None = None
    sequence: int = 0
    asked: bool = False
    told: bool = False


def offset_ns(model: str, number: int, interval_ns: int) -> int:
    """Where in each interval a version's round begins: spread over it by its name, so that versions that were loaded
    together are not examined together."""
    return interval_ns * zlib.crc32(f"{model}/{number}".encode("utf-8", "backslashreplace")) >> 32


@dataclass(frozen=True, slots=True)
class Place:
    """A worker among those of its server.

    The server's rounds of a version begin once in an interval of the monotonic clock, which all workers read, and they
    take them one after the other: so rounds do not become more with the workers, each examines what it serves itself,
    and of one that has died only its own rounds are missing.
    """

    worker: int = 0
    workers: int = 1

    def next_round_ns(self, model: str, number: int, interval_ns: int, now_ns: int) -> int:
        """When this worker's next round of a version begins, later than `now_ns`; interval_ns: above 0."""
        offset = offset_ns(model, number, interval_ns)
        after = (now_ns - offset) // interval_ns + 1
        return offset + (after + (self.worker - after) % self.workers) * interval_ns


ALONE = Place()
