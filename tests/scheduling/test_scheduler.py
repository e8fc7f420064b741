"""The scheduler against its contract: bounds, order, permits, delay, deadlines; walked by a state machine."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from steelyard.errors import Overloaded
from steelyard.scheduling.cost import CostModel
from steelyard.scheduling.lane import Batch, Lane
from steelyard.scheduling.policy import LanePolicy
from steelyard.scheduling.scheduler import DEADLINES_KEPT_BELOW, Scheduler
from steelyard.scheduling.ticket import State, Ticket
from steelyard.scheduling.waiting import FRONTS_KEPT_BELOW


def ticket(rows: int = 1, *, at: int = 1, priority: int = 8, deadline: int = 0, size: int = 10) -> Ticket:
    return Ticket(None, object(), rows, (), at, at, deadline, priority, size)


def lane(name: str = "m", *, cost: CostModel | None = None, **policy: Any) -> Lane:
    return Lane(name, LanePolicy(**{"max_batch": 4, **policy}), cost or CostModel())


def scheduler(threads: int = 2, inline_below_ns: int = 0) -> Scheduler:
    return Scheduler(threads, 1 << 30, inline_below_ns)


def test_a_free_session_takes_what_is_there_up_to_the_limit() -> None:
    s, m = scheduler(), lane()
    waiting = [ticket(at=i + 1) for i in range(6)]
    for t in waiting:
        s.offer(m, t, ())
    first, second = s.next_batch(100), s.next_batch(100)
    assert first is not None
    assert first.tickets == waiting[:4]
    assert second is None, "one instance, and it is busy"
    s.finished(first, 0)
    third = s.next_batch(101)
    assert third is not None
    assert third.tickets == waiting[4:]


def test_rows_count_not_requests() -> None:
    s, m = scheduler(), lane()
    for rows in (3, 2, 1):
        s.offer(m, ticket(rows), ())
    batch = s.next_batch(1)
    assert batch is not None
    assert (len(batch.tickets), batch.rows) == (1, 3), "3 + 2 would pass the limit of 4, and order is kept"


def test_a_request_larger_than_the_limit_runs_alone() -> None:
    s, m = scheduler(), lane()
    s.offer(m, ticket(9), ())
    s.offer(m, ticket(1), ())
    batch = s.next_batch(1)
    assert batch is not None
    assert batch.rows == 9


def test_groups_are_never_mixed_and_the_oldest_goes_first() -> None:
    s, m = scheduler(), lane(instances=2)
    s.offer(m, ticket(at=5), "b")
    s.offer(m, ticket(at=3), "a")
    s.offer(m, ticket(at=6), "b")
    first, second = s.next_batch(10), s.next_batch(10)
    assert first is not None
    assert second is not None
    assert [t.received_ns for t in first.tickets] == [3]
    assert [t.received_ns for t in second.tickets] == [5, 6]


def test_urgent_requests_go_first_and_share_the_batch_with_others() -> None:
    s, m = scheduler(), lane(max_batch=2)
    relaxed, plain, urgent = ticket(priority=12, at=1), ticket(at=2), ticket(priority=1, at=3)
    for t in (relaxed, plain, urgent):
        s.offer(m, t, ())
    batch = s.next_batch(9)
    assert batch is not None
    assert batch.tickets == [urgent, plain]


def test_bounds_refuse_with_a_hint_when_to_come_again() -> None:
    s, m = scheduler(), lane(max_queue_requests=2, max_queue_bytes=25)
    s.offer(m, ticket(), ())
    s.offer(m, ticket(), ())
    with pytest.raises(Overloaded, match="full with 2 requests") as refused:
        s.offer(m, ticket(), ())
    assert 1 <= refused.value.retry_after_ms <= 10_000
    small = lane(max_queue_bytes=25)
    s.offer(small, ticket(size=20), ())
    with pytest.raises(Overloaded, match="6 bytes more would pass the queue's bound of 25"):
        s.offer(small, ticket(size=6), ())


def test_the_bound_over_all_lanes() -> None:
    s = Scheduler(1, 100)
    s.offer(lane("a"), ticket(size=60), ())
    with pytest.raises(Overloaded, match="server's bound of 100 bytes"):
        s.offer(lane("b"), ticket(size=41), ())


def test_the_thread_budget_holds_over_all_lanes() -> None:
    s = scheduler(threads=2)
    wide, narrow = lane("wide", threads=2), lane("narrow", instances=3)
    s.offer(wide, ticket(), ())
    s.offer(narrow, ticket(), ())
    first = s.next_batch(1)
    assert first is not None
    assert first.lane is wide
    assert s.next_batch(1) is None, "no permit is left for the narrow one"
    s.finished(first, 0)
    second = s.next_batch(2)
    assert second is not None
    assert second.lane is narrow


def test_a_lane_of_several_threads_is_not_kept_out_by_lanes_of_one() -> None:
    s = scheduler(threads=2)
    wide, narrow = lane("wide", threads=2), lane("narrow", max_batch=1, instances=2)
    for at in range(4):
        s.offer(narrow, ticket(at=at + 1), ())
    first, second = s.next_batch(10), s.next_batch(10)
    assert first is not None
    assert second is not None
    s.offer(wide, ticket(at=5), ())
    s.finished(first, 0)
    third = s.next_batch(11)
    assert third is not None, "its turn was before the wide one's"
    assert third.lane is narrow
    s.finished(second, 0)
    assert s.next_batch(12) is None, "the free thread is kept for the wide lane"
    s.finished(third, 0)
    fourth = s.next_batch(13)
    assert fourth is not None
    assert fourth.lane is wide


def test_runs_on_the_loop_need_no_permit_that_another_lane_waits_for() -> None:
    s = scheduler(threads=2, inline_below_ns=1000)
    wide, narrow = lane("wide", threads=2), lane("narrow", instances=2)
    cost = CostModel()
    cost.learn({1: 100, 4: 200}, 1000)
    s.offer(narrow, ticket(), ())
    running = s.next_batch(1)
    assert running is not None
    s.offer(wide, ticket(), ())
    s.offer(lane("quick", cost=cost), ticket(), ())
    batch = s.next_batch(2)
    assert batch is not None
    assert batch.inline


def preparing(name: str = "p", instances: int = 2) -> Lane:
    return lane(name, max_batch=1, instances=instances, prepares=True)


def test_requests_are_prepared_while_a_run_holds_the_whole_budget() -> None:
    s = scheduler(threads=2)
    wide, p = lane("wide", threads=2), preparing()
    s.offer(wide, ticket(), ())
    run = s.next_batch(1)
    assert run is not None
    for at in range(3):
        s.offer(p, ticket(at=at + 1), ())
    first = s.next_batch(2)
    assert first is not None
    assert (first.lane, first.permits) == (p, 0)
    assert s.next_batch(2) is None, "one is prepared already"
    s.finished(first, 0)
    second = s.next_batch(3)
    assert second is not None
    s.finished(run, 0)
    assert s.free_threads == 2
    third = s.next_batch(4)
    assert third is not None
    assert (third.lane, third.permits) == (p, 1)


def test_what_is_prepared_beside_a_run_keeps_to_the_budget_where_that_has_room() -> None:
    s = scheduler(threads=2)
    narrow, p = lane("narrow"), preparing()
    s.offer(narrow, ticket(), ())
    run = s.next_batch(1)
    for at in range(3):
        s.offer(p, ticket(at=at + 1), ())
    first = s.next_batch(2)
    assert run is not None
    assert first is not None
    assert (first.lane, first.permits) == (p, 1)
    assert s.next_batch(2) is None


def test_a_run_of_several_threads_does_not_wait_for_what_is_prepared_after_it() -> None:
    s = scheduler(threads=2)
    wide, p = lane("wide", threads=2), preparing()
    for at in range(6):
        s.offer(p, ticket(at=at + 1), ())
    first, second = s.next_batch(7), s.next_batch(7)
    assert first is not None
    assert second is not None
    s.offer(wide, ticket(at=8), ())
    s.finished(first, 0)
    third = s.next_batch(9)
    assert third is not None, "its turn was before the wide one's"
    s.finished(second, 0)
    assert s.next_batch(10) is None, "the free thread is kept for the wide lane"
    s.finished(third, 0)
    run = s.next_batch(11)
    assert run is not None
    assert run.lane is wide
    beside = s.next_batch(11)
    assert beside is not None
    assert (beside.lane, beside.permits) == (p, 0)


def test_where_nothing_runs_the_whole_budget_prepares() -> None:
    s = scheduler(threads=4)
    for name in ("p", "q"):
        m = preparing(name, instances=4)
        for at in range(8):
            s.offer(m, ticket(at=at + 1), ())
    held = []
    while (batch := s.next_batch(9)) is not None:
        held.append(batch.lane.name)
    assert sorted(held) == ["p", "p", "q", "q"], "in turn"
    assert s.free_threads == 0


def test_nothing_is_prepared_for_a_lane_that_is_half_full() -> None:
    s = scheduler(threads=2)
    m, p = lane("m", max_batch=1, max_queue_bytes=100), preparing()
    p.feeds = m
    for at in range(2):
        s.offer(p, ticket(at=at + 1), ())
    for at in range(3):
        s.offer(m, ticket(at=at + 1, size=30), ())
    first = s.next_batch(5)
    assert first is not None
    assert first.lane is m, "60 of 100 bytes are left, and were 90"
    assert s.next_batch(5) is None
    s.finished(first, 0)
    second = s.next_batch(6)
    assert second is not None
    assert second.lane is m
    third = s.next_batch(6)
    assert third is not None
    assert third.lane is p


class CountedKey:
    """A group's key that counts how often it is looked up."""

    lookups = 0

    def __hash__(self) -> int:
        CountedKey.lookups += 1
        return id(self)


