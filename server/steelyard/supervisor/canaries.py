"""Canaries: a candidate takes a share, and the gate alone gives it more."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.errors import Conflict, InvalidRequest
from steelyard.evidence.event import Draft, Event
from steelyard.observe.logs import log
from steelyard.rollout import trials as kinds
from steelyard.rollout.directive import Split
from steelyard.rollout.gate import MAX_STEPS, Gate
from steelyard.rollout.labels import Holder
from steelyard.rollout.look import Verdict, look_to_json
from steelyard.rollout.signature import check_fit
from steelyard.rollout.trials import Canary
from steelyard.supervisor.acting import SERVER
from steelyard.supervisor.canary_weighing import Weighing
from steelyard.supervisor.checkpoint import Checkpoints
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.label_moves import RETRY_S, LabelMoves, check_content
from steelyard.supervisor.record import Record

# Counts are written down when so many have come since the last time, or at every so many messages of the workers.
SAVED_EVERY = 10


class Canaries:
    """Starts, moves and ends canaries, one a model. Lives on the supervisor's event loop."""

    def __init__(
        self, record: Record, directing: Directing, moves: LabelMoves, checkpoints: Checkpoints
    ) -> None:
        self._record = record
        self._directing = directing
        self._moves = moves
        self._checkpoints = checkpoints
        self._weighings: dict[str, Weighing] = {}
        self._messages = 0

    def _weighing(self, canary: Canary) -> Weighing:
        """What is counted of a canary's step; begun where there is nothing yet, or nothing that can be taken up."""
        known = self._weighings.get(canary.model)
        if known is None or (known.number, known.step) != (canary.number, canary.step):
            known = self._weighings[canary.model] = Weighing(canary, self._checkpoints.read(canary.number))
            if known.gate.left_out:
                log("canary.left_out", model=canary.model, guardrails=known.gate.left_out)
        return known

    def split_of(self, model: str) -> Split | None:
        """What a canary takes of a model's requests now."""
        canary = self._record.trials(model).canary
        if canary is None:
            return None
        weighing = self._weighing(canary)
        gate = weighing.gate
        slower = [g.threshold_ms for g in gate.guardrails if g.threshold_ms is not None]
        return Split(
            number=canary.number,
            step=canary.step,
            primary=canary.primary,
            candidate=canary.candidate,
            share=canary.share,
            thresholds_ns=tuple(int(threshold_ms * 1e6) for threshold_ms in slower),
            counted=weighing.ratio.candidate + weighing.ratio.primary,
        )

    async def start(
        self, model: str, candidate: str, shares: Sequence[float], actor: str, reason: str
    ) -> Event:
        """Gives `candidate` (a number, a label or a digest) the first of `shares` of the requests that name no version.

        Returns when requests are split. Raises what keeps the candidate from being served, InvalidRequest for shares
        that do not rise between 0 and 1, Conflict where there is a canary, or more than one share and no guardrail.
        """
        _check_shares(shares)
        # Loaded without the model's lock: that may take minutes, and a rollback must not wait for it.
        async with (
            self._directing.keeping(model, candidate) as ready,
            self._directing.keeping(model, str(self._moves.default(model).holder.number)) as primary,
            self._record.moving(model),
        ):
            running = self._record.trials(model).canary
            if running is not None:
                raise Conflict(f"model {model!r}: {running.candidate} is a canary already; stop it first")
            holder = self._moves.default(model).holder
            check_content(model, holder, primary.holder)
            if ready.holder == holder:
                raise Conflict(f"model {model!r}: {ready.holder} is in production already")
            check_fit(primary.offered, ready.offered)
            gate = self._record.manifest(model).gate
            if len(shares) > 1 and not Gate(gate, share=shares[0], steps=len(shares)).guardrails:
                raise Conflict(
                    f"model {model!r}: only the gate moves a canary on, and [rollout.gate] of model.toml has no "
                    "guardrail for one: give one share, or a guardrail"
                )
            details = {
                "candidate": ready.holder.to_json(),
                "primary": holder.to_json(),
                "share": shares[0],
                "shares": list(shares),
                "plan": gate.model_dump(mode="json"),
            }
            digest = ready.holder.digest
            started = Draft(kinds.CANARY_STARTED, model, actor, reason, digest=digest, details=details)
            return (await self._directing.commit(model, [started]))[0]

    async def stop(self, model: str, actor: str, reason: str) -> Event:
        """Ends a canary: every request goes to the default version again when this returns."""
        async with self._record.moving(model):
            stopped = self._stopped(self._running(model), "stopped", actor, reason)
            return (await self._directing.commit(model, [stopped]))[0]

    async def promote(self, model: str, actor: str, reason: str) -> Event:
        """Lets the default label stand for the canary, whatever the gate has said so far, and ends it.

        Raises what keeps the candidate from being served.
        """
        candidate = self._running(model).candidate
        async with (
            self._directing.keeping(model, str(candidate.number)) as ready,
            self._record.moving(model),
        ):
            check_content(model, self._running(model).candidate, ready.holder)
            drafts = self._promoted(self._running(model), actor, reason)
            return (await self._directing.commit(model, drafts))[-1]

    def ends(self, model: str, holder: Holder | None) -> list[Draft]:
        """What a default label that moves to `holder` ends: a canary beside another version."""
        canary = self._record.trials(model).canary
        if canary is None or canary.primary == holder:
            return []
        return [self._stopped(canary, "label moved", SERVER, f"the label moved from {canary.primary}")]

    def follow(self, model: str) -> None:
        """Lets go of what was counted of a canary that has ended, or of a step that is over."""
        weighing = self._weighings.get(model)
        canary = self._record.trials(model).canary
        if weighing is not None and (canary is None or canary.number != weighing.number):
            self._checkpoints.forget(weighing.number)
        if canary is None:
            self._weighings.pop(model, None)

    async def end_strays(self) -> None:
        """Ends canaries beside versions that the default label no longer stands for: model.toml may name another label
        now."""
        for model in self._record.models:
            canary = self._record.trials(model).canary
            if canary is not None and self._moves.has_left(model, canary.primary):
                async with self._record.moving(model):
                    drafts = self.ends(model, self._moves.default(model).holder)
                    if drafts:
                        await self._directing.commit(model, drafts)

    def counted(self, arms: Sequence[Mapping[str, Any]]) -> None:
        """Takes what a worker counted; decides where the gate does."""
        self._messages += 1
        for counts in arms:
            canary = self._record.trials(counts["model"]).canary
            weighing = None if canary is None else self._weighing(canary)
            if weighing is None or (weighing.number, weighing.step) != (counts["number"], counts["step"]):
                continue
            weighing.take(counts["primary"], counts["candidate"])
            if weighing.has_decided and not weighing.told:
                weighing.told = True
                self._directing.start(self._try_to_decide(counts["model"], weighing))
        if self._messages % SAVED_EVERY == 0:
            self.save()

    def save(self) -> None:
        """Writes down what was counted, for a server that starts again."""
        for weighing in self._weighings.values():
            self._checkpoints.write(weighing.number, weighing.to_json())

    def running(self) -> list[tuple[str, Canary, Weighing]]:
        """Every canary, by model."""
        return [
            (model, canary, self._weighing(canary))
            for model in self._record.models
            if (canary := self._record.trials(model).canary) is not None
        ]

    def status(self, model: str) -> dict[str, Any] | None:
        """The canary of a model as JSON, None where there is none."""
        canary = self._record.trials(model).canary
        if canary is None:
            return None
        weighing = self._weighing(canary)
        return {
            "number": canary.number,
            "model": model,
            "primary": canary.primary.to_json(),
            "candidate": canary.candidate.to_json(),
            "share": canary.share,
            "shares": list(canary.shares),
            "verdict": canary.verdict or weighing.gate.verdict.value,
            "gate": look_to_json(weighing.gate.look()),
            "left_out": list(weighing.gate.left_out),
            "max_requests": weighing.gate.manifest.max_requests,
            "promote": weighing.gate.manifest.promote,
            "arms": {
                name: {"requests": ended, "failed": failed}
                for name, (ended, failed) in weighing.counts.items()
            },
            "split": {
                "asked": canary.share,
                "observed": weighing.ratio.observed,
                "units": weighing.ratio.candidate + weighing.ratio.primary,
                "mismatch": weighing.ratio.mismatch,
            },
        }

    async def _try_to_decide(self, model: str, weighing: Weighing) -> None:
        """Decides; where that cannot be done now, later: what a gate has found does not go away."""
        try:
            await self._decide(model, weighing)
        except Exception as error:
            log("canary.undecided", level=logging.ERROR, model=model, exception=repr(error)[:2000])
            await asyncio.sleep(RETRY_S)
            weighing.told = False

    async def _decide(self, model: str, weighing: Weighing) -> None:
        """Does what the gate, or a wrong split, means for the canary, unless it has moved or ended meanwhile."""
        canary = self._record.trials(model).canary
        if canary is None:
            return
        promotes = (
            not weighing.ratio.mismatch
            and weighing.gate.verdict is Verdict.SAFE
            and canary.step + 1 == len(canary.shares)
            and weighing.gate.manifest.promote == "automatic"
        )
        async with contextlib.AsyncExitStack() as held:
            if promotes:
                ready = await held.enter_async_context(
                    self._directing.keeping(model, str(canary.candidate.number))
                )
                check_content(model, canary.candidate, ready.holder)
            await held.enter_async_context(self._record.moving(model))
            now = self._record.trials(model).canary
            if now is not None and (now.number, now.step) == (weighing.number, weighing.step):
                await self._directing.commit(model, self._decisions(now, weighing))

    def _decisions(self, canary: Canary, weighing: Weighing) -> list[Draft]:
        """The decision and what comes of it, to be recorded together."""
        model, digest = canary.model, canary.candidate.digest
        if weighing.ratio.mismatch:
            asked, got = canary.share, weighing.ratio.observed
            reason = f"requests are not split as asked: {got:.4f} in the place of {asked:g}"
            return [self._stopped(canary, "sample ratio mismatch", SERVER, reason)]
        look = weighing.gate.look()
        reason = why(look.verdict, look.decided_by)
        details = {
            "number": canary.number,
            "step": canary.step,
            "share": canary.share,
            "verdict": look.verdict.value,
            "look": look_to_json(look),
            "path": [look_to_json(seen) for seen in weighing.gate.path],
        }
        decided = Draft(kinds.DECIDED, model, SERVER, reason, digest=digest, details=details)
        if look.verdict is not Verdict.SAFE:
            return [decided, self._stopped(canary, look.verdict.value, SERVER, reason)]
        if canary.step + 1 < len(canary.shares):
            share = canary.shares[canary.step + 1]
            step = {"number": canary.number, "step": canary.step + 1, "share": share}
            return [decided, Draft(kinds.CANARY_STEPPED, model, SERVER, reason, digest=digest, details=step)]
        if weighing.gate.manifest.promote == "automatic":
            return [decided, *self._promoted(canary, SERVER, f"{reason}; promote = automatic")]
        return [decided]

    def _promoted(self, canary: Canary, actor: str, reason: str) -> list[Draft]:
        """The end of the canary, the move of the label, and what else that ends."""
        label = self._moves.default(canary.model).name
        move = self._moves.draft_move(canary.model, label, canary.candidate, actor, reason)
        others = [
            ending
            for ending in self._moves.endings(canary.model, move)
            if ending.details.get("number") != canary.number
        ]
        return [self._stopped(canary, "promoted", actor, reason), *others, move]

    def _running(self, model: str) -> Canary:
        canary = self._record.trials(model).canary
        if canary is None:
            raise Conflict(f"model {model!r} has no canary")
        return canary

    def _stopped(self, canary: Canary, outcome: str, actor: str, reason: str) -> Draft:
        status = self.status(canary.model)
        assert status is not None
        details = {
            "number": canary.number,
            "outcome": outcome,
            "share": canary.share,
            "candidate": canary.candidate.to_json(),
            "arms": status["arms"],
            "gate": status["gate"],
            "split": status["split"],
        }
        return Draft(
            kinds.CANARY_STOPPED, canary.model, actor, reason, digest=canary.candidate.digest, details=details
        )


def _check_shares(shares: Sequence[float]) -> None:
    rising = all(one < other for one, other in itertools.pairwise(shares))
    if not 1 <= len(shares) <= MAX_STEPS or not rising or not all(0 < share < 1 for share in shares):
        raise InvalidRequest(
            f"expected 1 to {MAX_STEPS} shares that rise between 0 and 1, came {list(shares)[: MAX_STEPS + 1]}"
        )


def why(verdict: Verdict, decided_by: str) -> str:
    """A gate's decision in words."""
    if verdict is Verdict.SAFE:
        return "every guardrail is within its margin"
    if verdict is Verdict.HARMFUL:
        return f"{decided_by} is worse by more than its harm"
    return "undecided after the most requests that it may take"
