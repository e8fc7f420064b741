"""What a process that sends is given, and what it gives back."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from steelyard.cli.server import Way

Array = np.ndarray[Any, Any]

# Beside gRPC's own codes, which are 0 to 16.
UNSENT = 100
"""As many were without an answer as may be, or the time was over before one could be sent."""


@dataclass(frozen=True, slots=True)
class Job:
    """One process's part of a load."""

    address: str
    way: Way
    """How to speak TLS there, or not."""
    connections: int
    max_in_flight: int
    bodies: list[bytes]
    warm_up: list[int]
    """Bodies that are sent one after the other before anything is measured."""
    due_ns: Array
    """int64, ascending, from the begin of the load."""
    body: Array
    """int32, by request: which of `bodies`."""
    deadline_ns: Array
    """int64, by request: from when it is due; told to the server where `told`."""
    told: Array
    """bool, by request."""


def one_body(
    address: str,
    body: bytes,
    due_ns: Array,
    timeout_s: float,
    *,
    connections: int = 4,
    max_in_flight: int = 20_000,
    warm_up: int = 50,
) -> Job:
    """The same request again and again, without TLS and without a deadline that the server is told."""
    count = len(due_ns)
    return Job(
        address,
        Way(None, False, None, None, None),
        connections,
        max_in_flight,
        [body],
        [0] * warm_up,
        due_ns,
        np.zeros(count, np.int32),
        np.full(count, int(timeout_s * 1e9), np.int64),
        np.zeros(count, bool),
    )


@dataclass(frozen=True, slots=True)
class Part:
    """What became of a job: an entry a request, in the order in which they were due."""

    sent_ns: Array
    """int64, on the system's monotonic clock; 0 where it was not sent."""
    ended_ns: Array
    code: Array
    """uint8: gRPC's status, or UNSENT."""
    cpu_s: float
    """Processor time of the process, from the first request to the last answer."""
    seconds: float
    """How long that took."""
    reconnects: int


@dataclass(frozen=True, slots=True)
class Glimpse:
    """How one process's load goes, and what came since the last time that was told."""

    sent: int
    answered: int
    failed: int
    in_flight: int
    latencies_ns: Array
    """Of answers since the last glimpse."""