def test_the_next_group_costs_the_same_whatever_else_waits() -> None:
    s, m = scheduler(threads=1), lane()
    groups = 2000
    for at in range(groups):
        key = CountedKey()
        s.offer(m, ticket(at=at + 1), key)
        s.offer(m, ticket(at=at + 1), key)
    CountedKey.lookups = 0
    for at in range(groups):
        batch = s.next_batch(groups)
        assert batch is not None
        assert [t.received_ns for t in batch.tickets] == [at + 1, at + 1]
        s.finished(batch, 0)
    assert CountedKey.lookups < 10 * groups
    assert s.next_batch(groups) is None


def test_what_comes_and_goes_leaves_nothing_in_the_heaps() -> None:
    s, m = scheduler(threads=1), lane()
    blocked = ticket(at=1, priority=15)
    s.offer(m, blocked, "last")
    for at in range(5000):
        s.offer(m, ticket(at=at + 2, priority=1 + at % 2, deadline=10**12), at % 3)
        batch = s.next_batch(at + 3)
        assert batch is not None
        s.finished(batch, 0)
    assert m.queued == 1
    assert len(m._fronts) <= 2 * FRONTS_KEPT_BELOW
    assert len(s._deadlines) <= 2 * DEADLINES_KEPT_BELOW


def test_lanes_are_served_in_turn() -> None:
    s = scheduler(threads=1)
    lanes = [lane(str(i), max_batch=1) for i in range(3)]
    for m in lanes:
        for _ in range(2):
            s.offer(m, ticket(), ())
    served = []
    while (batch := s.next_batch(1)) is not None:
        served.append(batch.lane.name)
        s.finished(batch, 0)
    assert served == ["0", "1", "2", "0", "1", "2"]


