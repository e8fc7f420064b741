"""Telling the workers where things stand."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter

from steelyard.errors import InvalidRequest, LoadFailed, SteelyardError, Unavailable
from steelyard.evidence.event import Draft, Event
from steelyard.evidence.governed import governed
from steelyard.models.golden import show_failing
from steelyard.models.names import name_problem, parse_version
from steelyard.models.spec import ModelSpec
from steelyard.observe.logs import log
from steelyard.rollout.directive import Directive, Split, Tap
from steelyard.rollout.labels import Holder
from steelyard.supervisor.record import Record

_SPEC = TypeAdapter(ModelSpec)


@dataclass(frozen=True, slots=True)
class Ready:
    """A version that every worker serves."""

    holder: Holder
    path: Path
    offered: ModelSpec
    """What callers send and get."""


class Worker(Protocol):
    """A worker as this module sees it."""

    @property
    def is_in(self) -> bool:
        """Whether it takes requests, or is about to."""
        ...

    def ask(self, order: Mapping[str, Any]) -> Awaitable[Mapping[str, Any]]:
        """Sends an order; raises `Unavailable` where the worker is not there."""
        ...


def _agreed(model: str, before: Ready | None, found: Mapping[str, Any]) -> Ready:
    """What a worker says that it serves. Raises LoadFailed where golden examples fail there, or others serve other
    content."""
    holder = Holder(found["version"], found["digest"])
    if found["failing"]:
        raise LoadFailed(f"model {model!r} {holder}: golden examples fail: {show_failing(found['failing'])}")
    if before is not None and before.holder != holder:
        raise LoadFailed(f"model {model!r}: workers have loaded {before.holder} and {holder}: load it again")
    return Ready(holder, Path(found["path"]), _SPEC.validate_python(found["offered"]))


class Directing:
    """Makes directives of the record and puts them in force with every worker. Lives on the supervisor's event loop.

    `split_of` gives what a canary takes of a model's requests, `taps_of` the processes that want a sample of them.
    """

    def __init__(
        self, record: Record, workers: Callable[[], Sequence[Worker]], together: bool = False
    ) -> None:
        """together: whether default labels that nobody has set wait until all workers can follow."""
        self._record = record
        self.together = together
        self._workers = workers
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: Counter[tuple[str, int]] = Counter()
        self.afterwards: list[Callable[[str], None]] = []
        """Hear of a model that something was recorded of, when it is in force."""
        self.split_of: Callable[[str], Split | None] = lambda model: None
        self.away: dict[str, Mapping[str, Holder]] = {}
        """Labels that stand elsewhere for a moment, which no event says, by model."""
        self.taps_of: Callable[[str], Sequence[Tap]] = lambda model: ()

    def all(self) -> list[Directive]:
        """What a worker has to know when it starts."""
        return [self._directive(model) for model in self._record.models]

    async def commit(self, model: str, drafts: Sequence[Draft]) -> list[Event]:
        """Records what happens to `model`, all or none, and puts it in force: also where the caller goes away."""
        return await asyncio.shield(asyncio.ensure_future(self._commit(model, drafts)))

    def put_in_force_later(self, model: str) -> None:
        """What was recorded of `model` without waiting is put in force now."""
        self.start(self._put_in_force(model))

    async def _commit(self, model: str, drafts: Sequence[Draft]) -> list[Event]:
        events = self._record.append(drafts)
        await self._put_in_force(model)
        return events

    async def _put_in_force(self, model: str) -> None:
        await self.direct(model)
        # What else follows must not keep a label from where it stands by now.
        for follow in self.afterwards:
            try:
                follow(model)
            except Exception as error:
                log("rollout.fault", level=logging.ERROR, model=model, exception=repr(error)[:2000])

    async def direct(self, model: str) -> bool:
        """Tells every worker where things stand, and returns when all of them route by it; False where one could not be
        told: it hears of it when it starts, and until then it answers nothing."""
        order = {"direct": self._directive(model).to_json()}
        asked = (worker.ask(order) for worker in self._workers())
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, Unavailable):
                log("worker.undirected", level=logging.WARNING, model=model)
            elif isinstance(answer, BaseException):
                raise answer
        return not any(isinstance(answer, Unavailable) for answer in answers)

    async def catch_up(self, worker: Worker) -> None:
        """Has a worker that was not there when others were asked make ready what they were asked for, and is still
        needed; call before it takes requests. What it cannot make ready it says in its log."""
        asked: set[tuple[str, int]] = set()
        while missing := self._kept.keys() - asked:
            for model, number in missing:
                with contextlib.suppress(SteelyardError):
                    await worker.ask({"ready": str(number), "model": model})
            asked |= missing

    @contextlib.asynccontextmanager
    async def keeping(self, model: str, version: str) -> AsyncIterator[Ready]:
        """The version that `version` names, served by every worker until the end, whatever is told them meanwhile.

        Raises what keeps it from being served, and LoadFailed where its golden examples fail.
        """
        number = parse_version(version)
        kept: list[int] = []
        try:
            if number is not None:
                kept.append(self._keep(model, number))
            ready = await self.make_ready(model, version)
            kept.append(self._keep(model, ready.holder.number))
            yield ready
        finally:
            for one in kept:
                self._kept[model, one] -= 1
                if not self._kept[model, one]:
                    del self._kept[model, one]
            self.direct_later(model)

    def _keep(self, model: str, number: int) -> int:
        self._kept[model, number] += 1
        return number

    def direct_later(self, model: str) -> None:
        """The same, without waiting."""
        self.start(self._direct(model))

    async def _direct(self, model: str) -> None:
        await self.direct(model)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Does `work` beside everything else, until the end of the server."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log("rollout.fault", level=logging.ERROR, exception=repr(error)[:2000])

    async def make_ready(self, model: str, version: str) -> Ready:
        """The version that `version` names, when every worker serves it and its golden examples pass."""
        if problem := name_problem(model):
            raise InvalidRequest(problem)
        asked: list[Worker] = []
        ready: Ready | None = None
        while new := [worker for worker in self._answering() if worker not in asked]:
            order = {"ready": version, "model": model}
            answers = await asyncio.gather(*(worker.ask(order) for worker in new), return_exceptions=True)
            for worker, answer in zip(new, answers, strict=True):
                if isinstance(answer, Unavailable) and worker not in self._answering():
                    # It has died meanwhile: its successor reads where things stand when it starts.
                    continue
                if isinstance(answer, BaseException):
                    raise answer
                ready = _agreed(model, ready, answer)
            asked += new
        if ready is None:
            raise Unavailable("the server's worker is not running")
        return ready

    def _answering(self) -> list[Worker]:
        """The workers that take requests; where there is none, those that begin."""
        workers = list(self._workers())
        return [worker for worker in workers if worker.is_in] or workers

    def close(self) -> None:
        """Forgets what was to be done later."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _directive(self, model: str) -> Directive:
        known = self._record.labels(model)
        keep_warm_ms = int(self._record.manifest(model).keep_warm_s * 1000) if known.left else 0
        now_unix_ms = self._record.now_unix_ms()
        warm = known.warm(now_unix_ms, keep_warm_ms)
        self._wake_at(model, min(warm.values(), default=0), now_unix_ms)
        standing = {label.name: label.holder for label in known.labels.values() if not label.follows}
        stay = [*warm, *standing.values()]
        moved = self.away.get(model)
        if moved:
            # Where it is away from, it comes back to.
            stay += [*moved.values(), *(known.labels[name].holder for name in moved)]
            standing.update(moved)
        split = None if moved else self.split_of(model)
        if split is not None:
            stay += [split.candidate, split.primary]
        life = self._record.life(model)
        # Callers who pin a version that is announced to retire are answered to the end of its grace.
        stay += [
            Holder(number, life.versions[number].digest)
            for number, one in life.retiring.retirements.items()
            if not one.completed_unix_ms and number in life.versions and life.versions[number].loaded
        ]
        hold = {holder.number: holder.digest for holder in stay}
        keep = {number for name, number in self._kept if name == model}
        follow = self._followed(model) if self.together else None
        if follow is not None:
            # Not held with its content: new content under the same number is taken up as with one worker.
            keep.add(follow.number)
        taps = tuple(self.taps_of(model))
        return Directive(
            model, standing, hold, tuple(sorted(keep)), split, taps, follow, governed(model, life)
        )

    def _followed(self, model: str) -> Holder | None:
        """Where a default label stands that nobody has set."""
        default = self._record.manifest(model).default_label
        label = self._record.labels(model).labels.get(default)
        return label.holder if label is not None and label.follows else None

    def _wake_at(self, model: str, unix_ms: int, now_unix_ms: int) -> None:
        """Directs anew when the next version is no longer kept warm; 0: none is."""
        timer = self._timers.pop(model, None)
        if timer is not None:
            timer.cancel()
        if unix_ms:
            self._timers[model] = asyncio.get_running_loop().call_later(
                (unix_ms - now_unix_ms) / 1000, self._cool, model
            )

    def _cool(self, model: str) -> None:
        self._timers.pop(model, None)
        self.direct_later(model)
