"""Archives of what went out of service, tried again where the disk or what is sealed does not give it."""

import asyncio
import logging
from pathlib import Path

from steelyard.config import Settings
from steelyard.errors import EvidenceError
from steelyard.evidence import retirement as kinds
from steelyard.evidence.archive import archive
from steelyard.evidence.archived_decisions import archived_decisions
from steelyard.evidence.event import Draft
from steelyard.evidence.retirement import WHOLE, Retirement
from steelyard.observe.logs import log
from steelyard.supervisor.acting import SERVER
from steelyard.supervisor.record import Record

# Between a try and the next one, twice as long each time: one reads a column of every sealed file of the model.
FIRST_PAUSE_MS = 10_000
LAST_PAUSE_MS = 3_600_000

# The reason of an event has a thousand.
MAX_PROBLEM_CHARS = 600

_KEPT = "its events and manifests are kept, and which files its decisions are in"
_PART_KEPT = "its events and manifests are kept, but not which files its decisions are in"


class Archiving:
    """Lives on the supervisor's event loop."""

    def __init__(self, record: Record, settings: Settings) -> None:
        self._record = record
        self._settings = settings
        self._waiting: dict[tuple[str, int], tuple[int, int]] = {}
        """By model and version: when the last try ended, and how long the next one waits, in milliseconds."""

    async def step(self, model: str, one: Retirement) -> None:
        """Archives what is out of service and is not archived whole, where it is time to try."""
        if not one.completed_unix_ms:
            return
        key = model, one.version
        ended_ms, pause_ms = self._waiting.get(key, (0, 0))
        # A clock that was put back does not make the pause longer.
        if 0 <= self._record.now_unix_ms() - ended_ms < pause_ms:
            return
        problem = "it was broken off"
        try:
            problem = await self._archive(model, one)
        except EvidenceError as error:
            problem = str(error)
        finally:
            if problem:
                pause_ms = min(max(FIRST_PAUSE_MS, 2 * pause_ms), LAST_PAUSE_MS)
                self._waiting[key] = self._record.now_unix_ms(), pause_ms
            else:
                self._waiting.pop(key, None)
        if problem:
            log(
                "retirement.not_archived",
                level=logging.WARNING,
                model=model,
                version=one.version,
                reason=problem,
                again_in_s=pause_ms // 1000,
            )

    async def _archive(self, model: str, one: Retirement) -> str:
        """Gives what is missing in the archive: why its decisions could not be found. Raises EvidenceError where
        nothing could be written."""
        version, settings = one.version, self._settings
        versions = [] if version == WHOLE else [version]
        # Before the model is held: it may take minutes, and what is decided meanwhile is refused.
        decisions = await archived_decisions(settings.data, settings.tlog_key, model, versions)
        problem: str = decisions["problem"][:MAX_PROBLEM_CHARS]
        if problem and one.archive:
            # What is there says as much.
            return problem
        async with self._record.moving(model):
            life = self._record.life(model)
            events = [event for event in self._record.events if event.model == model]
            last = next(
                event.sequence
                for event in reversed(events)
                if event.kind == kinds.COMPLETED and event.details["version"] == version
            )
            numbers = versions or sorted(life.versions)
            found = await asyncio.to_thread(
                archive, settings.data, Path(settings.repository), model, last, numbers, events, decisions
            )
            details = {"version": version, "path": found.path, "index": found.digest, "files": found.files}
            if problem:
                details["problem"] = problem
            reason = f"{_PART_KEPT}: {problem}" if problem else _KEPT
            self._record.append([Draft(kinds.ARCHIVED, model, SERVER, reason, one.digest, details)])
        return problem