def test_delay_waits_for_a_full_batch_and_no_longer() -> None:
    s, m = scheduler(), lane(max_queue_delay_ns=1000)
    s.offer(m, ticket(at=100), ())
    assert s.next_batch(200) is None
    assert s.next_wakeup_ns(200) == 1100
    for i in range(3):
        s.offer(m, ticket(at=300 + i), ())
    full = s.next_batch(310)
    assert full is not None
    assert full.rows == 4
    s.finished(full, 0)
    s.offer(m, ticket(at=400), ())
    assert s.next_batch(1399) is None
    late = s.next_batch(1400)
    assert late is not None
    assert late.rows == 1


def test_preferred_sizes_cut_the_batch() -> None:
    s, m = scheduler(), lane(max_batch=8, preferred=(2, 4))
    for i in range(7):
        s.offer(m, ticket(at=i + 1), ())
    sizes = []
    while (batch := s.next_batch(50)) is not None:
        sizes.append(batch.rows)
        s.finished(batch, 0)
    assert sizes == [4, 2, 1]


def test_expired_tickets_never_run_and_are_told() -> None:
    s, m = scheduler(), lane()
    doomed, fine = ticket(deadline=50), ticket(deadline=500)
    s.offer(m, doomed, ())
    s.offer(m, fine, ())
    assert s.next_wakeup_ns(10) == 50
    assert s.expire(49) == []
    assert s.expire(50) == [doomed]
    batch = s.next_batch(51)
    assert batch is not None
    assert batch.tickets == [fine]


