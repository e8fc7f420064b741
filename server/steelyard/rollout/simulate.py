"""What a gate does with candidates whose worth is known: the real gate over made-up requests."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from steelyard.models.rollout import GateManifest, Guardrail
from steelyard.rollout.gate import Gate, Verdict

# Of the intervals in which the shares of a simulation lie: a share counts as above what was promised where all of its
# interval is. One share in two hundred that is exactly as promised would be taken for more.
CONFIDENCE = 0.99

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
    if design.share is None:
        pairs = {}
        for name, (p, q) in rates.items():
            alone, other = p * (1.0 - q), q * (1.0 - p)
            counts = rng.multinomial(sizes, [alone, max(1.0 - alone - other, 0.0), other])
            pairs[name] = counts.tolist()
        for look in range(len(sizes)):
            for name, counts in pairs.items():
                ours, same, theirs = counts[look]
                gate.observe_pairs(name, worse=ours, same=same, better=theirs)
            if gate.weigh() is not Verdict.UNDECIDED:
                break
        return Outcome(gate.verdict, gate.n)
    to_candidate = rng.binomial(sizes, design.share)
    to_primary = sizes - to_candidate
    arms = {}
    for name, (p, q) in rates.items():
        a, b = rng.binomial(to_candidate, p), rng.binomial(to_primary, q)
        arms[name] = np.stack([a, to_candidate - a, b, to_primary - b], axis=1).tolist()
    for look in range(len(sizes)):
        for name, counts in arms.items():
            a, not_a, b, not_b = counts[look]
            gate.observe_requests(name, candidate=(a, not_a), primary=(b, not_b))
        if gate.weigh() is not Verdict.UNDECIDED:
            break
    return Outcome(gate.verdict, gate.n)


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


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of the runs of one scenario."""

    scenario: str
    runs: int
    count: int
    low: float
    """Of the interval in which the share lies."""
    high: float
    at_most: float | None
    median: int | None
    """Requests after which half of the runs that end with the verdict have it."""
    p90: int | None
    """Requests after which nine in ten of all runs have it; None where they never have."""
    fixed: int | None
    """Requests that the fixed-horizon test of the same error takes for the power that was reached."""
    fixed_90: int | None
    """Requests that it takes for a power of 0.9, which the gate has after `p90`."""
    verdicts: Mapping[str, int]

    @property
    def share(self) -> float:
        """Of the runs that ended with the verdict."""
        return self.count / self.runs

    @property
    def ok(self) -> bool:
        """Whether the share may be what was promised."""
        return self.at_most is None or self.low <= self.at_most

    @property
    def ratio(self) -> float | None:
        """The median over what the fixed-horizon test of the same power takes."""
        return self.median / self.fixed if self.median is not None and self.fixed else None

    @property
    def ratio_90(self) -> float | None:
        """`p90` over what the fixed-horizon test with a power of 0.9 takes."""
        return self.p90 / self.fixed_90 if self.p90 is not None and self.fixed_90 else None


def finding(design: Design, scenario: Scenario, outcomes: Sequence[Outcome]) -> Finding:
    """What the runs show."""
    count, runs = sum(o.verdict is scenario.verdict for o in outcomes), len(outcomes)
    low, high = clopper_pearson(count, runs, CONFIDENCE)
    # Where no run missed, half a one is taken to have.
    power = min(count / runs, 1.0 - 0.5 / runs)
    p90 = _quantile([o.n if o.verdict is scenario.verdict else math.inf for o in outcomes], 0.9)
    return Finding(
        scenario.name,
        runs,
        count,
        low,
        high,
        scenario.at_most,
        _quantile([o.n for o in outcomes if o.verdict is scenario.verdict], 0.5),
        p90,
        fixed_horizon(design, scenario, power) if scenario.fixed_alpha and power else None,
        fixed_horizon(design, scenario, 0.9) if scenario.fixed_alpha and p90 is not None else None,
        {v.value: sum(o.verdict is v for o in outcomes) for v in Verdict},
    )


def _quantile(taken: Sequence[float], share: float) -> int | None:
    """After how many requests so many of the runs had ended; None where that never was."""
    if not taken:
        return None
    n = sorted(taken)[math.ceil(share * len(taken)) - 1]
    return None if math.isinf(n) else int(n)


def fixed_horizon(design: Design, scenario: Scenario, power: float) -> int | None:
    """Requests of the z-test that is looked at once: of paired differences, or of two proportions.

    n = ((z(1 - α) + z(power)) / effect)² σ², with the effect from the margin or harm that is tested to how much worse
    the candidate is. None where the effect points the other way. Safe takes what the guardrail with the most takes.
    """
    z = NormalDist().inv_cdf(1.0 - scenario.fixed_alpha) + NormalDist().inv_cdf(power)
    if z <= 0.0:
        return None
    needed = []
    for g in design.gate().guardrails:
        worse = scenario.worse.get(g.name, 0.0)
        if scenario.verdict is Verdict.HARMFUL and g.name not in scenario.worse:
            continue
        effect = g.margin - worse if scenario.verdict is Verdict.SAFE else worse - g.harm
        if effect <= 0.0:
            return None
        needed.append(math.ceil((z / effect) ** 2 * design.variance(g, worse)))
    return max(needed) or None


def clopper_pearson(count: int, runs: int, confidence: float) -> tuple[float, float]:
    """The exact interval of a binomial share (Clopper and Pearson 1934)."""
    tail = 0.5 * (1.0 - confidence)
    numbers = np.arange(runs + 1)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, runs + 1)))])
    log_ways = log_factorials[runs] - log_factorials[numbers] - log_factorials[runs - numbers]

    def at_least(k: int, p: float) -> float:
        terms = log_ways[k:] + numbers[k:] * math.log(p) + (runs - numbers[k:]) * math.log1p(-p)
        return float(np.exp(terms).sum())

    def root(k: int, wanted: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = 0.5 * (low + high)
            if at_least(k, middle) < wanted:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    return (
        root(count, tail) if count else 0.0,
        root(count + 1, 1.0 - tail) if count < runs else 1.0,
    )
