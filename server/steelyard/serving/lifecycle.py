"""The process's life: starting, ready, leaving where another takes its place, draining, stopped."""

from collections.abc import Callable
from enum import Enum


class Phase(Enum):
    """Where the process stands; `TRANSITIONS` says where it may go from there."""

    STARTING = "starting"
    READY = "ready"
    LEAVING = "leaving"
    DRAINING = "draining"
    STOPPED = "stopped"


TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.READY, Phase.DRAINING, Phase.STOPPED}),
    Phase.READY: frozenset({Phase.LEAVING, Phase.DRAINING, Phase.STOPPED}),
    Phase.LEAVING: frozenset({Phase.DRAINING, Phase.STOPPED}),
    Phase.DRAINING: frozenset({Phase.STOPPED}),
    Phase.STOPPED: frozenset(),
}


class Lifecycle:
    """The phase, and who wants to hear when it changes."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self._watchers: list[Callable[[], None]] = []

    @property
    def is_ready(self) -> bool:
        """Whether new requests are taken."""
        return self.phase in (Phase.READY, Phase.LEAVING)

    def move(self, phase: Phase) -> None:
        """Goes to `phase`; raises ValueError where `TRANSITIONS` has no such way."""
        if phase not in TRANSITIONS[self.phase]:
            raise ValueError(f"the server cannot go from {self.phase.name} to {phase.name}")
        self.phase = phase
        for changed in self._watchers:
            changed()

    def watch(self, changed: Callable[[], None]) -> None:
        """Calls `changed` at every move."""
        self._watchers.append(changed)
