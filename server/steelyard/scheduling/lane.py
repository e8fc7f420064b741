"""The queue of one served version: bounded, grouped by signature, ordered by priority and then by age."""

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Any

from steelyard.errors import Overloaded
from steelyard.scheduling.cost import CostModel
from steelyard.scheduling.curve import Curve
from steelyard.scheduling.ticket import DONE, QUEUED, RUNNING, Ticket

# Callers' priorities: 1 is the most urgent. 0 means "no opinion" and lies in the middle, so that one can ask for
# less than the default as well as for more. What is above the last level counts as the last.
PRIORITY_DEFAULT = 8
PRIORITY_LAST = 15

# Dead tickets (cancelled, expired) stand in their deques until they come to the front. Past this many, and past the
# number that is alive, they are swept, so that a caller who only starts and cancels costs no memory.
DEAD_SWEPT_ABOVE = 1024

# Entries of the heap of fronts outlive their deques. At twice what was alive at the last count, and above this, it is
# made anew: nothing by the request, and its memory stays in proportion to what waits.
FRONTS_KEPT_BELOW = 64

# Later than any time.
NEVER_NS = 1 << 63

# A run is expected to take so many times as long as its size usually does where a deadline hangs on it, since that
# figure is one of the lower ones that were seen.
LATE_MARGIN = 1.25


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """How a version's requests are queued and batched.

    max_batch: rows in one run, at least 1; 1 means that requests are never put together.
    preferred: sizes worth waiting for inside `max_queue_delay_ns`, ascending; empty means the lane's batch limit.
    instances: runs of this version that may go on at the same time.
    threads: permits of the thread budget that one run takes.
    prepares: whether what runs here prepares requests for another lane, `Lane.feeds`, by one thread each.
    """

    max_batch: int = 1
    max_queue_delay_ns: int = 0
    preferred: tuple[int, ...] = ()
    max_queue_requests: int = 8192
    max_queue_bytes: int = 256 << 20
    instances: int = 1
    threads: int = 1
    prepares: bool = False


@dataclass(slots=True)
class Batch:
    """Tickets of one lane and one group that run together; `permits` of the thread budget are theirs meanwhile.

    in_company: whether other runs held permits when it began. `begun`: how many runs had begun before it.
    """

    lane: "Lane"
    tickets: list[Ticket]
    rows: int
    taken_ns: int
    inline: bool = False
    permits: int = 0
    in_company: bool = False
    begun: int = 0


