"""Shadows: candidates that are asked what production is asked, and whose answers nobody gets."""

import asyncio
import contextlib
import json
import logging
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from steelyard.config import Settings
from steelyard.errors import Conflict, InvalidRequest, LoadFailed, ModelNotFound, SteelyardError
from steelyard.evidence.event import Draft, Event
from steelyard.models.digest import version_digest
from steelyard.models.manifest import MODEL_MANIFEST, ModelManifest, read_model_manifest
from steelyard.models.names import parse_version
from steelyard.models.repository import GRAPH_FILE
from steelyard.observe.logs import log
from steelyard.rollout import trials as kinds
from steelyard.rollout.directive import Tap
from steelyard.rollout.look import Verdict, look_to_json
from steelyard.rollout.pairs import PairCounts
from steelyard.rollout.trials import Shadow
from steelyard.shadow.task import LocalTarget, RemoteTarget, ShadowTask
from steelyard.supervisor.canaries import why
from steelyard.supervisor.checkpoint import Checkpoints
from steelyard.supervisor.directing import Directing, Ready
from steelyard.supervisor.label_moves import LabelMoves
from steelyard.supervisor.record import SERVER, Record
from steelyard.supervisor.shadow_process import ShadowProcess
from steelyard.supervisor.shadow_weighing import ShadowWeighing

# Each is a process with a model in it; more of them beside one primary get no time to run.
MAX_SHADOWS = 8

# A checkpoint comes twice a second; so many of them are written down as one.
SAVED_EVERY = 4

# Files of disagreements that are kept after their shadows have ended, the last ones.
FILES_KEPT = 20


class Running:
    """A shadow whose process runs, and what is known of it."""

    def __init__(self, process: ShadowProcess, weighing: ShadowWeighing) -> None:
        self.process = process
        self.weighing = weighing
        self.tap: Counter[str] = Counter()
        """What the tap has counted, over all lives of the worker."""
        self._tap_before: Counter[str] = Counter()
        self.told = False
        """Whether what the gate decided is being done, or has been."""
        self.checkpoints = 0
        self.life = asyncio.get_running_loop().create_task(process.run())

    def counted(self, counts: Mapping[str, int]) -> None:
        """Takes what the worker's tap has counted since it was opened."""
        if counts["sampled"] < self.tap["sampled"] - self._tap_before["sampled"]:
            # Another worker's tap, which began anew.
            self._tap_before = Counter(self.tap)
        self.tap = Counter({name: counts[name] + self._tap_before[name] for name in counts})

    async def end(self) -> None:
        """Ends the process at once."""
        self.process.stop()
        await self.life
        self.process.close()


