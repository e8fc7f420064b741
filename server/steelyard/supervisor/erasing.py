"""The admin socket's part about captured payloads."""

import asyncio
from pathlib import Path
from typing import Any

from steelyard.wire.admin import EVIDENCE_SERVICE
from steelyard.errors import EvidenceError, InvalidRequest
from steelyard.evidence.erasing import Erasure, erase_decision, erase_key
from steelyard.serving.messages import serialized
from steelyard.serving.methods import Methods
from steelyard.supervisor.admin import event_message
from steelyard.supervisor.record import Record
from steelyard.wire.generated import evidence as pb


class Erasing:
    """The handler that erases payloads and records that it did."""

    def __init__(self, record: Record, data: Path) -> None:
        self._record = record
        self._data = data

    def register(self, methods: Methods) -> None:
        """Puts the handler into the table."""
        methods.unary[EVIDENCE_SERVICE + "Erase"] = serialized(pb.EraseRequest, self._erase)

    async def _erase(self, request: Any) -> Any:
        by = request.WhichOneof("which")
        wanted = getattr(request, by) if by else ""
        if not wanted:
            raise InvalidRequest("expected a decision or a key, came neither")
        # Files are read and overwritten: the loop must not wait for that.
        erasure = await asyncio.to_thread(
            erase_decision if by == "decision" else erase_key, self._data, wanted
        )
        # What was erased is recorded, whatever else could not be.
        events = self._record.append(erasure.drafts(request.who.actor, request.who.reason, by))
        if erasure.failures:
            raise EvidenceError(left_over(erasure))
        decisions = [one for some in erasure.decisions.values() for one in some]
        return pb.EraseResponse(decisions=decisions, events=[event_message(event) for event in events])


def left_over(erasure: Erasure) -> str:
    """What is to be said where not everything could be erased."""
    erased = sum(map(len, erasure.decisions.values()))
    return f"{erased} erased, but not all could be read or overwritten: {'; '.join(erasure.failures[:8])}"
