"""Records of decisions in the ring of a worker's segment. See `steelyard.evidence.record` for their format."""

from typing import Any, final

from steelyard._native.observe import Ticket

@final
class Subject:
    """What all records of one version have in common."""

    def __init__(self, model: str, version: int, digest: bytes, signer: str, rate: float) -> None:
        """digest: 32 bytes. rate: share of the answers that are recorded. Raises ValueError."""

class Ring:
    """The ring in a segment's memory. It goes on with what an earlier process left in it.

    One thread puts, one takes. What finds no room is counted, and told as a gap.
    """

    def __init__(self, memory: memoryview) -> None:
        """Raises ValueError where it is no segment's memory."""

    def batch(
        self,
        subject: Subject,
        tickets: list[Ticket],
        decision_ids: list[str],
        role: int,
        unix_offset_ns: int,
        taken_ns: int,
        assembled_ns: int,
        executed_ns: int,
        encoded_ns: int,
        number: int,
        rows: int,
        flags_of: Any = None,
    ) -> None:
        """Records the answered requests of a batch; tickets have their calls and requests still.

        unix_offset_ns: from the tickets' clock to the time of day. number, rows: of the batch. flags_of: says the
        `Flag`s of a request.
        """

    def one(
        self,
        subject: Subject | None,
        model: str,
        decision_id: str,
        outcome: int,
        code: int,
        reason: int,
        role: int,
        received_unix_ns: int,
        total_ns: int,
        decode_ns: int,
        queue_ns: int,
        deadline_left_ns: int,
        has_deadline: bool,
        rows: int,
        call: Any,
        request: Any,
        message: str,
    ) -> None:
        """Records one request that was not answered; subject: None where no version was found."""

    def left_out(self, requests: int) -> None:
        """Counts decisions of a version that records none."""

    def took_along(self, requests: int) -> None:
        """Counts requests that a process which died had, and that are counted nowhere else."""

    def take_gap(self) -> tuple[int, int, int] | None:
        """What found no room since this was last asked: how many, and when the first and the last came."""

    @property
    def head(self) -> int:
        """Bytes ever put."""
    @property
    def room(self) -> int:
        """Bytes that are free."""
    @property
    def tail(self) -> int:
        """Bytes ever taken."""

    def peek(self, most: int) -> tuple[bytes, int]:
        """The records in front, each behind its length, of at most so many bytes; and how many they are."""

    def taken(self, size: int, records: int, written: bool) -> None:
        """What `peek` gave is in the file, or the file would not take it."""

    def synced(self, records: int) -> None:
        """So many more are on disk."""
