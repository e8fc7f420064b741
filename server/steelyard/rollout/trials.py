"""Which candidates run beside a model's version in production, as the events say."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from steelyard.evidence.event import Event
from steelyard.rollout.labels import Holder

SHADOW_STARTED = "shadow.started"
SHADOW_STOPPED = "shadow.stopped"
CALIBRATED = "shadow.calibrated"
DECIDED = "gate.decided"
CANARY_STARTED = "canary.started"
CANARY_STEPPED = "canary.stepped"
CANARY_STOPPED = "canary.stopped"

# Calibrations kept for a model, by the content that was calibrated: those of versions that are long gone serve nobody.
CALIBRATIONS_KEPT = 20


def is_elsewhere(candidate: Mapping[str, Any]) -> bool:
    """Whether a candidate, as events hold it, is on another server."""
    return "address" in candidate


def name_of(candidate: Mapping[str, Any]) -> str:
    """What people call a candidate, as events hold it: its version, or "ADDRESS", or "ADDRESS/VERSION"."""
    if not is_elsewhere(candidate):
        return str(candidate["version"])
    version = candidate["version"]
    return f"{candidate['address']}/{version}" if version else str(candidate["address"])


@dataclass(frozen=True, slots=True)
class Shadow:
    """A candidate that is asked what the primary is asked; nobody gets its answers."""

    number: int
    """The sequence of the event that started it."""
    key: str
    """What its files are called."""
    model: str
    primary: Holder
    candidate: Mapping[str, Any]
    """`version` and `digest`, or `address`, `model`, `version` (of that server) and what else it needs."""
    sample: float
    plan: Mapping[str, Any]
    """`[rollout]` as it was fixed at the start, and tolerances."""
    verdict: str
    """What the gate decided; empty while it has not."""

    @property
    def name(self) -> str:
        """What people call the candidate."""
        return name_of(self.candidate)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the candidate is on another server."""
        return is_elsewhere(self.candidate)


@dataclass(frozen=True, slots=True)
class Canary:
    """A candidate that answers a share of the requests that name no version."""

    number: int
    """The sequence of the event that started it."""
    model: str
    primary: Holder
    candidate: Holder
    shares: tuple[float, ...]
    """The steps; the first is where it begins."""
    step: int
    """The place of the share in force among `shares`."""
    plan: Mapping[str, Any]
    """`[rollout.gate]` as it was fixed at the start."""
    verdict: str
    """What the gate of the last step decided, while nobody has promoted or stopped it; else empty."""

    @property
    def share(self) -> float:
        return self.shares[self.step]


@dataclass(frozen=True, slots=True)
class ModelTrials:
    """What runs beside one model. `tolerances` are those of calibrations, by content and output: absolute, relative."""

    shadows: Mapping[int, Shadow] = field(default_factory=dict)
    canary: Canary | None = None
    tolerances: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)


def applied(trials: ModelTrials, event: Event) -> ModelTrials:
    """What runs after `event`; events of other kinds change nothing."""
    details = event.details
    if event.kind == SHADOW_STARTED:
        shadow = Shadow(
            number=event.sequence,
            key=details["key"],
            model=event.model,
            primary=Holder.from_json(details["primary"]),
            candidate=details["candidate"],
            sample=details["sample"],
            plan=details["plan"],
            verdict="",
        )
        return replace(trials, shadows={**trials.shadows, event.sequence: shadow})
    if event.kind == SHADOW_STOPPED:
        left = {number: known for number, known in trials.shadows.items() if number != details["number"]}
        return replace(trials, shadows=left)
    if event.kind == CALIBRATED:
        tolerances = {key: value for key, value in trials.tolerances.items() if key != event.digest}
        tolerances[event.digest] = {name: (pair[0], pair[1]) for name, pair in details["tolerances"].items()}
        return replace(trials, tolerances=dict(list(tolerances.items())[-CALIBRATIONS_KEPT:]))
    if event.kind == DECIDED:
        number = details["number"]
        if number in trials.shadows:
            decided = replace(trials.shadows[number], verdict=details["verdict"])
            return replace(trials, shadows={**trials.shadows, number: decided})
        if trials.canary is not None and trials.canary.number == number:
            return replace(trials, canary=replace(trials.canary, verdict=details["verdict"]))
        return trials
    if event.kind == CANARY_STARTED:
        return replace(
            trials,
            canary=Canary(
                number=event.sequence,
                model=event.model,
                primary=Holder.from_json(details["primary"]),
                candidate=Holder.from_json(details["candidate"]),
                shares=tuple(details["shares"]),
                step=0,
                plan=details["plan"],
                verdict="",
            ),
        )
    if event.kind == CANARY_STEPPED and trials.canary is not None:
        return replace(trials, canary=replace(trials.canary, step=details["step"], verdict=""))
    if event.kind == CANARY_STOPPED:
        return replace(trials, canary=None)
    return trials


def fold(events: Iterable[Event]) -> dict[str, ModelTrials]:
    """What runs beside every model that `events` name, after all of them."""
    models: dict[str, ModelTrials] = {}
    for event in events:
        models[event.model] = applied(models.get(event.model, ModelTrials()), event)
    return models
