"""What the repository was seen to hold, and which of it has stood still since the look before."""

import logging
from collections.abc import Collection, Iterable, Set
from pathlib import Path

from steelyard.models.repository import Listing, Problem, VersionDir
from steelyard.models.watcher import ManifestChanged, Removed, Watcher
from steelyard.observe.logs import log

Version = tuple[str, int]
"""A model's name and a version's number."""


class Sightings:
    """The last listing, and the versions in it that may be taken: others may be half written."""

    def __init__(self) -> None:
        self.listing = Listing({}, ())
        self._watcher = Watcher()
        self._settled: dict[str, set[int]] = {}
        self._absent: Set[Version] = frozenset()

    def begin(self, listing: Listing) -> None:
        """Takes the first listing, all of it."""
        self.listing = listing
        self._watcher = Watcher(listing)
        for name in listing.models:
            self.settle(name)
        _tell(listing.problems, ())

    def settle(self, name: str) -> None:
        """Takes all versions of a model as they are in the last listing: whoever asks says that it is all there."""
        self._settled[name] = {version.number for version in self.listing.models[name].versions}

    def settle_version(self, name: str, number: int) -> bool:
        """Takes one version of a model; False where the last listing has none."""
        directory = self.listing.models.get(name)
        if directory is None or all(version.number != number for version in directory.versions):
            return False
        self._settled.setdefault(name, set()).add(number)
        return True

    def settled(self, name: str) -> dict[int, VersionDir]:
        """The versions of a model in the last listing that may be taken."""
        settled = self._settled.get(name, set())
        return {
            version.number: version
            for version in self.listing.models[name].versions
            if version.number in settled
        }

    def numbers(self, name: str) -> Set[int]:
        """The versions of a model that may be taken, or were when they were last seen."""
        return self._settled.get(name, set())

    def compare(self, listing: Listing, known: Iterable[Version]) -> dict[str, set[int] | None]:
        """Puts `listing` in force; gives the models to look after, and the versions of each (None: all).

        known: versions that the server knows of. Those of them that were absent at this look and the last are gone,
        also where they were loaded by request and removed before the watcher had ever seen them.
        """
        _tell(listing.problems, {problem.path for problem in self.listing.problems})
        self.listing = listing
        changed: dict[str, set[int] | None] = {}
        for change in self._watcher.observe(listing):
            touched = changed.setdefault(change.model, set())
            if isinstance(change, ManifestChanged):
                changed[change.model] = None
                continue
            if isinstance(change, Removed):
                self._settled[change.model].discard(change.version)
            else:
                self._settled.setdefault(change.model, set()).add(change.version)
            if touched is not None:
                touched.add(change.version)
        models = listing.models
        absent = {
            (name, number)
            for name, number in known
            if name not in models or all(version.number != number for version in models[name].versions)
        }
        gone, self._absent = absent & self._absent, absent
        for name, number in gone:
            self._settled[name].discard(number)
            changed.setdefault(name, set())
        return changed


def _tell(problems: Iterable[Problem], known: Collection[Path]) -> None:
    for problem in problems:
        if problem.path not in known:
            log("repository.problem", level=logging.WARNING, path=str(problem.path), reason=problem.message)
