"""Simulation: the real gate keeps its alpha on every grid of looks, and finds what it should."""

import numpy as np
import pytest
from scipy.stats import beta, norm

from steelyard.models.rollout import GateManifest, Guardrail
from steelyard.rollout.findings import Finding, clopper_pearson, finding, fixed_horizon
from steelyard.rollout.look import Verdict
from steelyard.rollout.simulate import Design, Outcome, Scenario, run_some, scenarios

ERRORS = Guardrail(on="error_rate", margin=0.02, harm=0.02)
SLOW = Guardrail(on="slower_than", threshold_ms=50.0, margin=0.04, harm=0.05)
DISAGREE = Guardrail(on="disagreement", margin=0.02, harm=0.03)


def gate(*guardrails: Guardrail, alpha: float = 0.05, max_requests: int = 5000) -> GateManifest:
    return GateManifest(guardrail=guardrails, alpha=alpha, max_requests=max_requests)


def simulated(design: Design, harm_of: float = 0.08, runs: int = 200) -> dict[str, Finding]:
    shown = scenarios(design, harm_of)
    found = [finding(design, s, run_some(design, s, 5, i, 0, runs)) for i, s in enumerate(shown)]
    return {one.scenario: one for one in found}


@pytest.mark.parametrize(
    "design",
    [
        Design(gate(ERRORS)),
        Design(gate(ERRORS, SLOW, DISAGREE)),
        Design(gate(ERRORS), share=0.5),
        Design(gate(ERRORS, SLOW, DISAGREE), share=0.3, steps=3),
    ],
    ids=["one", "several", "canary", "canary in steps"],
)
def test_false_verdicts_are_within_alpha(design: Design):
    found = simulated(design)
    promised = [one for one in found.values() if one.at_most is not None]
    assert len(promised) == 2 + len(design.gate().guardrails)
    for one in promised:
        assert one.at_most == design.manifest.alpha / design.steps
        assert one.ok, one
    caught = found["error_rate worse by 0.08, rolled back"]
    assert caught.share > 0.95
    assert sum(caught.verdicts.values()) == caught.runs == 200
    assert caught.median is not None
    assert caught.fixed is not None
    assert caught.median < 2 * caught.fixed
    assert found["A/A, promoted"].share > 0.8


@pytest.mark.parametrize("share", [None, 0.5])
def test_looking_at_every_request_changes_nothing_about_validity(share: float | None):
    manifest = gate(ERRORS, alpha=0.1, max_requests=1500)
    for every in (1, 500):
        design = Design(manifest, share=share, look_every=every, look_growth=0.0)
        found = simulated(design, runs=60)
        assert all(one.ok for one in found.values())
        assert found["error_rate worse by 0.08, rolled back"].share > 0.9


def test_runs_are_the_same_however_they_are_divided():
    design = Design(gate(ERRORS))
    scenario = scenarios(design, 0.08)[-1]
    whole = run_some(design, scenario, 1, 4, 0, 6)
    assert whole == [*run_some(design, scenario, 1, 4, 0, 2), *run_some(design, scenario, 1, 4, 2, 4)]
    assert whole != run_some(design, scenario, 2, 4, 0, 6)


@pytest.mark.parametrize(("every", "growth"), [(1, 0.0), (50, 0.02), (7, 1.0), (10_000, 0.0)])
def test_looks_cover_all_requests(every: int, growth: float):
    batches = Design(gate(ERRORS), look_every=every, look_growth=growth).batches()
    assert batches.sum() == 5000
    assert batches.min() >= 1
    assert batches[0] == min(every, 5000)


def test_a_share_that_is_too_high_is_found():
    design = Design(gate(ERRORS))
    scenario = Scenario("made up", {}, Verdict.SAFE, 0.05)
    outcomes = [Outcome(Verdict.SAFE, 10 * (i + 1)) for i in range(20)] + [
        Outcome(Verdict.EXHAUSTED, 5000)
    ] * 80
    found = finding(design, scenario, outcomes)
    assert (found.count, found.share, found.ok) == (20, 0.2, False)
    assert (found.median, found.p90, found.fixed) == (100, None, None)
    assert found.verdicts == {"undecided": 0, "safe": 20, "harmful": 0, "exhausted": 80}


@pytest.mark.parametrize(("count", "runs"), [(0, 10), (3, 100), (97, 2000), (2000, 2000)])
def test_the_interval_of_a_share(count: int, runs: int):
    low, high = clopper_pearson(count, runs, 0.99)
    assert low == pytest.approx(beta.ppf(0.005, count, runs - count + 1) if count else 0.0, abs=1e-9)
    assert high == pytest.approx(beta.ppf(0.995, count + 1, runs - count) if count < runs else 1.0, abs=1e-9)


def test_the_fixed_horizon_test_has_its_power():
    """Drawn and tested at the number of requests that it says; rates that are not symmetrical are off by a little."""
    rng = np.random.default_rng(1)
    alpha, power, p, q, harm, runs = 0.025, 0.9, 0.03, 0.01, 0.005, 20_000
    guardrail = Guardrail(on="error_rate", margin=harm, harm=harm)
    scenario = Scenario("worse", {"error_rate": p - q}, Verdict.HARMFUL, None, alpha)
    n = fixed_horizon(Design(gate(guardrail), base_rate=q), scenario, power)
    assert n is not None
    worse, better = p * (1 - q), q * (1 - p)
    counts = rng.multinomial(n, [worse, better, 1 - worse - better], size=runs)
    mean = (counts[:, 0] - counts[:, 1]) / n
    error = np.sqrt(((counts[:, 0] + counts[:, 1]) / n - mean**2) / n)
    assert np.mean((mean - harm) / error > norm.isf(alpha)) == pytest.approx(power, abs=0.02)

    n = fixed_horizon(Design(gate(guardrail), share=0.3, base_rate=q), scenario, power)
    assert n is not None
    ours, theirs = round(0.3 * n), n - round(0.3 * n)
    a, b = rng.binomial(ours, p, runs) / ours, rng.binomial(theirs, q, runs) / theirs
    error = np.sqrt(a * (1 - a) / ours + b * (1 - b) / theirs)
    assert np.mean((a - b - harm) / error > norm.isf(alpha)) == pytest.approx(power, abs=0.04)


def test_what_no_test_could_find_has_no_number():
    design = Design(gate(ERRORS))
    assert (
        fixed_horizon(design, Scenario("less", {"error_rate": 0.01}, Verdict.HARMFUL, None, 0.05), 0.9)
        is None
    )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"manifest": gate()}, "guardrail"),
        ({"manifest": gate(DISAGREE), "share": 0.5}, "guardrail"),
        ({"manifest": gate(ERRORS), "base_rate": 1.0}, "base_rate"),
        ({"manifest": gate(ERRORS), "look_every": 0}, "look"),
        ({"manifest": gate(ERRORS, max_requests=1_000_000), "look_every": 1, "look_growth": 0.0}, "at most"),
    ],
)
def test_what_cannot_be_simulated_is_refused(kwargs, message: str):
    with pytest.raises(ValueError, match=message):
        Design(**kwargs)


def test_a_rate_above_one_is_refused():
    with pytest.raises(ValueError, match="error_rate: expected a rate of 0 to 1"):
        Design(gate(ERRORS), base_rate=0.5).rates(ERRORS, 0.6)
