"""Names to versions: what answers a request."""

from collections.abc import Callable, Iterator, Mapping, Set

from steelyard.errors import ModelNotFound, Unavailable, VersionNotLoaded
from steelyard.evidence.retirement import WHOLE
from steelyard.rollout.labels import Holder
from steelyard.serving.entries import ModelEntry, VersionEntry, VersionState
from steelyard.serving.pins import resolve
from steelyard.serving.version import ServedVersion
from steelyard.wire.refusals import shown


class Catalog:
    """Names to versions. Changed and read on the event loop only; a change takes effect for the next request."""

    def __init__(self) -> None:
        self._models: dict[str, ModelEntry] = {}
        # Of models that are not known yet, too.
        self._labels: dict[str, Mapping[str, Holder]] = {}
        self._followed: dict[str, Holder | None] = {}
        self._retired: dict[str, Mapping[int, str]] = {}
        self.routes: dict[str, dict[str, ServedVersion]] = {}
        """Served models to what callers may name: a number, a label or nothing, and the version that answers then."""
        self._watchers: list[Callable[[str], None]] = []
        self.fails_elsewhere: Callable[[ServedVersion], bool] = lambda version: False
        """Whether golden examples of a version fail in another worker."""
        # Until the repository was read, nobody knows what is in it.
        self.complete = False

    def route(self, model: str, version: str) -> ServedVersion:
        """The version that answers for `model` and `version`: a number, a label or a digest; empty: the default.

        Raises `ModelNotFound` where there is no such thing, `VersionNotLoaded` where it is known and not served,
        or retired, `Unavailable` where asking again may help, `InvalidRequest` where it can name none.
        """
        routes = self.routes.get(model)
        served = None if routes is None else routes.get(version)
        return resolve(self.model(model), version) if served is None else served

    def model(self, name: str) -> ModelEntry:
        """The entry of `name`; raises `ModelNotFound`, `Unavailable` before the repository was read, and
        `VersionNotLoaded` where it is retired and its files are gone."""
        entry = self._models.get(name)
        if entry is None:
            if (refusal := self._retired.get(name, {}).get(WHOLE)) is not None:
                raise VersionNotLoaded(refusal)
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
        entry = self._models.get(name)
        if entry is None:
            entry = self._models[name] = ModelEntry(
                name,
                labels=self._labels.get(name, {}),
                followed=self._followed.get(name),
                retired=self._retired.get(name, {}),
            )
        return entry

    def label(self, name: str, labels: Mapping[str, Holder], followed: Holder | None = None) -> None:
        """Labels stand for these versions from the next request on, whether or not they are served yet.

        followed: where a default label that nobody has set stands until it is told to go on; None: it goes by itself.
        """
        self._labels[name], self._followed[name] = labels, followed
        entry = self._models.get(name)
        if entry is not None:
            entry.labels, entry.followed = labels, followed
            self._reroute(entry)

    def retire(self, name: str, retired: Mapping[int, str]) -> list[ServedVersion]:
        """These versions, or all for `WHOLE`, are out of service, and callers are told why; returns those that were
        served."""
        self._retired[name] = retired
        entry = self._models.get(name)
        if entry is None:
            return []
        entry.retired = retired
        withdrawn = []
        for number, known in entry.versions.items():
            refusal = retired.get(number) or retired.get(WHOLE)
            if refusal is not None and known.state is not VersionState.UNLOADED:
                withdrawn.append(self.withdraw(name, number, VersionState.UNLOADED, refusal))
        return [version for version in withdrawn if version is not None]

    def arrange(self, name: str, default_label: str, aside: Set[int]) -> None:
        """Says which label answers where a caller names no version, and which versions are loaded for a label or a
        rollout only."""
        entry = self.ensure(name)
        if (entry.default_label, entry.aside) != (default_label, aside):
            entry.default_label, entry.aside = default_label, aside
            self._reroute(entry)

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
        self.announce(name)

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
        served = self.routes.get(name, {}).get("")
        return served is not None and self.is_sound(served)

    def is_sound(self, version: ServedVersion) -> bool:
        """Whether health may say that a version serves, by what any worker has found."""
        return version.is_sound and not (version.heeds_examples and self.fails_elsewhere(version))

    def announce_examined(self) -> None:
        """Tells the watchers of all models whose health follows golden examples."""
        for entry in list(self):
            if any(version.heeds_examples for version in self.served(entry.name).values()):
                self.announce(entry.name)

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
        served = [known.served for known in entry.versions.values() if known.served is not None]
        routes = {version.digest: version for version in sorted(served, key=lambda version: version.number)}
        routes.update({str(version.number): version for version in served})
        routes.update(entry.labelled())
        default = entry.default()
        if default is not None:
            routes[""] = default
        if routes:
            self.routes[entry.name] = routes
        else:
            self.routes.pop(entry.name, None)
        self.announce(entry.name)
