"""The batcher against costs: what it learns, how it cuts what waits, and what it promises under any costs."""

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.queue_simulation import Asked, Ideal, Outcome, Scheduled, simulate
from steelyard.scheduling.cost import BESIDE, CostModel
from steelyard.scheduling.curve import EFFICIENT_WITHIN, SETTLED_RUNS, Curve
from steelyard.scheduling.kept_costs import KeptCosts, KeptCurve, merged, read_kept, written
from steelyard.scheduling.lane import NEVER_NS, Batch, Lane
from steelyard.scheduling.policy import LanePolicy
from steelyard.scheduling.scheduler import Scheduler
from steelyard.scheduling.ticket import Ticket

MS = 1_000_000
# A row costs 2 ms and a run 4 ms more: the more at once the better.
SHARED = {rows: 4 * MS + 2 * MS * rows for rows in (1, 2, 4, 8)}
# As measured of a file-type model on CPU: four are the best, more are worse.
WORSE = {1: 5_300_000, 2: 9_600_000, 4: 17_700_000, 8: 52_000_000}


def model(costs: dict[int, int], max_batch: int = 8) -> CostModel:
    cost = CostModel()
    cost.learn(costs)
    cost.set_limit(min(max_batch, cost.efficient_rows or max_batch))
    return cost


def queue(costs: dict[int, int], threads: int = 1, instances: int = 1, **policy: Any) -> Scheduled:
    cost = CostModel()
    cost.learn(costs)
    made = LanePolicy(**{"max_batch": max(costs), "instances": instances, **policy})
    return Scheduled(Scheduler(threads, 1 << 30), Lane("m", made, cost))


def line(costs: dict[int, int]) -> Any:
    """The cost of any number of rows: straight between those that are given."""
    curve = Curve([(rows, float(ns)) for rows, ns in costs.items()], max(costs), 0)
    return lambda rows: int(curve.predict(rows))


def rows_of(outcome: Outcome) -> list[int]:
    return [ran.rows for ran in outcome.runs]


def at_once(*rows: int, deadline_ns: int = 0) -> list[Asked]:
    return [Asked(0, count, deadline_ns) for count in rows]


def test_where_more_at_once_is_better_all_that_waits_is_taken() -> None:
    served = simulate(queue(SHARED), at_once(*[1] * 13), line(SHARED))
    assert rows_of(served) == [8, 5]


def test_an_odd_number_is_cut_where_the_parts_cost_less() -> None:
    steps = {1: 10 * MS, 2: 11 * MS, 4: 12 * MS, 5: 23 * MS, 8: 24 * MS}
    served = simulate(queue(steps), at_once(*[1] * 5), line(steps))
    assert rows_of(served) == [4, 1], "5 at once take 23 ms, and 4 and 1 take 22"


def test_no_size_is_used_that_is_dearer_by_the_row_than_a_smaller_one() -> None:
    served = simulate(queue(WORSE), at_once(*[1] * 12), line(WORSE))
    assert max(rows_of(served)) == 4


def test_requests_of_several_rows_are_put_together_only_where_that_pays() -> None:
    served = simulate(queue(WORSE), at_once(3, 3, 3), line(WORSE))
    assert rows_of(served) == [3, 3, 3]
    together = simulate(queue(SHARED), at_once(3, 3, 3), line(SHARED))
    assert rows_of(together) == [6, 3]


def test_idle_threads_share_what_waits_where_that_is_sooner() -> None:
    dear = {1: 10 * MS, 2: 19 * MS, 4: 37 * MS}
    served = simulate(queue(dear, threads=2, instances=2), at_once(1, 1), line(dear))
    assert rows_of(served) == [1, 1]
    assert served.ended_ns == 10 * MS
    cheap = {1: 10 * MS, 2: 10 * MS, 4: 11 * MS}
    assert rows_of(simulate(queue(cheap, threads=2, instances=2), at_once(1, 1), line(cheap))) == [2]


def test_runs_that_slow_each_other_are_not_split_for_nothing() -> None:
    cost = model({1: 10 * MS, 2: 15 * MS})
    curve = cost.curve(())
    assert curve is not None
    assert curve.share(2, 2, cost.beside) == 1
    for _ in range(200):
        cost.observe(1, 18 * MS, (), BESIDE)
    assert cost.beside == pytest.approx(1.8, rel=0.1)
    assert curve.share(2, 2, cost.beside) == 2


