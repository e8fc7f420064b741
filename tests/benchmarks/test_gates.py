"""Gates: what their rounds show, and that they fail where something slow stands in the place of ours."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import wire
from benchmarks.gates import rooms, served, thresholds
from benchmarks.gates.command import GATES, gates
from benchmarks.gates.gate import Gate
from benchmarks.gates.judging import FALSE_ALARM, Verdict, upper_bound
from steelyard.observe import plain as plain_counting
from steelyard.wire import plain as plain_wire

LEAST = {name: threshold.least for name, threshold in thresholds.read().items()}
rounds = st.lists(st.floats(0.01, 100.0), min_size=7, max_size=40)


@given(rounds)
def test_the_bound_is_a_round_and_not_below_the_median(ratios: list[float]) -> None:
    bound = upper_bound(ratios)
    assert bound in ratios
    assert bound >= np.median(ratios)


@given(st.lists(st.floats(0.01, 100.0), min_size=11, max_size=40), st.floats(0.0, 1e6))
def test_one_disturbed_round_moves_no_bound_beyond_the_next_round(ratios: list[float], wild: float) -> None:
    ordered, bound = sorted(ratios), upper_bound(ratios)
    first = ordered.index(bound)
    last = first + ordered.count(bound) - 1
    least, most = ordered[max(0, first - 1)], ordered[min(len(ordered) - 1, last + 1)]
    assert least <= upper_bound([*ratios[:-1], wild]) <= most


def test_rounds_whose_median_is_at_the_threshold_are_hardly_ever_called_a_regression() -> None:
    rng = np.random.default_rng(3)
    failed = sum(not Verdict(tuple(np.exp(rng.normal(0, 0.3, 11))), 1.0).passed for _ in range(4_000))
    assert failed / 4_000 <= FALSE_ALARM


def test_rounds_of_something_half_as_fast_are_called_one_nearly_always() -> None:
    rng = np.random.default_rng(4)
    # A threshold at two thirds of what was measured, as those in the file are, and a fifth of noise.
    failed = sum(not Verdict(tuple(0.5 * np.exp(rng.normal(0, 0.2, 11))), 0.66).passed for _ in range(1_000))
    assert failed / 1_000 > 0.6


def test_too_few_rounds_say_nothing() -> None:
    with pytest.raises(ValueError, match="expected at least 7"):
        upper_bound([1.0] * 6)


def test_every_gate_has_a_threshold_and_no_threshold_is_left_over() -> None:
    assert LEAST.keys() == {gate.name for gate in GATES}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[decode]\nleast = 1.0", "expected a table"),
        ("decode = 1.0", "expected a table"),
        ('[decode]\nleast = 3.0\nmeasured = 2.0\non = "x"', "0 < least < measured"),
        ("[decode", "thresholds.toml"),
    ],
)
def test_a_file_of_thresholds_that_is_wrong_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "thresholds.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=says):
        thresholds.read(file)


def plain_decode() -> Callable[[], object]:
    body, case = wire.request_body(rooms.CASE), rooms.CASE
    signature = plain_wire.Signature([("x", case.datatype, (-1, *case.row_shape))], True)
    return lambda: signature.bind(plain_wire.decode_request(body))


def spin() -> None:
    """As much CPU time as two rounds of the engine take."""
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass


SLOWED = {
    "decode": lambda: rooms.decoding(plain_decode()),
    "count": lambda: rooms.counting(plain_counting),
    "engine": lambda: rooms.running(spin),
}


@pytest.mark.parametrize("name", SLOWED)
def test_a_gate_fails_where_something_slower_stands_in_the_place_of_ours(name: str) -> None:
    verdict = Verdict(tuple(Gate(name, "", SLOWED[name]).measure()), LEAST[name])
    assert not verdict.passed
    assert verdict.highest < LEAST[name]


@pytest.mark.extra
def test_the_front_gate_fails_where_another_server_stands_in_the_place_of_ours() -> None:
    gate = Gate("front", "", lambda: served.many_in_flight("grpcio", requests=800), rounds=7)
    assert not Verdict(tuple(gate.measure()), LEAST["front"]).passed


def test_the_command_names_what_failed_and_ends_with_1(tmp_path: Path) -> None:
    file = tmp_path / "thresholds.toml"
    passing, failing = "least = 1e-6\nmeasured = 1.0", "least = 1e6\nmeasured = 2e6"
    file.write_text(f'[decode]\n{passing}\non = "x"\n[encode]\n{failing}\non = "a faster one"\n')
    chosen = ["--thresholds", str(file)]
    found = CliRunner().invoke(gates, ["encode", *chosen])
    assert found.exit_code == 1
    assert "encode: measured 2000000.0 on a faster one" in found.output
    found = CliRunner().invoke(gates, ["decode", *chosen])
    assert found.exit_code == 0
    assert "passed" in found.output
    # No threshold for it, and no such gate.
    assert CliRunner().invoke(gates, ["count", *chosen]).exit_code == 1
    assert CliRunner().invoke(gates, ["nothing"]).exit_code == 2
