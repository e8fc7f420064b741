"""Erasing captured payloads: what was asked and answered goes with its salt, what was recorded of it stays."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.event import Draft
from steelyard.evidence.payload_files import Entry, all_entries, find_all

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
    for entry in find_all(data, wanted):
        if not entry.head.erased:
            _erase(entry, erasure)
    return erasure


def erase_key(data: Path, key: str) -> Erasure:
    """Erases the payloads of all requests that carried a key."""
    erasure = Erasure()
    for entry in all_entries(data, damage=erasure.failures):
        if entry.head.erased:
            continue
        try:
            matches = entry.read().key == key
        except EvidenceError as error:
            erasure.failures.append(str(error))
            continue
        if matches:
            _erase(entry, erasure)
    return erasure


def _erase(entry: Entry, erasure: Erasure) -> None:
    try:
        entry.erase()
    except EvidenceError as error:
        erasure.failures.append(str(error))
    else:
        erasure.decisions.setdefault(entry.path.parent.name, []).append(entry.head.decision_id)


def _parts(decisions: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(decisions), MAX_DECISIONS_AN_EVENT):
        yield decisions[start : start + MAX_DECISIONS_AN_EVENT]
