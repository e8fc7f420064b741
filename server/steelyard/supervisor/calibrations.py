"""Calibrations: a version in production is asked again what it was asked, to learn how far it differs from itself."""

import asyncio
import contextlib
from typing import Any

from steelyard.errors import Conflict, LoadFailed
from steelyard.evidence.event import Draft, Event
from steelyard.rollout import trials as kinds
from steelyard.rollout.directive import Tap
from steelyard.shadow.task import LocalTarget
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.label_moves import LabelMoves
from steelyard.supervisor.record import Record
from steelyard.supervisor.shadow_process import ShadowProcess, ShadowState
from steelyard.supervisor.shadow_targets import ShadowTargets

# Of a calibration's tap: events, and so shadows, begin with 1.
TAP_NUMBER = 0


class Calibrations:
    """Runs calibrations, one a model at a time. No event speaks of one until it is done, so it ends with the server."""

    def __init__(
        self, record: Record, directing: Directing, moves: LabelMoves, targets: ShadowTargets
    ) -> None:
        self._record = record
        self._directing = directing
        self._moves = moves
        self._targets = targets
        self._taps: dict[str, Tap] = {}
        self._running: set[str] = set()

    def tap_of(self, model: str) -> list[Tap]:
        """What the worker has to hand over of a model's requests now: nothing or one."""
        return [self._taps[model]] if model in self._taps else []

    async def calibrate(self, model: str, requests: int, timeout_s: float, actor: str, reason: str) -> Event:
        """Runs the version of the default label against itself until it has answered `requests` again, and records
        the tolerances that its own noise asks for.

        Raises Conflict where too few requests came within `timeout_s`, or another calibration runs.
        """
        if model in self._running:
            raise Conflict(f"model {model!r} is being calibrated already")
        self._running.add(model)
        try:
            return await self._calibrate(model, requests, timeout_s, actor, reason)
        finally:
            self._running.discard(model)

    async def _calibrate(self, model: str, requests: int, timeout_s: float, actor: str, reason: str) -> Event:
        primary = await self._directing.make_ready(model, str(self._moves.default(model).holder.number))
        manifest = self._targets.manifest(model)
        target = LocalTarget(number=primary.holder.number, path=primary.path)
        process = self._targets.process(model, primary, manifest, target, {}, calibrate=True)
        life = asyncio.ensure_future(process.run())
        try:
            await process.started()
            max_bytes = manifest.rollout.shadow.max_bytes
            self._taps[model] = Tap(TAP_NUMBER, primary.holder, str(process.task.socket), 1.0, max_bytes)
            await self._directing.direct(model)
            found = await _seen(process, requests, timeout_s)
        finally:
            self._taps.pop(model, None)
            process.stop()
            await self._directing.direct(model)
            await life
            process.close()
        if found["requests"] < requests:
            raise Conflict(
                f"model {model!r}: expected {requests} requests within {timeout_s:g} s, came {found['requests']}: "
                "calibrate under traffic, or ask for fewer"
            )
        digest = primary.holder.digest
        return self._record.append(
            [Draft(kinds.CALIBRATED, model, actor, reason, digest=digest, details=found)]
        )[0]


async def _seen(process: ShadowProcess, requests: int, timeout_s: float) -> dict[str, Any]:
    """What a calibration found, when it has seen so many requests or the time is over."""
    changed = asyncio.Event()
    process.changed = changed.set
    clock = asyncio.get_running_loop().time
    end_s = clock() + timeout_s
    while True:
        found = process.checkpoint.get("calibration", {})
        left_s = end_s - clock()
        if found.get("requests", 0) >= requests or left_s <= 0:
            return {
                "tolerances": found.get("tolerances", {}),
                "requests": found.get("requests", 0),
                "runs": found.get("runs", 0),
                "unlike": found.get("unlike", 0),
            }
        if process.state is ShadowState.FAILED:
            raise LoadFailed(process.reason)
        changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), left_s)
