"""One decision among all that are recorded: found by its id, or by what its caller named it, with its batch."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.evidence.batch import to_records, to_table
from steelyard.evidence.columns import STAGES
from steelyard.evidence.journal_file import JournalFile
from steelyard.evidence.ledger import SEALED_DIRECTORY
from steelyard.evidence.notes_file import notes_path, read_notes
from steelyard.evidence.places import places_of, rows_at
from steelyard.evidence.record import Decision, unpack
from steelyard.evidence.sealed_file import read_hours
from steelyard.evidence.stage_times import HOUR_NS, HourTimes, hours_of
from steelyard.evidence.store import SealedFile, open_files, sealed_files, sealed_notes, snapshot

# Records of one batch follow each other; what a file's end has cut off is in the next one of its process.
_MATES_WITHIN_NS = 60 * 10**9

# A request id that stands for more decisions is not a name of one.
MAX_FOUND = 20


@dataclass(frozen=True, slots=True)
class Found:
    """A decision and where it stands."""

    decision: Decision
    record: bytes
    where: str
    """The sealed file, or the journal's."""
    worker: int | None
    pid: int | None


@dataclass(frozen=True, slots=True)
class Mate:
    """Another request of the same batch."""

    decision_id: str
    position: int
    rows: int


class Lookup:
    """Looks into one data directory. Whoever meets `Gone` begins anew with another."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._sealed = sealed_files(data)

    def decision(self, decision_id: uuid.UUID) -> Found | None:
        """The decision of that id, or None. Raises EvidenceError where a file cannot be read, `Gone` where it has been
        removed since it was listed."""
        wanted = decision_id.hex
        for sealed in self._sealed:
            if sealed.summary.first_id <= wanted <= sealed.summary.last_id:
                for group, places in places_of(sealed.path, "decision_id", [decision_id.bytes]):
                    return self._found(sealed, group, places[0])
        for file in open_files(self._data):
            heads = file.records.heads()
            ids = np.ascontiguousarray(heads["decision_id"]).view(">u8").reshape(-1, 2)
            upper, lower = (int.from_bytes(half) for half in (decision_id.bytes[:8], decision_id.bytes[8:]))
            which = np.flatnonzero((ids[:, 0] == upper) & (ids[:, 1] == lower))
            if len(which):
                return _open_found(file, file.records.part(which[:1]).to_list()[0])
        again = sealed_files(self._data)
        # What the journal no longer has may be in a file that is new; as many as before may be others.
        if {one.path for one in again} <= {one.path for one in self._sealed}:
            return None
        self._sealed = again
        return self.decision(decision_id)

    def requests(self, request_id: str) -> list[Found]:
        """The last decisions that a caller named so, the last first. Raises as `decision`."""
        sealed, unsealed = snapshot(self._data)
        found: list[Found] = []
        for part in unsealed:
            table = to_table(part.records, part.file.worker)
            column = table["request_id"].to_pylist()
            which = np.array([place for place, text in enumerate(column) if text == request_id], np.intp)
            found += [_open_found(part.file, record) for record in part.records.part(which).to_list()]
        from steelyard.evidence.search import files_with_request

        for path in files_with_request([one.path for one in sealed], request_id, MAX_FOUND):
            one = next(one for one in sealed if one.path == path)
            for group, places in places_of(path, "request_id", [request_id]):
                found += [self._found(one, group, place) for place in places]
        found.sort(key=lambda one: -one.decision.received_unix_ns)
        return found[:MAX_FOUND]

    def mates(self, found: Found) -> list[Mate]:
        """The other requests of its batch that are recorded, in their order."""
        decision = found.decision
        if not decision.batch or decision.batch_requests <= 1:
            return []
        mates: dict[str, Mate] = {}
        at_ns = decision.received_unix_ns
        for sealed in self._sealed:
            summary = sealed.summary
            if (summary.worker, summary.pid, summary.model) == (
                found.worker,
                found.pid,
                decision.model,
            ) and sealed.overlaps(at_ns - _MATES_WITHIN_NS, at_ns + _MATES_WITHIN_NS):
                for group, places in places_of(sealed.path, "batch", [decision.batch]):
                    table = rows_at(sealed.path, group, places, ["decision_id", "position", "rows"])
                    _add(mates, table)
                    if len(mates) == decision.batch_requests:
                        break
        if len(mates) < decision.batch_requests:
            for file in open_files(self._data):
                if (file.worker, file.pid) == (found.worker, found.pid):
                    heads = file.records.heads()
                    which = np.flatnonzero(heads["batch"] == decision.batch)
                    _add(mates, to_table(file.records.part(which), file.worker))
        mates.pop(decision.decision_id, None)
        return sorted(mates.values(), key=lambda mate: mate.position)

    def notes(self, found: Found) -> list[dict[str, Any]]:
        """What became known of it afterwards."""
        decision_id = uuid.UUID(found.decision.decision_id)
        notes: list[dict[str, Any]] = []
        named = set()
        for file in open_files(self._data):
            named.add(notes_path(self._data / SEALED_DIRECTORY, file.name))
            notes += [note for note in file.notes if note.get("decision_id") == found.decision.decision_id]
        for path in sealed_notes(self._data):
            if path not in named:
                notes += read_notes(path, [decision_id.bytes])
        return notes

    def hour(self, decision: Decision) -> HourTimes:
        """What the answered decisions of its model and version took in the hour in which it came."""
        hour = decision.received_unix_ns // HOUR_NS
        key = hour, decision.version
        times = HourTimes({})
        sealed, unsealed = snapshot(self._data, decision.model)
        for file in sealed:
            if file.overlaps(hour * HOUR_NS, (hour + 1) * HOUR_NS) and file.summary.model == decision.model:
                times.add(read_hours(file.path).get(key, HourTimes({})))
        for part in unsealed:
            heads = part.records.heads()
            received = heads["received"].astype(np.int64)
            which = (
                (heads["code"] == 0) & (received // HOUR_NS == hour) & (heads["version"] == decision.version)
            )
            if which.any() and unpack(part.records.part(slice(0, 1)).to_list()[0]).model == decision.model:
                stages = {name: heads[name][which].astype(np.int64) for name in STAGES}
                versions = heads["version"][which].astype(np.int64)
                times.add(hours_of(received[which], versions, stages).get(key, HourTimes({})))
        return times

    def _found(self, sealed: SealedFile, group: int, place: int) -> Found:
        (record,) = to_records(rows_at(sealed.path, group, [place])).to_list()
        summary = sealed.summary
        name = str(sealed.path.relative_to(self._data))
        return Found(unpack(record), record, name, summary.worker, summary.pid)


def _open_found(file: JournalFile, record: bytes) -> Found:
    return Found(unpack(record), record, f"journal/{file.name}", file.worker, file.pid)


def _add(mates: dict[str, Mate], table: Any) -> None:
    for row in table.to_pylist():
        one = row["decision_id"]
        decision_id = str(one if isinstance(one, uuid.UUID) else uuid.UUID(bytes=one))
        mates[decision_id] = Mate(decision_id, row["position"], row["rows"])
