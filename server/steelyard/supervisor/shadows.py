"""Shadows: candidates that are asked what production is asked, and whose answers nobody gets."""

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.errors import Conflict, InvalidRequest, ModelNotFound, SteelyardError, Unavailable
from steelyard.evidence.event import Draft, Event
from steelyard.models.manifest import ModelManifest
from steelyard.models.rollout import Rollout
from steelyard.observe.logs import log
from steelyard.rollout import trials as kinds
from steelyard.rollout.directive import Tap
from steelyard.rollout.labels import Holder
from steelyard.rollout.look import Verdict, look_to_json
from steelyard.rollout.trials import Shadow
from steelyard.shadow.task import LocalTarget, RemoteTarget
from steelyard.supervisor.acting import SERVER
from steelyard.supervisor.canaries import why
from steelyard.supervisor.checkpoint import Checkpoints
from steelyard.supervisor.directing import Directing, Ready
from steelyard.supervisor.label_moves import RETRY_S, LabelMoves, check_content
from steelyard.supervisor.record import Record
from steelyard.supervisor.shadow_run import ShadowRun
from steelyard.supervisor.shadow_targets import ShadowTargets, Tolerances
from steelyard.supervisor.shadow_weighing import ShadowWeighing

# Each is a process with a model in it; more of them beside one primary get no time to run.
MAX_SHADOWS = 8

# A checkpoint comes twice a second; so many of them are written down as one.
SAVED_EVERY = 4


