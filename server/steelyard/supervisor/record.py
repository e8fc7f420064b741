"""The events of every model, what they say, and who may add to them at a time."""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from steelyard.clock import Clock
from steelyard.errors import InvalidRequest, ManifestError, RepositoryError
from steelyard.evidence.event import Draft, Event
from steelyard.evidence.life import Lives, ModelLife
from steelyard.evidence.log import EventLog
from steelyard.models.manifest import MODEL_MANIFEST, read_model_manifest
from steelyard.models.names import name_problem
from steelyard.models.rollout import Rollout
from steelyard.observe.logs import log
from steelyard.rollout import labels, trials
from steelyard.rollout.labels import ModelLabels
from steelyard.rollout.trials import ModelTrials
from steelyard.supervisor.acting import attributed


class Record:
    """State as the events say it. Lives on the supervisor's event loop.

    A move holds its model from the question whether it may be made until the workers route by it, so that moves of two
    people are made one after the other, and each event says what it moved from.
    """

    def __init__(self, events: EventLog, repository: Path, clock: Clock) -> None:
        self._events = events
        self._repository = repository
        self._clock = clock
        self._labels = labels.fold(events.events)
        self._trials = trials.fold(events.events)
        self._lives = Lives(events.events)
        self.heard: list[Callable[[Event], None]] = []
        """Hear of each event that was recorded."""
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: Counter[str] = Counter()
        # Set where somebody comes to wait for a model that is held only to wait.
        self._hurry: dict[str, asyncio.Event] = {}
        self._manifests: dict[str, Rollout] = {}

    @property
    def events(self) -> Sequence[Event]:
        """All of them, the oldest first."""
        return self._events.events

    @property
    def models(self) -> list[str]:
        """The models that an event names, by name."""
        return self._lives.models

    def labels(self, model: str) -> ModelLabels:
        """Empty where nothing is known of `model`."""
        return self._labels.get(model, ModelLabels())

    def life(self, model: str) -> ModelLife:
        """Empty where nothing is known of `model`; the server's own is that of the empty name."""
        return self._lives.of(model)

    def trials(self, model: str) -> ModelTrials:
        """Empty where nothing is known of `model`."""
        return self._trials.get(model, ModelTrials())

    def append(self, drafts: Sequence[Draft]) -> list[Event]:
        """Records what happened, all or none, and returns when it is on disk."""
        events = self._events.append([attributed(draft) for draft in drafts])
        for event in events:
            self._labels[event.model] = labels.applied(self.labels(event.model), event)
            self._trials[event.model] = trials.applied(self.trials(event.model), event)
            self._lives.apply(event)
            told: dict[str, Any] = {
                name: value for name, value in event.details.items() if isinstance(value, str | int | float)
            }
            log(
                event.kind,
                model=event.model,
                actor=event.actor,
                reason=event.reason,
                digest=event.digest,
                **told,
            )
            for hear in self.heard:
                hear(event)
        return events

    @contextlib.asynccontextmanager
    async def moving(self, model: str) -> AsyncIterator[None]:
        """Holds `model` against other moves. Raises InvalidRequest for what is no model's name."""
        if problem := name_problem(model):
            raise InvalidRequest(problem)
        self._waiting[model] += 1
        if model in self._hurry:
            self._hurry[model].set()
        try:
            await self._locks[model].acquire()
        finally:
            self._waiting[model] -= 1
        try:
            yield
        finally:
            self._locks[model].release()

    async def wait(self, model: str, seconds: float) -> None:
        """Waits while `model` is held, until somebody else wants to move it; not at all where somebody does already."""
        if self._waiting[model]:
            return
        hurry = self._hurry[model] = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), seconds)
        del self._hurry[model]

    def manifest(self, model: str) -> Rollout:
        """The model's `[rollout]`; what it was when it could last be read, where it cannot be, which its load says."""
        try:
            rollout = read_model_manifest(self._repository / model / MODEL_MANIFEST).rollout
        except (ManifestError, RepositoryError):
            return self._manifests.get(model, Rollout())
        self._manifests[model] = rollout
        return rollout

    def now_unix_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._clock.unix_ns() // 1_000_000