class Lane:
    """Tickets of one version that wait.

    Groups are dictionaries of deques: group key to priority level to tickets, oldest first. Tickets that were
    cancelled or have expired stay where they are, in state DONE and without their request, until they come to
    the front; the counts below leave them out at once.

    Which deque is next is kept in a heap by level and age of its front. An entry may be older than the front that
    it stands for, never younger, and is put right when it comes to the top.

    feeds: where the lane's policy says that it prepares, the lane that requests go to then.
    """

    __slots__ = (
        "_dead",
        "_fronts",
        "_fronts_limit",
        "_groups",
        "_sequence",
        "cost",
        "deadlines_until_ns",
        "feeds",
        "inline",
        "limit_rows",
        "name",
        "owner",
        "policy",
        "queued",
        "queued_bytes",
        "running",
        "slow_inline",
    )

    def __init__(self, name: str, policy: LanePolicy, cost: CostModel, owner: Any = None) -> None:
        self.name = name
        self.policy = policy
        self.cost = cost
        self.owner = owner
        self.feeds: Lane | None = None
        self.queued = 0
        self.queued_bytes = 0
        self.running = 0
        self.inline: bool | None = None
        # The latest deadline that anything offered had: past it, none of what waits has one.
        self.deadlines_until_ns = 0
        self.slow_inline = 0.0
        self._groups: dict[object, dict[int, deque[Ticket]]] = {}
        self._fronts: list[tuple[int, int, int, object]] = []
        self._fronts_limit = FRONTS_KEPT_BELOW
        self._sequence = 0
        self._dead = 0
        efficient = cost.efficient_rows
        self.limit_rows = policy.max_batch if efficient is None else max(1, min(policy.max_batch, efficient))
        cost.set_limit(self.limit_rows)

    def offer(self, ticket: Ticket, group: object) -> None:
        """Queues a ticket; raises `Overloaded` where a bound of the lane would be passed."""
        policy = self.policy
        if self.queued >= policy.max_queue_requests:
            raise Overloaded(
                f"model {self.name!r}: the queue is full with {self.queued} requests "
                f"(max_queue_requests = {policy.max_queue_requests})",
                self.retry_after_ms(),
            )
        size = ticket.size_bytes
        if self.queued_bytes + size > policy.max_queue_bytes:
            raise Overloaded(
                f"model {self.name!r}: {size} bytes more would pass the queue's bound of {policy.max_queue_bytes} "
                f"bytes (max_queue_bytes), {self.queued_bytes} are waiting",
                self.retry_after_ms(),
            )
        self._queue([ticket], group, size)

    def offer_all(self, tickets: list[Ticket], group: object, size_bytes: int) -> bool:
        """Queues tickets of one priority, which have `size_bytes` in all; False, and nothing is queued, where they do
        not all have room."""
        policy = self.policy
        if (
            self.queued + len(tickets) > policy.max_queue_requests
            or self.queued_bytes + size_bytes > policy.max_queue_bytes
        ):
            return False
        self._queue(tickets, group, size_bytes)
        return True

    def _queue(self, tickets: list[Ticket], group: object, size_bytes: int) -> None:
        first = tickets[0]
        level = first.priority
        levels = self._groups.get(group)
        if levels is None:
            levels = self._groups[group] = {}
        waiting = levels.get(level)
        if waiting is None:
            levels[level] = deque(tickets)
            self._push_front(level, first.received_ns, group)
        else:
            waiting.extend(tickets)
        for ticket in tickets:
            ticket.state = QUEUED
        self.queued += len(tickets)
        self.queued_bytes += size_bytes

    def takes_whole(self, rows: int) -> bool:
        """Whether so many rows, with nothing else there, would leave together and at once."""
        policy = self.policy
        return (
            rows <= self.limit_rows
            and self.running < policy.instances
            and not policy.max_queue_delay_ns
            and not policy.preferred
        )

    def withdraw(self, ticket: Ticket) -> None:
        """Takes a queued ticket out of the counts; its place is cleared when it comes to the front."""
        ticket.state = DONE
        ticket.request = None
        self.queued -= 1
        self.queued_bytes -= ticket.size_bytes
        self._dead += 1
        if self._dead > DEAD_SWEPT_ABOVE and self._dead > self.queued:
            self._sweep()

    def learn(self, batch: Batch, execute_ns: int, company: int) -> None:
        """Takes what a run of `batch` took."""
        self.cost.observe(batch.rows, execute_ns, batch.tickets[0].key, company)

    def shortest_ns(self, ticket: Ticket) -> int:
        """Less than any run of the ticket takes, by what is known; 0 where nothing is."""
        return self.cost.shortest_ns(ticket.rows, ticket.key)

    def is_half_full(self) -> bool:
        """Whether something waits, and has reached half of one of the lane's bounds."""
        policy = self.policy
        return self.queued > 0 and (
            2 * self.queued >= policy.max_queue_requests or 2 * self.queued_bytes >= policy.max_queue_bytes
        )

    def retry_after_ms(self) -> int:
        """Milliseconds in which half of what waits should be served, between 1 and 10,000."""
        per_run_ns = self.cost.predict_ns(self.limit_rows) or 1_000_000
        runs = self.queued / (2 * self.limit_rows * self.policy.instances)
        return max(1, min(10_000, int(runs * per_run_ns / 1e6)))

    def ready_at_ns(self) -> int | None:
        """When the lane's next batch may leave: 0 is at once, None is never as things stand.

        It waits, where its policy has it wait, as long as a larger batch would be cheaper by the row, and no longer
        than the deadlines of what waits allow.
        """
        if not self.queued:
            return None
        delay_ns = self.policy.max_queue_delay_ns
        if not delay_ns:
            return 0
        group = self._next_group()
        if group is None:
            return None
        # Sums only up to the first size that is worth leaving with.
        curve = self.curve_of(group)
        worth = self._worth_rows() if curve is None or self.policy.preferred else curve.best
        rows = 0
        oldest = earliest = NEVER_NS
        for waiting in self._groups[group].values():
            for ticket in waiting:
                if ticket.state == QUEUED:
                    rows += ticket.rows
                    oldest = min(oldest, ticket.received_ns)
                    if ticket.deadline_ns:
                        earliest = min(earliest, ticket.deadline_ns)
                    if rows >= worth:
                        return 0
        if oldest == NEVER_NS:
            return None
        if curve is None:
            return min(oldest + delay_ns, earliest)
        if not self.policy.preferred and not curve.pays_to_wait(rows):
            return 0
        if earliest < NEVER_NS:
            earliest -= int(self.expected_ns(curve, rows, True))
        return max(0, min(oldest + delay_ns, earliest))

    def curve_of(self, group: object) -> Curve | None:
        """What is known of runs of a group's shape."""
        return self.cost.curve(group)

    def expected_ns(self, curve: Curve, rows: int, in_company: bool) -> float:
        """The longest that a run of `rows` should take, the hand-over included, where a deadline hangs on it."""
        run_ns = curve.predict(rows) * (self.cost.beside if in_company else 1.0)
        return run_ns * LATE_MARGIN + curve.overhead_ns

    def take(self, now_ns: int, idle: int = 1, in_company: bool = False) -> Batch | None:
        """Takes the batch to run next, or None where nothing waits.

        idle: runs of this lane that could begin now, this one among them. in_company: whether others go on.

        The group is the one whose front ticket is the most urgent, then the oldest. Rows are taken in order: as many as
        run best together, fewer where they would miss a deadline that fewer meet, and never past the limit; one
        ticket larger than the limit runs alone.
        """
        group = self._next_group()
        if group is None:
            return None
        levels = self._groups[group]
        limit = self._departing_rows(levels) if self.policy.preferred else self.limit_rows
        curve = self.cost.by_shape.get(group)
        if curve is not None and (idle > 1 or not curve.greedy or now_ns < self.deadlines_until_ns):
            limit = self._best_rows(levels, curve, limit, now_ns, idle, in_company)
        tickets: list[Ticket] = []
        rows = 0
        full = False
        for level in sorted(levels) if len(levels) > 1 else list(levels):
            waiting = levels[level]
            while waiting:
                ticket = waiting[0]
                if ticket.state != QUEUED:
                    waiting.popleft()
                    self._dead -= 1
                    continue
                if tickets and rows + ticket.rows > limit:
                    full = True
                    break
                waiting.popleft()
                ticket.state = RUNNING
                tickets.append(ticket)
                rows += ticket.rows
                self.queued_bytes -= ticket.size_bytes
                if rows >= limit:
                    full = True
                    break
            if not waiting:
                del levels[level]
            if full:
                break
        if not levels:
            del self._groups[group]
            if not self._groups:
                self._fronts.clear()
        self.queued -= len(tickets)
        return Batch(self, tickets, rows, now_ns)

    def _sweep(self) -> None:
        swept: dict[object, dict[int, deque[Ticket]]] = {}
        for group, levels in self._groups.items():
            alive = {
                level: deque(ticket for ticket in waiting if ticket.state == QUEUED)
                for level, waiting in levels.items()
            }
            kept = {level: waiting for level, waiting in alive.items() if waiting}
            if kept:
                swept[group] = kept
        self._groups = swept
        self._dead = 0
        self._renew_fronts()

    def _push_front(self, level: int, received_ns: int, group: object) -> None:
        self._sequence += 1
        heapq.heappush(self._fronts, (level, received_ns, self._sequence, group))
        if len(self._fronts) > self._fronts_limit:
            self._renew_fronts()

    def _renew_fronts(self) -> None:
        """One entry for each deque, in the place of all that have gathered."""
        fronts = []
        for group, levels in self._groups.items():
            for level, waiting in levels.items():
                self._sequence += 1
                fronts.append((level, waiting[0].received_ns, self._sequence, group))
        heapq.heapify(fronts)
        self._fronts = fronts
        self._fronts_limit = max(FRONTS_KEPT_BELOW, 2 * len(fronts))

    def _next_group(self) -> object | None:
        """The group to serve next, after the dead tickets at every front have been cleared away."""
        groups = self._groups
        if len(groups) == 1:
            for group, levels in groups.items():
                if len(levels) == 1:
                    for waiting in levels.values():
                        if waiting[0].state == QUEUED:
                            return group
        fronts = self._fronts
        while fronts:
            level, received_ns, sequence, group = fronts[0]
            front = self._front_of(group, level)
            if front is None:
                heapq.heappop(fronts)
            elif front.received_ns > received_ns:
                heapq.heapreplace(fronts, (level, front.received_ns, sequence, group))
            else:
                return group
        return None

    def _front_of(self, group: object, level: int) -> Ticket | None:
        """The first live ticket of `group` and `level`; None, and no deque, where none is left."""
        levels = self._groups.get(group)
        waiting = None if levels is None else levels.get(level)
        if levels is None or waiting is None:
            return None
        while waiting and waiting[0].state != QUEUED:
            waiting.popleft()
            self._dead -= 1
        if waiting:
            return waiting[0]
        del levels[level]
        if not levels:
            del self._groups[group]
        return None

    def _best_rows(
        self,
        levels: dict[int, deque[Ticket]],
        curve: Curve,
        limit: int,
        now_ns: int,
        idle: int,
        in_company: bool,
    ) -> int:
        """Rows of the first tickets, in order, that are best run together, at most `limit`."""
        tickets: list[Ticket] = []
        waiting = 0
        most = limit * max(idle, 2)
        for level in sorted(levels):
            for ticket in levels[level]:
                if ticket.state == QUEUED:
                    tickets.append(ticket)
                    waiting += ticket.rows
                    if waiting >= most:
                        break
        if not tickets:
            return limit
        target = limit
        if not self.policy.preferred:
            target = min(
                limit, curve.share(waiting, idle, self.cost.beside) if idle > 1 else curve.first(waiting)
            )
        alone_by_ns = now_ns + int(self.expected_ns(curve, tickets[0].rows, in_company))
        rows = best = 0
        earliest = NEVER_NS
        for ticket in tickets:
            rows += ticket.rows
            if best and rows > target:
                break
            if ticket.deadline_ns >= alone_by_ns:
                earliest = min(earliest, ticket.deadline_ns)
            # Who would be late even alone is no reason to make the batch smaller.
            if best and earliest < NEVER_NS and now_ns + self.expected_ns(curve, rows, in_company) > earliest:
                break
            if not best or self.policy.preferred or curve.allows(rows):
                best = rows
        return best

    def _worth_rows(self) -> int:
        preferred = [size for size in self.policy.preferred if size <= self.limit_rows]
        return min(preferred) if preferred else self.limit_rows

    def _departing_rows(self, levels: dict[int, deque[Ticket]]) -> int:
        """The largest preferred size that waits in full, else the limit."""
        waiting = sum(t.rows for level in levels.values() for t in level if t.state == QUEUED)
        fitting = [s for s in self.policy.preferred if s <= min(waiting, self.limit_rows)]
        return max(fitting) if fitting else self.limit_rows