def test_what_came_together_passes_the_queue_only_where_all_of_it_would_leave_at_once() -> None:
    for costs, passes in (({1: 5_000, 2: 6_000, 4: 8_000}, True), ({1: 10_000, 2: 11_000, 4: 90_000}, False)):
        cost = CostModel()
        cost.learn(costs, 100_000)
        lane = Lane("m", LanePolicy(max_batch=4), cost)
        lane.limit_rows = 4
        cost.set_limit(4)
        tickets = [Ticket(None, None, 1, (), 1, 0, 0, 8, 1) for _ in range(4)]
        batch = Scheduler(1, 1 << 30, 100_000).take_at_once(lane, tickets, 4, NEVER_NS, 5)
        assert (batch is not None) == passes


def test_what_may_be_late_goes_through_the_queue() -> None:
    cost = CostModel()
    cost.learn({1: 50_000, 2: 55_000, 4: 60_000}, 100_000)
    lane = Lane("m", LanePolicy(max_batch=4), cost)
    lane.limit_rows = 4
    cost.set_limit(4)
    tickets = [Ticket(None, None, 1, (), 1, 0, 80_000, 8, 1)]
    scheduler = Scheduler(1, 1 << 30, 100_000)
    assert scheduler.take_at_once(lane, tickets, 1, 80_000, 60_000) is None, "a run takes longer than that"
    assert scheduler.take_at_once(lane, tickets, 1, 80_000, 80_001) is None
    assert scheduler.take_at_once(lane, tickets, 1, 1_000_000, 5) is not None


def test_a_batch_is_made_smaller_where_that_meets_a_deadline() -> None:
    asked = [Asked(0, 1, 12 * MS), *at_once(1, 1, 1)]
    served = simulate(queue(SHARED), asked, line(SHARED))
    assert rows_of(served) == [2, 2], "three would take 10 ms, and with a margin more than 12"
    assert served.given_up == []


def test_who_is_late_in_any_case_makes_no_batch_smaller_and_is_not_run() -> None:
    asked = [Asked(0, 1, 3 * MS), *at_once(1, 1, 1)]
    served = simulate(queue(SHARED), asked, line(SHARED))
    assert served.given_up == [0], "no run of one row was ever that short"
    assert rows_of(served) == [3]


def test_waiting_ends_where_it_cannot_pay_and_where_a_deadline_needs_it() -> None:
    alone = {1: 10 * MS, 2: 20 * MS, 4: 40 * MS}
    served = simulate(queue(alone, max_queue_delay_ns=50 * MS, max_batch=4), at_once(1), line(alone))
    assert served.runs[0].at_ns == 0, "more rows would be no cheaper"
    waiting = simulate(queue(SHARED, max_queue_delay_ns=50 * MS), at_once(1), line(SHARED))
    assert waiting.runs[0].at_ns == 50 * MS
    due = simulate(queue(SHARED, max_queue_delay_ns=50 * MS), at_once(1, deadline_ns=30 * MS), line(SHARED))
    assert 5 * MS < due.runs[0].at_ns < 15 * MS, (
        "half of what the caller gave is for the run and the way back"
    )
    short = simulate(queue(SHARED, max_queue_delay_ns=50 * MS), at_once(1, deadline_ns=11 * MS), line(SHARED))
    assert short.runs[0].at_ns == 0
    assert short.given_up == []
    assert due.given_up == []


def test_a_disturbed_run_teaches_little_and_a_bad_minute_passes() -> None:
    cost = model(SHARED)
    before = cost.predict_ns(8)
    assert before is not None
    cost.observe(8, 1000 * before)
    for _ in range(SETTLED_RUNS):
        cost.observe(4, SHARED[4])
    assert cost.predict_ns(8) < 1.2 * before  # type: ignore[operator]
    curve = cost.curve(())
    assert curve is not None
    for _ in range(200):
        cost.observe(8, 3 * before)
        cost.observe(4, SHARED[4])
    assert curve.planned(8) == 4, "eight have become dear for good"
    for _ in range(150 * SETTLED_RUNS):
        cost.observe(4, SHARED[4])
    assert curve.planned(8) == 8, "and are tried again"


def test_a_machine_that_becomes_slower_changes_no_choice_for_long() -> None:
    cost = model(SHARED)
    curve = cost.curve(())
    assert curve is not None
    chosen = []
    for _ in range(1000):
        chosen.append(curve.planned(8))
        cost.observe(chosen[-1], 2 * SHARED[chosen[-1]])
    assert chosen.count(8) > 900
    assert set(chosen[-100:]) == {8}


