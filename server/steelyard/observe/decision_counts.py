"""What became of the records of decisions, as a worker's segment counts it."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from steelyard.observe.layout import Header


@dataclass(frozen=True, slots=True)
class DecisionCounts:
    """Each request that came to an end in a worker, or was in one that died, is one of the first five."""

    recorded: int = 0
    """Put into the ring."""
    sampled_out: int = 0
    dropped: int = 0
    """Without room in the ring; a gap in the journal."""
    off: int = 0
    """Of models that record none."""
    taken_along: int = 0
    """By a process that died; a gap in the journal."""
    written: int = 0
    """Of the recorded: in a file."""
    written_bytes: int = 0
    synced: int = 0
    """Of the written: on disk."""
    unwritten: int = 0
    """Of the recorded: what no file would take; a gap in the journal."""
    waiting_bytes: int = 0
    """In the ring."""

    @property
    def accounted(self) -> int:
        """Requests of which it is known what became of their record."""
        return self.recorded + self.sampled_out + self.dropped + self.off + self.taken_along

    def __add__(self, other: "DecisionCounts") -> "DecisionCounts":
        return DecisionCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def read_counts(header: Sequence[int]) -> DecisionCounts:
    """The counts in the words of a segment's header."""
    return DecisionCounts(
        recorded=header[Header.RECORDED],
        sampled_out=header[Header.SAMPLED_OUT],
        dropped=header[Header.DROPPED],
        off=header[Header.OFF],
        taken_along=header[Header.TAKEN_ALONG],
        written=header[Header.WRITTEN],
        written_bytes=header[Header.WRITTEN_BYTES],
        synced=header[Header.SYNCED],
        unwritten=header[Header.UNWRITTEN],
        waiting_bytes=max(0, header[Header.RING_HEAD] - header[Header.RING_TAIL]),
    )