class Shadows:
    """Starts, weighs and ends shadows. Lives on the supervisor's event loop."""

    def __init__(
        self,
        record: Record,
        directing: Directing,
        moves: LabelMoves,
        checkpoints: Checkpoints,
        settings: Settings,
    ) -> None:
        self._record = record
        self._directing = directing
        self._moves = moves
        self._checkpoints = checkpoints
        self._settings = settings
        self._directory = settings.data / "shadows"
        self._running: dict[int, Running] = {}
        # Taps of calibrations, which no event speaks of until they are done.
        self._calibrating: dict[str, Tap] = {}

    def taps_of(self, model: str) -> list[Tap]:
        """What the worker has to hand over of a model's requests now."""
        shadows = self._record.trials(model).shadows.values()
        taps = [
            Tap(
                shadow.number,
                shadow.primary,
                str(self._socket(shadow.key)),
                shadow.sample,
                shadow.plan["shadow"]["max_bytes"],
            )
            for shadow in shadows
            if shadow.number in self._running
        ]
        return [*taps, self._calibrating[model]] if model in self._calibrating else taps

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
        manifest = self._read_manifest(model)
        target, digest = await self._target(model, candidate)
        name = str(target.number) if isinstance(target, LocalTarget) else target.address
        if digest == primary.holder.digest:
            raise Conflict(f"model {model!r}: version {name} has the content that is in production already")
        tolerances = self._record.trials(model).tolerances.get(primary.holder.digest, {})
        key = secrets.token_hex(6)
        process = self._process(key, model, primary, manifest, target, dict(tolerances), {})
        rollout = manifest.rollout
        running = Running(process, ShadowWeighing(rollout.gate.model_dump(mode="json"), None))
        try:
            # Not under the model's lock: to load a candidate may take minutes, and a rollback must not wait for it.
            found = await process.started()
            described = target.model_dump(mode="json", exclude={"path", "threads"})
            if isinstance(target, LocalTarget):
                described = {"version": target.number, "digest": found}
            details = {
                "key": key,
                "candidate": described,
                "primary": primary.holder.to_json(),
                "sample": sample,
                "plan": {
                    "gate": rollout.gate.model_dump(mode="json"),
                    "compare": [rule.model_dump(mode="json", exclude_none=True) for rule in rollout.compare],
                    "shadow": rollout.shadow.model_dump(mode="json"),
                    "tolerances": {output: list(both) for output, both in tolerances.items()},
                },
            }
            started = Draft(kinds.SHADOW_STARTED, model, actor, reason, digest=found, details=details)
            async with self._record.moving(model):
                self._check_start(model, name, primary)
                event = self._record.append([started])[0]
                self._take_up(event.sequence, model, running)
                await self._directing.direct(model)
        except BaseException:
            if running not in self._running.values():
                self._directing.direct_later(model)
                await running.end()
            raise
        self._forget_old_files()
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
        """Ends the shadow of `candidate` (its version or address; empty: the only one); nothing is handed over to it
        any more when this returns, and its process has ended."""
        # Before the model's lock, which a start holds while it loads.
        shadow = self._find(model, candidate)
        async with self._record.moving(model):
            if shadow.number not in self._record.trials(model).shadows:
                raise Conflict(f"model {model!r}: the shadow {shadow.name} has been stopped meanwhile")
            event = self._end(shadow, "stopped", actor, reason)
            await self._directing.direct(model)
            return event

    async def resume(self) -> None:
        """Starts the processes of shadows that the events say are running: after the start of the server."""
        for model in self._record.models:
            for shadow in list(self._record.trials(model).shadows.values()):
                if shadow.number not in self._running:
                    async with self._record.moving(model):
                        await self._resume(model, shadow)

    async def calibrate(self, model: str, requests: int, timeout_s: float, actor: str, reason: str) -> Event:
        """Runs the version of the default label against itself until it has answered `requests` again, and records
        the tolerances that its own noise asks for.

        Raises Conflict where too few requests came within `timeout_s`.
        """
        if model in self._calibrating:
            raise Conflict(f"model {model!r} is being calibrated already")
        primary = await self._directing.make_ready(model, str(self._moves.default(model).holder.number))
        manifest = self._read_manifest(model)
        target = LocalTarget(number=primary.holder.number, path=primary.path)
        key = secrets.token_hex(6)
        process = self._process(key, model, primary, manifest, target, {}, {}, calibrate=True)
        running = Running(process, ShadowWeighing(manifest.rollout.gate.model_dump(mode="json"), None))
        try:
            await process.started()
            # No event has the number 0, as they begin with 1.
            max_bytes = manifest.rollout.shadow.max_bytes
            self._calibrating[model] = Tap(0, primary.holder, str(self._socket(key)), 1.0, max_bytes)
            await self._directing.direct(model)
            found = await _calibrated(process, requests, timeout_s)
        finally:
            self._calibrating.pop(model, None)
            await self._directing.direct(model)
            await running.end()
        if found["requests"] < requests:
            raise Conflict(
                f"model {model!r}: expected {requests} requests within {timeout_s:g} s, came {found['requests']}: "
                "calibrate under traffic, or ask for fewer"
            )
        calibrated = Draft(
            kinds.CALIBRATED, model, actor, reason, digest=primary.holder.digest, details=found
        )
        return self._record.append([calibrated])[0]

    def left(self, model: str) -> None:
        """The default label stands elsewhere: what was compared with its holder ends. To be followed by a directive."""
        for shadow in list(self._record.trials(model).shadows.values()):
            if shadow.primary != self._moves.default(model).holder:
                self._end(shadow, "label moved", SERVER, f"the label moved from {shadow.primary}")

    def counted(self, taps: Sequence[Mapping[str, Any]]) -> None:
        """Takes what the worker's taps have counted."""
        for one in taps:
            running = self._running.get(one["number"])
            if running is not None:
                running.counted(one["counts"])

    def save(self) -> None:
        """Writes down what was counted, for a server that starts again."""
        for number, running in self._running.items():
            self._save(number, running)

    async def close(self) -> None:
        """Ends every process."""
        await asyncio.gather(*(running.end() for running in self._running.values()))
        self._running.clear()

    def running(self) -> list[tuple[Shadow, Running]]:
        """Every shadow whose process runs, by model."""
        return [
            (shadow, self._running[shadow.number])
            for model in self._record.models
            for shadow in self._record.trials(model).shadows.values()
            if shadow.number in self._running
        ]

    def status(self, model: str) -> list[dict[str, Any]]:
        """The shadows of a model as JSON."""
        return [
            self._status(shadow, self._running[shadow.number])
            for shadow in self._record.trials(model).shadows.values()
            if shadow.number in self._running
        ]

    def _status(self, shadow: Shadow, running: Running) -> dict[str, Any]:
        process, weighing = running.process, running.weighing
        checkpoint = process.checkpoint
        pairs = (
            PairCounts.from_json(json.dumps(checkpoint["pairs"])).summary() if "pairs" in checkpoint else None
        )
        return {
            "number": shadow.number,
            "key": shadow.key,
            "model": shadow.model,
            "name": shadow.name,
            "primary": shadow.primary.to_json(),
            "candidate": dict(shadow.candidate),
            "digests": checkpoint.get("digests", []),
            "sample": shadow.sample,
            "state": process.state.value,
            "reason": process.reason,
            "exits": dict(process.exits),
            "tap": dict(running.tap),
            "not_compared": checkpoint.get("not_compared", {}),
            "pairs": pairs,
            "agreement": weighing.agreement(),
            "verdict": shadow.verdict or weighing.gate.verdict.value,
            "gate": look_to_json(weighing.gate.look()),
            "max_requests": weighing.gate.manifest.max_requests,
            "promote": weighing.gate.manifest.promote,
            "tolerances": shadow.plan["tolerances"],
        }

    async def _resume(self, model: str, shadow: Shadow) -> None:
        state = self._checkpoints.read(shadow.number) or {}
        try:
            primary = await self._directing.make_ready(model, str(shadow.primary.number))
            if primary.holder != shadow.primary:
                raise Conflict(f"version {shadow.primary.number} has other content now")
            manifest = _as_planned(self._read_manifest(model), shadow.plan)
            described: str | RemoteTarget = str(shadow.candidate.get("version", ""))
            if not described:
                described = RemoteTarget.model_validate(shadow.candidate)
            target, digest = await self._target(model, described)
            if isinstance(target, LocalTarget) and digest != shadow.candidate["digest"]:
                raise Conflict(f"the candidate, version {target.number}, has other content now")
            tolerances = {name: (both[0], both[1]) for name, both in shadow.plan["tolerances"].items()}
            process = self._process(
                shadow.key, model, primary, manifest, target, tolerances, state.get("process", {})
            )
            running = Running(process, ShadowWeighing(shadow.plan["gate"], state.get("weighing")))
            running.tap = Counter(state.get("tap", {}))
            running.told = bool(shadow.verdict)
        except (SteelyardError, ValueError) as error:
            log("shadow.not_resumed", level=logging.ERROR, model=model, shadow=shadow.name, reason=str(error))
            self._end(shadow, "not resumed", SERVER, str(error)[:500] or "the shadow cannot go on")
            return
        self._take_up(shadow.number, model, running)
        await self._directing.direct(model)

    def _take_up(self, number: int, model: str, running: Running) -> None:
        self._running[number] = running
        running.process.changed = lambda: self._changed(number, model)

    def _changed(self, number: int, model: str) -> None:
        """A shadow's process has counted more, or is in another state."""
        running = self._running.get(number)
        shadow = self._record.trials(model).shadows.get(number)
        if running is None or shadow is None or "pairs" not in running.process.checkpoint:
            return
        verdict = running.weighing.take(running.process.checkpoint)
        if verdict is not Verdict.UNDECIDED and not running.told:
            running.told = True
            self._directing.start(self._decide(model, number, running))
        running.checkpoints += 1
        if running.checkpoints % SAVED_EVERY == 0:
            self._save(number, running)

    async def _decide(self, model: str, number: int, running: Running) -> None:
        """Does what the gate means for the shadow, unless it has been ended meanwhile."""
        async with self._record.moving(model):
            shadow = self._record.trials(model).shadows.get(number)
            if shadow is None:
                return
            gate = running.weighing.gate
            look = gate.look()
            reason = why(look.verdict, look.decided_by)
            details = {
                "number": number,
                "candidate": dict(shadow.candidate),
                "verdict": look.verdict.value,
                "look": look_to_json(look),
                "path": [look_to_json(seen) for seen in gate.path],
            }
            digest = shadow.candidate.get("digest", "")
            self._record.append([Draft(kinds.DECIDED, model, SERVER, reason, digest=digest, details=details)])
            if look.verdict is not Verdict.SAFE:
                self._end(shadow, look.verdict.value, SERVER, reason)
                await self._directing.direct(model)
            elif gate.manifest.promote == "automatic" and "version" in shadow.candidate:
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
        self._end(shadow, "promoted", SERVER, reason)
        label = self._moves.default(model).name
        await self._moves.move_to(model, label, ready.holder, SERVER, f"{reason}; promote = automatic")

    def _end(self, shadow: Shadow, outcome: str, actor: str, reason: str) -> Event:
        """Records the end of a shadow and ends its process at once. To be followed by a directive."""
        running = self._running.pop(shadow.number, None)
        details: dict[str, Any] = {
            "number": shadow.number,
            "key": shadow.key,
            "outcome": outcome,
            "candidate": dict(shadow.candidate),
        }
        if running is not None:
            running.process.stop()
            status = self._status(shadow, running)
            pairs = status["pairs"] or {}
            details |= {
                "tap": status["tap"],
                "pairs": pairs.get("pairs", 0),
                "failures": pairs.get("failures", {}),
                "agreement": status["agreement"],
                "gate": status["gate"],
            }
            self._directing.start(running.end())
        event = self._record.append(
            [
                Draft(
                    kinds.SHADOW_STOPPED,
                    shadow.model,
                    actor,
                    reason,
                    digest=shadow.candidate.get("digest", ""),
                    details=details,
                )
            ]
        )[0]
        self._checkpoints.forget(shadow.number)
        return event

    def _save(self, number: int, running: Running) -> None:
        state = {
            "process": running.process.checkpoint,
            "weighing": running.weighing.to_json(),
            "tap": dict(running.tap),
        }
        self._checkpoints.write(number, state)

    async def _target(
        self, model: str, candidate: str | RemoteTarget
    ) -> tuple[LocalTarget | RemoteTarget, str]:
        """What to run, and its digest, which for a server elsewhere is not known. Raises ModelNotFound."""
        if isinstance(candidate, RemoteTarget):
            return candidate, ""
        label = self._record.labels(model).labels.get(candidate)
        number = label.holder.number if label is not None else parse_version(candidate)
        directory = self._settings.repository / model
        if number is None:
            number = await asyncio.to_thread(_by_digest, directory, candidate)
        path = directory / str(number)
        if number is None or not (path / GRAPH_FILE).is_file():
            raise ModelNotFound(f"model {model!r} has no version {candidate[:80]!r} in the repository")
        digest = await asyncio.to_thread(version_digest, path)
        return LocalTarget(number=number, path=path), digest

    def _process(
        self,
        key: str,
        model: str,
        primary: Ready,
        manifest: ModelManifest,
        target: LocalTarget | RemoteTarget,
        tolerances: dict[str, tuple[float, float]],
        checkpoint: dict[str, Any],
        calibrate: bool = False,
    ) -> ShadowProcess:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        settings = self._settings
        task = ShadowTask(
            rollout=key,
            model=model,
            offered=primary.offered,
            manifest=manifest,
            candidate=target,
            socket=self._socket(key),
            tolerances=tolerances,
            calibrate=calibrate,
            checkpoint=checkpoint,
            disagreements=None if calibrate else self._directory / f"{key}.sqlite",
            profile=settings.profile,
            verdicts=settings.data / "verdicts",
            max_message_bytes=settings.max_message_bytes,
            log_level=settings.log_level,
            log_format=settings.log_format,
        )
        return ShadowProcess(task)

    def _socket(self, key: str) -> Path:
        return self._directory / f"{key}.sock"

    def _find(self, model: str, candidate: str) -> Shadow:
        shadows = self._record.trials(model).shadows
        found = [shadow for shadow in shadows.values() if candidate in ("", shadow.name)]
        if len(found) != 1:
            names = ", ".join(shadow.name for shadow in shadows.values()) or "none"
            which = f"no shadow {candidate[:80]!r}" if candidate else "not one shadow"
            raise ModelNotFound(f"model {model!r} has {which}; there is: {names}")
        return found[0]

    def _read_manifest(self, model: str) -> ModelManifest:
        return read_model_manifest(self._settings.repository / model / MODEL_MANIFEST)

    def _forget_old_files(self) -> None:
        """Removes the disagreements of shadows that ended long ago."""
        running = {running.process.task.rollout for running in self._running.values()}
        files = [path for path in self._directory.glob("*.sqlite") if path.stem not in running]
        for path in sorted(files, key=lambda path: path.stat().st_mtime)[: -FILES_KEPT or None]:
            with contextlib.suppress(OSError):
                path.unlink()


