"""All models and their versions as the events say they stood: who answers for them, what they are for, until when."""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from steelyard.clock import rfc3339
from steelyard.evidence.event import Event
from steelyard.evidence.life import Lives, ModelLife
from steelyard.evidence.retirement import WARNED_DAYS, WHOLE
from steelyard.evidence.versions import KnownVersion
from steelyard.models.governance import NEEDED


@dataclass(frozen=True, slots=True)
class Entry:
    """One version. Days are YYYY-MM-DD, times RFC 3339; what nobody has said is empty."""

    model: str
    version: int
    digest: str
    state: str
    """"serving", "registered" (known and not loaded), "refused" (never loaded), "retiring" or "retired"."""
    labels: str
    owner: str
    backup_owner: str
    tier: str
    purpose: str
    intended_use: str
    restrictions: str
    developed_by: str
    validated_by: str
    last_validation: str
    next_validation: str
    retire_on: str
    replacement: str
    registered: str
    approved: str
    approved_by: str
    parent: str
    training_data_digest: str
    code_revision: str
    missing: str
    """Of what production insists on."""


GOVERNANCE = (
    "owner",
    "backup_owner",
    "tier",
    "purpose",
    "intended_use",
    "restrictions",
    "developed_by",
    "validated_by",
    "last_validation",
    "next_validation",
)
LINEAGE = ("parent", "training_data_digest", "code_revision")


def inventory(
    events: Sequence[Event], labels: dict[str, dict[str, int]], today: datetime.date
) -> Iterator[Entry]:
    """The inventory after `events`, on the day `today`. labels: by model, numbers of versions by label."""
    lives = Lives(events)
    for model in lives.models:
        life = lives.of(model)
        standing = labels.get(model, {})
        # What was never loaded is in the repository all the same, and somebody should know why.
        refused = {number: KnownVersion(number, "", 0) for number in life.problems}
        for number, known in sorted({**refused, **life.versions}.items()):
            names = sorted(label for label, version in standing.items() if version == number)
            yield _entry(model, life, known, names, today)


def _entry(
    model: str, life: ModelLife, known: KnownVersion, labels: Sequence[str], today: datetime.date
) -> Entry:
    retiring = life.retiring
    governance = {key: str(life.governance.get(key, "")) for key in GOVERNANCE}
    retirement = retiring.retirements.get(known.number) or retiring.retirements.get(WHOLE)
    needed = {**governance, "retire_on": retiring.retire_on or ""}
    approval = known.approval
    return Entry(
        model=model,
        version=known.number,
        digest=known.digest,
        state=_state(life, known, today),
        labels=", ".join(labels),
        **governance,
        retire_on=retiring.retire_on or "",
        replacement=retirement.replacement if retirement else str(life.governance.get("replacement", "")),
        registered=rfc3339(known.registered_unix_ms) if known.digest else "",
        approved="" if approval is None else rfc3339(approval.unix_ms),
        approved_by="" if approval is None else approval.actor,
        **{key: str(known.lineage.get(key, "")) for key in LINEAGE},
        missing=", ".join(key for key in NEEDED if not needed[key]),
    )


def _state(life: ModelLife, known: KnownVersion, today: datetime.date) -> str:
    retiring = life.retiring
    asked: Any = retiring.retirements.get(known.number) or retiring.retirements.get(WHOLE)
    if (asked is not None and asked.completed_unix_ms) or retiring.reached == "stop":
        return "retired"
    if asked is not None:
        return "retiring"
    if retiring.retire_on is not None:
        left = (datetime.date.fromisoformat(retiring.retire_on) - today).days
        if left <= WARNED_DAYS[0] and known.loaded:
            return "retiring"
    if not known.digest:
        return "refused"
    return "serving" if known.loaded else "registered"
