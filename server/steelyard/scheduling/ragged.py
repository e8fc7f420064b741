"""The queue of a version whose rows differ in length: batches of similar length, the oldest request in each."""

from collections import deque
from typing import Any

from steelyard.scheduling.cost import CostModel
from steelyard.scheduling.curve import Curve
from steelyard.scheduling.lane import Batch, Lane
from steelyard.scheduling.lengths import LengthCosts, bucket_of
from steelyard.scheduling.policy import LanePolicy
from steelyard.scheduling.ticket import QUEUED, RUNNING, Ticket
from steelyard.scheduling.waiting import DEAD_SWEPT_ABOVE

# Of those that wait, so many, the oldest, are looked at for each batch: enough to find similar lengths among. That
# takes 0.2 ms where batches have 8 rows, and 1 ms where they have 64, beside runs of some times as many milliseconds.
LOOKED_AT = 128


class RaggedGroup:
    """Tells tickets that may share a padded batch from all others: `rest` are the dimensions that must be equal."""

    __slots__ = ("rest",)

    def __init__(self, rest: tuple[int, ...]) -> None:
        self.rest = rest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RaggedGroup) and self.rest == other.rest

    def __hash__(self) -> int:
        return hash(self.rest)


class RaggedLane(Lane):
    """A lane whose groups of kind `RaggedGroup` hold tickets of any `length`.

    A batch is the window of the waiting tickets, ordered by length, that wastes the least: what its rows would cost in
    the best company, against what the batch costs padded to its longest. The oldest of the most urgent tickets is in
    every window, so that none waits for company that never comes.
    """

    __slots__ = ("lengths",)

    def __init__(self, name: str, policy: LanePolicy, cost: CostModel, owner: Any = None) -> None:
        super().__init__(name, policy, cost, owner)
        self.lengths = LengthCosts(cost)

    def take(self, now_ns: int, idle: int = 1, in_company: bool = False) -> Batch | None:
        group = self._due_group(now_ns)
        if not isinstance(group, RaggedGroup):
            return super().take(now_ns, idle, in_company)
        levels = self._groups[group]
        waiting = self._oldest(levels)
        chosen = self._window(waiting, idle)
        if now_ns < self.deadlines_until_ns:
            chosen = self._in_time(chosen, waiting[0], now_ns, in_company)
        for ticket in chosen:
            ticket.state = RUNNING
            self.queued_bytes -= ticket.size_bytes
        # They stand in their deques until they come to the front, as those do that were withdrawn.
        self._dead += len(chosen)
        self.queued -= len(chosen)
        if self._dead > DEAD_SWEPT_ABOVE and self._dead > self.queued:
            self._sweep()
            levels = self._groups.get(group, {})
        for level in list(levels):
            self._front_of(group, level)
        if not self._groups:
            self._fronts.clear()
        return Batch(self, chosen, sum(ticket.rows for ticket in chosen), now_ns)

    def learn(self, batch: Batch, execute_ns: int, company: int) -> None:
        longest = max(ticket.length for ticket in batch.tickets)
        if longest:
            self.lengths.observe(batch.rows, longest, execute_ns, company)

    def shortest_ns(self, ticket: Ticket) -> int:
        # A padded batch is cut to other lengths, and the bound of a bucket is longer than most in it.
        below = [bound for bound in self.cost.lengths() if bound <= ticket.length]
        return self.cost.shortest_ns(ticket.rows, (below[-1],)) if below else 0

    def curve_of(self, group: object) -> Curve | None:
        """Of the longest rows that are known, whose batches are the smallest: it is waited for no larger ones."""
        lengths = self.cost.lengths()
        return self.cost.curve((lengths[-1],)) if lengths else None

    def _oldest(self, levels: dict[int, deque[Ticket]]) -> list[Ticket]:
        """Of those that wait, the first LOOKED_AT by level and age."""
        found: list[Ticket] = []
        for level in sorted(levels):
            for ticket in levels[level]:
                if ticket.state == QUEUED:
                    found.append(ticket)
                    if len(found) == LOOKED_AT:
                        return found
        return found

    def _window(self, waiting: list[Ticket], idle: int) -> list[Ticket]:
        """The tickets to run with the first of `waiting`, shortest first."""
        oldest = waiting[0]
        if len(waiting) == 1:
            return waiting
        by_length = sorted(waiting, key=_length)
        at = by_length.index(oldest)
        costs = self.lengths
        limit = self.limit_rows
        if idle > 1:
            curve = self.cost.curve((bucket_of(oldest.length),))
            if curve is not None:
                limit = max(
                    1, min(limit, curve.share(sum(ticket.rows for ticket in waiting), idle, self.cost.beside))
                )
        overhead_ns = costs.overhead_ns
        worth: dict[int, float] = {}
        before = [0.0]
        rows = [0]
        for ticket in by_length:
            length = ticket.length
            if length not in worth:
                worth[length] = costs.per_row(length)
            before.append(before[-1] + worth[length] * ticket.rows)
            rows.append(rows[-1] + ticket.rows)
        best, found = 0.0, (at, at + 1)
        for end in range(at + 1, len(by_length) + 1):
            if end - 1 > at and rows[end] - rows[at] > limit:
                break
            longest = by_length[end - 1].length
            start = at
            while True:
                count = rows[end] - rows[start]
                if count > limit and end - start > 1:
                    break
                share = (before[end] - before[start]) / (costs.predict(count, longest) + overhead_ns)
                if share > best:
                    best, found = share, (start, end)
                if start == 0:
                    break
                start -= 1
        return by_length[found[0] : found[1]]

    def _in_time(self, chosen: list[Ticket], oldest: Ticket, now_ns: int, in_company: bool) -> list[Ticket]:
        """Fewer of `chosen` where those make a deadline that all together would miss; never without `oldest`."""
        curve = self.cost.curve((bucket_of(chosen[-1].length),))
        if curve is None:
            return chosen
        alone_by_ns = now_ns + self.expected_ns(curve, oldest.rows, in_company)
        while len(chosen) > 1:
            due = [ticket.deadline_ns for ticket in chosen if ticket.deadline_ns >= alone_by_ns]
            rows = sum(ticket.rows for ticket in chosen)
            if not due or now_ns + self.expected_ns(curve, rows, in_company) <= min(due):
                break
            chosen = chosen[:-1] if chosen[-1] is not oldest else chosen[1:]
        return chosen


def _length(ticket: Ticket) -> int:
    return ticket.length
