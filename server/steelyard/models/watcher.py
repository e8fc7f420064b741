"""What changed between two looks at a repository, told only once it stands still."""

from dataclasses import dataclass
from typing import TypeVar

from steelyard.models.repository import Fingerprint, Listing


@dataclass(frozen=True, slots=True)
class Added:
    """A version that was not there before."""

    model: str
    version: int


@dataclass(frozen=True, slots=True)
class Removed:
    """A version that is gone."""

    model: str
    version: int


@dataclass(frozen=True, slots=True)
class Modified:
    """A version whose files are others than before."""

    model: str
    version: int


@dataclass(frozen=True, slots=True)
class ManifestChanged:
    """The model.toml of a model that has versions appeared, vanished or changed."""

    model: str


K = TypeVar("K")

Change = Added | Removed | Modified | ManifestChanged


class Watcher:
    """Reports what has one fingerprint in two consecutive listings, and another than reported before.

    So a version that is being copied is reported once no file of it changed for one interval of observation,
    whatever the order of its files. A copy that stalls for longer is taken for finished, and reported as
    modified when it goes on; who cannot rule that out copies to a hidden name and renames. It has no thread
    and no clock: who owns it says when to look.
    """

    def __init__(self, loaded: Listing | None = None) -> None:
        """`loaded` is what the owner has taken up already, as it stood; without it everything is new."""
        self._reported_versions = _versions(loaded)
        self._reported_manifests = _manifests(loaded)
        self._last_versions = dict(self._reported_versions)
        self._last_manifests = dict(self._reported_manifests)

    def observe(self, listing: Listing) -> list[Change]:
        """The changes that settled with this listing, ordered by model and version, a model's manifest first.

        A version is not reported as added or modified while its model's manifest is still changing, so that
        it is never loaded by half a manifest.
        """
        versions, manifests = _versions(listing), _manifests(listing)
        changes: list[Change] = []
        served = {model for model, _ in self._reported_versions}
        unsettled = {
            model
            for model in manifests.keys() | self._last_manifests.keys()
            if manifests.get(model) != self._last_manifests.get(model)
        }
        for model in sorted((manifests.keys() | self._reported_manifests.keys()) - unsettled):
            if manifests.get(model) != self._reported_manifests.get(model):
                _settle(self._reported_manifests, model, manifests.get(model))
                if model in served and model in listing.models:
                    changes.append(ManifestChanged(model))
        for key in versions.keys() | self._reported_versions.keys():
            now, before = versions.get(key), self._reported_versions.get(key)
            if now == before or now != self._last_versions.get(key):
                continue
            if now is None:
                changes.append(Removed(*key))
            elif key[0] in unsettled:
                continue
            else:
                changes.append(Added(*key) if before is None else Modified(*key))
            _settle(self._reported_versions, key, now)
        self._last_versions, self._last_manifests = versions, manifests
        changes.sort(key=_order)
        return changes


def _versions(listing: Listing | None) -> dict[tuple[str, int], Fingerprint]:
    if listing is None:
        return {}
    return {
        (model.name, version.number): version.fingerprint
        for model in listing.models.values()
        for version in model.versions
    }


def _manifests(listing: Listing | None) -> dict[str, Fingerprint]:
    if listing is None:
        return {}
    return {
        model.name: model.manifest_fingerprint
        for model in listing.models.values()
        if model.manifest_fingerprint is not None
    }


def _settle(reported: dict[K, Fingerprint], key: K, now: Fingerprint | None) -> None:
    if now is None:
        reported.pop(key, None)
    else:
        reported[key] = now


def _order(change: Change) -> tuple[str, int]:
    return (change.model, 0 if isinstance(change, ManifestChanged) else change.version)
