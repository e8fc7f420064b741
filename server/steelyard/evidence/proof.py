"""One file that proves one decision's record, or one event (C2SP tlog-proof).

What the log holds is a segment or the digest of an event, so the record, and its path to the segment's root, travel as
the proof's extra data: a JSON object with `entry`, `record`, and of a decision `index` and `path`, bytes in base64.
"""

import base64
import json

from steelyard.errors import EvidenceError, InvalidRequest
from steelyard.evidence.entry import Entry, EventEntry
from steelyard.evidence.event import Event
from steelyard.evidence.merkle import Records
from steelyard.evidence.segments import SealedSegments, logged_files
from steelyard.evidence.tlog import LogReader
from steelyard.evidence.verifier import Proof, VerificationError, check_proof, open_checkpoint

PROOF_SUFFIX = ".tlog-proof"


def prove_decision(log: LogReader, segments: SealedSegments, decision: str) -> bytes:
    """The proof of a decision's record, by the decision's id.

    Raises InvalidRequest where no sealed segment has it, EvidenceError where what is kept is not what was logged.
    """
    place = segments.find(decision)
    if place is None:
        raise InvalidRequest(
            f"no sealed segment has a decision {decision!r}: it may have been sealed later, or is no longer kept"
        )
    file, at = place
    index = logged_files(log).get(file)
    if index is None:
        raise InvalidRequest(f"{file}: sealed, and not in the log yet")
    (entry,) = log.entries(index, index + 1)
    records = list(segments.records(file))
    path = Records(records).path(at)
    carried = {"index": at, "path": [_text(hashed) for hashed in path], "record": _text(records[at])}
    return _proof(log, index, entry, carried)


def prove_event(log: LogReader, event: Event) -> bytes:
    """The proof of an event's record. Raises InvalidRequest where it is not in the log."""
    for index, entry in enumerate(log.entries()):
        if isinstance(entry, EventEntry) and entry.sequence == event.sequence:
            return _proof(log, index, entry, {"record": _text(event.record())})
    raise InvalidRequest(f"event {event.sequence} is not in the log yet")


def _proof(log: LogReader, index: int, entry: Entry, carried: dict[str, object]) -> bytes:
    note = log.note()
    extra = json.dumps({"entry": _text(entry.pack()), **carried}, sort_keys=True, separators=(",", ":"))
    try:
        size = open_checkpoint(note, log.key).size
        proof = bytes(Proof(extra.encode(), index, tuple(log.inclusion(index, size)), note))
        check_proof(proof, log.key)
    except VerificationError as error:
        raise EvidenceError(f"what is kept is not what was logged: {error}") from None
    return proof


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