def test_each_shape_has_costs_of_its_own() -> None:
    cost = CostModel()
    cost.learn({rows: MS + MS * rows for rows in (1, 2, 4, 8)}, shape=(8,))
    long_rows = line({1: 80 * MS, 2: 170 * MS, 4: 400 * MS, 8: 1000 * MS})
    lane = Lane("m", LanePolicy(max_batch=8), cost)
    for _ in range(4 * SETTLED_RUNS):
        for rows in (1, 2, 4, 8):
            cost.observe(rows, long_rows(rows), (512,))
    short, long = cost.curve((8,)), cost.curve((512,))
    assert short is not None
    assert long is not None
    assert (lane.limit_rows, short.planned(8), long.planned(8)) == (8, 8, 1)
    for dim in range(1000):
        cost.observe(1, MS, (dim,))
    assert len(cost.curves()) <= 64
    assert cost.curve((8,)) is not None


def test_a_new_shape_is_tried_at_smaller_sizes_once() -> None:
    cost = model(SHARED)
    cost.observe(8, 300 * MS, (512,))
    curve = cost.curve((512,))
    assert curve is not None
    assert [curve.first(8) for _ in range(3)] == [4, 8, 8]


def test_what_was_learned_comes_back_in_proportion_to_the_machine() -> None:
    cost = model({1: 10 * MS, 2: 11 * MS, 4: 12 * MS, 8: 24 * MS})
    for _ in range(10 * SETTLED_RUNS):
        cost.observe(5, 23 * MS)
        cost.observe(1, 50 * MS, (7,))
    kept = read_kept(written(cost.kept()))
    again = model({1: 20 * MS, 2: 22 * MS, 4: 24 * MS, 8: 48 * MS})
    again.restore(kept)
    assert again.predict_ns(5) == pytest.approx(46 * MS, rel=0.1)
    assert again.predict_ns(1, (7,)) == pytest.approx(100 * MS, rel=0.1)
    curve = again.curve(())
    assert curve is not None
    assert curve.planned(5) == 4


def test_of_several_workers_each_counts_by_what_it_has_met() -> None:
    busy, idle = model(SHARED), model(SHARED)
    for _ in range(200 * SETTLED_RUNS):
        busy.observe(8, 40 * MS)
    idle.observe(8, 20 * MS)
    for _ in range(10 * SETTLED_RUNS):
        idle.observe(1, 50 * MS, (7,))
    for both in ([busy.kept(), idle.kept()], [idle.kept(), busy.kept()]):
        again = model(SHARED)
        again.restore(read_kept(written(merged(both))))
        assert again.predict_ns(8) == pytest.approx(40 * MS, rel=0.02), "the one that ran it knows"
        assert again.predict_ns(1, (7,)) == idle.predict_ns(1, (7,)), "and of what one alone has met that one"


def test_what_was_merged_before_is_kept_by_its_runs() -> None:
    cost = model(SHARED)
    for _ in range(20 * SETTLED_RUNS):
        cost.observe(8, 40 * MS)
    again = model(SHARED)
    again.restore(cost.kept())
    again.observe(8, 40 * MS)
    (curve,) = again.kept().curves
    assert curve.runs == 20 * SETTLED_RUNS + 1


FIGURES = st.tuples(st.integers(1, 9), st.floats(1, 1e12), st.floats(1, 1e12))
KEPT = st.builds(
    KeptCosts,
    st.floats(1, 4),
    st.lists(
        st.builds(
            KeptCurve,
            st.tuples(st.integers(0, 99)),
            st.lists(FIGURES, min_size=1, max_size=4, unique_by=lambda point: point[0]).map(tuple),
            st.integers(0, 1 << 30),
        ),
        min_size=1,
        max_size=40,
        unique_by=lambda curve: curve.shape,
    ).map(tuple),
)


