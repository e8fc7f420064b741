"""What a canary's requests mean: the gate over both arms, and whether they are split as was asked."""

import logging
from collections.abc import Mapping
from typing import Any

from steelyard.models.rollout import GateManifest
from steelyard.observe.logs import log
from steelyard.rollout.gate import Gate
from steelyard.rollout.look import Verdict
from steelyard.rollout.ratio import SampleRatio
from steelyard.rollout.trials import Canary

# The gate looks whenever it has so much more than at the last look; it decides at any count.
LOOK_EVERY = 1.05


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
        self._digest = canary.candidate.digest
        self._looked_at = 0
        self.told = bool(canary.verdict)
        """Whether what was decided is being done, or has been."""
        if state is not None:
            self._take_up(canary, manifest, state)

    def _take_up(self, canary: Canary, manifest: GateManifest, state: Any) -> None:
        """Goes on from an earlier life; what is of another step, or cannot be read, is counted anew."""
        try:
            if (state["step"], state["digest"]) != (canary.step, canary.candidate.digest):
                return
            steps = len(canary.shares)
            gate = Gate.from_json(manifest, state["gate"], share=canary.share, steps=steps)
            ratio = SampleRatio(canary.share).restore(state["ratio"])
            counts = {name: [int(count) for count in state["counts"][name]] for name in self.counts}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log("checkpoint.foreign", level=logging.ERROR, canary=canary.number, reason=str(error)[:500])
            return
        self.gate, self.ratio, self.counts = gate, ratio, counts

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
            "digest": self._digest,
            "gate": self.gate.to_json(),
            "ratio": self.ratio.to_json(),
            "counts": self.counts,
        }
