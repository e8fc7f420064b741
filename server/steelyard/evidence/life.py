"""The life of a model, as the events say: its versions, what is declared of it, and when it goes out of service."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from steelyard.evidence import declared, retirement, versions
from steelyard.evidence.declared import MANIFEST, Values
from steelyard.evidence.event import Event
from steelyard.evidence.retirement import SERVER_STARTED, Retiring
from steelyard.evidence.versions import Versions


@dataclass(frozen=True, slots=True)
class ModelLife:
    """One model."""

    versions: Versions = field(default_factory=dict)
    governance: Values = field(default_factory=dict)
    """`[governance]` as it is in force; `retire_on` stands in `retiring`."""
    manifest: Values = field(default_factory=dict)
    """`[governance]` as model.toml last said."""
    configuration: Values = field(default_factory=dict)
    """What else model.toml last said, by path; of the server, its settings."""
    retiring: Retiring = field(default_factory=Retiring)
    problems: Mapping[int, str] = field(default_factory=dict)
    """Why a version could not be loaded when that was last tried."""


def applied(life: ModelLife, event: Event) -> ModelLife:
    """The life after `event`."""
    retiring = retirement.applied(life.retiring, event)
    known = versions.applied(life.versions, event)
    if retiring is not life.retiring or known is not life.versions:
        life = replace(life, retiring=retiring, versions=known)
    if event.kind in declared.GOVERNANCE_KINDS:
        changed = event.details["changed"]
        if event.details["source"] == MANIFEST:
            life = replace(life, manifest=declared.after(life.manifest, changed))
        in_force = {key: change for key, change in changed.items() if key != "retire_on"}
        return replace(life, governance=declared.after(life.governance, in_force))
    if event.kind == declared.CONFIGURATION_CHANGED:
        return replace(life, configuration=declared.after(life.configuration, event.details["changed"]))
    if event.kind == versions.REFUSED:
        problem = event.details["problem"]
        return replace(life, problems={**life.problems, event.details["version"]: problem})
    if event.kind == versions.LOADED and event.details["version"] in life.problems:
        left = {one: what for one, what in life.problems.items() if one != event.details["version"]}
        return replace(life, problems=left)
    return life


class Lives:
    """The life of every model that events name; the server's own is that of the empty name."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._lives: dict[str, ModelLife] = {}
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """Takes the next event."""
        if event.kind == SERVER_STARTED:
            for model, life in self._lives.items():
                self._lives[model] = applied(life, event)
        else:
            self._lives[event.model] = applied(self.of(event.model), event)

    def of(self, model: str) -> ModelLife:
        """Empty where nothing is known of `model`."""
        return self._lives.get(model, ModelLife())

    @property
    def models(self) -> list[str]:
        """By name, without the server."""
        return sorted(self._lives.keys() - {""})
