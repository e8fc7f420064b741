"""What the journal says of captured payloads: their digests, by where the payloads are kept."""

import itertools
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from steelyard.evidence.gone import looked_again
from steelyard.evidence.payload import Payload, salted
from steelyard.evidence.payload_files import PAYLOADS, Entry, is_of_a_shadow

Place = tuple[str, int]
"""A file, from the directory of payloads on, and an offset in it."""


@dataclass(frozen=True, slots=True)
class Noted:
    """The digests of one payload, as they were recorded."""

    decision_id: str
    input_digest: str
    output_digest: str
    elsewhere: str = ""
    """Where the journal has that payload; empty where that is where it was found."""


class PayloadNotes:
    """What the journal says of payloads in the data directory `data`, as `payload_notes` gives it."""

    def __init__(self, data: Path, by_place: Mapping[Place, Noted]) -> None:
        self._data = data
        self._by_place = by_place
        self._places = {noted.decision_id: place for place, noted in by_place.items()}

    def of(self, entry: Entry) -> Noted | None:
        """The note of an entry or, where its place has none, that of its decision; None where there is neither.

        A shadow's payload lies beside that of the worker, whose note says nothing of it.
        """
        noted = self._by_place.get(place_of(self._data, entry))
        if noted is not None or is_of_a_shadow(entry.path):
            return noted
        place = self._places.get(entry.decision_id)
        if place is None:
            return None
        return replace(self._by_place[place], elsewhere=f"{place[0]} at byte {place[1]}")


def payload_notes(data: Path, decisions: set[str]) -> dict[Place, Noted]:
    """What is noted of the payloads of `decisions`, in the journal and where it was sealed.

    Raises EvidenceError where a file of either cannot be read.
    """
    return looked_again(lambda: _all_noted(data, decisions))


def _all_noted(data: Path, decisions: set[str]) -> dict[Place, Noted]:
    # What replays need not have.
    from steelyard.evidence.notes_file import id_of, read_notes
    from steelyard.evidence.store import open_files, sealed_notes

    # Before the sealed ones are listed: what is sealed meanwhile is there twice, and not missing.
    unsealed = [note for file in open_files(data) for note in file.notes]
    ids = sorted({id_of(decision).bytes for decision in decisions})
    notes = itertools.chain(unsealed, *(read_notes(path, ids, "payload") for path in sealed_notes(data)))
    return dict(_noted(note) for note in notes if _is_meant(note, decisions))


def place_of(data: Path, entry: Entry) -> Place:
    """Where an entry is, as notes name it."""
    return str(entry.path.relative_to(data / PAYLOADS)), entry.offset


def changed(payload: Payload, noted: Noted | None) -> str:
    """How a payload differs from what was recorded of it; empty where it does not.

    noted: None where the journal says nothing of it, as of what a shadow kept: then it is held against its own digests.
    """
    if noted is not None and noted.elsewhere:
        return f"the journal has the payload of this decision in {noted.elsewhere}, and not here"
    for what, content, digest, recorded in (
        ("request", payload.request, payload.input_digest, noted.input_digest if noted else None),
        ("answer", payload.answer, payload.output_digest, noted.output_digest if noted else None),
    ):
        if recorded is not None and recorded != digest:
            return f"the journal has another digest of the {what}"
        if payload.kept and salted(payload.salt, content) != digest:
            return f"the {what} is not the one of its digest"
    if noted is not None and noted.decision_id != payload.decision_id:
        return f"the journal has decision {noted.decision_id} there"
    return ""


def _is_meant(note: dict[str, Any], decisions: Container[str]) -> bool:
    return note.get("note") == "payload" and note.get("decision_id") in decisions


def _noted(note: dict[str, Any]) -> tuple[Place, Noted]:
    noted = Noted(note["decision_id"], str(note.get("input_digest")), str(note.get("output_digest")))
    return (str(note.get("file")), int(note.get("offset", -1))), noted
