"""What a shadow's pairs mean: the gate over them, and how far one can be sure of the agreement."""

from collections.abc import Mapping
from typing import Any

from steelyard.models.rollout import GateManifest
from steelyard.rollout.arms import rate
from steelyard.rollout.gate import Gate
from steelyard.rollout.look import Verdict
from steelyard.rollout.sequences import MeanSequence

# The gate looks whenever it has so much more than at the last look; it decides at any count.
LOOK_EVERY = 1.05

# Of the interval that the agreement is shown with, both ends together.
AGREEMENT_ALPHA = 0.05

_COUNTS = ("better", "same", "worse")


class ShadowWeighing:
    """Takes checkpoints of a shadow's process, which hold cumulative counts, and weighs what is new in each."""

    def __init__(self, plan: Mapping[str, Any], state: Any, remote: bool = False) -> None:
        """plan: `[rollout.gate]` as it was fixed. state: what `to_json` gave in an earlier life, or None.

        remote: the candidate is on another server, and there are no run times.

        Raises ValueError where the state is of another plan.
        """
        manifest = GateManifest.model_validate(plan)
        self.gate = Gate(manifest, timed=not remote)
        self.disagreement: MeanSequence = rate()
        """How often two answers disagree."""
        self._seen: dict[str, dict[str, int]] = {}
        self._pairs = [0, 0]
        self._looked_at = 0
        if state is not None:
            self.gate = Gate.from_json(manifest, state["gate"], timed=not remote)
            self.disagreement.restore(state["disagreement"])
            self._seen, self._pairs = state["seen"], state["pairs"]

    @property
    def left_out(self) -> tuple[str, ...]:
        """Guardrails that are not weighed, as nothing can be known of them."""
        return self.gate.left_out

    def take(self, checkpoint: Mapping[str, Any]) -> Verdict:
        """Takes what a checkpoint has more than the last one, and gives the verdict."""
        pairs = [checkpoint["pairs"]["pairs"], checkpoint["pairs"]["agreed"]]
        new, agreed = (max(0, now - before) for now, before in zip(pairs, self._pairs, strict=True))
        self._pairs = pairs
        self.disagreement.observe({1.0: max(0, new - agreed), 0.0: agreed})
        for guardrail in self.gate.guardrails:
            counts = checkpoint["guardrails"].get(guardrail.name)
            if counts is None:
                continue
            before = self._seen.get(guardrail.name, {})
            fresh = {name: max(0, counts[name] - before.get(name, 0)) for name in _COUNTS}
            self._seen[guardrail.name] = dict(counts)
            self.gate.observe_pairs(guardrail.name, **fresh)
        if self.gate.n >= self._looked_at * LOOK_EVERY:
            self._looked_at = self.gate.n
            self.gate.look()
        elif self.gate.weigh() is not Verdict.UNDECIDED:
            self.gate.look()
        return self.gate.verdict

    def agreement(self) -> dict[str, float]:
        """The share of pairs that agree, and an interval that holds however often one looks."""
        half = AGREEMENT_ALPHA / 2
        return {
            "share": 1.0 - self.disagreement.mean,
            "least": 1.0 - self.disagreement.upper(half),
            "most": 1.0 - self.disagreement.lower(half),
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "gate": self.gate.to_json(),
            "disagreement": self.disagreement.to_json(),
            "seen": self._seen,
            "pairs": self._pairs,
        }
