"""The gate: what decides, that it decides once, and that it comes back as it was."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from steelyard.evidence.event import MAX_RECORD_BYTES
from steelyard.models.rollout import GateManifest, Guardrail
from steelyard.rollout.gate import MAX_PATH, Gate
from steelyard.rollout.look import TRANSITIONS, Verdict, look_to_json

ERRORS = Guardrail(on="error_rate", margin=0.02, harm=0.04)
SLOW = Guardrail(on="slower_than", threshold_ms=50.0, margin=0.05, harm=0.1)
DISAGREE = Guardrail(on="disagreement", margin=0.02, harm=0.05)


def manifest(*guardrails: Guardrail, **more: Any) -> GateManifest:
    return GateManifest(guardrail=guardrails, **more)


def healthy(gate: Gate, name: str, n: int) -> None:
    if gate.share is None:
        gate.observe_pairs(name, worse=0, same=n)
    else:
        gate.observe_requests(name, candidate=(0, n // 2), primary=(0, n // 2))


def test_safe_only_if_every_guardrail_is():
    gate = Gate(manifest(ERRORS, SLOW, DISAGREE))
    for name in ("error_rate", "slower_than_50ms"):
        healthy(gate, name, 20_000)
        assert gate.weigh() is Verdict.UNDECIDED
    healthy(gate, "disagreement", 20_000)
    look = gate.look()
    assert (look.verdict, look.decided_by) == (Verdict.SAFE, "")
    assert all(one.upper < one.margin for one in look.guardrails)
    assert [one.name for one in look.guardrails] == ["error_rate", "slower_than_50ms", "disagreement"]


def test_harmful_as_soon_as_one_guardrail_is():
    gate = Gate(manifest(ERRORS, SLOW))
    healthy(gate, "error_rate", 20_000)
    gate.observe_pairs("slower_than_50ms", worse=400, same=1600, better=10)
    look = gate.look()
    assert (look.verdict, look.decided_by, look.n) == (Verdict.HARMFUL, "slower_than_50ms", 20_000)
    assert look.guardrails[1].lower > SLOW.harm
    assert gate.weigh() is Verdict.HARMFUL


def test_undecided_at_the_most_requests_is_exhausted():
    gate = Gate(manifest(ERRORS, max_requests=1000))
    gate.observe_pairs("error_rate", worse=27, same=972)
    assert gate.weigh() is Verdict.UNDECIDED
    gate.observe_pairs("error_rate", worse=1, same=0)
    assert gate.look().verdict is Verdict.EXHAUSTED
    # What comes after the verdict is not counted.
    gate.observe_pairs("error_rate", worse=10_000, same=0)
    assert (gate.look().verdict, gate.n) == (Verdict.EXHAUSTED, 1000)


def test_alpha_is_split_over_guardrails_for_harm_only_and_over_steps():
    gate = Gate(manifest(ERRORS, SLOW, alpha=0.06), share=0.5, steps=3)
    assert (gate.alpha_safe, gate.alpha_harm) == (pytest.approx(0.02), pytest.approx(0.01))
    with pytest.raises(ValueError, match="steps: expected 1 to 100, got 0"):
        Gate(manifest(ERRORS), steps=0)
    with pytest.raises(ValueError, match="share"):
        Gate(manifest(ERRORS), share=1.0)


def test_a_canary_has_no_pairs():
    gate = Gate(manifest(ERRORS, DISAGREE), share=0.5)
    assert (gate.left_out, [g.name for g in gate.guardrails]) == (("disagreement",), ["error_rate"])
    with pytest.raises(ValueError, match="expected one of the guardrails error_rate, got 'disagreement'"):
        gate.observe_requests("disagreement", candidate=(0, 1), primary=(0, 1))
    with pytest.raises(ValueError, match="got pairs"):
        gate.observe_pairs("error_rate", worse=0, same=1)
    healthy(gate, "error_rate", 20_000)
    assert gate.look().verdict is Verdict.SAFE


def test_a_shadow_has_no_arms():
    gate = Gate(manifest(ERRORS, DISAGREE))
    assert gate.left_out == ()
    with pytest.raises(ValueError, match="got requests of two arms"):
        gate.observe_requests("error_rate", candidate=(0, 1), primary=(0, 1))
    with pytest.raises(ValueError, match=r"expected observations in \[0, 1\]"):
        gate.observe_pairs("disagreement", worse=0, same=1, better=1)
    with pytest.raises(ValueError, match="expected a count"):
        gate.observe_pairs("error_rate", worse=-1, same=1)


@pytest.mark.parametrize("share", [None, 0.1])
def test_without_guardrails_there_is_no_verdict(share: float | None):
    gate = Gate(manifest(*(() if share is None else (DISAGREE,))), share=share)
    assert gate.weigh() is Verdict.UNDECIDED
    look = gate.look()
    assert (look.verdict, look.n, look.guardrails) == (Verdict.UNDECIDED, 0, ())


@settings(max_examples=12, deadline=None)
@given(looks=st.integers(1, 450))
def test_the_path_is_thinned_and_ends_with_the_decision(looks: int):
    gate = Gate(manifest(ERRORS, max_requests=looks + 99))
    gate.observe_pairs("error_rate", worse=3, same=96)
    seen = []
    for _ in range(looks):
        assert gate.verdict is Verdict.UNDECIDED
        gate.observe_pairs("error_rate", worse=0, same=1)
        seen.append(gate.look())
    path = gate.path
    assert len(path) <= MAX_PATH
    assert path[-1] is seen[-1]
    assert path[-1].verdict in (Verdict.EXHAUSTED, Verdict.SAFE)
    assert path[0] is seen[0]
    distances = {b.n - a.n for a, b in pairwise(path[:-1])}
    assert len(distances) <= 1
    assert len(json.dumps(gate.to_json())) < 60_000


@pytest.mark.parametrize("share", [None, 0.3])
def test_the_largest_gate_fits_a_record(share: float | None):
    slow = [Guardrail(on="slower_than", threshold_ms=1234.5 + i, margin=1 / 3, harm=2 / 3) for i in range(16)]
    gate = Gate(manifest(*slow, max_requests=1_000_000_000), share=share)
    for _ in range(MAX_PATH):
        for guardrail in slow:
            if share is None:
                gate.observe_pairs(guardrail.name, worse=47, same=43, better=7)
            else:
                gate.observe_requests(guardrail.name, candidate=(47, 43), primary=(7, 89))
        gate.look()
    assert len(gate.path) == MAX_PATH
    assert len(json.dumps(gate.to_json()).encode()) < MAX_RECORD_BYTES * 15 // 16


class GateMachine(RuleBasedStateMachine):
    """Observations and looks in any order, with a gate that is written and read in between."""

    def __init__(self) -> None:
        super().__init__()
        self.manifest = manifest(ERRORS, SLOW, max_requests=5000)
        self.gate = Gate(self.manifest)
        self.seen = [Verdict.UNDECIDED]

    @rule(
        name=st.sampled_from(["error_rate", "slower_than_50ms"]),
        worse=st.integers(0, 30),
        same=st.integers(0, 1500),
        better=st.integers(0, 30),
    )
    def observe(self, name: str, worse: int, same: int, better: int) -> None:
        before = self.gate.to_json()
        self.gate.observe_pairs(name, worse=worse, same=same, better=better)
        if self.gate.verdict is not Verdict.UNDECIDED:
            assert self.gate.to_json() == before

    @rule()
    def look(self) -> None:
        look = self.gate.look()
        assert look.verdict is self.gate.verdict
        for one in look.guardrails:
            assert one.lower <= one.mean <= one.upper
        over = [one.name for one in look.guardrails if one.lower > one.harm + 1e-9]
        under = [one.name for one in look.guardrails if one.upper < one.margin - 1e-9]
        if look.verdict is Verdict.UNDECIDED:
            assert not over
            assert len(under) < 2
            assert look.n < self.manifest.max_requests
        if look.verdict is Verdict.SAFE:
            assert not over

    @rule()
    def weigh(self) -> None:
        self.gate.weigh()

    @rule()
    def restart(self) -> None:
        state = json.loads(json.dumps(self.gate.to_json()))
        again = Gate.from_json(self.manifest, state)
        assert again.to_json() == self.gate.to_json()
        assert again.path == self.gate.path
        self.gate = again

    @invariant()
    def moves_as_the_table_says(self) -> None:
        if self.gate.verdict is not self.seen[-1]:
            assert self.gate.verdict in TRANSITIONS[self.seen[-1]]
            self.seen.append(self.gate.verdict)


GateMachine.TestCase.settings = settings(max_examples=60, deadline=None)
TestGateMachine = GateMachine.TestCase


def test_the_table_of_transitions_has_every_verdict():
    assert TRANSITIONS.keys() == set(Verdict)
    assert all(not TRANSITIONS[v] for v in Verdict if v is not Verdict.UNDECIDED)


def decided() -> tuple[GateManifest, dict[str, Any]]:
    limits = manifest(ERRORS)
    gate = Gate(limits)
    gate.look()
    gate.observe_pairs("error_rate", worse=500, same=500)
    gate.look()
    return limits, json.loads(json.dumps(gate.to_json()))


def test_a_gate_comes_back_with_its_path():
    limits, state = decided()
    gate = Gate.from_json(limits, state)
    assert (gate.verdict, gate.decided_by) == (Verdict.HARMFUL, "error_rate")
    assert [look.verdict for look in gate.path] == [Verdict.UNDECIDED, Verdict.HARMFUL]
    assert look_to_json(gate.look()) == state["path"][-1]


def test_another_gates_state_is_refused():
    limits, state = decided()
    with pytest.raises(ValueError, match="expected a gate with the plan"):
        Gate.from_json(manifest(ERRORS, alpha=0.01), state)
    with pytest.raises(ValueError, match="expected a gate with the plan"):
        Gate.from_json(limits, state, share=0.5)
    with pytest.raises(ValueError, match="expected a gate with the plan"):
        Gate.from_json(limits, state, steps=2)
    # Whether a safe candidate is promoted by itself is no part of what is weighed.
    Gate.from_json(manifest(ERRORS, promote="automatic"), state)


LOOK = {"verdict": "undecided", "n": 0, "decided_by": "", "guardrails": []}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2),
        ("more", 1),
        ("verdict", "fine"),
        ("verdict", "safe"),
        ("decided_by", ""),
        ("decided_by", "nobody"),
        ("decided_by", ["error_rate"]),
        ("looks", -1),
        ("looks", "1"),
        ("stride", 0),
        ("sequences", {}),
        ("sequences", {"error_rate": None}),
        ("path", {}),
        ("path", [LOOK] * (MAX_PATH + 1)),
        ("path", [None]),
        ("path", [{**LOOK, "verdict": "fine"}]),
        ("path", [{**LOOK, "guardrails": [None]}]),
        ("path", [{**LOOK, "guardrails": [{"name": "error_rate"}]}]),
    ],
)
def test_a_torn_state_is_refused(key: str, value: object):
    limits, state = decided()
    with pytest.raises(ValueError, match=r"expected|not a valid Verdict"):
        Gate.from_json(limits, {**state, key: value})


@pytest.mark.parametrize("state", [None, [], "gate", {}, {"format": 1}])
def test_what_is_no_gate_is_refused(state: object):
    with pytest.raises(ValueError, match="expected a gate of format 1"):
        Gate.from_json(manifest(ERRORS), state)
