"""The admin socket's part about captured payloads."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from steelyard.errors import EvidenceError, InvalidRequest, SteelyardError, Unavailable
from steelyard.evidence.erasing import Erasure, erase_decision, erase_key
from steelyard.rollout.bucket import KEY_PARAMETER
from steelyard.serving.messages import serialized
from steelyard.serving.methods import Methods
from steelyard.supervisor.acting import named
from steelyard.supervisor.admin import event_message
from steelyard.supervisor.life import WorkerLife
from steelyard.supervisor.record import Record
from steelyard.wire.admin import EVIDENCE_SERVICE
from steelyard.wire.generated import evidence as pb

# Payloads that wait are 16 MiB a model, which a disk that answers takes in a second.
WRITTEN_WITHIN_S = 5.0


class Erasing:
    """The handler that erases payloads and records that it did."""

    def __init__(self, record: Record, data: Path, workers: Callable[[], Sequence[WorkerLife]]) -> None:
        self._record = record
        self._data = data
        self._workers = workers

    def register(self, methods: Methods) -> None:
        """Puts the handler into the table."""
        methods.unary[EVIDENCE_SERVICE + "Erase"] = serialized(pb.EraseRequest, self._erase)

    async def _erase(self, request: Any) -> Any:
        by = request.WhichOneof("which")
        wanted = getattr(request, by) if by else ""
        if not wanted:
            raise InvalidRequest("expected a decision or a key, came neither")
        # What is written after the files were read would stay.
        late = await asyncio.gather(*(_not_written(worker) for worker in self._workers() if worker.loaded))
        # Files are read and overwritten: the loop must not wait for that.
        erasure = await asyncio.to_thread(erase_kept, self._data, by, wanted, [why for why in late if why])
        # What was erased is recorded, whatever else could not be.
        events = self._record.append(erasure.drafts(named(request.who.actor), request.who.reason, by))
        if erasure.failures:
            raise EvidenceError(left_over(erasure))
        decisions = [one for some in erasure.decisions.values() for one in some]
        return pb.EraseResponse(decisions=decisions, events=[event_message(event) for event in events])


async def _not_written(worker: WorkerLife) -> str:
    """Has a worker write the payloads that wait; why that cannot be, else nothing."""
    try:
        async with asyncio.timeout(WRITTEN_WITHIN_S):
            try:
                await worker.ask({"write_payloads": True})
            except Unavailable:
                # It is about to end, and writes what waits or takes it along.
                await worker.ended.wait()
    except TimeoutError:
        return (
            f"worker {worker.number}: payloads that wait to be written were not within {WRITTEN_WITHIN_S:g} s: "
            "erase again when its disk answers"
        )
    return ""


def erase_kept(data: Path, by: str, wanted: str, failures: Sequence[str] = ()) -> Erasure:
    """Erases what is kept of a "decision" or a "key": payloads, the disagreements of shadows, and feedback.

    failures: of before. Raises EvidenceError where nothing is kept of a decision, unless there are any.
    """
    # What asks for it seldom comes; the server's start does not wait for SQLite.
    from steelyard.evidence.feedback_erasing import erase_said
    from steelyard.rollout.disagreement_file import erase_disagreements
    from steelyard.wire import decode_request

    missing: EvidenceError | None = None
    erasure = Erasure()
    try:
        erasure = erase_decision(data, wanted) if by == "decision" else erase_key(data, wanted)
    except EvidenceError as error:
        missing = error

    def meant(decision_id: str, body: bytes) -> bool:
        request = decode_request(body)
        if by == "key":
            return request.parameters.get(KEY_PARAMETER) == wanted
        return wanted in (decision_id, request.id)

    there = False
    for path in sorted((data / "shadows").glob("*.sqlite")):
        try:
            for decision_id, body in erase_disagreements(path, meant):
                there = True
                known = erasure.decisions.setdefault(decode_request(body).model_name, [])
                if decision_id not in known:
                    known.append(decision_id)
        except SteelyardError as error:
            erasure.failures.append(str(error))
    try:
        there |= erase_said(data, by, wanted, erasure)
    except SteelyardError as error:
        erasure.failures.append(str(error))
    erasure.failures += failures
    if missing is not None and not there and not erasure.failures:
        raise missing
    return erasure


def left_over(erasure: Erasure) -> str:
    """What is to be said where not everything could be erased."""
    erased = sum(map(len, erasure.decisions.values()))
    return f"{erased} erased, but not all could be read or overwritten: {'; '.join(erasure.failures[:8])}"
