"""All that is rolled out: the parts of it, put together, and what the supervisor tells them."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from steelyard.clock import Clock
from steelyard.config import Settings
from steelyard.evidence.log import EventLog
from steelyard.observe.logs import log
from steelyard.serving.methods import Methods
from steelyard.supervisor.admin import Admin
from steelyard.supervisor.agreeing import Agreeing
from steelyard.supervisor.calibrations import Calibrations
from steelyard.supervisor.canaries import Canaries
from steelyard.supervisor.checkpoint import Checkpoints
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.drills import Drills
from steelyard.supervisor.erasing import Erasing
from steelyard.supervisor.governance_admin import GovernanceAdmin
from steelyard.supervisor.governing import Governing
from steelyard.supervisor.label_moves import LabelMoves
from steelyard.supervisor.life import WorkerLife
from steelyard.supervisor.loads import Loads
from steelyard.supervisor.payload_counts import PayloadCounts
from steelyard.supervisor.record import Record
from steelyard.supervisor.retirements import Retirements
from steelyard.supervisor.shadow_targets import ShadowTargets
from steelyard.supervisor.shadows import Shadows
from steelyard.supervisor.trials_admin import TrialsAdmin
from steelyard.supervisor.webhook import Webhook
from steelyard.supervisor.workers import Workers

# What model.toml says may make another label the default one, and what ran beside the old one's version then ends.
TENDED_EVERY_S = 5.0


class Rollouts:
    """Labels, drills, canaries, shadows and calibrations over one event log. Lives on the supervisor's event loop."""

    def __init__(self, settings: Settings, clock: Clock, workers: Workers) -> None:
        """Reads the event log in the data directory. Raises EvidenceError where that cannot be."""
        self._events = EventLog(settings.data, clock)
        if self._events.torn_bytes:
            log(
                "events.torn",
                level=logging.WARNING,
                path=str(self._events.path),
                bytes=self._events.torn_bytes,
            )

        self.record = record = Record(self._events, settings.repository, clock)
        self._directing = Directing(record, workers.all, together=settings.workers > 1)
        self._moves = LabelMoves(record, self._directing)
        self._drills = Drills(
            record, self._directing, self._moves, clock, workers.counted, lambda: workers.starts
        )
        checkpoints, targets = Checkpoints(settings.data), ShadowTargets(settings)
        self.canaries = Canaries(record, self._directing, self._moves, checkpoints)
        self.shadows = Shadows(record, self._directing, self._moves, checkpoints, targets)
        calibrations = Calibrations(record, self._directing, self._moves, targets)
        self._directing.split_of = self.canaries.split_of
        self._directing.taps_of = lambda model: [
            *self.shadows.taps_of(model),
            *calibrations.tap_of(model),
        ]
        self._directing.afterwards = [self.canaries.follow, self.shadows.follow]
        self._moves.ends = [self.canaries.ends, self.shadows.ends]
        self.methods = Methods()
        Admin(record, self._moves, self._drills).register(self.methods)
        self._erasing = Erasing(record, settings.data, workers.connected)
        self._erasing.register(self.methods)
        TrialsAdmin(self.canaries, self.shadows, calibrations).register(self.methods)
        self.webhook = Webhook(settings.webhook_url)
        record.heard.append(self.webhook.hear)
        self._loads = Loads(record)
        self._governing = Governing(record, self._directing, settings)
        self._retirements = Retirements(record, self._directing, self._moves, settings)
        GovernanceAdmin(record, self._directing, self._retirements).register(self.methods)
        self._loads.recorded = lambda models: self._directing.start(self._governing.look(models))
        self.payloads = PayloadCounts()
        self._agreeing = Agreeing(workers.connected, self._moves.followed)
        workers.directives = self._directing.all
        workers.caught_up = self._directing.catch_up
        workers.told = self._told
        workers.gone = self._gone
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins what is done by itself: drills, and looking after what runs beside versions."""
        loop = asyncio.get_running_loop()
        self._governing.begin()
        works = (
            self._drills.run(),
            self._tend_for_ever(),
            self._governing.run(),
            self._retirements.run(),
            self.webhook.run(),
        )
        self._tasks = [loop.create_task(work) for work in works]

    def worker_is_ready(self) -> None:
        """A worker, the first or another one, takes requests now."""
        self._loads.all_told()
        self._directing.start(self._tend())

    def _told(self, life: WorkerLife, message: Mapping[str, Any]) -> None:
        """Takes what a worker says by itself."""
        if "versions" in message:
            self._loads.reported(message["versions"])
        if "followed" in message:
            # A version is registered before a label stands for it.
            self._loads.flush()
            self._agreeing.followed(life, message["followed"])
        if "arms" in message:
            self.canaries.counted(message["arms"])
        if "taps" in message:
            self.shadows.counted(life.source, message["taps"])
        if "payloads" in message:
            self.payloads.counted(life.source, message["payloads"])

    def _gone(self, life: WorkerLife) -> None:
        self.shadows.worker_gone(life.source)
        self.payloads.worker_gone(life.source)
        self._agreeing.gone(life)

    def rest(self) -> None:
        """Begins nothing more by itself."""
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Writes down what was counted, and ends every process."""
        self.rest()
        await self._erasing.close()
        self._loads.flush()
        self.canaries.save()
        self.shadows.save()
        await self.shadows.close()
        self._directing.close()

    def close_log(self) -> None:
        """Gives the event log back; call when nobody can ask for anything any more."""
        self._events.close()

    async def _tend(self) -> None:
        await self.canaries.end_strays()
        await self.shadows.resume()

    async def _tend_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TENDED_EVERY_S)
            try:
                await self._tend()
            except Exception as error:
                log("rollout.fault", level=logging.ERROR, exception=repr(error)[:2000])
