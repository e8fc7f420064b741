"""What a gate does with candidates whose worth is known: the real gate over made-up requests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelyard.models.rollout import GateManifest, Guardrail
from steelyard.rollout.gate import Gate
from steelyard.rollout.look import Verdict

# A run has at most so many looks; with counts of three kinds and sixteen guardrails they take 40 MB.
MAX_LOOKS = 100_000


@dataclass(frozen=True, slots=True)
class Design:
    """A gate, the traffic that it sees, and when it is looked at."""

    manifest: GateManifest
    share: float | None = None
    """The candidate's part of the requests; None for a shadow."""
    steps: int = 1
    """Over how many the gate shares its α; one of them is simulated."""
    base_rate: float = 0.005
    """How often each event comes to the primary, and apart from it to the candidate; disagreement is 0 at best."""
    look_every: int = 50
    """Requests between two looks, to begin with."""
    look_growth: float = 0.02
    """Part of the requests so far after which the next look comes, where that is more; 0: looks stay as close."""

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be simulated."""
        if not self.gate().guardrails:
            raise ValueError("expected a gate with a guardrail, as without any there is no verdict")
        if not 0.0 <= self.base_rate < 1.0:
            raise ValueError(f"base_rate: expected 0 to 1, got {self.base_rate:g}")
        if self.look_every < 1 or not 0.0 <= self.look_growth <= 1.0:
            raise ValueError(
                f"expected a look after 1 or more requests and a growth of 0 to 1, "
                f"got {self.look_every} and {self.look_growth:g}"
            )
        if len(self.batches()) > MAX_LOOKS:
            raise ValueError(f"expected at most {MAX_LOOKS} looks, got {len(self.batches())}")

    def gate(self) -> Gate:
        """A new one."""
        return Gate(self.manifest, share=self.share, steps=self.steps)

    def batches(self) -> NDArray[np.int64]:
        """Requests from each look to the next."""
        sizes: list[int] = []
        n = 0
        while n < self.manifest.max_requests and len(sizes) <= MAX_LOOKS:
            size = min(max(self.look_every, int(n * self.look_growth)), self.manifest.max_requests - n)
            sizes.append(size)
            n += size
        return np.array(sizes, dtype=np.int64)

    def rates(self, guardrail: Guardrail, worse: float) -> tuple[float, float]:
        """How often the event comes to a candidate that is worse by so much, and to the primary."""
        base = 0.0 if guardrail.on == "disagreement" else self.base_rate
        if not 0.0 <= base + worse <= 1.0:
            raise ValueError(f"{guardrail.name}: expected a rate of 0 to 1, got {base:g} and {worse:g} more")
        return base + worse, base

    def variance(self, guardrail: Guardrail, worse: float) -> float:
        """Of one request's part in the estimate of the difference, times all requests."""
        p, q = self.rates(guardrail, worse)
        if self.share is None:
            return p * (1.0 - p) + q * (1.0 - q)
        return p * (1.0 - p) / self.share + q * (1.0 - q) / (1.0 - self.share)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended."""

    verdict: Verdict
    n: int
    """Pairs, or requests of both arms, that it took."""


def run(design: Design, worse: Mapping[str, float], rng: np.random.Generator) -> Outcome:
    """One rollout of a candidate that is worse by so much in the guardrails named, and no worse in the others.

    Requests are drawn as counts between two looks; all that a gate sees of them is counts.
    """
    gate = design.gate()
    sizes = design.batches()
    rates = {g.name: design.rates(g, worse.get(g.name, 0.0)) for g in gate.guardrails}
    draw = _pairs if design.share is None else _arms(rng.binomial(sizes, design.share))
    counts = {name: draw(rng, sizes, p, q) for name, (p, q) in rates.items()}
    for look in range(len(sizes)):
        for name, drawn in counts.items():
            if design.share is None:
                ours, same, theirs = drawn[look]
                gate.observe_pairs(name, worse=ours, same=same, better=theirs)
            else:
                a, not_a, b, not_b = drawn[look]
                gate.observe_requests(name, candidate=(a, not_a), primary=(b, not_b))
        if gate.weigh() is not Verdict.UNDECIDED:
            break
    return Outcome(gate.verdict, gate.n)


Sizes = NDArray[np.int64]
Draw = Callable[[np.random.Generator, Sizes, float, float], list[list[int]]]


def _pairs(rng: np.random.Generator, sizes: Sizes, p: float, q: float) -> list[list[int]]:
    """By look, pairs with the event on the candidate's side alone, on both or neither, on the primary's alone."""
    alone, other = p * (1.0 - q), q * (1.0 - p)
    drawn: list[list[int]] = rng.multinomial(sizes, [alone, max(1.0 - alone - other, 0.0), other]).tolist()
    return drawn


def _arms(to_candidate: Sizes) -> Draw:
    """By look, requests of the candidate with the event and without, and of the primary."""

    def draw(rng: np.random.Generator, sizes: Sizes, p: float, q: float) -> list[list[int]]:
        to_primary = sizes - to_candidate
        a, b = rng.binomial(to_candidate, p), rng.binomial(to_primary, q)
        drawn: list[list[int]] = np.stack([a, to_candidate - a, b, to_primary - b], axis=1).tolist()
        return drawn

    return draw


@dataclass(frozen=True, slots=True)
class Scenario:
    """A candidate of known worth, and what the gate should seldom or often say of it."""

    name: str
    worse: Mapping[str, float]
    """By guardrail; the others are no worse."""
    verdict: Verdict
    """Whose share is counted."""
    at_most: float | None
    """What the share may be; None where it is only to be shown."""
    fixed_alpha: float = 0.0
    """The error of the fixed-horizon test beside it; 0: none is."""


def scenarios(design: Design, harm_of: float) -> tuple[Scenario, ...]:
    """What is shown of a gate: both kinds of false verdict where they are likeliest, and what it finds."""
    gate = design.gate()
    first = gate.guardrails[0].name
    at_harm = {g.name: g.harm for g in gate.guardrails}
    return (
        Scenario("A/A, rolled back", {}, Verdict.HARMFUL, gate.alpha_safe),
        Scenario("worse by harm, rolled back", at_harm, Verdict.HARMFUL, gate.alpha_safe),
        *(
            Scenario(f"{g.name} worse by margin, promoted", {g.name: g.margin}, Verdict.SAFE, gate.alpha_safe)
            for g in gate.guardrails
        ),
        Scenario("A/A, promoted", {}, Verdict.SAFE, None, gate.alpha_safe),
        Scenario(
            f"{first} worse by {harm_of:g}, rolled back",
            {first: harm_of},
            Verdict.HARMFUL,
            None,
            gate.alpha_harm,
        ),
    )


def run_some(
    design: Design, scenario: Scenario, seed: int, index: int, first: int, count: int
) -> list[Outcome]:
    """The runs `first` to `first + count` of the scenario with this index; the same however they are divided."""
    return [
        run(design, scenario.worse, np.random.default_rng([seed, index, number]))
        for number in range(first, first + count)
    ]
