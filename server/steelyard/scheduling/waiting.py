"""Tickets of one version that wait: bounded, grouped by signature, ordered by priority and then by age."""

import heapq
from collections import deque

from steelyard.errors import Overloaded
from steelyard.scheduling.policy import LanePolicy
from steelyard.scheduling.ticket import DONE, QUEUED, Ticket

# Dead tickets (cancelled, expired) stand in their deques until they come to the front. Past this many, and past the
# number that is alive, they are swept, so that a caller who only starts and cancels costs no memory.
DEAD_SWEPT_ABOVE = 1024

# Entries of the heap of fronts outlive their deques. At twice what was alive at the last count, and above this, it is
# made anew: nothing by the request, and its memory stays in proportion to what waits.
FRONTS_KEPT_BELOW = 64


class Waiting:
    """The queue of a lane, which says what is taken from it.

    Groups are dictionaries of deques: group key to priority level to tickets, oldest first. Tickets that were
    cancelled or have expired stay where they are, in state DONE and without their request, until they come to
    the front; the counts below leave them out at once.

    Which deque is next is kept in a heap by level and age of its front. An entry may be older than the front that
    it stands for, never younger, and is put right when it comes to the top.
    """

    __slots__ = (
        "_dead",
        "_fronts",
        "_fronts_limit",
        "_groups",
        "_sequence",
        "name",
        "policy",
        "queued",
        "queued_bytes",
    )

    def __init__(self, name: str, policy: LanePolicy) -> None:
        self.name = name
        self.policy = policy
        self.queued = 0
        self.queued_bytes = 0
        self._groups: dict[object, dict[int, deque[Ticket]]] = {}
        self._fronts: list[tuple[int, int, int, object]] = []
        self._fronts_limit = FRONTS_KEPT_BELOW
        self._sequence = 0
        self._dead = 0

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

    def withdraw(self, ticket: Ticket) -> None:
        """Takes a queued ticket out of the counts; its place is cleared when it comes to the front."""
        ticket.state = DONE
        ticket.request = None
        self.queued -= 1
        self.queued_bytes -= ticket.size_bytes
        self._dead += 1
        if self._dead > DEAD_SWEPT_ABOVE and self._dead > self.queued:
            self._sweep()

    def is_half_full(self) -> bool:
        """Whether something waits, and has reached half of one of the lane's bounds."""
        policy = self.policy
        return self.queued > 0 and (
            2 * self.queued >= policy.max_queue_requests or 2 * self.queued_bytes >= policy.max_queue_bytes
        )

    def retry_after_ms(self) -> int:
        """Milliseconds in which half of what waits should be served."""
        raise NotImplementedError

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
