"""What percentiles are of: all answers of all passes, and how many that were."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.tune.load import LEAST_ANSWERS, gaps
from steelyard.tune.sample import FEW_ANSWERS, Sample, at_rank, sample_of, together
from steelyard.tune.search import PASSES, UNASKED, Wish, search
from tests.tune.surface import Surface
from tests.tune.test_tune_search import BASE

latencies = st.lists(st.floats(0.1, 1000), min_size=1, max_size=60)


@given(st.lists(latencies, min_size=1, max_size=4))
def test_percentiles_of_several_passes_are_of_all_their_answers(passes: list[list[float]]):
    sample = together([sample_of(one, 1.0, 0) for one in passes])
    everything = sorted(ms for one in passes for ms in one)
    assert sample.answered == len(everything)
    assert (sample.p50_ms, sample.p99_ms) == (at_rank(everything, 50), at_rank(everything, 99))
    assert sample.few == (len(everything) < FEW_ANSWERS)
    assert together([sample]).p99_ms == sample.p99_ms


def test_two_slow_answers_in_a_hundred_show_in_whichever_pass_they_came():
    calm, slow = sample_of([5.0] * 34, 1.0, 0), sample_of([5.0] * 32 + [500.0] * 2, 1.0, 0)
    for passes in ([slow, calm, calm], [calm, calm, slow]):
        assert together(passes).p99_ms == 500.0


def test_a_p99_says_too_little_no_more_often_than_too_much():
    """Of times that are exponentially distributed, 31 a pass, where the true one is known."""
    true_ms = math.log(100)
    random = np.random.default_rng(7)
    points = [random.exponential(1.0, (PASSES, 31)).tolist() for _ in range(400)]
    too_low = [together([sample_of(one, 1.0, 0) for one in point]).p99_ms < true_ms for point in points]
    assert 0.3 < np.mean(too_low) < 0.5


def test_the_passes_of_one_rate_come_to_a_hundred_answers():
    assert PASSES * LEAST_ANSWERS >= FEW_ANSWERS
    assert not together([sample_of([1.0] * LEAST_ANSWERS, 1.0, 0)] * PASSES).few
    assert together([sample_of([1.0] * 31, 1.0, 0)] * PASSES).few


def test_what_was_not_asked_in_most_passes_has_no_percentiles():
    lucky = sample_of([1.0] * 50, 1.0, 0)
    assert together([UNASKED, lucky, UNASKED]).p99_ms == math.inf
    assert together([UNASKED, lucky, lucky]).p99_ms == 1.0
    assert together([UNASKED]).answered == 0


class Queue(Surface):
    """Serves requests that come at random one after the other, each in a time that is exponentially distributed."""

    def opened(self, candidates, rate_per_s, seconds):
        self.seed += 1
        return {one: self._queued(one, rate_per_s, seconds) for one in candidates}

    def _queued(self, one, rate_per_s, seconds) -> Sample:
        self.measured.add(one)
        gaps_s = gaps(rate_per_s, seconds, self.seed)
        taken_s = np.random.default_rng(self.seed + 10_000).exponential(1 / self.capacity(one), len(gaps_s))
        due_s = free_s = 0.0
        waited_ms = []
        for gap_s, work_s in zip(gaps_s, taken_s.tolist(), strict=True):
            due_s += gap_s
            free_s = max(free_s, due_s) + work_s
            waited_ms.append((free_s - due_s) * 1e3)
        self.spent_s += free_s
        self.answers.setdefault((one, rate_per_s), []).extend(waited_ms)
        return sample_of(waited_ms, free_s, 0, due_s)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.answers: dict[tuple[object, float], list[float]] = {}


@pytest.mark.parametrize(("rate", "few"), [(40.0, True), (2400.0, False)])
def test_points_of_a_search_are_of_every_answer_that_came(rate: float, few: bool):
    queue = Queue(rate, {(2, 1, False): 1.0, (1, 2, False): 0.6, (1, 2, True): 0.6})
    found = search(queue, Wish(BASE, 2, True, 0, 1e6, 60.0), lambda text: None)
    assert found.points
    for point in found.points:
        answers = sorted(queue.answers[point.candidate, point.rate_per_s])
        assert point.sample.answered == len(answers)
        assert point.sample.p99_ms == at_rank(answers, 99)
    assert any(point.sample.few for point in found.points) == few


def test_a_rate_is_chosen_at_which_a_queue_is_known_to_meet_the_p99():
    queue = Queue(600.0, {(2, 1, False): 1.0, (1, 2, False): 0.6, (1, 2, True): 0.6})
    found = search(queue, Wish(BASE, 2, True, 0, 25.0, 120.0), lambda text: None)
    assert found.chosen is not None
    # 99 in 100 of a queue with one server are there within ln(100) / (capacity - rate).
    at_most_per_s = 600.0 - math.log(100) / 0.025
    assert found.chosen.rate_per_s <= 1.1 * at_most_per_s
