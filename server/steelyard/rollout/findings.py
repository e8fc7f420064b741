"""What simulated rollouts show: shares with their intervals, requests, and the test that is looked at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from steelyard.rollout.look import Verdict
from steelyard.rollout.simulate import Design, Outcome, Scenario

# Of the intervals in which the shares of a simulation lie: a share counts as above what was promised where all of its
# interval is. One share in two hundred that is exactly as promised would be taken for more.
CONFIDENCE = 0.99


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