def test_cancelled_tickets_free_their_room_at_once() -> None:
    s, m = scheduler(), lane(max_queue_requests=1)
    gone = ticket()
    s.offer(m, gone, ())
    assert s.cancel(m, gone)
    assert not s.cancel(m, gone)
    assert (m.queued, m.queued_bytes, s.queued_bytes) == (0, 0, 0)
    assert gone.request is None, "what it held is free"
    s.offer(m, ticket(), ())
    batch = s.next_batch(1)
    assert batch is not None
    assert gone not in batch.tickets


def test_a_caller_who_only_starts_and_cancels_costs_no_memory() -> None:
    s, m = scheduler(), lane()
    running = ticket()
    s.offer(m, running, ())
    assert s.next_batch(1) is not None
    for _ in range(10_000):
        t = ticket()
        s.offer(m, t, ())
        s.cancel(m, t)
    held = sum(len(waiting) for levels in m._groups.values() for waiting in levels.values())
    assert held <= 1025


def test_cheap_lanes_run_inline_and_take_no_permit() -> None:
    cost = CostModel()
    cost.learn({1: 5_000, 2: 6_000, 4: 8_000})
    s, m = scheduler(threads=1, inline_below_ns=50_000), lane(cost=cost)
    s.offer(m, ticket(), ())
    batch = s.next_batch(1)
    assert batch is not None
    assert batch.inline
    assert s.free_threads == 1
    s.finished(batch, 3_000_000)
    inline = []
    for _ in range(8):
        s.offer(m, ticket(), ())
        later = s.next_batch(2)
        assert later is not None
        inline.append(later.inline)
        s.finished(later, 3_000_000)
    assert inline == [True] * 4 + [False] * 4, "one slow run is chance, some in a row are the model's"


def test_a_lane_is_never_batched_past_its_cheapest_size() -> None:
    cost = CostModel()
    cost.learn({1: 100_000_000, 2: 150_000_000, 4: 301_000_000, 8: 800_000_000})
    m = lane(cost=cost, max_batch=8)
    assert m.limit_rows == 4, "4 is within noise of 2 by the row, 8 is not"


