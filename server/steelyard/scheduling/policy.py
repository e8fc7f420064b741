"""How a version's requests are queued and batched, as its manifest has it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How a version's requests are queued and batched.

    max_batch: rows in one run, at least 1; 1 means that requests are never put together.
    preferred: sizes worth waiting for inside `max_queue_delay_ns`, ascending; empty means the lane's batch limit.
    instances: runs of this version that may go on at the same time.
    threads: permits of the thread budget that one run takes.
    prepares: whether what runs here prepares requests for another lane, `Lane.feeds`, by one thread each.
    """

    max_batch: int = 1
    max_queue_delay_ns: int = 0
    preferred: tuple[int, ...] = ()
    max_queue_requests: int = 8192
    max_queue_bytes: int = 256 << 20
    instances: int = 1
    threads: int = 1
    prepares: bool = False
