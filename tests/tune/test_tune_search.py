"""The search on machines that are made up: what it chooses is nearly the best that there is, and within its means."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.models.manifest import Serving, SessionOptions
from steelyard.tune.candidate import MAX_SHAPES, SPINNING, Candidate, current, shapes, variants
from steelyard.tune.load import gaps
from steelyard.tune.sample import Sample, sample_of
from steelyard.tune.search import Found, Wish, search
from tests.tune.surface import Surface

BASE = Candidate(2, 1, 64, 0, False, "all")


def tried(surface: Surface, threads: int = 2, p99_ms: float = 1e6, seconds: float = 60) -> Found:
    base = replace(BASE, instances=threads)
    return search(surface, Wish(base, threads, True, 0, p99_ms, seconds), lambda text: None)


factors = st.floats(0.3, 3.0)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        dict.fromkeys(((2, 1, False), (1, 1, False), (1, 2, False), (1, 2, True)), factors)
    ),
    st.fixed_dictionaries({size: st.floats(0.5, 2.0) for size in (1, 4, 16, 64)}),
    st.integers(0, 1000),
)
def test_what_is_chosen_is_nearly_the_best_although_measuring_is_noisy(shape, batches, seed):
    surface = Surface(200, shape, batches, {500: 0.9, 2000: 0.7}, noise=0.04, seed=seed)
    found = tried(surface)
    assert found.chosen is not None
    best = 200 * max(shape.values()) * max(batches.values())
    assert surface.capacity(found.chosen.candidate) >= 0.85 * best
    assert surface.capacity(found.chosen.candidate) >= 0.95 * surface.capacity(BASE)
    assert found.chosen.rate_per_s >= 0.8 * best


@settings(max_examples=40, deadline=None)
@given(st.floats(1, 5000), st.floats(0.5, 500), st.integers(1, 64), st.floats(5, 600), st.integers(0, 99))
def test_what_is_chosen_meets_the_p99_and_the_search_keeps_within_its_means(
    rate, p99_ms, threads, seconds, seed
):
    surface = Surface(rate, {(threads, 1, False): threads * 0.9}, noise=0.02, seed=seed)
    found = tried(surface, threads, p99_ms, seconds)
    if found.chosen is None:
        assert all(
            not point.meets(p99_ms)
            for point in found.points
            if point.rate_per_s == min(one.rate_per_s for one in found.points)
        )
    else:
        chosen = found.chosen
        assert surface.p99_ms(chosen.candidate, chosen.rate_per_s) <= p99_ms
    assert all(one.instances * one.threads <= threads for one in surface.measured)
    # Each measurement has a least length, so what is asked for can be too little for all of them.
    assert surface.spent_s <= max(1.1 * seconds, 60)


def test_the_way_it_is_served_stays_where_nothing_is_better():
    found = tried(
        Surface(100, {(2, 1, False): 1.0, (1, 1, False): 0.5, (1, 2, False): 0.5, (1, 2, True): 0.5})
    )
    assert found.chosen is not None
    assert found.chosen.candidate == BASE


def test_a_single_thread_has_one_shape():
    assert shapes(replace(BASE, instances=1), 1) == [replace(BASE, instances=1)]
    found = tried(Surface(100, {}), threads=1)
    assert found.chosen is not None


def test_shapes_of_large_machines_are_few_and_fit():
    for threads in (3, 6, 8, 12, 64, 256, 1000):
        found = shapes(replace(BASE, instances=threads), threads)
        assert len(found) <= MAX_SHAPES
        assert all(one.instances * one.threads <= threads for one in found)
        assert {one.threads for one in found} >= {1, threads}


def test_variants_are_what_the_manifest_allows():
    unbatched = variants(BASE, False, 0, 100)
    assert {one.max_batch for one in unbatched} == {64}
    assert all(one.max_batch >= 16 for one in variants(BASE, True, 16, 100))
    assert all(one.max_queue_delay_us <= 1000 for one in variants(BASE, True, 0, 4))


def test_the_present_way_is_what_the_manifest_says_within_the_budget():
    options = SessionOptions(extra={SPINNING: "1"})
    assert current(Serving(), 4) == Candidate(4, 1, 64, 0, False, "all")
    assert current(Serving(threads=8, session_options=options), 4) == Candidate(1, 4, 64, 0, True, "all")
    assert current(Serving(instances=3, session_options=options), 4).spinning is False


class Prompt(Surface):
    """Answers a millisecond after each request that comes at random, as a load has them come."""

    def opened(self, candidates, rate_per_s, seconds):
        self.seed += 1
        return {one: self._prompt(one, rate_per_s, seconds) for one in candidates}

    def _prompt(self, one: Candidate, rate_per_s: float, seconds: float) -> Sample:
        self.measured.add(one)
        due_s = gaps(rate_per_s, seconds, self.seed)
        self.spent_s += sum(due_s)
        return sample_of([1.0] * len(due_s), sum(due_s) + 0.001, 0, sum(due_s))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from((50, 100, 250, 600, 2400)), st.sampled_from((60, 120, 300)), st.integers(0, 1000))
def test_chance_in_how_many_requests_come_rejects_no_way_of_serving(rate, seconds, seed):
    surface = Prompt(rate, {(2, 1, False): 1.0, (1, 2, False): 0.6, (1, 2, True): 0.6}, seed=seed)
    found = tried(surface, p99_ms=50, seconds=seconds)
    assert found.chosen is not None
    assert found.chosen.rate_per_s == max(point.rate_per_s for point in found.points)


def test_who_falls_behind_is_told_from_who_is_late_by_the_same_time():
    rate = 100.0
    due_s = [place / rate for place in range(1, 201)]
    steady = sample_of([80.0] * 200, due_s[-1] + 0.08, 0, due_s[-1])
    assert steady.delivered == 1.0
    behind = sample_of([1.2 * place * 10 - place * 10 for place in range(1, 201)], 2.4, 0, due_s[-1])
    assert 0.8 < behind.delivered < 0.9