def test_the_hand_over_counts_where_there_is_one() -> None:
    handed, inline = CostModel(), CostModel()
    handed.learn({1: 5_000, 2: 12_000, 4: 30_000})
    assert lane(cost=handed, max_batch=4).limit_rows == 4, "a hand-over of 100 µs is shared by four"
    inline.learn({1: 5_000, 2: 12_000, 4: 30_000}, inline_below_ns=40_000)
    assert lane(cost=inline, max_batch=4).limit_rows == 1, "without one, one row is the cheapest"


def test_the_cost_of_a_size_that_was_never_met_is_taken_from_its_neighbour() -> None:
    cost = CostModel()
    assert cost.predict_ns(3) is None
    cost.learn({1: 100, 4: 200})
    assert cost.predict_ns(1) == 100
    assert cost.predict_ns(16) == 800
    for _ in range(100):
        cost.observe(4, 400)
    assert cost.predict_ns(4) == pytest.approx(400, rel=0.01)
    assert cost.floor_ns(4) == 200


def test_work_that_nobody_waits_for_is_taken_where_nobody_waits() -> None:
    s, m, other = scheduler(threads=2), lane(), lane(threads=2)
    assert s.has_room(m)
    aside = s.take_aside(m, 5)
    assert (aside.tickets, aside.rows, aside.inline, s.free_threads) == ([], 0, False, 1)
    assert not s.has_room(m), "one instance, and it is busy"
    s.offer(other, ticket(), ())
    assert s.next_batch(5) is None
    assert not s.has_room(lane("idle")), "the other lane waits for both permits"
    s.finished(aside, 0)
    batch = s.next_batch(6)
    assert batch is not None
    assert batch.lane is other
    assert not s.has_room(m), "no permit is free"
    s.finished(batch, 0)
    assert s.has_room(m)
    s.offer(m, ticket(), ())
    assert not s.has_room(m), "a request waits"


def test_a_lane_that_waits_for_its_own_run_keeps_no_other_from_work_aside() -> None:
    s, m = scheduler(threads=2), lane()
    s.offer(m, ticket(), ())
    assert s.next_batch(5) is not None
    s.offer(m, ticket(), ())
    assert not s.has_room(m)
    assert s.has_room(lane("idle"))


