"""The gate: whether a candidate is safe, harmful, or not yet known to be either."""

from typing import Any, Self

from steelyard.models.rollout import GateManifest, Guardrail
from steelyard.rollout.arms import TwoArms, rate
from steelyard.rollout.look import (
    TRANSITIONS,
    GuardrailLook,
    Look,
    Verdict,
    look_from_json,
    look_to_json,
)
from steelyard.rollout.sequences import MeanSequence

# Of what `Gate.to_json` gives.
FORMAT = 1

# Looks that are kept for the event log: with sixteen guardrails 200 kB, where a record has at most 256 KiB.
MAX_PATH = 64

MAX_STEPS = 100

# A pair differs seldom in one direction more than this often, and a small one keeps the bounds narrow.
PAIR_CENTRE = (-0.05, 0.05)


class Gate:
    """Weighs counts against margins, and decides once.

    For a shadow, observations are pairs of answers to one request. For a canary they are requests of two arms, and each
    share that it takes in turn has a gate of its own. With α, G guardrails and K steps, over all steps together and
    however often one looks:

    - P(harmful, while no guardrail is worse by more than its harm) <= α: each guardrail's lower bound has α / (G K).
    - P(safe in a step, while a guardrail is worse by its margin or more) <= α: each upper bound has α / K. It is not
      split over guardrails, as all have to be under their margins, so that one that is not has to fail by itself.

    "Worse" is meant of the mean over the step so far, and may drift meanwhile. A guardrail on disagreement is a
    shadow's only: a canary's gate leaves it out, and names it in `left_out`. So does the gate of a shadow without run
    times with a guardrail on slowness, which could never be safe. Without a guardrail there is no verdict.
    """

    def __init__(
        self, manifest: GateManifest, *, share: float | None = None, steps: int = 1, timed: bool = True
    ) -> None:
        """A gate for a shadow, or for a canary's step where `share` is the candidate's part of the requests.

        timed: whether there are times to weigh.

        Raises ValueError for a share that is not between 0 and 1, and for fewer than 1 or more than MAX_STEPS steps.
        """
        if not 1 <= steps <= MAX_STEPS:
            raise ValueError(f"steps: expected 1 to {MAX_STEPS}, got {steps}")
        self.manifest, self.share, self.steps = manifest, share, steps
        left_out = {*(() if share is None else ("disagreement",)), *(() if timed else ("slower_than",))}
        self.guardrails = tuple(g for g in manifest.guardrail if g.on not in left_out)
        self.left_out = tuple(g.name for g in manifest.guardrail if g not in self.guardrails)
        self.alpha_safe = manifest.alpha / steps
        self.alpha_harm = self.alpha_safe / max(len(self.guardrails), 1)
        self.verdict = Verdict.UNDECIDED
        self.decided_by = ""
        self._sequences = {g.name: _sequence(g, share) for g in self.guardrails}
        self._looks = 0
        self._path: list[Look] = []
        self._stride = 1

    @property
    def n(self) -> int:
        """The most observations that any guardrail has."""
        return max((sequence.n for sequence in self._sequences.values()), default=0)

    @property
    def path(self) -> tuple[Look, ...]:
        """Looks from the first to the one that decided: all of them, or every second, fourth, ..., at most MAX_PATH."""
        return tuple(self._path)

    def observe_pairs(self, name: str, *, worse: int, same: int, better: int = 0) -> None:
        """Takes how many pairs had the event on the candidate's side alone, on both or neither, on the primary's alone.

        For disagreement: `worse` disagreed, `same` agreed. After the verdict nothing is counted. Raises ValueError for
        a guardrail that the gate has not, for counts below 0, for a `better` of disagreement, and at a canary.
        """
        sequence = self._of(name)
        if not isinstance(sequence, MeanSequence):
            raise ValueError(f"{name}: expected requests of two arms, as the gate is a canary's, got pairs")
        if self.verdict is Verdict.UNDECIDED:
            counts = {1.0: worse, 0.0: same}
            sequence.observe(counts if sequence.least == 0.0 and not better else {**counts, -1.0: better})

    def observe_requests(self, name: str, *, candidate: tuple[int, int], primary: tuple[int, int]) -> None:
        """Takes how many requests had the event and how many had not, of each arm.

        After the verdict nothing is counted. Raises ValueError for a guardrail that the gate has not, for counts below
        0, and at a shadow.
        """
        sequence = self._of(name)
        if not isinstance(sequence, TwoArms):
            raise ValueError(f"{name}: expected pairs, as the gate is a shadow's, got requests of two arms")
        if self.verdict is Verdict.UNDECIDED:
            sequence.observe(candidate, primary)

    def _of(self, name: str) -> "MeanSequence | TwoArms":
        try:
            return self._sequences[name]
        except KeyError:
            raise ValueError(
                f"expected one of the guardrails {', '.join(self._sequences) or '(none)'}, got {name[:200]!r}"
            ) from None

    def weigh(self) -> Verdict:
        """The verdict by what has come so far, without bounds to show: about 12 µs a guardrail."""
        if self.verdict is not Verdict.UNDECIDED or not self.guardrails:
            return self.verdict
        for guardrail in self.guardrails:
            if self._sequences[guardrail.name].over(guardrail.harm, self.alpha_harm):
                return self._decide(Verdict.HARMFUL, guardrail.name)
        if all(self._sequences[g.name].under(g.margin, self.alpha_safe) for g in self.guardrails):
            return self._decide(Verdict.SAFE)
        if self.n >= self.manifest.max_requests:
            return self._decide(Verdict.EXHAUSTED)
        return self.verdict

    def _decide(self, verdict: Verdict, by: str = "") -> Verdict:
        assert verdict in TRANSITIONS[self.verdict]
        self.verdict, self.decided_by = verdict, by
        return verdict

    def look(self) -> Look:
        """Weighs, and gives the verdict with every guardrail's bounds; kept in the path. A millisecond a guardrail."""
        if self._path and self._path[-1].verdict is not Verdict.UNDECIDED:
            return self._path[-1]
        self.weigh()
        seen = Look(self.verdict, self.n, self.decided_by, tuple(map(self._look_at, self.guardrails)))
        if self._looks % self._stride == 0 or self.verdict is not Verdict.UNDECIDED:
            self._path.append(seen)
        self._looks += 1
        if len(self._path) > MAX_PATH:
            self._path = (
                [*self._path[:-1:2], *self._path[-1:]] if len(self._path) % 2 == 0 else self._path[::2]
            )
            self._stride *= 2
        return seen

    def _look_at(self, guardrail: Guardrail) -> GuardrailLook:
        sequence = self._sequences[guardrail.name]
        return GuardrailLook(
            guardrail.name,
            sequence.n,
            sequence.mean,
            sequence.lower(self.alpha_harm),
            sequence.upper(self.alpha_safe),
            guardrail.margin,
            guardrail.harm,
        )

    def _plan(self) -> dict[str, Any]:
        """What was fixed before the start."""
        plan = self.manifest.model_dump(mode="json", exclude={"promote"})
        return {**plan, "share": self.share, "steps": self.steps}

    def to_json(self) -> dict[str, Any]:
        """The gate as it stands, for `from_json`; floats go there and back exactly."""
        return {
            "format": FORMAT,
            "plan": self._plan(),
            "verdict": self.verdict.value,
            "decided_by": self.decided_by,
            "looks": self._looks,
            "stride": self._stride,
            "sequences": {name: sequence.to_json() for name, sequence in self._sequences.items()},
            "path": [look_to_json(look) for look in self._path],
        }

    @classmethod
    def from_json(
        cls,
        manifest: GateManifest,
        state: object,
        *,
        share: float | None = None,
        steps: int = 1,
        timed: bool = True,
    ) -> Self:
        """The gate that `to_json` gave. Raises ValueError where it is none, or one that had another plan."""
        gate = cls(manifest, share=share, steps=steps, timed=timed)
        keys = {"format", "plan", "verdict", "decided_by", "looks", "stride", "sequences", "path"}
        if not isinstance(state, dict) or state.get("format") != FORMAT or state.keys() != keys:
            raise ValueError(f"expected a gate of format {FORMAT}, got {repr(state)[:200]}")
        if state["plan"] != gate._plan():
            raise ValueError(
                f"expected a gate with the plan {gate._plan()}, got {repr(state['plan'])[:1000]}"
            )
        sequences, path = state["sequences"], state["path"]
        if not isinstance(sequences, dict) or sequences.keys() != gate._sequences.keys():
            raise ValueError(
                f"expected sequences of {', '.join(gate._sequences)}, got {repr(sequences)[:200]}"
            )
        if not isinstance(path, list) or len(path) > MAX_PATH:
            raise ValueError(f"expected a path of at most {MAX_PATH} looks, got {repr(path)[:200]}")
        looks, stride, by = state["looks"], state["stride"], state["decided_by"]
        if (
            type(looks) is not int
            or type(stride) is not int
            or not 0 <= looks < 1 << 53
            or not 1 <= stride < 1 << 53
        ):
            raise ValueError(f"expected how many looks there were, got {repr((looks, stride))[:200]}")
        gate.verdict = Verdict(state["verdict"])
        if not isinstance(by, str) or (by in gate._sequences) != (gate.verdict is Verdict.HARMFUL):
            raise ValueError(f"decided_by: expected a guardrail where one is harmed, got {repr(by)[:200]}")
        for name, sequence in gate._sequences.items():
            sequence.restore(sequences[name])
        gate.decided_by, gate._looks, gate._stride = by, looks, stride
        gate._path = [look_from_json(look) for look in path]
        return gate


def _sequence(guardrail: Guardrail, share: float | None) -> MeanSequence | TwoArms:
    if share is not None:
        return TwoArms(share)
    return rate() if guardrail.on == "disagreement" else MeanSequence(-1.0, 1.0, PAIR_CENTRE)
