"""Shadows: candidates that are asked what production is asked, and whose answers nobody gets."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.errors import Conflict, InvalidRequest, ModelNotFound, SteelyardError
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
from steelyard.supervisor.canaries import why
from steelyard.supervisor.checkpoint import Checkpoints
from steelyard.supervisor.directing import Directing, Ready
from steelyard.supervisor.label_moves import LabelMoves
from steelyard.supervisor.record import SERVER, Record
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
        self._running: dict[int, ShadowRun] = {}

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
            for shadow in self._record.trials(model).shadows.values()
            if shadow.number in self._running
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
        process = self._targets.process(model, primary, manifest, target, tolerances)
        plan = _plan(manifest.rollout, tolerances)
        run = ShadowRun(process, ShadowWeighing(plan["gate"], None))
        try:
            # Not under the model's lock: to load a candidate may take minutes, and a rollback must not wait for it.
            digest = await process.started()
            described = (
                {"version": target.number, "digest": digest} if isinstance(target, LocalTarget) else None
            )
            details = {
                "key": process.task.rollout,
                "candidate": described or target.model_dump(mode="json"),
                "primary": primary.holder.to_json(),
                "sample": sample,
                "plan": plan,
            }
            started = Draft(kinds.SHADOW_STARTED, model, actor, reason, digest=digest, details=details)
            async with self._record.moving(model):
                self._check_start(model, name, primary)
                event = self._record.append([started])[0]
                self._take_up(event.sequence, model, run)
                await self._directing.direct(model)
        except BaseException:
            if run not in self._running.values():
                self._directing.direct_later(model)
                await run.end()
            raise
        self._targets.forget_old({run.process.task.rollout for run in self._running.values()})
        return event

    def _check_start(self, model: str, name: str, primary: Ready) -> None:
        """Raises Conflict where a shadow that is ready cannot be taken up as things stand."""
        others = self._record.trials(model).shadows.values()
        if len(others) >= MAX_SHADOWS:
            raise Conflict(
                f"model {model!r}: {len(others)} shadows run beside it, expected at most {MAX_SHADOWS}"
            )
        if any(other.name == name for other in others):
            raise Conflict(f"model {model!r}: {name} is a shadow already")
        holder = self._moves.default(model).holder
        if holder != primary.holder:
            raise Conflict(f"model {model!r}: the label moved to {holder} while the candidate was loaded")

    async def stop(self, model: str, candidate: str, actor: str, reason: str) -> Event:
        """Ends the shadow of `candidate` (its version or address; empty: the only one): its process is killed, and
        nothing is handed over any more when this returns."""
        async with self._record.moving(model):
            event = self._end(self._find(model, candidate), "stopped", actor, reason)
            await self._directing.direct(model)
            return event

    async def resume(self) -> None:
        """Starts the processes of shadows that the events say are running: after the start of the server."""
        for model in self._record.models:
            for shadow in list(self._record.trials(model).shadows.values()):
                if shadow.number not in self._running:
                    async with self._record.moving(model):
                        await self._resume(model, shadow)

    def left(self, model: str) -> None:
        """The default label stands elsewhere: what was compared with its holder ends. To be followed by a directive."""
        for shadow in list(self._record.trials(model).shadows.values()):
            if shadow.primary != self._moves.default(model).holder:
                self._end(shadow, "label moved", SERVER, f"the label moved from {shadow.primary}")

    def counted(self, taps: Sequence[Mapping[str, Any]]) -> None:
        """Takes what the worker's taps have counted."""
        for one in taps:
            run = self._running.get(one["number"])
            if run is not None:
                run.counted(one["counts"])

    def save(self) -> None:
        """Writes down what was counted, for a server that starts again."""
        for number, run in self._running.items():
            self._save(number, run)

    async def close(self) -> None:
        """Ends every process."""
        await asyncio.gather(*(run.end() for run in self._running.values()))
        self._running.clear()

    def running(self) -> list[tuple[Shadow, ShadowRun]]:
        """Every shadow whose process runs, by model."""
        return [
            (shadow, self._running[shadow.number])
            for model in self._record.models
            for shadow in self._record.trials(model).shadows.values()
            if shadow.number in self._running
        ]

    def status(self, model: str) -> list[dict[str, Any]]:
        """The shadows of a model as JSON."""
        return [run.status(shadow) for shadow, run in self.running() if shadow.model == model]

    def last_ended(self, model: str) -> dict[str, Any] | None:
        """What is left of the last shadow of a model that has ended: its event's details, and what it had seen."""
        for event in reversed(self._record.events):
            if event.kind == kinds.SHADOW_STOPPED and event.model == model:
                try:
                    seen = json.loads(self._targets.report(event.details["key"]).read_text())
                except (OSError, ValueError):
                    seen = None
                return {**event.details, "reason": event.reason, "unix_ms": event.unix_ms, "seen": seen}
        return None

    async def _resume(self, model: str, shadow: Shadow) -> None:
        state = self._checkpoints.read(shadow.number) or {}
        try:
            primary = await self._directing.make_ready(model, str(shadow.primary.number))
            if primary.holder != shadow.primary:
                raise Conflict(f"version {shadow.primary.number} has other content now")
            manifest = _as_planned(self._targets.manifest(model), shadow.plan)
            target: LocalTarget | RemoteTarget
            if not shadow.is_elsewhere:
                number = str(shadow.candidate["version"])
                target, digest = await self._targets.find(model, number, {})
                if digest != shadow.candidate["digest"]:
                    raise Conflict(f"the candidate, version {number}, has other content now")
            else:
                target = RemoteTarget.model_validate(shadow.candidate)
            process = self._targets.process(
                model,
                primary,
                manifest,
                target,
                {name: (both[0], both[1]) for name, both in shadow.plan["tolerances"].items()},
                key=shadow.key,
                checkpoint=state.get("process"),
            )
            weighing = ShadowWeighing(shadow.plan["gate"], state.get("weighing"))
            run = ShadowRun(process, weighing, state.get("tap"))
            run.told = bool(shadow.verdict)
        except (SteelyardError, ValueError) as error:
            log("shadow.not_resumed", level=logging.ERROR, model=model, shadow=shadow.name, reason=str(error))
            self._end(shadow, "not resumed", SERVER, str(error)[:500] or "the shadow cannot go on")
            return
        self._take_up(shadow.number, model, run)
        await self._directing.direct(model)

    def _take_up(self, number: int, model: str, run: ShadowRun) -> None:
        self._running[number] = run
        run.process.changed = lambda: self._changed(number, model)

    def _changed(self, number: int, model: str) -> None:
        """A shadow's process has counted more, or is in another state."""
        run = self._running.get(number)
        shadow = self._record.trials(model).shadows.get(number)
        if run is None or shadow is None or "pairs" not in run.process.checkpoint:
            return
        verdict = run.weighing.take(run.process.checkpoint)
        if verdict is not Verdict.UNDECIDED and not run.told:
            run.told = True
            self._directing.start(self._decide(model, number, run))
        run.checkpoints += 1
        if run.checkpoints % SAVED_EVERY == 0:
            self._save(number, run)

    async def _decide(self, model: str, number: int, run: ShadowRun) -> None:
        """Does what the gate means for the shadow, unless it has been ended meanwhile."""
        async with self._record.moving(model):
            shadow = self._record.trials(model).shadows.get(number)
            if shadow is None:
                return
            gate = run.weighing.gate
            look = gate.look()
            reason = why(look.verdict, look.decided_by)
            details = {
                "number": number,
                "candidate": dict(shadow.candidate),
                "digests": run.digests,
                "verdict": look.verdict.value,
                "look": look_to_json(look),
                "path": [look_to_json(seen) for seen in gate.path],
            }
            digest = run.digests[-1] if run.digests else ""
            self._record.append([Draft(kinds.DECIDED, model, SERVER, reason, digest=digest, details=details)])
            if look.verdict is not Verdict.SAFE:
                self._end(shadow, look.verdict.value, SERVER, reason)
                await self._directing.direct(model)
            elif gate.manifest.promote == "automatic" and not shadow.is_elsewhere:
                await self._promote(shadow, reason)

    async def _promote(self, shadow: Shadow, reason: str) -> None:
        model = shadow.model
        try:
            ready = await self._directing.make_ready(model, str(shadow.candidate["version"]))
            if ready.holder.digest != shadow.candidate["digest"]:
                raise Conflict(f"version {ready.holder.number} has other content than was compared")
        except SteelyardError as error:
            log("promotion.failed", level=logging.ERROR, model=model, shadow=shadow.name, reason=str(error))
            return
        if shadow.number not in self._record.trials(model).shadows:
            return
        self._end(shadow, "promoted", SERVER, reason)
        label = self._moves.default(model).name
        await self._moves.move_to(model, label, ready.holder, SERVER, f"{reason}; promote = automatic")

    def _end(self, shadow: Shadow, outcome: str, actor: str, reason: str) -> Event:
        """Records the end of a shadow and ends its process at once. To be followed by a directive."""
        run = self._running.pop(shadow.number, None)
        details: dict[str, Any] = {
            "number": shadow.number,
            "key": shadow.key,
            "outcome": outcome,
            "candidate": dict(shadow.candidate),
        }
        if run is not None:
            run.process.stop()
            status = run.status(shadow)
            self._targets.report(shadow.key).write_text(json.dumps(status))
            details |= {
                "digests": status["digests"],
                "pairs": status["pairs"]["pairs"] if status["pairs"] else 0,
                "failures": status["pairs"]["failures"] if status["pairs"] else {},
                "agreement": status["agreement"],
                "gate": status["gate"],
                "tap": status["tap"],
            }
            self._directing.start(run.end())
        digest = run.digests[-1] if run is not None and run.digests else shadow.candidate.get("digest", "")
        ended = Draft(kinds.SHADOW_STOPPED, shadow.model, actor, reason, digest=digest, details=details)
        event = self._record.append([ended])[0]
        self._checkpoints.forget(shadow.number)
        return event

    def _save(self, number: int, run: ShadowRun) -> None:
        self._checkpoints.write(number, run.to_json())

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
