"""Versions that stay loaded whatever the version policy and the files say."""

from collections.abc import Mapping, Set

NOTHING: Mapping[int, str] = {}


class Stays:
    """By model: versions that a directive holds, with the content that each stands for, and versions that stay until
    the next directive, which knows whether and for how long."""

    def __init__(self) -> None:
        self._held: dict[str, Mapping[int, str]] = {}
        self._until_told: dict[str, set[int]] = {}
        # Held versions whose files have changed: these are taken up when nothing holds them any more.
        self._deferred: set[tuple[str, int]] = set()

    def of(self, name: str) -> set[int]:
        """The versions of `name` that stay."""
        return {*self._held.get(name, ()), *self._until_told.get(name, ())}

    def held_digest(self, name: str, number: int) -> str | None:
        """The content that a held version stands for."""
        return self._held.get(name, NOTHING).get(number)

    def until_told(self, name: str, number: int) -> None:
        """A version stays until the next directive for its model."""
        self._until_told.setdefault(name, set()).add(number)

    def defer(self, name: str, number: int) -> None:
        """The files of a held version have changed."""
        self._deferred.add((name, number))

    def hold(self, name: str, hold: Mapping[int, str]) -> tuple[Set[int], Set[int]]:
        """Takes what a directive says; gives the versions that may go or have to come, and those of them whose files
        changed while they were held."""
        before = self._held.get(name, NOTHING)
        self._held[name] = hold
        changed = {number for number, _ in before.items() ^ hold.items()}
        changed |= self._until_told.pop(name, set())
        deferred = {number for number in changed if (name, number) in self._deferred}
        self._deferred -= {(name, number) for number in deferred}
        return changed, deferred