def _as_planned(manifest: ModelManifest, plan: Mapping[str, Any]) -> ModelManifest:
    """The manifest with the rules that were fixed when the shadow was started."""
    rollout = manifest.rollout.model_dump(mode="json")
    fixed = type(manifest.rollout).model_validate(
        {**rollout, **{name: plan[name] for name in ("gate", "compare", "shadow")}}, strict=False
    )
    return manifest.model_copy(update={"rollout": fixed})


def _by_digest(directory: Path, digest: str) -> int | None:
    """The highest version in `directory` whose digest begins with `digest`, None where there is none."""
    found = None
    numbers = [number for path in directory.iterdir() if (number := parse_version(path.name)) is not None]
    if digest.startswith("sha256:"):
        for number in sorted(numbers):
            with contextlib.suppress(SteelyardError):
                if version_digest(directory / str(number)).startswith(digest):
                    found = number
    return found


async def _calibrated(process: ShadowProcess, requests: int, timeout_s: float) -> dict[str, Any]:
    """What a calibration found, when it has seen so many requests or the time is over."""
    changed = asyncio.Event()
    process.changed = changed.set
    end_s = asyncio.get_running_loop().time() + timeout_s
    while True:
        seen = process.checkpoint.get("calibration", {})
        left_s = end_s - asyncio.get_running_loop().time()
        if seen.get("requests", 0) >= requests or left_s <= 0:
            return {
                "tolerances": seen.get("tolerances", {}),
                "requests": seen.get("requests", 0),
                "runs": seen.get("runs", 0),
                "unlike": seen.get("unlike", 0),
            }
        if process.reason and process.state.value == "failed":
            raise LoadFailed(process.reason)
        changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), left_s)
