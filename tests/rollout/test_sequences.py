"""Sequences: the martingale against other implementations, and bounds that hold at every look."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import gammainc, gammaln, hyp1f1

from steelyard.rollout.sequences import MeanSequence, boundary, crossed, log_evidence, log_tail

# What gamma_exponential_log_mixture(s, v, v_opt, c) and gamma_exponential_mixture_bound(v, 0.025, v_opt, c) of confseq
# 0.0.11 gave, built from its sources: it has no wheels. v_opt is 6.328859605296238 times the prior, as it is at its
# alpha_opt of 0.05.
CONFSEQ = [
    # prior, scale, v, s, log of the martingale at s, bound at alpha = 0.025
    (10.0, 1.05, 0.5, 3.0, 0.7552506390829734, 10.390118941031687),
    (10.0, 1.05, 12.0, 9.0, 1.6106074878621328, 14.928570998617943),
    (10.0, 1.05, 50.0, 30.0, 5.310351116250288, 24.745296689286533),
    (10.0, 1.05, 700.0, 120.0, 7.549090208163534, 89.79975625276211),
    (10.0, 1.05, 20000.0, 500.0, 2.93809370672534, 529.9560959915084),
    (10.0, 0.25, 0.5, 3.0, 0.8633762520406663, 8.51531769324356),
    (10.0, 0.25, 12.0, 9.0, 1.9712277323205853, 12.834335653165908),
    (10.0, 0.25, 50.0, 30.0, 6.704215801255486, 22.33322830237512),
    (10.0, 0.25, 700.0, 120.0, 8.404424923486658, 86.36854081495926),
    (10.0, 0.25, 20000.0, 500.0, 3.091889375820756, 523.4886300050334),
    (20.0, 1.5, 0.5, 3.0, 0.5214427416781549, 14.560749167016183),
    (20.0, 1.5, 12.0, 9.0, 1.293534695260524, 18.081208798528678),
    (20.0, 1.5, 50.0, 30.0, 4.528831328213023, 26.67064443514846),
    (20.0, 1.5, 700.0, 120.0, 7.4008377009386095, 88.80588875250623),
    (20.0, 1.5, 20000.0, 500.0, 3.2357552311768814, 518.489749235016),
]


SHAPES = [4.0, 4.5454, 5.0, 9.3, 20.0, 87.3, 400.0, 1e4, 1e5]
PARTS = [0.01, 0.3, 0.9, 0.999, 1.0, 1.01, 1.2, 3.0, 50.0]


# Elsewhere the oracle underflows.
@pytest.mark.parametrize(
    ("a", "x"), [(a, a * p) for a in SHAPES for p in PARTS if gammainc(a, a * p) > 1e-290]
)
def test_log_tail_is_the_incomplete_gamma_function(a: float, x: float):
    terms = (gammaln(a), math.log(gammainc(a, x)), -a * math.log(x), x)
    # The oracle's own terms cancel: each is right to a part in 1e15 or so.
    assert log_tail(a, x) == pytest.approx(sum(terms), abs=1e-10 + 4e-15 * max(map(abs, terms)))


@pytest.mark.parametrize("a", [4.0, 7.5, 40.0])
@pytest.mark.parametrize("x", [-300.0, -20.0, -1.0, -1e-9, 0.0, 1e-9])
def test_log_tail_goes_on_below_nought(a: float, x: float):
    assert log_tail(a, x) == pytest.approx(math.log(hyp1f1(1.0, a + 1.0, x) / a), abs=1e-10)


@pytest.mark.parametrize(("prior", "scale", "v", "s", "log", "bound"), CONFSEQ)
def test_the_martingale_is_that_of_confseq(
    prior: float, scale: float, v: float, s: float, log: float, bound: float
):
    assert log_evidence(s, v, scale, prior) == pytest.approx(log, abs=1e-9)
    # Its bisection ends at 40 bits.
    assert boundary(v, scale, prior, 0.025) == pytest.approx(bound, rel=1e-8)


@pytest.mark.parametrize(("prior", "scale", "v", "s"), [(10.0, 1.05, 50.0, 30.0), (10.0, 0.25, 3.0, 2.0)])
def test_the_martingale_is_the_mixture_that_is_told(prior: float, scale: float, v: float, s: float):
    """Integrated over λ, with the density in proportion to exp(-ρ ψ(λ)) / (1 - scale λ)."""

    def psi(bet: float) -> float:
        return (-math.log1p(-scale * bet) - scale * bet) / scale**2

    def density(bet: float) -> float:
        return math.exp(-prior * psi(bet)) / (1 - scale * bet)

    whole, _ = quad(density, 0, 1 / scale)
    mixed, _ = quad(lambda bet: density(bet) * math.exp(bet * s - psi(bet) * v), 0, 1 / scale)
    assert log_evidence(s, v, scale, prior) == pytest.approx(math.log(mixed / whole), abs=1e-7)


@settings(deadline=None)
@given(
    s=st.floats(-50, 500),
    v=st.floats(0, 5000),
    scale=st.sampled_from([0.25, 1.0, 1.05]),
    alpha=st.floats(1e-6, 0.5),
)
def test_the_short_cuts_change_no_answer(s: float, v: float, scale: float, alpha: float):
    assert crossed(s, v, scale, 10.0, alpha) == (log_evidence(s, v, scale, 10.0) >= -math.log(alpha))


@settings(deadline=None)
@given(v=st.floats(0, 1e7), scale=st.sampled_from([0.25, 1.0, 1.05]), alpha=st.floats(1e-6, 0.5))
def test_the_boundary_is_where_it_crosses(v: float, scale: float, alpha: float):
    u = boundary(v, scale, 10.0, alpha)
    assert crossed(u, v, scale, 10.0, alpha)
    assert not crossed(u * (1 - 1e-6), v, scale, 10.0, alpha)


def pairs() -> MeanSequence:
    return MeanSequence(-1.0, 1.0, (-0.05, 0.05))


def rare() -> MeanSequence:
    return MeanSequence(0.0, 1.0, (0.0, 0.25))


COUNT = st.integers(0, 400)
BATCH = st.fixed_dictionaries({-1.0: COUNT, 0.0: COUNT, 1.0: COUNT})
ALPHA = st.floats(1e-4, 0.4)


@settings(deadline=None)
@given(batches=st.lists(BATCH, min_size=1, max_size=8), alpha=ALPHA, other=ALPHA, at=st.floats(-1, 1))
def test_bounds(batches: list[dict[float, int]], alpha: float, other: float, at: float):
    sequence = pairs()
    for batch in batches:
        sequence.observe(batch)
    lower, upper = sequence.lower(alpha), sequence.upper(alpha)
    assert -1.0 <= lower <= sequence.mean <= upper <= 1.0
    if alpha <= other:
        assert lower <= sequence.lower(other)
        assert upper >= sequence.upper(other)
    if abs(at - lower) > 1e-9 and lower > -1.0:
        assert sequence.over(at, alpha) == (lower > at)
    if abs(at - upper) > 1e-9 and upper < 1.0:
        assert sequence.under(at, alpha) == (upper < at)


@settings(deadline=None)
@given(batch=BATCH, more=BATCH)
def test_a_split_batch_counts_the_same(batch: dict[float, int], more: dict[float, int]):
    """Only the centre may have moved between the parts; where it cannot, nothing differs."""
    together = {value: batch[value] + more[value] for value in batch}
    for make in (pairs, lambda: MeanSequence(-1.0, 1.0, (0.0, 0.0))):
        whole, split = make(), make()
        whole.observe(together)
        split.observe(batch)
        split.observe({-1.0: 0, 0.0: 0, 1.0: 0})
        split.observe(more)
        assert (split.n, split.total) == (whole.n, whole.total)
        moved = max(abs(split.centre), abs(whole.centre), 0.05 if make is pairs else 0.0)
        assert abs(split.variance - whole.variance) <= whole.n * moved * (2 + moved) + 1e-9


@settings(deadline=None)
@given(batches=st.lists(BATCH, max_size=6), more=BATCH)
def test_json_round_trip(batches: list[dict[float, int]], more: dict[float, int]):
    sequence = pairs()
    for batch in batches:
        sequence.observe(batch)
    again = pairs().restore(json.loads(json.dumps(sequence.to_json())))
    assert again.to_json() == sequence.to_json()
    sequence.observe(more)
    again.observe(more)
    assert again.to_json() == sequence.to_json()


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        {},
        {"n": 1, "total": 0.0},
        {"n": 1, "total": 0.0, "variance": 0.0, "more": 1},
        {"n": -1, "total": 0.0, "variance": 0.0},
        {"n": True, "total": 0.0, "variance": 0.0},
        {"n": 1.0, "total": 0.0, "variance": 0.0},
        {"n": 1 << 60, "total": 0.0, "variance": 0.0},
        {"n": 3, "total": 4.0, "variance": 0.0},
        {"n": 3, "total": math.nan, "variance": 0.0},
        {"n": 3, "total": 1.0, "variance": -1.0},
        {"n": 3, "total": 1.0, "variance": math.inf},
        {"n": 3, "total": "1", "variance": 1.0},
    ],
)
def test_what_is_no_state_is_refused(state: object):
    with pytest.raises(ValueError, match="expected"):
        pairs().restore(state)


def test_what_is_no_observation_is_refused():
    sequence = rare()
    with pytest.raises(ValueError, match=r"expected observations in \[0, 1\], got -1"):
        sequence.observe({-1.0: 1})
    with pytest.raises(ValueError, match="expected a count of 0 to"):
        sequence.observe({1.0: -1})
    with pytest.raises(ValueError, match="centre"):
        MeanSequence(0.0, 1.0, (-0.1, 0.1))
    with pytest.raises(ValueError, match="prior"):
        MeanSequence(0.0, 100.0, (0.0, 1.0))
    assert sequence.n == 0
    assert (sequence.lower(0.05), sequence.upper(0.05)) == (0.0, 1.0)


def test_the_lower_bound_of_rare_events_is_the_tighter_one():
    sequence, wide = rare(), MeanSequence(0.0, 1.0, (0.0, 1.0))
    for one in (sequence, wide):
        for _ in range(20):
            one.observe({1.0: 1, 0.0: 199})
    assert sequence.lower(0.05) > wide.lower(0.05)
    assert sequence.upper(0.05) == wide.upper(0.05)


def iid(total: float, n: int) -> tuple[float, float]:
    return 0.01, 0.01


def swings(total: float, n: int) -> tuple[float, float]:
    """Rates that work against what has come: they raise the sum where it is high."""
    return (0.06, 0.02) if total >= 0 else (0.02, 0.06)


def recovers(total: float, n: int) -> tuple[float, float]:
    return (0.3, 0.0) if n < 500 else (0.0, 0.1)


def most(runs: int, alpha: float) -> float:
    """Misses in so many runs that a sequence which holds has in all but one of thirty thousand seeds."""
    return runs * alpha + 4.0 * math.sqrt(runs * alpha * (1.0 - alpha))


@pytest.mark.parametrize("rates", [iid, swings, recovers])
@pytest.mark.parametrize(("every", "pairs_a_run", "runs"), [(1, 800, 100), (40, 2000, 400)])
def test_bounds_hold_at_every_look(rates, every: int, pairs_a_run: int, runs: int):
    """The running mean of conditional means leaves either bound, at any look, in no more runs than α."""
    rng = np.random.default_rng(7)
    alpha = 0.1
    missed_low = missed_high = 0
    for _ in range(runs):
        sequence = pairs()
        expected = 0.0
        low = high = False
        for _ in range(pairs_a_run // every):
            plus, minus = rates(sequence.total, sequence.n)
            p, z, m = rng.multinomial(every, [plus, 1 - plus - minus, minus]).tolist()
            expected += every * (plus - minus)
            sequence.observe({1.0: p, 0.0: z, -1.0: m})
            true = expected / sequence.n
            low = low or sequence.over(true, alpha)
            high = high or sequence.under(true, alpha)
        missed_low += low
        missed_high += high
    assert missed_low <= most(runs, alpha)
    assert missed_high <= most(runs, alpha)
