"""The lane of one served version: what of its queue runs next, when, and together with what."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from steelyard.scheduling.cost import CostModel
from steelyard.scheduling.curve import Curve
from steelyard.scheduling.policy import LanePolicy
from steelyard.scheduling.ticket import QUEUED, RUNNING, Ticket
from steelyard.scheduling.waiting import Waiting

# Later than any time.
NEVER_NS = 1 << 63

# While requests of more shapes than this wait, none is waited for: batches hardly fill then, and each shape would be
# looked at.
SHAPES_WAITED_FOR = 16

# A run is expected to take so many times as long as its size usually does where a deadline hangs on it, since that
# figure is one of the lower ones that were seen.
LATE_MARGIN = 1.25

# A batch that waits to fill leaves of the time that a caller has given at least this part and so much to the run and
# the way back, of which nothing is seen from here: encoding, the network, and whoever asked, which counts from earlier.
WAY_BACK_SHARE = 2
WAY_BACK_NS = 3_000_000


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


class Lane(Waiting):
    """A version's queue and what is known of its batches' costs, which together say what runs next.

    feeds: where the lane's policy says that it prepares, the lane that requests go to then.
    """

    __slots__ = (
        "cost",
        "deadlines_until_ns",
        "feeds",
        "hopeless",
        "inline",
        "limit_rows",
        "owner",
        "running",
        "slow_inline",
    )

    def __init__(self, name: str, policy: LanePolicy, cost: CostModel, owner: Any = None) -> None:
        super().__init__(name, policy)
        self.cost = cost
        self.owner = owner
        self.feeds: Lane | None = None
        self.running = 0
        self.inline: bool | None = None
        # The latest deadline that anything offered had: past it, none of what waits has one.
        self.deadlines_until_ns = 0
        self.hopeless = 0
        self.slow_inline = 0.0
        efficient = cost.efficient_rows
        self.limit_rows = policy.max_batch if efficient is None else max(1, min(policy.max_batch, efficient))
        cost.set_limit(self.limit_rows)

    def takes_whole(self, rows: int) -> bool:
        """Whether so many rows, with nothing else there, would leave together and at once."""
        policy = self.policy
        return (
            rows <= self.limit_rows
            and self.running < policy.instances
            and not policy.max_queue_delay_ns
            and not policy.preferred
        )

    def learn(self, batch: Batch, execute_ns: int, company: int) -> None:
        """Takes what a run of `batch` took."""
        self.cost.observe(batch.rows, execute_ns, batch.tickets[0].key, company)

    def shortest_ns(self, ticket: Ticket) -> int:
        """Less than any run of the ticket takes, by what is known; 0 where nothing is."""
        return self.cost.shortest_ns(ticket.rows, ticket.key)

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
        if not self.policy.max_queue_delay_ns or len(self._groups) > SHAPES_WAITED_FOR:
            return 0
        moments = [at_ns for at_ns in map(self._group_ready_at_ns, self._groups) if at_ns is not None]
        return min(moments, default=None)

    def _group_ready_at_ns(self, group: object) -> int | None:
        """The same of one group; None where nothing of it waits any more."""
        delay_ns = self.policy.max_queue_delay_ns
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
                        given_ns = ticket.deadline_ns - ticket.received_ns
                        way_back_ns = max(given_ns // WAY_BACK_SHARE, WAY_BACK_NS)
                        earliest = min(earliest, ticket.deadline_ns - way_back_ns)
                    if rows >= worth:
                        return 0
        if oldest == NEVER_NS:
            return None
        if isinstance(group, Ticket):
            # Nobody may join it.
            return 0
        if curve is None:
            return min(oldest + delay_ns, earliest)
        if not self.policy.preferred and not curve.pays_to_wait(rows):
            return 0
        if earliest < NEVER_NS:
            earliest -= int(self.expected_ns(curve, rows, True))
        return max(0, min(oldest + delay_ns, earliest))

    def _due_group(self, now_ns: int) -> object | None:
        """The group to serve now: the next one, but where that waits for company and another one has waited enough."""
        group = self._next_group()
        if not self.policy.max_queue_delay_ns or not 1 < len(self._groups) <= SHAPES_WAITED_FOR:
            return group
        moments = {one: at_ns for one in self._groups if (at_ns := self._group_ready_at_ns(one)) is not None}
        if group in moments and moments[group] <= now_ns:
            return group
        return min(moments, key=moments.__getitem__, default=None)

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

        The group is the one whose front ticket is the most urgent, then the oldest, of those that wait for no company.
        Rows are taken in order: as many as
        run best together, fewer where they would miss a deadline that fewer meet, and never past the limit; one
        ticket larger than the limit runs alone.
        """
        group = self._due_group(now_ns)
        if group is None:
            return None
        levels = self._groups[group]
        limit = self._departing_rows(levels) if self.policy.preferred else self.limit_rows
        company = self.cost.company.get(group) if in_company else None
        curve = company or self.cost.by_shape.get(group)
        if curve is not None and (idle > 1 or not curve.greedy or now_ns < self.deadlines_until_ns):
            beside = self.cost.beside if company is None else 1.0
            limit = self._best_rows(
                levels, curve, limit, now_ns, idle, in_company and company is None, beside
            )
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

    def _best_rows(
        self,
        levels: dict[int, deque[Ticket]],
        curve: Curve,
        limit: int,
        now_ns: int,
        idle: int,
        in_company: bool,
        beside: float,
    ) -> int:
        """Rows of the first tickets, in order, that are best run together, at most `limit`.

        in_company: whether others go on, of which nothing is in the curve. beside: what runs take longer by others than
        the curve says.
        """
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
            target = min(limit, curve.share(waiting, idle, beside) if idle > 1 else curve.first(waiting))
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
            if not best or rows == target or self.policy.preferred or curve.allows(rows):
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
