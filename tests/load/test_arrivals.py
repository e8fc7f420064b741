"""When requests are due: what holds of every phase, and that the processes are those that they are called."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from load.arrivals import Arrivals, Phase
from steelyard.errors import ConfigError

RATES = st.floats(0, 2_000)
SECONDS = st.floats(0.01, 5)
SPACINGS = st.sampled_from(["poisson", "even"])
PHASES = st.one_of(
    st.fixed_dictionaries(
        {"arrivals": st.sampled_from(["constant", "poisson"]), "rate": RATES, "seconds": SECONDS}
    ),
    st.fixed_dictionaries(
        {
            "arrivals": st.just("step"),
            "rates": st.lists(RATES, min_size=1, max_size=5),
            "seconds": SECONDS,
            "spacing": SPACINGS,
        }
    ),
    st.fixed_dictionaries(
        {
            "arrivals": st.just("ramp"),
            "from_rate": RATES,
            "to_rate": RATES,
            "seconds": SECONDS,
            "spacing": SPACINGS,
        }
    ),
    st.fixed_dictionaries(
        {
            "arrivals": st.just("burst"),
            "size": st.integers(1, 50),
            "every_s": st.floats(0.05, 6),
            "rate": RATES,
            "seconds": SECONDS,
        }
    ),
)


def draw(seed: int = 1, **table: object) -> Arrivals:
    phase = TypeAdapter(Phase).validate_python(table)
    return phase.draw(np.random.default_rng(seed))


@given(PHASES, st.integers(0, 1 << 40))
def test_requests_are_due_in_order_within_their_phase_and_again_the_same(table: dict, seed: int) -> None:
    found = draw(seed, **table)
    assert found.seconds == table["seconds"]
    assert np.all(np.diff(found.due_s) >= 0)
    assert np.all((found.due_s >= 0) & (found.due_s <= found.seconds))
    assert np.array_equal(found.due_s, draw(seed, **table).due_s)


@given(PHASES)
def test_as_many_come_as_are_expected(table: dict) -> None:
    phase = TypeAdapter(Phase).validate_python(table)
    expected = phase.expected()
    count = len(phase.draw(np.random.default_rng(3)).due_s)
    # A Poisson count is within seven standard deviations, but once in a hundred thousand million times.
    assert abs(count - expected) <= 7 * np.sqrt(expected) + 7


def test_constant_is_even() -> None:
    due_s = draw(arrivals="constant", rate=200, seconds=2).due_s
    assert np.allclose(due_s, np.arange(400) / 200)


def test_gaps_of_a_poisson_process_are_exponential_and_know_nothing_of_each_other() -> None:
    gaps = np.diff(draw(arrivals="poisson", rate=1000, seconds=20).due_s)
    ordered = np.sort(gaps)
    # Kolmogorov and Smirnov: 1.63 / sqrt(n) is exceeded once in a hundred samples; the seed is fixed.
    distance = np.abs(1 - np.exp(-1000 * ordered) - (np.arange(len(ordered)) + 0.5) / len(ordered)).max()
    assert distance < 1.63 / np.sqrt(len(ordered))
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 4 / np.sqrt(len(gaps))


def test_counts_of_a_poisson_process_vary_as_much_as_their_mean() -> None:
    due_s = draw(arrivals="poisson", rate=1000, seconds=50).due_s
    counts = np.histogram(due_s, 1000, (0, 50))[0]
    assert 0.85 < counts.var() / counts.mean() < 1.15


def test_each_step_has_its_own_rate() -> None:
    due_s = draw(arrivals="step", rates=[100, 0, 400], seconds=30).due_s
    counts = np.histogram(due_s, 3, (0, 30))[0]
    assert counts[1] == 0
    assert abs(counts[0] - 1000) < 150
    assert abs(counts[2] - 4000) < 300


@pytest.mark.parametrize(("from_rate", "to_rate"), [(0, 400), (400, 0), (200, 200)])
def test_a_ramp_rises_and_falls_along_a_line(from_rate: float, to_rate: float) -> None:
    due_s = draw(arrivals="ramp", from_rate=from_rate, to_rate=to_rate, seconds=10, spacing="even").due_s
    assert len(due_s) == 2000
    counts = np.histogram(due_s, 10, (0, 10))[0]
    line = from_rate + (to_rate - from_rate) * (np.arange(10) + 0.5) / 10
    assert np.all(np.abs(counts - line) <= 1)


def test_a_burst_is_due_at_one_moment() -> None:
    due_s = draw(arrivals="burst", size=30, every_s=2, rate=10, seconds=6, spacing="even").due_s
    moments, counts = np.unique(due_s, return_counts=True)
    assert moments[counts >= 30].tolist() == [1.0, 3.0, 5.0]
    assert len(due_s) == 3 * 30 + 60


def test_a_file_is_replayed_from_its_first_request_on(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_text("# seconds, length, request\n12.5, 30\n\n10.0,7,short\n11.0\n40,9\n")
    found = draw(arrivals="replay", file=file, speed=2, seconds=10)
    assert found.due_s.tolist() == [0.0, 0.5, 1.25]
    assert found.length is not None
    assert found.length.tolist() == [7, 0, 30]
    assert found.request == ["short", "", ""]
    assert draw(arrivals="replay", file=file).seconds == 30.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "expected lines of seconds[,length[,request]], got none"),
        ("1.0\nsoon\n", "line 2: expected seconds[,length[,request]], got 'soon'"),
        ("1,2,three,4\n", "line 1: expected seconds[,length[,request]], got '1,2,three,4'"),
        ("nan\n", "line 1: expected finite seconds and a length of 0 to"),
        ("1,-5\n", "line 1: expected finite seconds and a length of 0 to"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "trace"
    file.write_text(content)
    with pytest.raises(ConfigError) as refused:
        draw(arrivals="replay", file=file)
    assert said in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_trace_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        draw(arrivals="replay", file=tmp_path / "none")
