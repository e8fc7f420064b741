"""What the supervisor knows of a worker's place, as the metrics show it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from steelyard.observe.segment import SegmentReader


@dataclass(frozen=True, slots=True)
class TlsReads:
    """How often TLS's files had changed, by whether they could be used."""

    taken: int = 0
    refused: int = 0

    def one_more(self, taken: bool) -> "TlsReads":
        """With one more."""
        return TlsReads(self.taken + taken, self.refused + (not taken))


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What the supervisor knows of one worker's place: `number` is the place, not the process."""

    number: int
    reader: "SegmentReader"
    up: bool
    restarts: int
    tls_reads: TlsReads = TlsReads()
    other: "SegmentReader | None" = None
    """What processes have counted that were replaced, and one counts that finishes what it had begun."""

    @property
    def readers(self) -> "list[SegmentReader]":
        """All that was counted at this place."""
        return [self.reader] if self.other is None else [self.reader, self.other]
