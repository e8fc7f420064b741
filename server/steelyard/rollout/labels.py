"""Which version each label of a model stands for, as the events say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from steelyard.evidence.event import Draft, Event

# Label kinds of events: a label follows the highest version until somebody sets it, and again when it is removed.
FOLLOWED = "label.followed"
SET = "label.set"
REMOVED = "label.removed"
ROLLED_BACK = "label.rolled_back"
DRILLED = "rollback.drilled"

# The outcome of a drill that went well; of another, it is what went wrong.
PASSED = "passed"

# Earlier holders of a label that a rollback can still go back to.
EARLIER_KEPT = 100


@dataclass(frozen=True, slots=True)
class Holder:
    """A version, for certain: its number and its content."""

    number: int
    digest: str

    def __str__(self) -> str:
        return f"version {self.number} ({self.digest[:19]})"

    def to_json(self) -> dict[str, Any]:
        return {"version": self.number, "digest": self.digest}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Holder":
        return cls(fields["version"], fields["digest"])


@dataclass(frozen=True, slots=True)
class Label:
    """What one label stands for. `earlier` are its holders before, the last one last."""

    name: str
    holder: Holder
    follows: bool
    """Whether it follows the highest version that is ready: nobody has set it."""
    earlier: tuple[Holder, ...]
    since_unix_ms: int
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelLabels:
    """The labels of one model, without those that were removed; `left` are versions that a label has left, and when."""

    labels: Mapping[str, Label] = field(default_factory=dict)
    left: Mapping[Holder, int] = field(default_factory=dict)
    drilled_unix_ms: int = 0
    """When the last rollback drill went well; 0: never."""
    tried_unix_ms: int = 0
    """When the last rollback drill was made, well or not; 0: never."""

    def holders(self) -> set[Holder]:
        """The versions that a label stands for because somebody has said so."""
        return {label.holder for label in self.labels.values() if not label.follows}

    def warm(self, now_unix_ms: int, keep_warm_ms: int) -> dict[Holder, int]:
        """The versions that labels have left and that are kept warm, and until when."""
        standing = {label.holder for label in self.labels.values()}
        return {
            holder: left_ms + keep_warm_ms
            for holder, left_ms in self.left.items()
            if holder not in standing and left_ms + keep_warm_ms > now_unix_ms
        }


def draft(
    kind: str, model: str, label: str, holder: Holder | None, before: Holder | None, actor: str, reason: str
) -> Draft:
    """The event of a label that moves from `before` (None: from nowhere) to `holder` (None: it is removed)."""
    return Draft(
        kind=kind,
        model=model,
        actor=actor,
        reason=reason,
        digest="" if holder is None else holder.digest,
        details={
            "label": label,
            "to": None if holder is None else holder.to_json(),
            "from": None if before is None else before.to_json(),
        },
    )


def applied(labels: ModelLabels, event: Event) -> ModelLabels:
    """The labels after `event`; events of other kinds change nothing."""
    if event.kind == DRILLED:
        good = event.details["outcome"] == PASSED
        drilled_unix_ms = event.unix_ms if good else labels.drilled_unix_ms
        return replace(labels, drilled_unix_ms=drilled_unix_ms, tried_unix_ms=event.unix_ms)
    if event.kind not in (FOLLOWED, SET, REMOVED, ROLLED_BACK):
        return labels
    name = event.details["label"]
    moved, before = _holder(event.details["to"]), _holder(event.details["from"])
    standing = dict(labels.labels)
    known = standing.pop(name, None)
    left = dict(labels.left)
    if before is not None and before != moved:
        # Anew at the end, so that what is cut off is what was left the longest ago.
        left.pop(before, None)
        left[before] = event.unix_ms
        left = dict(list(left.items())[-EARLIER_KEPT:])
    if moved is not None:
        left.pop(moved, None)
        standing[name] = Label(
            name=name,
            holder=moved,
            follows=event.kind == FOLLOWED,
            earlier=_earlier(known, event.kind, before, moved),
            since_unix_ms=event.unix_ms,
            actor=event.actor,
            reason=event.reason,
        )
    return replace(labels, labels=standing, left=left)


def fold(events: Iterable[Event]) -> dict[str, ModelLabels]:
    """The labels of every model that `events` name, after all of them."""
    models: dict[str, ModelLabels] = {}
    for event in events:
        models[event.model] = applied(models.get(event.model, ModelLabels()), event)
    return models


def _earlier(known: Label | None, kind: str, before: Holder | None, moved: Holder) -> tuple[Holder, ...]:
    """A rollback takes the last earlier holder away; every other move puts the one that it left on top."""
    earlier = () if known is None else known.earlier
    if kind == ROLLED_BACK:
        return earlier[:-1]
    if before is None or before == moved:
        return earlier
    return (*earlier, before)[-EARLIER_KEPT:]


def _holder(fields: Mapping[str, Any] | None) -> Holder | None:
    return None if fields is None else Holder.from_json(fields)
