"""Batches of rows that differ in length: similar ones together, nobody starved, nothing dearer than one at a time."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.scheduling.cost import CostModel
from steelyard.scheduling.lane import Batch
from steelyard.scheduling.lengths import BOUNDS, LengthCosts, bucket_of
from steelyard.scheduling.policy import LanePolicy
from steelyard.scheduling.ragged import RaggedGroup, RaggedLane
from steelyard.scheduling.scheduler import Scheduler
from steelyard.scheduling.ticket import DONE, QUEUED, Ticket

US = 1000
GROUP = RaggedGroup(())


def took_ns(rows: int, length: int) -> int:
    """About as a sentence encoder on one core: so much a run, a token, and a pair of tokens."""
    return 300 * US + 150 * US * rows * length + US // 4 * rows * length * length


def lane(max_batch: int = 16) -> RaggedLane:
    cost = CostModel()
    sizes = [size for size in (1, 2, 4, 8, 16) if size <= max_batch]
    cost.learn({rows: took_ns(rows, 16) for rows in sizes}, shape=(16,))
    for length in (64, 256):
        cost.learn_more({rows: took_ns(rows, length) for rows in sizes}, (length,))
    return RaggedLane("m", LanePolicy(max_batch=max_batch), cost)


def ticket(length: int, at: int = 1, rows: int = 1, deadline_ns: int = 0, priority: int = 8) -> Ticket:
    made = Ticket(None, None, rows, (length,), at, 0, deadline_ns, priority, 1)
    made.length = length
    return made


def lengths(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [one.length for one in batch.tickets]


def test_the_oldest_leaves_with_those_that_are_about_as_long() -> None:
    s, m = Scheduler(1, 1 << 30), lane()
    for at, length in enumerate((40, 200, 42, 8, 41, 190, 9, 39)):
        s.offer(m, ticket(length, at + 1), GROUP)
    first = s.next_batch(10)
    assert 40 in lengths(first)
    assert set(lengths(first)) < {39, 40, 41, 42}
    assert first is not None
    assert first.rows > 1
    s.finished(first, 0)
    assert set(lengths(s.next_batch(11))) <= {190, 200}


def test_urgent_requests_are_in_the_next_batch() -> None:
    s, m = Scheduler(1, 1 << 30), lane()
    for at in range(30):
        s.offer(m, ticket(16, at + 1), GROUP)
    s.offer(m, ticket(200, 50, priority=1), GROUP)
    assert lengths(s.next_batch(60)) == [200]


def test_other_dimensions_keep_requests_apart() -> None:
    s, m = Scheduler(2, 1 << 30), lane()
    s.offer(m, ticket(16), RaggedGroup((3,)))
    s.offer(m, ticket(16, 2), RaggedGroup((4,)))
    s.offer(m, ticket(16, 3), RaggedGroup((3,)))
    first = s.next_batch(5)
    assert first is not None
    assert [one.received_ns for one in first.tickets] == [1, 3]


def test_a_batch_that_would_miss_a_deadline_is_smaller() -> None:
    s, m = Scheduler(1, 1 << 30), lane()
    alone = took_ns(1, 64)
    s.offer(m, ticket(64, deadline_ns=1 + int(1.4 * alone)), GROUP)
    for at in range(8):
        s.offer(m, ticket(64, at + 2), GROUP)
    assert lengths(s.next_batch(1)) == [64]


def test_costs_between_buckets_lie_between_theirs_and_are_learned() -> None:
    m = lane()
    costs = LengthCosts(m.cost)
    assert costs.predict(4, 16) < costs.predict(4, 30) < costs.predict(4, 64) < costs.predict(4, 300)
    assert all(bucket_of(bound) == bound for bound in BOUNDS)
    assert list(BOUNDS) == sorted(set(BOUNDS))
    for _ in range(400):
        costs.observe(4, 30, 3 * took_ns(4, 30))
    assert 2 < costs.predict(4, 30) / took_ns(4, 30) < 4
    assert costs.predict(4, 16) == took_ns(4, 16), "other lengths are not concerned"


def test_rows_of_unknown_cost_are_served_all_the_same() -> None:
    m = RaggedLane("m", LanePolicy(max_batch=4), CostModel())
    s = Scheduler(1, 1 << 30)
    for at in range(6):
        s.offer(m, ticket(5 + at, at + 1), GROUP)
    done = 0
    while (batch := s.next_batch(9)) is not None:
        assert batch.rows <= 4
        done += len(batch.tickets)
        s.finished(batch, took_ns(batch.rows, 10))
    assert done == 6


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_whoever_waits_gets_a_turn_and_the_counts_are_true(data: st.DataObject) -> None:
    s, m = Scheduler(2, 1 << 30), lane(8)
    now, waiting, running = 1, [], []
    for _ in range(data.draw(st.integers(1, 40))):
        now += 1
        what = data.draw(st.sampled_from(["offer", "offer", "offer", "run", "cancel", "finish"]))
        if what == "offer":
            made = ticket(data.draw(st.integers(1, 600)), now, data.draw(st.integers(1, 10)))
            s.offer(m, made, GROUP if data.draw(st.booleans()) else made)
            waiting.append(made)
        elif what == "cancel" and waiting:
            assert s.cancel(m, waiting.pop(data.draw(st.integers(0, len(waiting) - 1))))
        elif what == "finish" and running:
            batch = running.pop()
            s.finished(batch, took_ns(batch.rows, max(lengths(batch))))
        elif what == "run" and (batch := s.next_batch(now)) is not None:
            assert waiting[0] in batch.tickets, "the oldest is in every batch"
            assert batch.rows <= m.limit_rows or len(batch.tickets) == 1
            assert len({id(one) for one in batch.tickets}) == len(batch.tickets)
            waiting = [one for one in waiting if one not in batch.tickets]
            running.append(batch)
        assert m.queued == len(waiting)
        assert m.queued_bytes == s.queued_bytes == len(waiting)
        assert all(one.state == QUEUED for one in waiting)
    for batch in running:
        for one in batch.tickets:
            one.state = DONE
        s.finished(batch, 1)
    left = len(waiting)
    while (batch := s.next_batch(now)) is not None:
        left -= len(batch.tickets)
        s.finished(batch, 1)
    assert left == 0


def best_cuts_ns(sorted_lengths: list[int], most: int) -> int:
    """The least time for all rows in batches of neighbours, one after another: by dynamic programming."""
    least = [0]
    for end, length in enumerate(sorted_lengths, 1):
        least.append(
            min(
                least[start] + took_ns(end - start, length) + 100 * US
                for start in range(max(0, end - most), end)
            )
        )
    return least[-1]


def test_a_full_queue_runs_about_as_fast_as_all_of_it_sorted_beforehand() -> None:
    rng = random.Random(3)
    asked = [min(256, max(3, int(rng.lognormvariate(3.2, 0.8)))) for _ in range(600)]
    s, m = Scheduler(1, 1 << 30), lane()
    coming = iter(enumerate(asked))
    taken_ns = served = 0

    def refill() -> None:
        while m.queued < 64 and (some := next(coming, None)) is not None:
            s.offer(m, ticket(some[1], some[0] + 1), GROUP)

    refill()
    while (batch := s.next_batch(taken_ns)) is not None:
        ns = took_ns(batch.rows, max(lengths(batch)))
        taken_ns += ns + 100 * US
        served += batch.rows
        s.finished(batch, ns)
        refill()
    assert served == len(asked)
    assert taken_ns < best_cuts_ns(sorted(asked), 16) / 0.9
    assert taken_ns < sum(took_ns(1, length) + 100 * US for length in asked)
