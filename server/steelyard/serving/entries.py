"""A model and its versions as the server knows them, and in which state each is."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import Enum

from steelyard.models.rollout import Rollout
from steelyard.rollout.labels import Holder
from steelyard.serving.version import ServedVersion


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


DEFAULT_LABEL: str = Rollout.model_fields["default_label"].default


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
    """A model that the server knows of, and why nothing of it can be loaded, where that is so.

    `labels` are those that somebody has set. `default_label` answers where a caller names no version. `aside` are
    versions that are loaded for a label or a rollout, and not because the version policy wants them: a default label
    that nobody has set does not follow to one of these. `followed` is where it stands until all workers of a server go
    on together; None: this one goes by itself. `retired` are versions that were taken out of service, 0 for
    all of them, and what callers are told.
    """

    name: str
    versions: dict[int, VersionEntry] = field(default_factory=dict)
    reason: str = ""
    labels: Mapping[str, Holder] = field(default_factory=dict)
    default_label: str = DEFAULT_LABEL
    aside: Set[int] = frozenset()
    followed: Holder | None = None
    retired: Mapping[int, str] = field(default_factory=dict)

    @property
    def follows(self) -> bool:
        """Whether the default label stands for the highest version, as nobody has set it."""
        return self.default_label not in self.labels

    def default(self) -> ServedVersion | None:
        """The version that answers where none is named: the default label's, else the one that all workers follow to
        and serve, else the highest that is served."""
        holder = self.labels.get(self.default_label)
        if holder is not None:
            return self.standing(holder)
        followed = None if self.followed is None else self.standing(self.followed)
        return followed or self.highest()

    def next_default(self) -> ServedVersion | None:
        """The version that answers where none is named when all workers are where this one is."""
        return self.highest() if self.follows else self.default()

    def highest(self) -> ServedVersion | None:
        """The highest version that is served, of those that are not aside where there are any."""
        served = [entry.served for entry in self.versions.values() if entry.served is not None]
        wanted = [version for version in served if version.number not in self.aside]
        # One that is aside is better than none.
        return max(wanted or served, key=lambda version: version.number, default=None)

    def has_wanted(self) -> bool:
        """Whether a version is served that is not aside."""
        return any(
            known.served is not None and known.number not in self.aside for known in self.versions.values()
        )

    def standing(self, holder: Holder) -> ServedVersion | None:
        """The version that a label stands for, where it is served with the content that was labelled."""
        known = self.versions.get(holder.number)
        served = None if known is None else known.served
        return served if served is not None and served.digest == holder.digest else None

    def labelled(self) -> dict[str, ServedVersion]:
        """What answers for each label, those left out whose version is not served."""
        found = {name: served for name, holder in self.labels.items() if (served := self.standing(holder))}
        default = self.default()
        return found if default is None else {self.default_label: default, **found}
