"""What is rolled out: every move is an event first, and in force when the workers have said so."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from steelyard.clock import Clock
from steelyard.errors import (
    Conflict,
    InvalidRequest,
    LoadFailed,
    ManifestError,
    ModelNotFound,
    RepositoryError,
    SteelyardError,
    Unavailable,
)
from steelyard.evidence.event import Draft, Event
from steelyard.evidence.log import EventLog
from steelyard.models.golden import show_failing
from steelyard.models.manifest import MODEL_MANIFEST, read_model_manifest
from steelyard.models.names import name_problem
from steelyard.models.rollout import Rollout, label_problem
from steelyard.observe.logs import log
from steelyard.observe.segment import SlotCounts
from steelyard.rollout import labels as kinds
from steelyard.rollout.directive import Directive
from steelyard.rollout.labels import PASSED, Holder, Label, ModelLabels, applied, draft, fold

# Who acts where nobody asked.
SERVER = "server"

# How long a drill that the server makes by itself stays away: a second's requests show whether the old version answers.
STAY_S = 1.0

# A drill is due to the day or the hour; models without an earlier holder cost nothing at a look.
DRILLS_LOOKED_AT_S = 5.0


class Worker(Protocol):
    """A worker as this module sees it."""

    def ask(self, order: Mapping[str, Any]) -> Awaitable[Mapping[str, Any]]:
        """Sends an order; raises `Unavailable` where the worker is not there."""
        ...


class Rollouts:
    """The labels of every model, and how they move. Lives on the supervisor's event loop.

    A move holds the model's lock from the question whether it may be made until the workers route by it, so that
    moves of two people are made one after the other, and each event says what it moved from.
    """

    def __init__(
        self,
        events: EventLog,
        repository: Path,
        clock: Clock,
        workers: Callable[[], Sequence[Worker]],
        counts: Callable[[str, str], SlotCounts],
    ) -> None:
        """counts: gives what the workers have counted of a model's version."""
        self._events = events
        self._repository = repository
        self._clock = clock
        self._workers = workers
        self._counts = counts
        self._labels = fold(events.events)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        # Set where somebody waits for a model while a drill has its label away.
        self._hurry: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def labels(self, model: str = "") -> list[tuple[str, Label]]:
        """Models and labels, of one model or of all, by name. Raises ModelNotFound for an unknown `model`."""
        if model and model not in self._labels:
            raise ModelNotFound(
                f"no label of model {model!r} stands for anything: it was never served from here"
            )
        names = [model] if model else sorted(self._labels)
        return [(name, label) for name in names for _, label in sorted(self._labels[name].labels.items())]

    def of(self, model: str) -> ModelLabels:
        """The labels of one model, empty where nothing is known of it."""
        return self._labels.get(model, ModelLabels())

    def directives(self) -> list[Directive]:
        """What a worker has to know when it starts."""
        return [self._directive(model) for model in self._labels]

    async def set_label(
        self, model: str, label: str, version: str, actor: str, reason: str, expected: int | None = None
    ) -> Event:
        """Moves `label` to the version that `version` names (a number, another label or a digest), and returns when
        it is in force.

        expected: the number of the version that the label has to stand for at that moment, else `Conflict`.
        Raises what keeps the version from being served, and LoadFailed where its golden examples fail.
        """
        _check_model(model)
        if problem := label_problem(label):
            raise InvalidRequest(problem)
        if not version:
            raise InvalidRequest("expected a version, as its number, a label or a digest; came none")
        async with self._moving(model):
            known = self.of(model).labels.get(label)
            self._expect(model, known, label, expected)
            try:
                holder = await self._make_ready(model, version)
                if known is not None and known.holder == holder and not known.follows:
                    raise Conflict(f"model {model!r}: label {label} already stands for {holder}")
                before = None if known is None else known.holder
                return await self._move(draft(kinds.SET, model, label, holder, before, actor, reason))
            except SteelyardError:
                # What was loaded for this may go again.
                self._start(self._direct(model))
                raise

    async def remove_label(self, model: str, label: str, actor: str, reason: str) -> Event:
        """Takes a label away; the default label follows the highest version again. Returns when it is in force."""
        async with self._moving(model):
            known = self._known(model, label)
            if known.follows:
                raise Conflict(
                    f"model {model!r}: nobody has set label {label}, it follows the highest version"
                )
            return await self._move(draft(kinds.REMOVED, model, label, None, known.holder, actor, reason))

    async def roll_back(self, model: str, label: str, actor: str, reason: str) -> Event:
        """Moves a label (empty: the default one) to its previous holder, and returns when it is in force.

        Raises Conflict where there is none.
        """
        async with self._moving(model):
            known, earlier = self._earlier(model, label)
            await self._make_ready_again(model, earlier)
            return await self._move(
                draft(kinds.ROLLED_BACK, model, known.name, earlier, known.holder, actor, reason)
            )

    async def drill(self, model: str, label: str, actor: str, reason: str, stay_s: float) -> Event:
        """Does a rollback, stays for `stay_s` seconds, and comes back; the event says how long each way took.

        The label stands in the events where it stood all the time, so a server that dies meanwhile comes back there.
        Raises Conflict where there is no previous holder.
        """
        async with self._moving(model):
            known, earlier = self._earlier(model, label)
            outcome, away_ms, back_ms = PASSED, 0.0, 0.0
            before = self._counts(model, str(earlier.number))
            try:
                await self._make_ready_again(model, earlier)
                away_ms = await self._timed(self._direct(model, {known.name: earlier}))
                await self._stay(model, stay_s)
            except SteelyardError as error:
                outcome = str(error)
            finally:
                back_ms = await self._timed(self._direct(model))
            after = self._counts(model, str(earlier.number))
            failed = after.failed - before.failed
            if outcome == PASSED and failed:
                outcome = f"{failed} requests failed"
            details = {
                "label": known.name,
                "to": earlier.to_json(),
                "from": known.holder.to_json(),
                "outcome": outcome,
                "away_ms": away_ms,
                "back_ms": back_ms,
                "answered": after.answered - before.answered,
                "failed": failed,
            }
            event = Draft(kinds.DRILLED, model, actor, reason, digest=earlier.digest, details=details)
            return self._record([event])[0]

    def followed(self, moves: Sequence[Mapping[str, Any]]) -> None:
        """Records where default labels that nobody has set stand now, as a worker says."""
        drafts = []
        for move in moves:
            model, now = move["model"], Holder.from_json(move["to"])
            name = self._manifest(model).default_label
            known = self.of(model).labels.get(name)
            if known is not None and (not known.follows or known.holder == now):
                continue
            before = known.holder if known is not None else None
            if before is None and move["from"] is not None:
                before = Holder.from_json(move["from"])
            reason = "it is the highest version that is ready"
            drafts.append(draft(kinds.FOLLOWED, model, name, now, before, SERVER, reason))
        if drafts:
            self._record(drafts)
        for model in dict.fromkeys(move["model"] for move in moves if move["from"] is not None):
            self._start(self._direct(model))

    async def drill_when_due(self) -> None:
        """Makes the drills that models' manifests ask for, for ever."""
        while True:
            await asyncio.sleep(DRILLS_LOOKED_AT_S)
            for model in [name for name, known in self._labels.items() if known.labels]:
                try:
                    await self._drill_if_due(model)
                except SteelyardError as error:
                    log("drill.refused", level=logging.WARNING, model=model, reason=str(error))

    async def _drill_if_due(self, model: str) -> None:
        rollout = self._manifest(model)
        known = self.of(model)
        label = known.labels.get(rollout.default_label)
        if not rollout.drill_every_s or label is None or not label.earlier:
            return
        last_unix_ms = max(known.tried_unix_ms, label.since_unix_ms)
        if self._clock.unix_ns() // 1_000_000 >= last_unix_ms + rollout.drill_every_s * 1000:
            await self.drill(model, "", SERVER, "drill_every_s of model.toml", STAY_S)

    async def _stay(self, model: str, stay_s: float) -> None:
        """Waits, until somebody else wants to move the label."""
        hurry = self._hurry[model] = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(hurry.wait(), stay_s)
        del self._hurry[model]

    @contextlib.asynccontextmanager
    async def _moving(self, model: str) -> AsyncIterator[None]:
        if model in self._hurry:
            self._hurry[model].set()
        async with self._locks[model]:
            yield

    def close(self) -> None:
        """Forgets what was to be done later."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    async def _move(self, move: Draft) -> Event:
        """Records a move and puts it in force; is not given up halfway where the caller goes away."""

        async def commit() -> Event:
            event = self._record([move])[0]
            await self._direct(move.model)
            return event

        return await asyncio.shield(asyncio.ensure_future(commit()))

    def _record(self, drafts: Sequence[Draft]) -> list[Event]:
        events = self._events.append(drafts)
        for event in events:
            self._labels[event.model] = applied(self.of(event.model), event)
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
        return events

    async def _direct(self, model: str, moved: Mapping[str, Holder] | None = None) -> None:
        """Tells every worker where things stand, and returns when all of them route by it.

        moved: labels that stand elsewhere for now.
        """
        directive = self._directive(model, moved)
        for worker in self._workers():
            try:
                await worker.ask({"direct": directive.to_json()})
            except Unavailable:
                # The next worker hears of it when it starts, and until then none answers.
                log("worker.undirected", level=logging.WARNING, model=model)

    def _directive(self, model: str, moved: Mapping[str, Holder] | None = None) -> Directive:
        known = self.of(model)
        keep_warm_ms = int(self._manifest(model).keep_warm_s * 1000) if known.left else 0
        now_unix_ms = self._clock.unix_ns() // 1_000_000
        warm = known.warm(now_unix_ms, keep_warm_ms)
        self._wake_at(model, min(warm.values(), default=0), now_unix_ms)
        standing = {label.name: label.holder for label in known.labels.values() if not label.follows}
        stay = [*warm, *standing.values()]
        if moved:
            # A label that is away for a moment comes back.
            stay += [*moved.values(), *(known.labels[name].holder for name in moved)]
            standing.update(moved)
        return Directive(model, standing, {holder.number: holder.digest for holder in stay})

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
        self._start(self._direct(model))

    async def _make_ready(self, model: str, version: str) -> Holder:
        """The version that `version` names, when every worker serves it and its golden examples pass."""
        holder: Holder | None = None
        for worker in self._workers():
            found = await worker.ask({"ready": version, "model": model})
            holder = Holder(found["version"], found["digest"])
            if found["failing"]:
                raise LoadFailed(
                    f"model {model!r} {holder}: golden examples fail: {show_failing(found['failing'])}"
                )
        if holder is None:
            raise Unavailable("no worker is running")
        return holder

    async def _make_ready_again(self, model: str, earlier: Holder) -> None:
        """Raises Conflict where a rollback would bring other content than the label stood for."""
        found = await self._make_ready(model, str(earlier.number))
        if found != earlier:
            raise Conflict(
                f"model {model!r}: the label stood for {earlier} before, and that has other content now, "
                f"{found.digest[:19]}"
            )

    def _known(self, model: str, label: str) -> Label:
        known = self.of(model).labels
        found = known.get(label)
        if found is None:
            names = ", ".join(sorted(known)) or "none"
            raise ModelNotFound(f"model {model!r} has no label {label!r}; there is: {names}")
        return found

    def _earlier(self, model: str, label: str) -> tuple[Label, Holder]:
        known = self._known(model, label or self._manifest(model).default_label)
        if not known.earlier:
            raise Conflict(
                f"model {model!r}: label {known.name} stands for {known.holder} and for nothing before it"
            )
        return known, known.earlier[-1]

    def _expect(self, model: str, known: Label | None, label: str, expected: int | None) -> None:
        if expected is None:
            return
        came = "nothing" if known is None else str(known.holder)
        if known is None or known.holder.number != expected:
            raise Conflict(
                f"model {model!r}: expected label {label} to stand for version {expected}, it stands for {came}"
            )

    def _manifest(self, model: str) -> Rollout:
        """The model's `[rollout]`; the defaults where it cannot be read, which its load says."""
        try:
            return read_model_manifest(self._repository / model / MODEL_MANIFEST).rollout
        except (ManifestError, RepositoryError):
            return Rollout()

    async def _timed(self, work: Awaitable[None]) -> float:
        """What `work` took, in milliseconds."""
        began_ns = self._clock.now_ns()
        await work
        return round((self._clock.now_ns() - began_ns) / 1e6, 3)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _check_model(model: str) -> None:
    if problem := name_problem(model):
        raise InvalidRequest(problem)
