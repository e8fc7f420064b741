"""What the journal of a data directory holds: files, records, gaps, and whether all is accounted for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from steelyard.evidence.frames import Gap, read_segment

FATES = ("recorded", "sampled_out", "dropped", "off", "taken_along")


@dataclass(slots=True)
class JournalFiles:
    """The files that are not sealed yet."""

    files: int = 0
    open_files: int = 0
    """Of these: without an end, as they are being written or their writer was killed."""
    bytes: int = 0
    records: int = 0
    torn_bytes: int = 0
    """Behind the last whole frame of files without an end; a frame that is just being written is among them."""
    gaps: list[Gap] = field(default_factory=list)


def journal_files(data: Path) -> JournalFiles:
    """Reads them. Raises EvidenceError where one is damaged; one that is sealed meanwhile is left out."""
    found = JournalFiles()
    for path in sorted((data / "journal").glob("worker-*/*.log")):
        if not path.exists():
            continue
        reading = read_segment(path)
        found.files += 1
        found.open_files += reading.end is None
        found.bytes += reading.good_bytes + reading.torn_bytes
        found.records += len(reading.records)
        found.torn_bytes += reading.torn_bytes
        found.gaps += reading.gaps
    return found


@dataclass(frozen=True, slots=True)
class Accounting:
    """What a running server says of its decisions since its start."""

    received: int
    ended: int
    """Answered, refused, failed and cancelled."""
    lost: int
    """Taken along by workers that died; gaps in the journal."""
    fates: Mapping[str, int]
    """By what became of their records: recorded, sampled_out, dropped, off, taken_along."""
    written: int
    synced: int
    unwritten: int

    @property
    def unaccounted(self) -> int:
        """Requests that ended, or were lost, of whose record nobody knows what became: 0 at a quiet moment."""
        return self.ended + self.lost - sum(self.fates.values())


def accounting(samples: Mapping[tuple[str, str], float]) -> Accounting:
    """From samples of the metrics page: by name and by the label that tells them apart, summed over all others."""
    ends = {
        end: int(samples.get(("steelyard_requests_total", end), 0))
        for end in ("answered", "refused", "failed", "cancelled", "lost")
    }
    return Accounting(
        received=int(samples.get(("steelyard_requests_received_total", ""), 0)),
        ended=sum(ends.values()) - ends["lost"],
        lost=ends["lost"],
        fates={fate: int(samples.get(("steelyard_decisions_total", fate), 0)) for fate in FATES},
        written=int(samples.get(("steelyard_journal_records_total", "written"), 0)),
        synced=int(samples.get(("steelyard_journal_records_total", "synced"), 0)),
        unwritten=int(samples.get(("steelyard_decisions_total", "unwritten"), 0)),
    )