class SchedulerWalk(RuleBasedStateMachine):
    """Any order of events leaves the counts true, every ticket in one place, and every bound kept."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1
        self.scheduler = Scheduler(3, 400, inline_below_ns=10)
        cheap = CostModel()
        cheap.learn({1: 5, 2: 5, 4: 5})
        self.lanes = [
            lane("a", max_queue_requests=6),
            lane("b", instances=2, threads=2, max_queue_delay_ns=50),
            lane("c", cost=cheap, preferred=(2,)),
            preparing("d", instances=3),
        ]
        self.lanes[3].feeds = self.lanes[0]
        # By a number of their own, kept in `key`: a replay must meet the same tickets in the same order.
        self.waiting: dict[object, tuple[Lane, Ticket]] = {}
        self.groups: dict[object, str] = {}
        self.running: list[Batch] = []
        self.accepted = 0

    @rule(
        which=st.integers(0, 3),
        rows=st.integers(0, 6),
        group=st.sampled_from(["", "x", "y", "z"]),
        priority=st.sampled_from([1, 8, 15]),
        deadline=st.one_of(st.just(0), st.integers(1, 100)),
        size=st.integers(0, 90),
    )
    def offer(self, which: int, rows: int, group: str, priority: int, deadline: int, size: int) -> None:
        m = self.lanes[which]
        t = ticket(rows, at=self.now, priority=priority, deadline=deadline and self.now + deadline, size=size)
        try:
            self.scheduler.offer(m, t, group)
        except Overloaded:
            assert m.queued >= 6 or self.scheduler.queued_bytes + size > 400
            assert t.state == State.NEW
        else:
            t.key = self.accepted
            self.waiting[t.key] = (m, t)
            self.groups[t.key] = group
            self.accepted += 1

    @rule(data=st.data())
    @precondition(lambda self: self.waiting)
    def cancel(self, data: st.DataObject) -> None:
        m, t = self.waiting.pop(data.draw(st.sampled_from(list(self.waiting))))
        assert self.scheduler.cancel(m, t)

    @rule(ns=st.integers(1, 60))
    def time_passes(self, ns: int) -> None:
        self.now += ns
        for t in self.scheduler.expire(self.now):
            m, _ = self.waiting.pop(t.key)
            # Once a run of the shape was seen, those go as well whose deadline is nearer than the shortest of them.
            assert t.deadline_ns - m.cost.shortest_ns(t.rows, ()) <= self.now

    @rule()
    def run(self) -> None:
        self.time_passes(1)
        batch = self.scheduler.next_batch(self.now)
        if batch is None:
            return
        assert batch.tickets
        assert batch.rows == sum(t.rows for t in batch.tickets)
        assert batch.rows <= batch.lane.limit_rows or len(batch.tickets) == 1
        # Where groups wait for company, the one that has waited enough leaves, and is in order by itself.
        delays = batch.lane.policy.max_queue_delay_ns > 0
        group = self.groups[batch.tickets[0].key]
        first = min(
            (t.priority, t.received_ns)
            for m, t in self.waiting.values()
            if m is batch.lane and (not delays or self.groups[t.key] == group)
        )
        assert (batch.tickets[0].priority, batch.tickets[0].received_ns) == first
        for t in batch.tickets:
            m, _ = self.waiting.pop(t.key)
            assert m is batch.lane
        self.running.append(batch)

    @rule(which=st.integers(0, 2))
    def run_aside(self, which: int) -> None:
        m = self.lanes[which]
        if self.scheduler.has_room(m):
            assert not m.queued
            self.running.append(self.scheduler.take_aside(m, self.now))

    @rule(data=st.data())
    @precondition(lambda self: self.running)
    def finish(self, data: st.DataObject) -> None:
        batch = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.scheduler.finished(batch, 7)

    @invariant()
    def counts_are_true(self) -> None:
        for m in self.lanes:
            own = [t for owner, t in self.waiting.values() if owner is m]
            assert m.queued == len(own)
            assert m.queued_bytes == sum(t.size_bytes for t in own)
            assert m.running == sum(1 for batch in self.running if batch.lane is m) <= m.policy.instances
        assert self.scheduler.queued_bytes == sum(t.size_bytes for _, t in self.waiting.values())
        for b in self.running:
            wanted = 0 if b.inline else min(b.lane.policy.threads, 3)
            assert b.permits == wanted or (b.lane.policy.prepares and not b.permits)
        beyond = sum(1 for b in self.running if b.lane.policy.prepares and not b.permits)
        assert beyond <= self.scheduler.own_preparing
        held = sum(b.permits for b in self.running)
        assert self.scheduler.free_threads == 3 - held >= 0

    @invariant()
    def something_wakes_up_whatever_waits(self) -> None:
        """Whatever waits and could run later is either runnable by an event or announced by a wake-up."""
        busy = {b.lane for b in self.running}
        if self.scheduler.free_threads == 3 and not busy and self.waiting:
            ready = any(m.ready_at_ns() is not None and m.ready_at_ns() <= self.now for m in self.lanes)  # type: ignore[operator]
            assert ready or self.scheduler.next_wakeup_ns(self.now) is not None

    def teardown(self) -> None:
        """Everything accepted comes to an end."""
        for batch in self.running:
            self.scheduler.finished(batch, 1)
        self.now += 10_000
        expired = self.scheduler.expire(self.now)
        left = len(self.waiting) - len(expired)
        while (batch := self.scheduler.next_batch(self.now)) is not None:
            left -= len(batch.tickets)
            self.scheduler.finished(batch, 1)
        assert left == 0
        assert self.scheduler.queued_bytes == 0


TestSchedulerWalk = SchedulerWalk.TestCase
TestSchedulerWalk.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
