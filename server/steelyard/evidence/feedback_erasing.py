"""Erasing feedback with what was captured: of a decision, of a request by its name, or of all that carried a key."""

from collections.abc import Mapping
from pathlib import Path

from steelyard.errors import SteelyardError
from steelyard.evidence.apart import apart_async
from steelyard.evidence.erasing import Erasure, on_thread
from steelyard.evidence.feedback_removal import decisions_with_feedback, erase_feedback
from steelyard.evidence.payload_files import is_decision_id


async def erase_said(data: Path, by: str, wanted: str, erasure: Erasure) -> bool:
    """Erases what was said of a "decision" or of those of a "key", and adds them to `erasure`; says whether any was.

    Which decisions a request's name or a key stands for, their records say: where those cannot be read, that is among
    the failures, and only what was said of decisions that `erasure` has is erased. Where this is cancelled, the process
    that reads records is killed. Raises EvidenceError where the file of feedback cannot be read or written.
    """
    there = await on_thread(erasure, decisions_with_feedback, data)
    if not there:
        return False
    models = {one: model for model, some in erasure.decisions.items() for one in some}
    is_id = by == "decision" and is_decision_id(wanted)
    if not (is_id and (wanted in models or wanted not in there)):
        try:
            models |= await apart_async("steelyard.evidence.feedback_erasing:meant", data, by, wanted)
        except SteelyardError as error:
            if not is_id:
                erasure.failures.append(f"feedback: {error}")
    if is_id:
        # Its record may be gone, or unreadable: nobody's, then.
        models.setdefault(wanted, "")
    return await on_thread(erasure, _erase, data, models, erasure)


def _erase(data: Path, models: Mapping[str, str], erasure: Erasure) -> bool:
    erased = erase_feedback(data, models.keys())
    for one in erased:
        erasure.add(models[one], one)
    return bool(erased)


def meant(data: Path, by: str, wanted: str) -> dict[str, str]:
    """The decisions of which something was said, and that are meant, with their models; called in a process apart.

    Raises EvidenceError and InvalidRequest as `search.ask`.
    """
    from steelyard.evidence.search import models_of

    named_by = "decision_id" if is_decision_id(wanted) else "request_id"
    return models_of(data, "key" if by == "key" else named_by, wanted, decisions_with_feedback(data))
