"""Versions that stay loaded whatever the version policy and the files say."""

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set

NOTHING: Mapping[int, str] = {}


class Stays:
    """By model: versions that a directive holds, with the content that each stands for; versions that a directive
    keeps; and versions that are being asked for, or were since the last directive."""

    def __init__(self) -> None:
        self._held: dict[str, Mapping[int, str]] = {}
        self._kept: dict[str, Set[int]] = {}
        self._until_told: dict[str, set[int]] = {}
        self._asked: Counter[tuple[str, int]] = Counter()
        # Held versions whose files have changed: these are taken up when nothing holds them any more.
        self._deferred: set[tuple[str, int]] = set()

    def of(self, name: str) -> set[int]:
        """The versions of `name` that stay."""
        asked = (number for (model, number), times in self._asked.items() if model == name and times)
        return {
            *self._held.get(name, ()),
            *self._kept.get(name, ()),
            *self._until_told.get(name, ()),
            *asked,
        }

    def held_digest(self, name: str, number: int) -> str | None:
        """The content that a held version stands for."""
        return self._held.get(name, NOTHING).get(number)

    def until_told(self, name: str, number: int) -> None:
        """A version stays until the next directive for its model."""
        self._until_told.setdefault(name, set()).add(number)

    @contextlib.contextmanager
    def asked(self, name: str, number: int) -> Iterator[None]:
        """A version stays meanwhile, whatever directives come, and then until the next one."""
        self._asked[name, number] += 1
        try:
            yield
        finally:
            self._asked[name, number] -= 1
            if not self._asked[name, number]:
                del self._asked[name, number]
            self.until_told(name, number)

    def defer(self, name: str, number: int) -> None:
        """The files of a held version have changed."""
        self._deferred.add((name, number))

    def hold(self, name: str, hold: Mapping[int, str], keep: Collection[int]) -> tuple[Set[int], Set[int]]:
        """Takes what a directive says; gives the versions that may go or have to come, and those of them whose files
        changed while they were held."""
        before, kept = self._held.get(name, NOTHING), self._kept.get(name, frozenset())
        self._held[name], self._kept[name] = hold, frozenset(keep)
        changed = {number for number, _ in before.items() ^ hold.items()} | (kept ^ self._kept[name])
        changed |= self._until_told.pop(name, set())
        deferred = {number for number in changed if (name, number) in self._deferred}
        self._deferred -= {(name, number) for number in deferred}
        return changed, deferred
