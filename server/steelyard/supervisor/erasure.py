"""One erasure: recorded before anything is touched, carried out, and recorded again with what it erased."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import EvidenceError, SteelyardError
from steelyard.evidence.erasing import PAYLOAD_ERASING, Erasure, erase_decision, erase_key, on_thread
from steelyard.evidence.event import Draft, Event
from steelyard.evidence.payload_files import PAYLOADS, is_decision_id
from steelyard.rollout.bucket import KEY_PARAMETER


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be erased, by whom and why."""

    by: str
    """"decision" or "key"."""
    wanted: str
    """A decision's id, or a request's, or the key."""
    actor: str
    reason: str

    def intent(self) -> Draft:
        """The event that it is about to be. What a caller has named may name a person, and is not in it."""
        details = {"by": self.by}
        if self.by == "decision" and is_decision_id(self.wanted):
            details["decision"] = self.wanted
        return Draft(PAYLOAD_ERASING, "", self.actor, self.reason, details=details)


async def carried_out(
    append: Callable[[Sequence[Draft]], list[Event]],
    data: Path,
    asked: Asked,
    failures: Sequence[str] = (),
) -> tuple[Erasure, list[Event]]:
    """Erases what is kept in a data directory, payloads, the disagreements of shadows and feedback; gives the events.

    append: records events, as an event log does. failures: of before, which become the erasure's. Where this is
    cancelled, it is broken off, and that is among its failures.

    Raises what `append` does, before anything is touched where that is what it refuses; EvidenceError where nothing is
    kept of a decision, or not everything could be erased, after what was erased is recorded.
    """
    (intent,) = append([asked.intent()])
    erasure = Erasure(failures=list(failures))
    there = False
    try:
        there = await _erase(data, asked, erasure)
    except asyncio.CancelledError:
        erasure.failures.append("it was broken off: erase again")
    finally:
        # What was erased is recorded, whatever else could not be.
        events = _recorded(append, erasure, asked, intent.sequence)
    if erasure.failures:
        shown = "; ".join(erasure.failures[:8])
        raise EvidenceError(f"{len(erasure.ids)} erased, but not all could be read or overwritten: {shown}")
    if asked.by == "decision" and not there:
        raise EvidenceError(f"no payload of decision {asked.wanted[:128]!r} is kept in {data / PAYLOADS}")
    return erasure, [intent, *events]


def _recorded(
    append: Callable[[Sequence[Draft]], list[Event]], erasure: Erasure, asked: Asked, erasing: int
) -> list[Event]:
    try:
        return append(erasure.drafts(asked.actor, asked.reason, asked.by, erasing))
    except EvidenceError as error:
        raise EvidenceError(f"{len(erasure.ids)} erased, which could not be recorded: {error}") from None


async def _erase(data: Path, asked: Asked, erasure: Erasure) -> bool:
    """Erases, and says whether anything was there, or had been before it was erased."""
    # What asks for it seldom comes; the server's start does not wait for it.
    from steelyard.evidence.feedback_erasing import erase_said

    there = await on_thread(erasure, _erase_captured, data, asked, erasure)
    try:
        there |= await erase_said(data, asked.by, asked.wanted, erasure)
    except SteelyardError as error:
        erasure.failures.append(str(error))
    return there


def _erase_captured(data: Path, asked: Asked, erasure: Erasure) -> bool:
    erase = erase_decision if asked.by == "decision" else erase_key
    there = erase(data, asked.wanted, erasure)
    for path in sorted((data / "shadows").glob("*.sqlite")):
        if erasure.broken_off:
            break
        try:
            there |= _erase_disagreements(path, asked, erasure)
        except SteelyardError as error:
            erasure.failures.append(str(error))
    return there


def _erase_disagreements(path: Path, asked: Asked, erasure: Erasure) -> bool:
    # Nor for SQLite.
    from steelyard.rollout.disagreement_file import erase_disagreements
    from steelyard.wire import decode_request

    def meant(decision_id: str, body: bytes) -> bool:
        request = decode_request(body)
        if asked.by == "key":
            return request.parameters.get(KEY_PARAMETER) == asked.wanted
        return asked.wanted in (decision_id, request.id)

    emptied = erase_disagreements(path, meant)
    for decision_id, body in emptied.found:
        erasure.add(decode_request(body).model_name, decision_id)
    if emptied.problem:
        erasure.failures.append(emptied.problem)
    return bool(emptied.found) or (asked.by == "decision" and asked.wanted in emptied.before)
