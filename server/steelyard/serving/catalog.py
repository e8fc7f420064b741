"""What is served under which name and version, and in which state everything else is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import NoReturn

from steelyard.errors import ModelNotFound, Unavailable
from steelyard.models.names import parse_version
from steelyard.serving.version import ServedVersion
from steelyard.wire.refusals import shown


class VersionState(Enum):
    """Where a version stands, in the words that RepositoryIndex uses where it has them."""

    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"
    UNLOADED = "UNAVAILABLE"


TRANSITIONS: dict[VersionState, frozenset[VersionState]] = {
    VersionState.LOADING: frozenset({VersionState.READY, VersionState.FAILED, VersionState.UNLOADED}),
    VersionState.READY: frozenset(
        {VersionState.LOADING, VersionState.READY, VersionState.FAILED, VersionState.UNLOADED}
    ),
    VersionState.FAILED: frozenset({VersionState.LOADING, VersionState.UNLOADED}),
    VersionState.UNLOADED: frozenset({VersionState.LOADING}),
}


@dataclass(slots=True)
class VersionEntry:
    """A version that the server knows of; `served` stays set while a newer state of its files is being loaded."""

    number: int
    state: VersionState
    reason: str = ""
    served: ServedVersion | None = None

    def move(self, state: VersionState, reason: str = "") -> None:
        """Goes to `state`; raises ValueError where `TRANSITIONS` has no such way."""
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"version {self.number} cannot go from {self.state.name} to {state.name}")
        self.state = state
        self.reason = reason


@dataclass(slots=True)
class ModelEntry:
    """A model that the server knows of, and why nothing of it can be loaded, where that is so."""

    name: str
    versions: dict[int, VersionEntry] = field(default_factory=dict)
    reason: str = ""

    def default(self) -> ServedVersion | None:
        """The version that answers where the caller names none: the highest that is served."""
        served = [entry.served for entry in self.versions.values() if entry.served is not None]
        return max(served, key=lambda version: version.number, default=None)


class Catalog:
    """Names to versions. Changed and read on the event loop only; a change takes effect for the next request."""

    def __init__(self) -> None:
        self._models: dict[str, ModelEntry] = {}
        self._routes: dict[str, dict[str, ServedVersion]] = {}
        self._watchers: list[Callable[[str], None]] = []
        # Until the repository was read, nobody knows what is in it.
        self.complete = False

    def route(self, model: str, version: str) -> ServedVersion:
        """The version that answers a request for `model` and `version` (empty: the default).

        Raises `ModelNotFound` where there is no such thing, `Unavailable` where it is known and not served.
        """
        routes = self._routes.get(model)
        served = None if routes is None else routes.get(version)
        if served is None:
            self._explain(model, version)
        return served

    def _explain(self, model: str, version: str) -> NoReturn:
        entry = self.model(model)
        if not version:
            states = "; ".join(
                f"version {v.number} is {v.state.name}{': ' + v.reason if v.reason else ''}"
                for v in entry.versions.values()
            )
            raise Unavailable(
                f"model {model!r} has no version that is ready ({entry.reason or states or 'nothing of it is loaded'})"
            )
        number = parse_version(version)
        known = entry.versions.get(number) if number is not None else None
        if not entry.versions:
            raise Unavailable(f"model {model!r} is not loaded{': ' + entry.reason if entry.reason else ''}")
        if known is None:
            ready = ", ".join(str(v.number) for v in entry.versions.values() if v.served) or "none"
            raise ModelNotFound(f"model {model!r} has no version {shown(version)}; ready: {ready}")
        reason = f": {known.reason}" if known.reason else ""
        raise Unavailable(f"model {model!r} version {version} is {known.state.name}{reason}")

    def model(self, name: str) -> ModelEntry:
        """The entry of `name`; raises `ModelNotFound`, and `Unavailable` before the repository was read."""
        entry = self._models.get(name)
        if entry is None:
            if not self.complete:
                raise Unavailable(f"model {shown(name)} is not known yet, the server is starting")
            raise ModelNotFound(f"no model {shown(name)} in the repository")
        return entry

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(sorted(self._models.values(), key=lambda entry: entry.name))

    def __contains__(self, name: str) -> bool:
        return name in self._models

    def ensure(self, name: str) -> ModelEntry:
        """The entry of `name`, made where there is none."""
        return self._models.setdefault(name, ModelEntry(name))

    def begin(self, name: str, number: int) -> None:
        """Notes that a version is being loaded; one that is served goes on being served meanwhile."""
        entry = self.ensure(name)
        known = entry.versions.get(number)
        if known is None:
            entry.versions[number] = VersionEntry(number, VersionState.LOADING)
        elif known.served is None:
            known.move(VersionState.LOADING)

    def install(self, version: ServedVersion) -> ServedVersion | None:
        """Serves `version` from now on; returns the one that it took the place of, which may still have work."""
        entry = self.ensure(version.model)
        known = entry.versions[version.number]
        replaced, known.served = known.served, version
        known.move(VersionState.READY)
        self._reroute(entry)
        return replaced

    def fail(self, name: str, number: int, reason: str) -> None:
        """Notes why a load failed; what was served of the version before goes on being served."""
        known = self.model(name).versions[number]
        if known.served is None:
            known.move(VersionState.FAILED, reason)
        else:
            known.move(
                VersionState.READY, f"its new content could not be loaded, the old one is served: {reason}"
            )

    def withdraw(self, name: str, number: int, state: VersionState, reason: str) -> ServedVersion | None:
        """Stops serving a version; returns it where it was served."""
        entry = self.model(name)
        known = entry.versions[number]
        served, known.served = known.served, None
        known.move(state, reason)
        self._reroute(entry)
        return served

    def forget(self, name: str, number: int) -> ServedVersion | None:
        """Drops a version that is no longer in the repository."""
        entry = self.model(name)
        served = entry.versions.pop(number).served
        self._reroute(entry)
        return served

    def forget_model(self, name: str) -> None:
        """Drops a model that is no longer in the repository; its versions were forgotten before."""
        self._reroute(self._models.pop(name))

    def watch(self, changed: Callable[[str], None]) -> None:
        """Calls `changed` with a model's name whenever what is served of it changes, or whether that is sound."""
        self._watchers.append(changed)

    def is_ready(self, name: str) -> bool:
        """Whether a request for `name` without a version would be taken, by a version that is sound."""
        routes = self._routes.get(name)
        return routes is not None and routes[""].is_sound

    def served(self, name: str) -> dict[int, ServedVersion]:
        """The versions of `name` that are served, empty where it is not known."""
        entry = self._models.get(name)
        if entry is None:
            return {}
        return {known.number: known.served for known in entry.versions.values() if known.served is not None}

    def announce(self, name: str) -> None:
        """Tells the watchers that something about what is served of `name` is no longer as it was."""
        for changed in self._watchers:
            changed(name)

    def _reroute(self, entry: ModelEntry) -> None:
        routes = {
            str(known.number): known.served for known in entry.versions.values() if known.served is not None
        }
        default = entry.default()
        if default is None:
            self._routes.pop(entry.name, None)
        else:
            self._routes[entry.name] = {"": default, **routes}
        self.announce(entry.name)
