"""Canaries: a candidate takes a share, and the gate alone gives it more."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.errors import Conflict, InvalidRequest, SteelyardError
from steelyard.evidence.event import Draft, Event
from steelyard.models.rollout import GateManifest
from steelyard.observe.logs import log
from steelyard.rollout import trials as kinds
from steelyard.rollout.directive import Split
from steelyard.rollout.gate import MAX_STEPS, Gate
from steelyard.rollout.look import Verdict, look_to_json
from steelyard.rollout.ratio import SampleRatio
from steelyard.rollout.signature import check_fit
from steelyard.rollout.trials import Canary
from steelyard.supervisor.checkpoint import Checkpoints
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.label_moves import LabelMoves
from steelyard.supervisor.record import SERVER, Record

# The gate looks whenever it has so much more than at the last look; it decides at any count.
LOOK_EVERY = 1.05

# Counts are written down when so many have come since the last time, or at every so many messages of the workers.
SAVED_EVERY = 10


class Weighing:
    """The gate of one step of a canary, and whether requests are split as was asked."""

    def __init__(self, canary: Canary, state: Any) -> None:
        """state: what `to_json` gave of the same step, else None."""
        self.number, self.step = canary.number, canary.step
        manifest = GateManifest.model_validate(canary.plan)
        self.gate = Gate(manifest, share=canary.share, steps=len(canary.shares))
        self.ratio = SampleRatio(canary.share)
        self.counts: dict[str, list[int]] = {"primary": [0, 0], "candidate": [0, 0]}
        """Of each arm: requests that ended, and those that failed."""
        self._looked_at = 0
        self.told = bool(canary.verdict)
        """Whether what was decided is being done, or has been."""
        if state is not None and state.get("step") == canary.step:
            self.gate = Gate.from_json(manifest, state["gate"], share=canary.share, steps=len(canary.shares))
            self.ratio.restore(state["ratio"])
            self.counts = state["counts"]

    @property
    def has_decided(self) -> bool:
        """Whether the gate has, or requests are not split as was asked."""
        return self.gate.verdict is not Verdict.UNDECIDED or self.ratio.mismatch

    def take(self, primary: Mapping[str, Any], candidate: Mapping[str, Any]) -> None:
        """Takes what a worker counted of both arms."""
        self.ratio.observe(candidate["assigned"], primary["assigned"])
        for name, arm in (("primary", primary), ("candidate", candidate)):
            self.counts[name][0] += arm["ended"]
            self.counts[name][1] += arm["failed"]
        place = 0
        for guardrail in self.gate.guardrails:
            if guardrail.on == "error_rate":
                bad = candidate["failed"], primary["failed"]
            else:
                bad = candidate["slower"][place], primary["slower"][place]
                place += 1
            self.gate.observe_requests(
                guardrail.name,
                candidate=(bad[0], candidate["ended"] - bad[0]),
                primary=(bad[1], primary["ended"] - bad[1]),
            )
        if self.gate.n >= self._looked_at * LOOK_EVERY:
            self._looked_at = self.gate.n
            self.gate.look()
        elif self.gate.weigh() is not Verdict.UNDECIDED:
            self.gate.look()

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "gate": self.gate.to_json(),
            "ratio": self.ratio.to_json(),
            "counts": self.counts,
        }


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
        for model in record.models:
            canary = record.trials(model).canary
            if canary is not None:
                self._weighings[model] = Weighing(canary, checkpoints.read(canary.number))

    def split_of(self, model: str) -> Split | None:
        """What a canary takes of a model's requests now."""
        canary = self._record.trials(model).canary
        if canary is None:
            return None
        gate = self._weighings[model].gate
        slower = [g.threshold_ms for g in gate.guardrails if g.threshold_ms is not None]
        return Split(
            number=canary.number,
            step=canary.step,
            primary=canary.primary,
            candidate=canary.candidate,
            share=canary.share,
            thresholds_ns=tuple(int(threshold_ms * 1e6) for threshold_ms in slower),
        )

    async def start(
        self, model: str, candidate: str, shares: Sequence[float], actor: str, reason: str
    ) -> Event:
        """Gives `candidate` (a number, a label or a digest) the first of `shares` of the requests that name no version.

        Returns when requests are split. Raises what keeps the candidate from being served, InvalidRequest for shares
        that do not rise between 0 and 1, Conflict where there is a canary, or more than one share and no guardrail.
        """
        _check_shares(shares)
        # First without the model's lock: to load a version may take minutes, and a rollback must not wait for it.
        await self._directing.make_ready(model, candidate)
        async with self._record.moving(model):
            running = self._record.trials(model).canary
            if running is not None:
                raise Conflict(f"model {model!r}: {running.candidate} is a canary already; stop it first")
            gate = self._record.manifest(model).gate
            if len(shares) > 1 and not Gate(gate, share=shares[0], steps=len(shares)).guardrails:
                raise Conflict(
                    f"model {model!r}: only the gate moves a canary on, and [rollout.gate] of model.toml has no "
                    "guardrail for one: give one share, or a guardrail"
                )
            default = self._moves.default(model)
            try:
                primary = await self._directing.make_ready(model, str(default.holder.number))
                ready = await self._directing.make_ready(model, candidate)
                if ready.holder == default.holder:
                    raise Conflict(f"model {model!r}: {ready.holder} is in production already")
                check_fit(primary.offered, ready.offered)
            except SteelyardError:
                self._directing.direct_later(model)
                raise
            details = {
                "candidate": ready.holder.to_json(),
                "primary": default.holder.to_json(),
                "share": shares[0],
                "shares": list(shares),
                "plan": gate.model_dump(mode="json"),
            }
            started = Draft(
                kinds.CANARY_STARTED, model, actor, reason, digest=ready.holder.digest, details=details
            )
            return await self._commit(started)

    async def stop(self, model: str, actor: str, reason: str) -> Event:
        """Ends a canary: every request goes to the default version again when this returns."""
        async with self._record.moving(model):
            return await self._commit(self._stopped(self._running(model), "stopped", actor, reason))

    async def promote(self, model: str, actor: str, reason: str) -> Event:
        """Lets the default label stand for the canary, whatever the gate has said so far, and ends it."""
        async with self._record.moving(model):
            return await self._promote(self._running(model), actor, reason)

    def left(self, model: str) -> None:
        """The default label stands elsewhere: what was compared with its holder ends. To be followed by a directive."""
        canary = self._record.trials(model).canary
        if canary is not None and canary.primary != self._moves.default(model).holder:
            reason = f"the label moved from {canary.primary}"
            self._append(self._stopped(canary, "label moved", SERVER, reason))

    def counted(self, arms: Sequence[Mapping[str, Any]]) -> None:
        """Takes what a worker counted; decides where the gate does."""
        self._messages += 1
        for counts in arms:
            weighing = self._weighings.get(counts["model"])
            if weighing is None or (weighing.number, weighing.step) != (counts["number"], counts["step"]):
                continue
            weighing.take(counts["primary"], counts["candidate"])
            if weighing.has_decided and not weighing.told:
                weighing.told = True
                self._directing.start(self._decide(counts["model"], weighing))
        if self._messages % SAVED_EVERY == 0:
            self.save()

    def save(self) -> None:
        """Writes down what was counted, for a server that starts again."""
        for weighing in self._weighings.values():
            self._checkpoints.write(weighing.number, weighing.to_json())

    def running(self) -> list[tuple[str, Canary, Weighing]]:
        """Every canary, by model."""
        return [
            (model, canary, self._weighings[model])
            for model in self._record.models
            if (canary := self._record.trials(model).canary) is not None
        ]

    def status(self, model: str) -> dict[str, Any] | None:
        """The canary of a model as JSON, None where there is none."""
        canary = self._record.trials(model).canary
        if canary is None:
            return None
        weighing = self._weighings[model]
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

    async def _decide(self, model: str, weighing: Weighing) -> None:
        """Does what the gate, or a wrong split, means for the canary, unless it has moved or ended meanwhile."""
        async with self._record.moving(model):
            canary = self._record.trials(model).canary
            if canary is None or (canary.number, canary.step) != (weighing.number, weighing.step):
                return
            if weighing.ratio.mismatch:
                asked, got = canary.share, weighing.ratio.observed
                reason = f"requests are not split as asked: {got:.4f} in the place of {asked:g}"
                await self._commit(self._stopped(canary, "sample ratio mismatch", SERVER, reason))
                return
            look = weighing.gate.look()
            verdict = look.verdict
            details = {
                "number": canary.number,
                "step": canary.step,
                "share": canary.share,
                "verdict": verdict.value,
                "look": look_to_json(look),
                "path": [look_to_json(seen) for seen in weighing.gate.path],
            }
            reason = why(verdict, look.decided_by)
            decided = Draft(
                kinds.DECIDED, model, SERVER, reason, digest=canary.candidate.digest, details=details
            )
            self._append(decided)
            if verdict is not Verdict.SAFE:
                await self._commit(self._stopped(canary, verdict.value, SERVER, reason))
            elif canary.step + 1 < len(canary.shares):
                share = canary.shares[canary.step + 1]
                step = {"number": canary.number, "step": canary.step + 1, "share": share}
                stepped = Draft(
                    kinds.CANARY_STEPPED, model, SERVER, reason, digest=canary.candidate.digest, details=step
                )
                await self._commit(stepped)
            elif weighing.gate.manifest.promote == "automatic":
                await self._promote(canary, SERVER, f"{reason}; promote = automatic")

    async def _promote(self, canary: Canary, actor: str, reason: str) -> Event:
        # Before the label moves, which would end it for another reason.
        self._append(self._stopped(canary, "promoted", actor, reason))
        label = self._moves.default(canary.model).name
        return await self._moves.move_to(canary.model, label, canary.candidate, actor, reason)

    async def _commit(self, draft: Draft) -> Event:
        """Records what happens to a canary and puts it in force, also where the caller goes away."""

        async def commit() -> Event:
            event = self._append(draft)
            await self._directing.direct(draft.model)
            return event

        return await asyncio.shield(asyncio.ensure_future(commit()))

    def _append(self, draft: Draft) -> Event:
        before = self._record.trials(draft.model).canary
        event = self._record.append([draft])[0]
        canary = self._record.trials(draft.model).canary
        if canary is None:
            self._weighings.pop(draft.model, None)
            if before is not None:
                self._checkpoints.forget(before.number)
        elif before is None or (before.number, before.step) != (canary.number, canary.step):
            self._weighings[draft.model] = Weighing(canary, None)
            if self._weighings[draft.model].gate.left_out:
                log(
                    "canary.left_out",
                    model=draft.model,
                    guardrails=self._weighings[draft.model].gate.left_out,
                )
        return event

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
