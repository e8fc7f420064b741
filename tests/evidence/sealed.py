"""Sealed segments in the simplest form: files of records, each behind its length."""

import random
from collections.abc import Iterator
from pathlib import Path

from steelyard.clock import ManualClock
from steelyard.errors import EvidenceError
from steelyard.evidence.entry import SegmentEntry, entry_of
from steelyard.evidence.event import Draft
from steelyard.evidence.log import EventLog
from steelyard.evidence.merkle import Records
from steelyard.evidence.segments import SEALED_DIRECTORY, seal_entry
from steelyard.evidence.tlog import LogReader, TransparencyLog, key_paths, open_reader
from steelyard.evidence.verifier import VerificationError, read_records

# Minutes: one segment a minute.
MINUTE_NS = 60_000_000_000
START_NS = 1_700_000_000_000_000_000


class FramedSegments:
    """Reads them. A decision's id is its record's first 16 bytes, in hexadecimal."""

    def __init__(self, data: Path) -> None:
        self._directory = data / SEALED_DIRECTORY

    def records(self, file: str) -> Iterator[bytes]:
        with (self._directory / file).open("rb") as stream:
            try:
                yield from read_records(stream, file)
            except VerificationError as error:
                raise EvidenceError(str(error)) from None

    def examined(self, file: str) -> tuple[int, bytes]:
        tree = Records(self.records(file))
        return tree.count, tree.root()

    def find(self, decision: str) -> tuple[str, int] | None:
        for path in sorted(self._directory.rglob("*.records")):
            file = str(path.relative_to(self._directory))
            for index, record in enumerate(self.records(file)):
                if record[:16].hex() == decision:
                    return file, index
        return None


def seal(data: Path, model: str, number: int, records: list[bytes]) -> SegmentEntry:
    """Writes a segment of the minute `number`, and gives its entry."""
    file = f"{model}/{number}.records"
    path = data / SEALED_DIRECTORY / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(len(record).to_bytes(4, "big") + record for record in records))
    first = START_NS + number * MINUTE_NS
    return seal_entry(data, model, file, first, first + MINUTE_NS - 1, FramedSegments(data).records(file))


def filled(data: Path, minutes: int = 3, events: int = 2, seed: int = 1) -> LogReader:
    """A data directory with segments of two models, and events between them."""
    data.mkdir(exist_ok=True)
    dice = random.Random(seed)
    clock = ManualClock(unix_ns=START_NS)
    paths = key_paths(data, None, None)
    log = TransparencyLog(data, paths, clock)
    event_log = EventLog(data, clock)
    for number in range(minutes):
        for model in ("prices", "faces"):
            records = [dice.randbytes(dice.randint(16, 90)) for _ in range(dice.randint(1, 20))]
            log.append([seal(data, model, number, records)])
            drafts = [Draft("label.set", model, "ann@desk", f"reason {at}") for at in range(events)]
            log.append([entry_of(event) for event in event_log.append(drafts)])
        clock.advance(MINUTE_NS)
    event_log.close()
    return open_reader(data, paths)
