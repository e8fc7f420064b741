"""Rollback drills: a label goes where a rollback would bring it, and comes back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from steelyard.clock import Clock
from steelyard.errors import Conflict, SteelyardError
from steelyard.evidence.event import Draft, Event
from steelyard.observe.logs import log
from steelyard.rollout import labels as kinds
from steelyard.rollout.labels import PASSED
from steelyard.supervisor.acting import SERVER
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.label_moves import LabelMoves, check_content
from steelyard.supervisor.record import Record

if TYPE_CHECKING:
    from steelyard.observe.segment import SlotCounts

# How long a drill that the server makes by itself stays away: a second's requests show whether the old version answers.
STAY_S = 1.0

# A drill is due to the day or the hour; models without an earlier holder cost nothing at a look.
LOOKED_AT_S = 5.0


class Drills:
    """Makes drills, and those that manifests ask for by itself.

    The label stands in the events where it stood all the time, so a server that dies meanwhile comes back there.
    `counts` gives what the workers have counted of a model's version, `lives` how often workers were started.
    """

    def __init__(
        self,
        record: Record,
        directing: Directing,
        moves: LabelMoves,
        clock: Clock,
        counts: "Callable[[str, str], SlotCounts]",
        lives: Callable[[], int],
    ) -> None:
        self._record = record
        self._directing = directing
        self._moves = moves
        self._clock = clock
        self._counts = counts
        self._lives = lives

    async def drill(self, model: str, label: str, actor: str, reason: str, stay_s: float) -> Event:
        """Does a rollback, stays for `stay_s` seconds, and comes back; the event says how long each way took.

        Whoever wants to move the label ends the stay. Goes on to its end where the caller goes away.
        Raises Conflict where there is no previous holder, or it has other content now.
        """
        return await asyncio.shield(asyncio.ensure_future(self._drill(model, label, actor, reason, stay_s)))

    async def _drill(self, model: str, label: str, actor: str, reason: str, stay_s: float) -> Event:
        _, earlier = self._moves.earlier(model, label)
        async with (
            self._directing.keeping(model, str(earlier.number)) as ready,
            self._record.moving(model),
        ):
            known, now = self._moves.earlier(model, label)
            if now != earlier:
                raise Conflict(f"model {model!r}: label {known.name} was moved by somebody else meanwhile")
            check_content(model, now, ready.holder)
            problem, away_ms = "", 0.0
            before, lives = self._counts(model, str(now.number)), self._lives()
            self._directing.away[model] = {known.name: now}
            try:
                went, away_ms = await self._timed(self._directing.direct(model))
                await self._record.wait(model, stay_s)
            finally:
                self._directing.away.pop(model, None)
                came, back_ms = await self._timed(self._directing.direct(model))
            after = self._counts(model, str(now.number))
            failed = after.failed - before.failed
            if not (went and came) or self._lives() != lives:
                problem = "a worker ended meanwhile"
            elif failed:
                problem = f"{failed} requests failed"
            details = {
                "label": known.name,
                "to": now.to_json(),
                "from": known.holder.to_json(),
                "outcome": problem or PASSED,
                "away_ms": away_ms,
                "back_ms": back_ms,
                "answered": after.answered - before.answered,
                "failed": failed,
            }
            event = Draft(kinds.DRILLED, model, actor, reason, digest=now.digest, details=details)
            return self._record.append([event])[0]

    async def run(self) -> None:
        """Makes the drills that models' manifests ask for, for ever."""
        while True:
            await asyncio.sleep(LOOKED_AT_S)
            for model in self._record.models:
                try:
                    await self._drill_if_due(model)
                except SteelyardError as error:
                    log("drill.refused", level=logging.WARNING, model=model, reason=str(error))
                except Exception as error:
                    # A fault of ours must not end the drills of other models.
                    log("drill.fault", level=logging.ERROR, model=model, exception=repr(error)[:2000])

    async def _drill_if_due(self, model: str) -> None:
        known = self._record.labels(model)
        if not any(label.earlier for label in known.labels.values()):
            return
        rollout = self._record.manifest(model)
        label = known.labels.get(rollout.default_label)
        if not rollout.drill_every_s or label is None or not label.earlier:
            return
        last_unix_ms = max(known.tried_unix_ms, label.since_unix_ms)
        if self._record.now_unix_ms() >= last_unix_ms + rollout.drill_every_s * 1000:
            await self.drill(model, "", SERVER, "drill_every_s of model.toml", STAY_S)

    async def _timed(self, work: Awaitable[bool]) -> tuple[bool, float]:
        """What came of `work`, and what it took in milliseconds."""
        began_ns = self._clock.now_ns()
        done = await work
        return done, round((self._clock.now_ns() - began_ns) / 1e6, 3)