class Shadows:
    """Starts, weighs and ends shadows. Lives on the supervisor's event loop."""

    def __init__(
        self,
        record: Record,
        directing: Directing,
        moves: LabelMoves,
        checkpoints: Checkpoints,
        targets: ShadowTargets,
    ) -> None:
        self._record = record
        self._directing = directing
        self._moves = moves
        self._checkpoints = checkpoints
        self._targets = targets
        self._runs: dict[str, ShadowRun] = {}
        """By key."""
        self._starting: Counter[str] = Counter()
        self._ending: dict[str, asyncio.Task[None]] = {}

    def taps_of(self, model: str) -> list[Tap]:
        """What the worker has to hand over of a model's requests now."""
        return [
            Tap(
                shadow.number,
                shadow.primary,
                str(self._targets.socket(shadow.key)),
                shadow.sample,
                shadow.plan["shadow"]["max_bytes"],
            )
            for shadow, _ in self._of(model)
        ]

    async def start(
        self, model: str, candidate: str | RemoteTarget, sample: float, actor: str, reason: str
    ) -> Event:
        """Runs `candidate`, a version of `model` (a number, a label or a digest) or a server elsewhere, beside the
        version of the default label, and returns when requests are handed over to it.

        Raises LoadFailed where the candidate cannot be run, or takes or gives something else.
        """
        if not 0.0 < sample <= 1.0:
            raise InvalidRequest(f"expected a sample above 0 and at most 1, came {sample}")
        self._starting[model] += 1
        try:
            return await self._start(model, candidate, sample, actor, reason)
        finally:
            self._starting[model] -= 1

    async def _start(
        self, model: str, candidate: str | RemoteTarget, sample: float, actor: str, reason: str
    ) -> Event:
        # Those that load count, too: each is a process.
        if len(self._record.trials(model).shadows) + self._starting[model] > MAX_SHADOWS:
            raise Conflict(f"model {model!r}: expected at most {MAX_SHADOWS} shadows beside it")
        primary = await self._directing.make_ready(model, str(self._moves.default(model).holder.number))
        manifest = self._targets.manifest(model)
        target: LocalTarget | RemoteTarget
        if isinstance(candidate, RemoteTarget):
            target, name = candidate, kinds.name_of(candidate.model_dump(mode="json"))
        else:
            target, digest = await self._targets.find(model, candidate, self._holders(model))
            name = str(target.number)
            if digest == primary.holder.digest:
                raise Conflict(
                    f"model {model!r}: version {name} has the content that is in production already"
                )
        tolerances = self._record.trials(model).tolerances.get(primary.holder.digest, {})
        plan = _plan(manifest.rollout, tolerances)
        remote = isinstance(target, RemoteTarget)
        process = self._targets.process(model, primary, manifest, target, tolerances)
        run = ShadowRun(process, ShadowWeighing(plan["gate"], None, remote))
        try:
            # Not under the model's lock: to load a candidate may take minutes, and a rollback must not wait for it.
            digest = await process.started()
            details = {
                "key": run.key,
                "candidate": target.model_dump(mode="json")
                if isinstance(target, RemoteTarget)
                else {"version": target.number, "digest": digest},
                "primary": primary.holder.to_json(),
                "sample": sample,
                "plan": plan,
            }
            started = Draft(kinds.SHADOW_STARTED, model, actor, reason, digest=digest, details=details)
            async with self._record.moving(model):
                self._check_start(model, name, primary)
                self._take_up(model, run)
                (event,) = await self._directing.commit(model, [started])
        except BaseException:
            if all(shadow.key != run.key for shadow in self._record.trials(model).shadows.values()):
                self._runs.pop(run.key, None)
                self._directing.direct_later(model)
                await run.end()
            raise
        self._targets.forget_old(set(self._runs))
        return event

    def _check_start(self, model: str, name: str, primary: Ready) -> None:
        """Raises Conflict where a shadow that is ready cannot be taken up as things stand."""
        if any(other.name == name for other in self._record.trials(model).shadows.values()):
            raise Conflict(f"model {model!r}: {name} is a shadow already")
        holder = self._moves.default(model).holder
        if holder != primary.holder:
            raise Conflict(f"model {model!r}: the label moved to {holder} while the candidate was loaded")

    async def stop(self, model: str, candidate: str, actor: str, reason: str) -> Event:
        """Ends the shadow of `candidate` (its version or address; empty: the only one): its process is killed, and
        nothing is handed over any more when this returns."""
        async with self._record.moving(model):
            shadow = self._find(model, candidate)
            if shadow.key in self._runs:
                self._runs[shadow.key].process.stop()
            stopped = self._stopped(shadow, "stopped", actor, reason)
            (event,) = await self._directing.commit(model, [stopped])
        await self._put_away_by_now(shadow.key)
        return event

    async def resume(self) -> None:
        """Starts the processes of shadows that the events say are running: after the start of the server, and of a
        worker. Ends those beside versions that the default label no longer stands for."""
        for model in self._record.models:
            for number in list(self._record.trials(model).shadows):
                try:
                    async with self._record.moving(model):
                        await self._resume(model, number)
                except Unavailable:
                    # The worker has gone again: its successor is asked.
                    return
                except Exception as error:
                    log("shadow.fault", level=logging.ERROR, model=model, exception=repr(error)[:2000])

    def ends(self, model: str, holder: Holder | None) -> list[Draft]:
        """What a default label that moves to `holder` ends: the shadows of another version."""
        return [
            self._stopped(shadow, "label moved", SERVER, f"the label moved from {shadow.primary}")
            for shadow in self._record.trials(model).shadows.values()
            if shadow.primary != holder
        ]

    def follow(self, model: str) -> None:
        """Ends the processes of shadows that have ended."""
        standing = {shadow.key for shadow in self._record.trials(model).shadows.values()}
        for key, run in list(self._runs.items()):
            if run.model == model and key not in standing:
                del self._runs[key]
                run.process.stop()
                self._ending[key] = asyncio.get_running_loop().create_task(self._put_away(run))

    def counted(self, worker: str, taps: Sequence[Mapping[str, Any]]) -> None:
        """Takes what a worker's taps have counted."""
        for one in taps:
            for shadow, run in self._of(one["model"]):
                if shadow.number == one["number"]:
                    run.counted(worker, one["counts"])

    def worker_gone(self, worker: str) -> None:
        """A worker has ended, and its taps with it."""
        for run in self._runs.values():
            run.worker_gone(worker)

    def save(self) -> None:
        """Writes down what was counted, for a server that starts again."""
        for shadow, run in self.running():
            self._checkpoints.write(shadow.number, run.to_json())

    async def close(self) -> None:
        """Ends every process."""
        await asyncio.gather(*(run.end() for run in self._runs.values()), *self._ending.values())
        self._runs.clear()

    def running(self) -> list[tuple[Shadow, ShadowRun]]:
        """Every shadow whose process runs, by model."""
        return [pair for model in self._record.models for pair in self._of(model)]

    async def status(self, model: str) -> list[dict[str, Any]]:
        """The shadows of a model as JSON."""
        return [await run.status(shadow) for shadow, run in self._of(model)]

    async def last_ended(self, model: str) -> dict[str, Any] | None:
        """What is left of the last shadow of a model that has ended: its event's details, and what it had seen."""
        for event in reversed(self._record.events):
            if event.kind == kinds.SHADOW_STOPPED and event.model == model:
                await self._put_away_by_now(event.details["key"])
                try:
                    seen = json.loads(self._targets.report(event.details["key"]).read_text())
                except (OSError, ValueError):
                    seen = None
                return {**event.details, "reason": event.reason, "unix_ms": event.unix_ms, "seen": seen}
        return None

    def _of(self, model: str) -> list[tuple[Shadow, ShadowRun]]:
        shadows = self._record.trials(model).shadows.values()
        return [(shadow, self._runs[shadow.key]) for shadow in shadows if shadow.key in self._runs]

    async def _resume(self, model: str, number: int) -> None:
        shadow = self._record.trials(model).shadows.get(number)
        if shadow is None or shadow.key in self._runs:
            return
        if self._moves.has_left(model, shadow.primary):
            await self._directing.commit(model, self.ends(model, self._moves.default(model).holder))
            return
        state = self._checkpoints.read(number)
        try:
            run = await self._taken_up(shadow, state if isinstance(state, dict) else {})
        except Unavailable:
            raise
        except (SteelyardError, ValueError) as error:
            log("shadow.not_resumed", level=logging.ERROR, model=model, shadow=shadow.name, reason=str(error))
            why_not = str(error)[:500] or "the shadow cannot go on"
            await self._directing.commit(model, [self._stopped(shadow, "not resumed", SERVER, why_not)])
            return
        self._take_up(model, run)
        run.shadow = shadow
        await self._directing.direct(model)

    async def _taken_up(self, shadow: Shadow, state: Mapping[str, Any]) -> ShadowRun:
        """A run that goes on from what was written down. Raises what keeps it from doing so."""
        model = shadow.model
        primary = await self._directing.make_ready(model, str(shadow.primary.number))
        check_content(model, shadow.primary, primary.holder)
        manifest = _as_planned(self._targets.manifest(model), shadow.plan)
        target: LocalTarget | RemoteTarget
        if shadow.is_elsewhere:
            target = RemoteTarget.model_validate(shadow.candidate)
        else:
            number = str(shadow.candidate["version"])
            target, digest = await self._targets.find(model, number, {})
            if digest != shadow.candidate["digest"]:
                raise Conflict(f"the candidate, version {number}, has other content now")
        try:
            weighing = ShadowWeighing(shadow.plan["gate"], state.get("weighing"), shadow.is_elsewhere)
            checkpoint = state.get("process") if isinstance(state.get("process"), dict) else None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log("checkpoint.foreign", level=logging.ERROR, shadow=shadow.number, reason=str(error)[:500])
            weighing, checkpoint = ShadowWeighing(shadow.plan["gate"], None, shadow.is_elsewhere), None
        tolerances = {name: (both[0], both[1]) for name, both in shadow.plan["tolerances"].items()}
        process = self._targets.process(
            model, primary, manifest, target, tolerances, key=shadow.key, checkpoint=checkpoint
        )
        run = ShadowRun(process, weighing, state.get("tap"))
        run.told = bool(shadow.verdict)
        return run

    def _take_up(self, model: str, run: ShadowRun) -> None:
        self._runs[run.key] = run
        run.process.changed = lambda: self._changed(model, run)

    def _changed(self, model: str, run: ShadowRun) -> None:
        """A shadow's process has counted more, or is in another state."""
        shadows = self._record.trials(model).shadows.values()
        shadow = next((one for one in shadows if one.key == run.key), None)
        if shadow is None or "pairs" not in run.process.checkpoint:
            return
        run.shadow = shadow
        verdict = run.weighing.take(run.process.checkpoint)
        if verdict is not Verdict.UNDECIDED and not run.told:
            run.told = True
            self._directing.start(self._try_to_decide(model, shadow.number, run))
        run.checkpoints += 1
        if run.checkpoints % SAVED_EVERY == 0:
            self._directing.start(asyncio.to_thread(self._checkpoints.write, shadow.number, run.to_json()))

    async def _try_to_decide(self, model: str, number: int, run: ShadowRun) -> None:
        """Decides; where that cannot be done now, later: what a gate has found does not go away."""
        try:
            await self._decide(model, number, run)
        except Exception as error:
            log("shadow.undecided", level=logging.ERROR, model=model, exception=repr(error)[:2000])
            await asyncio.sleep(RETRY_S)
            run.told = False
            self._changed(model, run)

    async def _decide(self, model: str, number: int, run: ShadowRun) -> None:
        """Does what the gate means for the shadow, unless it has been ended meanwhile."""
        look = run.weighing.gate.look()
        shadow = self._record.trials(model).shadows.get(number)
        if shadow is None:
            return
        promotes = (
            look.verdict is Verdict.SAFE
            and run.weighing.gate.manifest.promote == "automatic"
            and not shadow.is_elsewhere
        )
        async with contextlib.AsyncExitStack() as held:
            if promotes:
                version = str(shadow.candidate["version"])
                ready = await held.enter_async_context(self._directing.keeping(model, version))
                check_content(model, Holder(ready.holder.number, shadow.candidate["digest"]), ready.holder)
            await held.enter_async_context(self._record.moving(model))
            if number in self._record.trials(model).shadows:
                await self._directing.commit(model, self._decisions(shadow, run, promotes))

    def _decisions(self, shadow: Shadow, run: ShadowRun, promotes: bool) -> list[Draft]:
        """The decision and what comes of it, to be recorded together."""
        gate = run.weighing.gate
        look = gate.look()
        reason = why(look.verdict, look.decided_by)
        details = {
            "number": shadow.number,
            "candidate": dict(shadow.candidate),
            "digests": run.digests,
            "verdict": look.verdict.value,
            "look": look_to_json(look),
            "path": [look_to_json(seen) for seen in gate.path],
        }
        digest = run.digests[-1] if run.digests else ""
        decided = Draft(kinds.DECIDED, shadow.model, SERVER, reason, digest=digest, details=details)
        if look.verdict is not Verdict.SAFE:
            return [decided, self._stopped(shadow, look.verdict.value, SERVER, reason)]
        if not promotes:
            return [decided]
        label = self._moves.default(shadow.model).name
        holder = Holder(shadow.candidate["version"], shadow.candidate["digest"])
        move = self._moves.draft_move(shadow.model, label, holder, SERVER, f"{reason}; promote = automatic")
        others = [
            ending
            for ending in self._moves.endings(shadow.model, move)
            if ending.details.get("number") != shadow.number
        ]
        return [decided, self._stopped(shadow, "promoted", SERVER, reason), *others, move]

    def _stopped(self, shadow: Shadow, outcome: str, actor: str, reason: str) -> Draft:
        """The event of a shadow's end. Its process is ended by `follow`, when that is recorded and in force."""
        details: dict[str, Any] = {
            "number": shadow.number,
            "key": shadow.key,
            "outcome": outcome,
            "candidate": dict(shadow.candidate),
        }
        run = self._runs.get(shadow.key)
        digest = shadow.candidate.get("digest", "")
        if run is not None:
            details |= run.outline()
            digest = run.digests[-1] if run.digests else digest
        return Draft(kinds.SHADOW_STOPPED, shadow.model, actor, reason, digest=digest, details=details)

    async def _put_away_by_now(self, key: str) -> None:
        """Waits until a shadow that ends has ended, and what it had seen is written down."""
        if key in self._ending:
            await asyncio.shield(self._ending[key])

    async def _put_away(self, run: ShadowRun) -> None:
        """Ends a run's process, and writes down what it had seen."""
        try:
            await run.end()
            if run.shadow is not None:
                self._checkpoints.forget(run.shadow.number)
                report = json.dumps(await run.status(run.shadow))
                await asyncio.to_thread(self._targets.report(run.key).write_text, report)
        except Exception as error:
            log("shadow.fault", level=logging.ERROR, model=run.model, exception=repr(error)[:2000])
        finally:
            self._ending.pop(run.key, None)

    def _holders(self, model: str) -> dict[str, Holder]:
        return {label.name: label.holder for label in self._record.labels(model).labels.values()}

    def _find(self, model: str, candidate: str) -> Shadow:
        shadows = self._record.trials(model).shadows
        found = [shadow for shadow in shadows.values() if candidate in ("", shadow.name)]
        if len(found) != 1:
            names = ", ".join(shadow.name for shadow in shadows.values()) or "none"
            which = f"no shadow {candidate[:80]!r}" if candidate else "not one shadow"
            raise ModelNotFound(f"model {model!r} has {which}; there is: {names}")
        return found[0]


def _plan(rollout: Rollout, tolerances: Tolerances) -> dict[str, Any]:
    """What is fixed when a shadow starts, for the event."""
    return {
        "gate": rollout.gate.model_dump(mode="json"),
        "compare": [rule.model_dump(mode="json", exclude_none=True) for rule in rollout.compare],
        "shadow": rollout.shadow.model_dump(mode="json"),
        "tolerances": {output: list(both) for output, both in tolerances.items()},
    }


def _as_planned(manifest: ModelManifest, plan: Mapping[str, Any]) -> ModelManifest:
    """The manifest with the rules that were fixed when the shadow was started."""
    rollout = manifest.rollout.model_dump(mode="json")
    fixed = type(manifest.rollout).model_validate(
        {**rollout, **{name: plan[name] for name in ("gate", "compare", "shadow")}}, strict=False
    )
    return manifest.model_copy(update={"rollout": fixed})