@given(st.lists(KEPT, min_size=1, max_size=4))
def test_a_merge_can_be_kept_and_lies_between_what_it_is_made_of(kept: list[KeptCosts]) -> None:
    one = read_kept(written(merged(kept)))
    assert one.curves[0].shape == kept[0].curves[0].shape
    for curve in one.curves:
        given = [
            point
            for costs in kept
            for own in costs.curves
            if own.shape == curve.shape
            for point in own.points
        ]
        assert {rows for rows, _, _ in curve.points} == {rows for rows, _, _ in given}
        for rows, _, live in curve.points:
            of_rows = [own for size, _, own in given if size == rows]
            assert min(of_rows) * 0.999 <= live <= max(of_rows) * 1.001


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"beside": 1.0},
        {"beside": 1.0, "curves": [{"shape": [1], "points": [], "runs": 1}]},
        {"beside": 1.0, "curves": [{"shape": [1], "points": [[0, 1.0, 1.0]], "runs": 1}]},
        {"beside": 1.0, "curves": [{"shape": [1], "points": [[1, float("nan"), 1.0]], "runs": 1}]},
        {"beside": -1.0, "curves": []},
        {"beside": 1.0, "curves": [{"shape": [True], "points": [[1, 1.0, 1.0]], "runs": 1}]},
        {"beside": 1.0, "curves": [{"shape": [], "points": [[1, 1.0]], "runs": 1}]},
        {"beside": 1.0, "curves": [{"shape": [], "points": [[1, 1.0, 1.0]], "runs": 1}] * 65},
        {"beside": 1.0, "curves": [{"shape": [], "points": [[1, 1.0, 1.0]], "runs": -1}]},
        {"beside": 1.0, "curves": [{"shape": [], "points": [[1, 1.0, 1.0]]}]},
    ],
)
def test_what_was_not_kept_by_us_is_refused(document: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_kept(document)


COSTS = st.lists(st.integers(1, 40), min_size=4, max_size=4).map(
    lambda steps: {rows: sum(steps[: place + 1]) * MS for place, rows in enumerate((1, 2, 4, 8))}
)
GAPS = st.lists(st.integers(0, 30 * MS), min_size=1, max_size=40)


def coming(gaps: list[int]) -> list[Asked]:
    now, asked = 0, []
    for gap in gaps:
        now += gap
        asked.append(Asked(now))
    return asked


@settings(max_examples=150, deadline=None)
@given(costs=COSTS, gaps=GAPS, threads=st.integers(1, 3))
def test_under_any_costs_all_are_served_in_order_at_once_and_never_dearer_by_the_row(
    costs: dict[int, int], gaps: list[int], threads: int
) -> None:
    cost = line(costs)
    asked = coming(gaps)
    server = queue(costs, threads=threads, instances=threads)
    served = simulate(server, asked, cost)
    assert served.given_up == []
    order = [place for ran in served.runs for place in ran.requests]
    assert order == sorted(order), "none is passed by another"
    overhead = server.lane.cost.curve(()).overhead_ns  # type: ignore[union-attr]
    for ran in served.runs:
        own = (cost(ran.rows) + overhead) / ran.rows
        least = min((cost(rows) + overhead) / rows for rows in range(1, ran.rows + 1))
        assert own <= least * (1 + EFFICIENT_WITHIN) * 1.001
        assert ran.rows <= server.lane.limit_rows
    ends = [ran.at_ns + ran.took_ns for ran in served.runs]
    for place, ran in enumerate(served.runs):
        if ran.at_ns not in {asked[first].at_ns for first in ran.requests}:
            busy = sum(1 for other in range(place) if served.runs[other].at_ns < ran.at_ns <= ends[other])
            assert busy >= threads, "nothing waits while a thread is free"


@settings(max_examples=100, deadline=None)
@given(costs=COSTS, gaps=GAPS)
def test_the_queue_is_empty_about_as_soon_as_an_ideal_ones(costs: dict[int, int], gaps: list[int]) -> None:
    cost = line(costs)
    ours = simulate(queue(costs), coming(gaps), cost)
    ideal = simulate(Ideal(cost, 8), coming(gaps), cost)
    # A batch that waits for the one before it may be one run late: what comes next is not known to either.
    assert ours.ended_ns <= 1.1 * ideal.ended_ns + max(costs.values())


@settings(max_examples=150, deadline=None)
@given(costs=COSTS, slack=st.lists(st.integers(0, 120 * MS), min_size=1, max_size=12))
def test_no_batch_makes_a_member_late_that_a_smaller_one_would_not(
    costs: dict[int, int], slack: list[int]
) -> None:
    cost = line(costs)
    asked = [Asked(0, 1, due + 1) for due in slack]
    served = simulate(queue(costs), asked, cost)
    for ran in served.runs:
        for place in ran.requests:
            due_ns = asked[place].deadline_ns
            alone_ns = ran.at_ns + int(cost(1) * 1.25) + 100_000
            assert due_ns < alone_ns or ran.at_ns + ran.took_ns <= due_ns
    for place in served.given_up:
        # It was given up because its turn came too late, not because of a guess.
        before = [ran for ran in served.runs if min(ran.requests) < place]
        ended_ns = max((ran.at_ns + ran.took_ns for ran in before), default=0)
        assert ended_ns + cost(1) > asked[place].deadline_ns


@settings(max_examples=100, deadline=None)
@given(
    points=st.dictionaries(st.integers(1, 200), st.integers(1, 10**9), min_size=1, max_size=12),
    runs=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 10**12)), max_size=80),
    limit=st.one_of(st.integers(1, 20), st.sampled_from([64, 300])),
)
def test_any_observations_leave_a_plan_that_is_sound(
    points: dict[int, int], runs: list[tuple[int, int]], limit: int
) -> None:
    curve = Curve([(rows, float(ns)) for rows, ns in points.items()], limit, 1000.0)
    for rows, ns in runs:
        curve.observe(rows, ns)
    for waiting in {*range(1, 40), limit, 2 * limit, 2 * limit + 1}:
        assert 1 <= curve.planned(waiting) <= min(waiting, limit)
        assert curve.allows(curve.planned(waiting))
    assert all(live > 0 for _, _, live in curve.points)


