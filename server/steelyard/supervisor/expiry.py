"""Sealed segments that are no longer kept: each is named in an event before its file is removed."""

from collections.abc import Sequence

from steelyard.evidence.event import Draft
from steelyard.evidence.verifier import EXPIRED
from steelyard.supervisor.acting import SERVER
from steelyard.supervisor.record import Record

# A file's path has some 300 bytes at most, and an event's record a quarter of a mebibyte.
MAX_FILES_AN_EVENT = 500


class Expiry:
    """Records what retention is about to remove."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._known: set[str] | None = None

    def expire(self, model: str, files: Sequence[str]) -> None:
        """Returns when events of `model` name all of `files`, paths below the directory of sealed segments.

        What they name already, as after a kill, is not named again. Raises EvidenceError where that cannot be recorded.
        """
        if self._known is None:
            self._known = {
                str(file)
                for event in self._record.events
                if event.kind == EXPIRED
                for file in event.details["files"]
            }
        fresh = [file for file in files if file not in self._known]
        for at in range(0, len(fresh), MAX_FILES_AN_EVENT):
            part = fresh[at : at + MAX_FILES_AN_EVENT]
            reason = "retention: kept for as long, or in as many bytes, as the manifest says"
            self._record.append([Draft(EXPIRED, model, SERVER, reason, details={"files": part})])
            self._known.update(part)
