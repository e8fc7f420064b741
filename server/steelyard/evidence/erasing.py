"""Erasing captured payloads: what was asked and answered goes with its salt, what was recorded of it stays."""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.event import Draft
from steelyard.evidence.payload_files import PAYLOADS, Entry, is_decision_id, payload_files
from steelyard.evidence.payload_walk import Wreck, walk

PAYLOAD_ERASED = "payload.erased"

# Ids of 36 characters: an event stays well below the bound of its record.
MAX_DECISIONS_AN_EVENT = 1000


@dataclass(slots=True)
class Erasure:
    """What was erased, by model, and what could not be."""

    decisions: dict[str, list[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """Why entries that may have been meant could not be read or overwritten."""

    def drafts(self, actor: str, reason: str, by: str) -> list[Draft]:
        """The events that say so; by: "decision" or "key". They do not hold the key, which may name a person."""
        return [
            Draft(PAYLOAD_ERASED, model, actor, reason, details={"by": by, "decisions": some})
            for model, decisions in sorted(self.decisions.items())
            for some in _parts(decisions)
        ]


def erase_decision(data: Path, wanted: str) -> Erasure:
    """Erases the payload of a decision, or of all requests of an id.

    Raises EvidenceError where nothing is kept of it; where it was erased before, nothing is left to be erased.
    """
    erasure = Erasure()
    is_id = is_decision_id(wanted)
    names = [wanted.encode(), uuid.UUID(wanted).bytes] if is_id else _spellings(wanted)

    def is_meant(entry: Entry) -> bool:
        return entry.head.decision_id == wanted if is_id else entry.read().request_id == wanted

    was_there = _erase_all(data, names, is_meant, erasure)
    if not (was_there or erasure.decisions or erasure.failures):
        raise EvidenceError(f"no payload of decision {wanted[:128]!r} is kept in {data / PAYLOADS}")
    return erasure


def erase_key(data: Path, key: str) -> Erasure:
    """Erases the payloads of all requests that carried a key."""
    erasure = Erasure()
    _erase_all(data, _spellings(key), lambda entry: entry.read().key == key, erasure)
    return erasure


def _erase_all(
    data: Path, names: Sequence[bytes], is_meant: Callable[[Entry], bool], erasure: Erasure
) -> bool:
    """Erases what is meant, and what is damaged and holds one of `names`; says whether any was erased before.

    All files are looked through: their times are those of a clock that may have been set back.
    """
    was_there = False
    for path in payload_files(data):
        try:
            for found in walk(path):
                if isinstance(found, Entry) and found.head.erased:
                    # It keeps its decision's id, and nothing else that it could be known by.
                    was_there |= uuid.UUID(found.head.decision_id).bytes in names
                else:
                    _erase_one(found, names, is_meant, erasure)
        except FileNotFoundError:
            # Retention has been there.
            continue
        except EvidenceError as error:
            erasure.failures.append(str(error))
    return was_there


def _erase_one(
    found: Entry | Wreck, names: Sequence[bytes], is_meant: Callable[[Entry], bool], erasure: Erasure
) -> None:
    try:
        if found.holds(names) if isinstance(found, Wreck) else _is_wanted(found, names, is_meant):
            found.erase()
            known = erasure.decisions.setdefault(found.path.parent.name, [])
            if found.decision_id not in known:
                known.append(found.decision_id)
        elif isinstance(found, Wreck):
            where = f"{found.path}: byte {found.offset}"
            erasure.failures.append(f"{where}: damaged, and whose that is cannot be told")
    except EvidenceError as error:
        erasure.failures.append(str(error))


def _is_wanted(entry: Entry, names: Sequence[bytes], is_meant: Callable[[Entry], bool]) -> bool:
    """Whether an entry is meant, or cannot be read and holds one of `names`. Raises EvidenceError for another that
    cannot be read."""
    try:
        return is_meant(entry)
    except EvidenceError:
        content = entry.content()
        if any(name in content for name in names):
            return True
        # Being written just now, or cut off.
        if len(content) < entry.head.content_bytes:
            return False
        raise


def _spellings(name: str) -> list[bytes]:
    """A request's id or key as it stands in an entry: in what is said of it, and in the request itself."""
    said = json.dumps(name).encode()
    return [said, name.encode()] if name else [said]


def _parts(decisions: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(decisions), MAX_DECISIONS_AN_EVENT):
        yield decisions[start : start + MAX_DECISIONS_AN_EVENT]