def test_poisson_arrivals_wait_about_as_long_as_before_an_ideal_queue() -> None:
    costs = {rows: 2 * MS + MS * rows for rows in (1, 2, 4, 8, 16)}
    cost, rng = line(costs), random.Random(5)
    gap_ns = cost(16) / 16 / 0.7
    now, asked = 0.0, []
    for _ in range(20_000):
        now += rng.expovariate(1 / gap_ns)
        asked.append(Asked(int(now)))
    ours, ideal = simulate(queue(costs), asked, cost), simulate(Ideal(cost, 16), asked, cost)
    assert ours.p(0.99) <= 1.1 * ideal.p(0.99)
    assert all(before.at_ns <= after.at_ns for before, after in pairwise(ours.runs))


def crowd(alone: dict[int, int], company: dict[int, int], runs: int, callers: int = 16) -> list[int]:
    """Rows of each of so many runs, two at a time, of callers who ask again at once; `company`: while another runs."""
    scheduled = queue(alone, threads=2, instances=2, max_batch=8)
    scheduler, lane = scheduled.scheduler, scheduled.lane
    now_ns, rows = 0, []
    running: list[tuple[int, int, Batch]] = []
    for _ in range(callers):
        scheduler.offer(lane, Ticket(None, None, 1, (), now_ns + 1, 0, 0, 8, 1), ())
    while len(rows) < runs:
        while (batch := scheduler.next_batch(now_ns)) is not None:
            took_ns = line(company if running else alone)(batch.rows)
            running.append((now_ns + took_ns, took_ns, batch))
            rows.append(batch.rows)
        running.sort(key=lambda one: one[0])
        now_ns, took_ns, batch = running.pop(0)
        scheduler.finished(batch, took_ns)
        for _ in batch.tickets:
            scheduler.offer(lane, Ticket(None, None, 1, (), now_ns + 1, 0, 0, 8, 1), ())
    return rows


def test_sizes_that_suffer_from_others_are_left_for_those_that_do_not() -> None:
    alone = {1: 6_000_000, 2: 11_800_000, 4: 23_000_000, 8: 46_000_000}
    suffering = {1: 6_000_000, 2: 13_000_000, 4: 28_000_000, 8: 60_000_000}
    late = crowd(alone, suffering, 1500)[-500:]
    assert sum(rows == 1 for rows in late) > 400
    # Where all suffer alike, or nobody does, nothing changes.
    for factor in (1.0, 1.7):
        alike = {rows: int(ns * factor) for rows, ns in SHARED.items()}
        late = crowd(SHARED, alike, 1500)[-500:]
        assert sum(rows >= 6 for rows in late) > 400


def test_sizes_that_others_do_not_slow_are_found_among_those_that_they_do() -> None:
    alone = {1: 6_000_000, 2: 12_400_000, 4: 25_000_000, 8: 52_000_000}
    slowed = {1: 9_000_000, 2: 13_000_000, 4: 25_000_000, 8: 52_000_000}
    late = crowd(alone, slowed, 1500)[-500:]
    assert sum(rows > 1 for rows in late) > 400
    # Where others slow all of them alike, single rows stay the cheapest, and larger batches are hardly tried.
    alike = {rows: int(1.4 * ns) for rows, ns in alone.items()}
    assert sum(rows > 1 for rows in crowd(alone, alike, 1500)) < 30
