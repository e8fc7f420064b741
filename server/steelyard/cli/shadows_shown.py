"""What the shadows of that time have to say of a decision, as `steelyard explain` shows it."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.errors import DataError, SteelyardError
from steelyard.evidence.event import Event
from steelyard.evidence.record import Decision
from steelyard.rollout.disagreement_file import ERASED, DisagreementsReader
from steelyard.rollout.sampling import Sampler
from steelyard.rollout.trials import SHADOW_STARTED, SHADOW_STOPPED, name_of
from steelyard.wire import decode_response

if TYPE_CHECKING:
    from steelyard.rollout.disagreement_file import Disagreement

MAX_CHARS = 400


def shadows_document(data: Path, events: Sequence[Event], decision: Decision) -> list[dict[str, Any]]:
    """Each shadow that was held against the version that answered when it did.

    `disagreed` is None where nobody knows: agreements are counted and not kept by decision. `note` says why, then.
    """
    return [_document(data, started.details, decision) for started in _running(events, decision)]


def _running(events: Sequence[Event], decision: Decision) -> Iterator[Event]:
    at_ms = decision.received_unix_ns // 1_000_000
    stopped = {event.details["number"]: event.unix_ms for event in events if event.kind == SHADOW_STOPPED}
    for event in events:
        if event.kind == SHADOW_STARTED and event.model == decision.model:
            primary = event.details["primary"]
            if event.unix_ms <= at_ms <= stopped.get(event.sequence, at_ms) and (
                primary["version"],
                primary["digest"],
            ) == (decision.version, decision.digest):
                yield event


def _document(data: Path, started: Any, decision: Decision) -> dict[str, Any]:
    document: dict[str, Any] = {
        "candidate": name_of(started["candidate"]),
        "digest": started["candidate"].get("digest", ""),
        "sampled": Sampler(started["sample"]).takes(decision.decision_id),
        "disagreed": None,
        "note": "",
        "severity": None,
        "grade": "",
        "broken": [],
        "why": {},
        "errors": {},
        "answer": None,
        "error": "",
    }
    if not document["sampled"]:
        return document | {"note": "it was not sampled for this candidate"}
    key = started["key"]
    try:
        with DisagreementsReader(data / "shadows" / f"{key}.sqlite") as reader:
            kept = reader.get(decision.decision_id, key)
            seen, here = reader.counts(key)
    except DataError as error:
        return document | {"note": f"what it kept is not there: {error}"}
    if kept is not None:
        return document | _disagreed(kept)
    if seen > here:
        return document | {"note": f"it is not among the {here} disagreements that are kept of {seen}"}
    return document | {"note": "no disagreement over it: they agreed, or it was not compared"}


def _disagreed(kept: "Disagreement") -> dict[str, Any]:
    listed = kept.listed
    found: dict[str, Any] = {
        "disagreed": True,
        "severity": listed.severity if math.isfinite(listed.severity) else None,
        "grade": str(listed.grade),
        "broken": list(listed.broken),
        "why": listed.about.get("why", {}),
        "errors": listed.about.get("errors", {}),
        "digest": listed.about.get("candidate", ""),
    }
    if isinstance(kept.candidate, str):
        note = "its answer was erased" if kept.candidate == ERASED and not kept.request else ""
        return found | {"note": note, "error": "" if note else kept.candidate[:MAX_CHARS]}
    # Imported where there is something to show, as it takes longer than looking for it.
    from steelyard.cli.payload_shown import tensor_documents

    try:
        return found | {"answer": tensor_documents(decode_response(kept.candidate).outputs)}
    except SteelyardError as error:
        return found | {"note": f"its answer cannot be read: {error}"}


def shadows_lines(document: dict[str, Any]) -> list[str]:
    """One shadow for people."""
    digest = f" {document['digest']}" if document["digest"] else ""
    lines = [f"candidate {document['candidate']}{digest}: "]
    if not document["disagreed"]:
        return [lines[0] + document["note"]]
    why = "; ".join(document["why"].values())
    lines[0] += f"disagreed ({document['grade']}) by {', '.join(document['broken'])}{why and ': ' + why}"
    for name, error in document["errors"].items():
        apart = "infinitely" if error["max_absolute"] is None else f"by up to {error['max_absolute']:.6g}"
        lines.append(f"{name} apart {apart}")
    for tensor in document["answer"] or ():
        shape = ",".join(map(str, tensor["shape"]))
        values = json.dumps(tensor["values"], ensure_ascii=False)
        cut = len(values) > MAX_CHARS or tensor["more"]
        lines.append(
            f"it answered {tensor['name']} {tensor['datatype']}[{shape}] {values[:MAX_CHARS]}{' ...' if cut else ''}"
        )
    if document["error"]:
        lines.append(f"it failed: {document['error']}")
    if document["note"]:
        lines.append(document["note"])
    return lines
