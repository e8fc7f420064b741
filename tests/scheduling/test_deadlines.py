"""Deadlines before the queue: who is refused at once, and what waits for company while others have theirs."""

import json

import pytest

from steelyard.scheduling.cost import BESIDE, COMPANY_RUNS, CostModel
from steelyard.scheduling.curve import LEAST_RUNS
from steelyard.scheduling.kept_costs import merged, read_kept, written
from steelyard.scheduling.lane import SHAPES_WAITED_FOR, Lane
from steelyard.scheduling.policy import LanePolicy
from steelyard.scheduling.scheduler import HOPELESS_TRIED, Scheduler
from steelyard.scheduling.ticket import Ticket

MS = 1_000_000
WARM = (16,)


def asked(shape: tuple[int, ...], at_ms: float, within_ms: float = 0) -> Ticket:
    at_ns = int(at_ms * MS)
    deadline_ns = at_ns + int(within_ms * MS) if within_ms else 0
    return Ticket(None, object(), 1, shape, at_ns, at_ns, deadline_ns, 8, 10)


def costs(row_ms: float = 10) -> CostModel:
    cost = CostModel()
    cost.learn({rows: int(rows**0.5 * row_ms * MS) for rows in (1, 2, 4, 8)}, shape=WARM)
    return cost


def served(cost: CostModel, delay_ms: float = 0) -> tuple[Scheduler, Lane]:
    return Scheduler(1, 1 << 30), Lane(
        "m", LanePolicy(max_batch=8, max_queue_delay_ns=int(delay_ms * MS)), cost
    )


def expired(scheduler: Scheduler, lane: Lane, ticket: Ticket) -> bool:
    """Whether a request is refused as it comes."""
    scheduler.offer(lane, ticket, ticket.key)
    gone = scheduler.expire(ticket.received_ns) == [ticket]
    if not gone:
        scheduler.cancel(lane, ticket)
    return gone


def test_one_slow_run_of_a_new_shape_refuses_nobody() -> None:
    cost = costs()
    scheduler, lane = served(cost)
    cost.observe(1, 900 * MS, (20,))
    assert not expired(scheduler, lane, asked((20,), 1000, within_ms=600))
    for _ in range(LEAST_RUNS):
        cost.observe(1, 300 * MS, (20,))
    assert not expired(scheduler, lane, asked((20,), 1000, within_ms=600))
    # Less than any run took is not waited for.
    assert expired(scheduler, lane, asked((20,), 1000, within_ms=200))
    assert expired(scheduler, lane, asked(WARM, 1000, within_ms=5))


def test_guesses_and_what_an_earlier_server_saw_refuse_nobody() -> None:
    before = costs()
    for _ in range(LEAST_RUNS):
        before.observe(1, 300 * MS, (20,))
    cost = costs()
    cost.restore(before.kept())
    scheduler, lane = served(cost)
    assert (cost.predict_ns(1, (20,)) or 0) > 200 * MS
    assert not expired(scheduler, lane, asked((20,), 1000, within_ms=100))


def test_of_those_with_too_little_time_one_is_tried_now_and_then() -> None:
    scheduler, lane = served(costs())
    refused = [
        expired(scheduler, lane, asked(WARM, at, within_ms=5)) for at in range(1, 2 * HOPELESS_TRIED + 1)
    ]
    assert refused.count(False) == 2


def test_what_waits_for_company_holds_up_no_deadline_of_another_shape() -> None:
    scheduler, lane = served(costs(), delay_ms=500)
    scheduler.offer(lane, asked(WARM, 1), WARM)
    due = asked((20,), 2, within_ms=200)
    scheduler.offer(lane, due, (20,))
    assert scheduler.next_batch(3 * MS) is None
    wakeup_ns = scheduler.next_wakeup_ns(3 * MS)
    assert wakeup_ns is not None
    assert wakeup_ns <= 102 * MS
    batch = scheduler.next_batch(wakeup_ns)
    assert batch is not None
    assert batch.tickets == [due]
    scheduler.finished(batch, 0)
    assert scheduler.next_batch(wakeup_ns) is None


def test_a_full_batch_leaves_before_an_older_one_that_waits_for_company() -> None:
    scheduler, lane = served(costs(), delay_ms=500)
    scheduler.offer(lane, asked(WARM, 1), WARM)
    cost = lane.cost
    for rows in (1, 2, 4, 8):
        cost.observe(rows, int(rows**0.5 * 10 * MS), (20,))
    full = [asked((20,), 2) for _ in range(8)]
    for ticket in full:
        scheduler.offer(lane, ticket, (20,))
    batch = scheduler.next_batch(3 * MS)
    assert batch is not None
    assert batch.tickets == full
    scheduler.finished(batch, 0)
    # Whom nobody may join waits for nobody.
    alone = asked(WARM, 4)
    scheduler.offer(lane, alone, alone)
    batch = scheduler.next_batch(5 * MS)
    assert batch is not None
    assert batch.tickets == [alone]


def test_of_many_shapes_none_is_waited_for() -> None:
    scheduler, lane = served(costs(), delay_ms=500)
    for length in range(SHAPES_WAITED_FOR + 1):
        assert scheduler.next_batch(1 * MS) is None
        ticket = asked((100 + length,), 1)
        scheduler.offer(lane, ticket, ticket.key)
    assert scheduler.next_batch(1 * MS) is not None


def test_what_runs_cost_beside_others_is_kept() -> None:
    cost = costs()
    for rows in (1, 2, 4, 8):
        for _ in range(COMPANY_RUNS + 40):
            cost.observe(rows, int(rows * 9 * MS), WARM, BESIDE)
    curve = cost.company[WARM]
    kept = read_kept(json.loads(json.dumps(written(merged([cost.kept(), cost.kept()])))))
    again = costs()
    again.restore(kept)
    assert [live for _, _, live in again.company[WARM].points] == pytest.approx(
        [live for _, _, live in curve.points]
    )
    # Files of before these were kept are read as well.
    older = written(cost.kept())
    del older["company"]
    again.restore(read_kept(json.loads(json.dumps(older))))


def test_beyond_what_is_planned_for_only_sizes_are_used_that_are_no_dearer() -> None:
    cheap, dear = 100_000, 150_000
    for per_row, most in ((cheap, 1024), (dear, 256)):
        cost = CostModel()
        sizes = {1 << power: (1 << power) * 100_000 + 5 * MS for power in range(9)}
        cost.learn({**sizes, 512: 512 * per_row + 5 * MS, 1024: 1024 * per_row + 5 * MS}, shape=WARM)
        cost.set_limit(1024)
        curve = cost.curve(WARM)
        assert curve is not None
        assert curve.planned(5000) == most
        assert curve.allows(300) == (most > 256)
