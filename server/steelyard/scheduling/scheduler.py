"""Which lane runs next: the thread budget over all lanes, deadlines, and the bound on bytes that wait in all."""

import heapq
from collections import OrderedDict

from steelyard.errors import Overloaded
from steelyard.scheduling.cost import ALONE, BESIDE, SOME
from steelyard.scheduling.lane import Batch, Lane
from steelyard.scheduling.ticket import QUEUED, RUNNING, Ticket

# A run on the caller's thread is slow at this many times the threshold. One is the machine's doing: a thread that
# loses its core is away for milliseconds. Some among few others are the model's, whose cost then depends on its input;
# its lane moves to other threads for good, because everything else on the caller's thread waits.
SLOW_INLINE = 20
SLOW_INLINE_SCORE = 4.0
SCORE_KEPT = 0.9

# At this many times the threshold one run is enough: no machine takes a core away for that long, and another such run
# would keep every caller of the server waiting for as long again.
CERTAIN_INLINE = 1000

# Of requests that come with less time than any run took, one in so many waits for its turn all the same: what is
# believed of runs that nobody waits for any more would never be corrected.
HOPELESS_TRIED = 64

# The heap of deadlines is made anew, without the tickets that are done, when it has twice what was alive in it the last
# time, and more than this: a done ticket is small, and costs nothing by the request.
DEADLINES_KEPT_BELOW = 256

# Of the runs on the caller's thread, which are many and short, one in so many is learned from: that takes about 1 µs.
LEARNED_INLINE = 8


class Scheduler:
    """Takes offers, cancellations and finished batches; gives batches, expired tickets and the next wake-up.

    It holds no thread, no socket and no clock: every method that needs the time is given it, in monotonic
    nanoseconds. Lanes that have something to run are served in turn. A run holds `threads` permits of the budget
    from `next_batch` to `finished`. A lane whose turn it is has the next permits that come free: until it has as many
    as its run takes, those behind it get none, else runs of one thread would keep out those of several for ever. Where
    the lane's largest batch was measured to cost less than `inline_below_ns`, a run is marked `inline`, takes no
    permit, and is meant for the caller's own thread.

    Lanes that prepare take permits as others do; where none is free, or a run has the next ones, requests are prepared
    without one, as long as fewer than `own_preparing` are prepared in all. So the next requests are prepared while runs
    hold the whole budget, and threads are no more than it has where they do not. Nothing is prepared for a lane that
    is half full: prepared requests can be many times larger, and would be refused there.
    """

    def __init__(self, threads: int, max_queue_bytes: int, inline_below_ns: int = 0) -> None:
        if threads < 1:
            raise ValueError(f"a thread budget is at least 1, not {threads}")
        self.threads = threads
        self.free_threads = threads
        self.own_preparing = max(1, threads // 2)
        self._preparing = 0
        self.max_queue_bytes = max_queue_bytes
        self.queued_bytes = 0
        self._inline_below_ns = inline_below_ns
        # Lanes with something queued, the next to be served first.
        self._waiting: OrderedDict[Lane, None] = OrderedDict()
        self._deadlines: list[tuple[int, int, Lane, Ticket]] = []
        self._deadlines_limit = DEADLINES_KEPT_BELOW
        self._sequence = 0
        self._begun = 0
        self._inline_runs = 0

    def offer(self, lane: Lane, ticket: Ticket, group: object) -> None:
        """Queues `ticket`; raises `Overloaded` where the lane's bounds or the server's bound on bytes are met."""
        size = ticket.size_bytes
        if self.queued_bytes + size > self.max_queue_bytes:
            raise Overloaded(
                f"model {lane.name!r}: {size} bytes more would pass the server's bound of {self.max_queue_bytes} bytes "
                f"in all queues, {self.queued_bytes} are waiting",
                lane.retry_after_ms(),
            )
        lane.offer(ticket, group)
        self._entered(lane, [ticket], size)

    def offer_all(self, lane: Lane, tickets: list[Ticket], group: object) -> bool:
        """Queues tickets of one priority together; False, and nothing is queued, where they do not all have room."""
        size = sum([ticket.size_bytes for ticket in tickets])
        if self.queued_bytes + size > self.max_queue_bytes or not lane.offer_all(tickets, group, size):
            return False
        self._entered(lane, tickets, size)
        return True

    def _entered(self, lane: Lane, tickets: list[Ticket], size_bytes: int) -> None:
        """`lane` has taken tickets, of so many bytes."""
        self.queued_bytes += size_bytes
        self._waiting[lane] = None
        for ticket in tickets:
            if ticket.deadline_ns:
                self._watch(lane, ticket)

    def _watch(self, lane: Lane, ticket: Ticket) -> None:
        """Has a ticket expire when it can no longer be answered in time, whatever runs."""
        deadline_ns = ticket.deadline_ns
        if deadline_ns > lane.deadlines_until_ns:
            lane.deadlines_until_ns = deadline_ns
        latest_ns = deadline_ns - lane.shortest_ns(ticket)
        if latest_ns <= ticket.received_ns:
            lane.hopeless += 1
            if not lane.hopeless % HOPELESS_TRIED:
                latest_ns = deadline_ns
        self._sequence += 1
        heapq.heappush(self._deadlines, (latest_ns, self._sequence, lane, ticket))
        if len(self._deadlines) > self._deadlines_limit:
            self._deadlines = [entry for entry in self._deadlines if entry[3].state == QUEUED]
            heapq.heapify(self._deadlines)
            self._deadlines_limit = max(DEADLINES_KEPT_BELOW, 2 * len(self._deadlines))

    def take_at_once(
        self, lane: Lane, tickets: list[Ticket], rows: int, due_ns: int, now_ns: int
    ) -> Batch | None:
        """The batch of tickets that came together, past the queue: where nothing waits and `next_batch` would give this
        one, to be run inline. None where that is not so, or not certain.

        due_ns: the earliest of the tickets' deadlines.
        """
        if self._waiting or not self._is_inline(lane) or not lane.takes_whole(rows):
            return None
        curve = lane.cost.curve(tickets[0].key)
        run_ns = 0
        if curve is not None:
            if not curve.greedy:
                return None
            run_ns = int(lane.expected_ns(curve, rows, in_company=False))
        if due_ns <= now_ns + run_ns:
            return None
        for ticket in tickets:
            ticket.state = RUNNING
        lane.running += 1
        return Batch(lane, tickets, rows, now_ns, inline=True)

    def cancel(self, lane: Lane, ticket: Ticket) -> bool:
        """Withdraws a ticket that still waits; False where it is running or done."""
        if ticket.state != QUEUED:
            return False
        lane.withdraw(ticket)
        self._left(lane, ticket.size_bytes)
        return True

    def expire(self, now_ns: int) -> list[Ticket]:
        """Withdraws the tickets that wait and can no longer be answered in time, and returns them.

        Those are the ones whose deadline has passed or is nearer than the shortest run of their size that was seen.
        """
        expired = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now_ns:
            _, _, lane, ticket = heapq.heappop(deadlines)
            request = ticket.request
            if self.cancel(lane, ticket):
                # Whoever asked is told, and it is recorded, of what.
                ticket.request = request
                expired.append(ticket)
        return expired

    def next_batch(self, now_ns: int) -> Batch | None:
        """The next batch to run, or None where nothing can or should run now.

        Call `expire` first: what it left is worth running.
        """
        reserved = False
        for lane in list(self._waiting) if len(self._waiting) > 1 else tuple(self._waiting):
            policy = lane.policy
            if lane.running >= policy.instances:
                continue
            ready_at_ns = lane.ready_at_ns()
            if ready_at_ns is None:
                self._waiting.pop(lane, None)
                continue
            if ready_at_ns > now_ns:
                continue
            inline = self._is_inline(lane)
            permits = 0 if inline else min(policy.threads, self.threads)
            if policy.prepares and lane.feeds is not None and lane.feeds.is_half_full():
                continue
            if permits and (reserved or permits > self.free_threads):
                if not policy.prepares:
                    reserved = True
                    continue
                if self._preparing >= self.own_preparing:
                    continue
                permits = 0
            before = lane.queued_bytes
            in_company = self.free_threads < self.threads
            batch = lane.take(now_ns, self._idle(lane, permits) if permits else 1, in_company)
            if batch is None:
                self._waiting.pop(lane, None)
                continue
            lane.running += 1
            batch.inline = inline
            batch.permits = permits
            if not inline:
                batch.in_company = in_company
                self._begun += 1
                batch.begun = self._begun
            self.free_threads -= permits
            self._preparing += policy.prepares
            self._left(lane, before - lane.queued_bytes)
            if lane in self._waiting:
                self._waiting.move_to_end(lane)
            return batch
        return None

    def has_room(self, lane: Lane) -> bool:
        """Whether a run of `lane` now would take nothing that somebody waits for.

        It would where the lane has requests or no run to spare, where too few permits are free, and where another lane
        waits for permits or for its batch to fill.
        """
        policy = lane.policy
        if lane.queued or lane.running >= policy.instances:
            return False
        if min(policy.threads, self.threads) > self.free_threads:
            return False
        return all(other.running >= other.policy.instances for other in self._waiting)

    def take_aside(self, lane: Lane, now_ns: int) -> Batch:
        """An empty batch of `lane`, past the queue, where it `has_room`; holds what a run holds, until `finished`."""
        permits = min(lane.policy.threads, self.threads)
        lane.running += 1
        self.free_threads -= permits
        return Batch(lane, [], 0, now_ns, permits=permits)

    def finished(self, batch: Batch, execute_ns: int) -> None:
        """Gives back what the batch held, and learns what its run cost (0: nothing to learn)."""
        lane = batch.lane
        lane.running -= 1
        self.free_threads += batch.permits
        self._preparing -= lane.policy.prepares
        if not execute_ns or not batch.tickets:
            return
        if batch.inline:
            slow = execute_ns > SLOW_INLINE * self._inline_below_ns
            lane.slow_inline = lane.slow_inline * SCORE_KEPT + slow
            certain = execute_ns > CERTAIN_INLINE * self._inline_below_ns
            lane.inline = not certain and lane.slow_inline < SLOW_INLINE_SCORE
            self._inline_runs += 1
            if not self._inline_runs % LEARNED_INLINE:
                lane.learn(batch, execute_ns, ALONE)
            return
        company = ALONE
        if batch.in_company:
            company = BESIDE if self.free_threads < self.threads else SOME
        elif self._begun != batch.begun:
            company = SOME
        lane.learn(batch, execute_ns, company)

    def next_wakeup_ns(self, now_ns: int) -> int | None:
        """When `expire` or `next_batch` may have something to say although no event came; None is never."""
        wakeup = self._deadlines[0][0] if self._deadlines else None
        for lane in self._waiting:
            if lane.policy.max_queue_delay_ns and lane.running < lane.policy.instances:
                ready_at_ns = lane.ready_at_ns()
                if (
                    ready_at_ns is not None
                    and ready_at_ns > now_ns
                    and (wakeup is None or ready_at_ns < wakeup)
                ):
                    wakeup = ready_at_ns
        return wakeup

    def _idle(self, lane: Lane, permits: int) -> int:
        """Runs of `lane` that could begin now; 1 where another lane waits as well, which has the next turn."""
        spare = lane.policy.instances - lane.running
        if spare < 2 or len(self._waiting) > 1 or lane.policy.prepares:
            return 1
        return min(spare, self.free_threads // permits)

    def _is_inline(self, lane: Lane) -> bool:
        """Decided once, by what warm-up measured for the lane's largest batch; `finished` may take it back."""
        if lane.inline is None:
            floor_ns = lane.cost.floor_ns(lane.limit_rows)
            lane.inline = floor_ns is not None and floor_ns < self._inline_below_ns
        return lane.inline

    def _left(self, lane: Lane, size_bytes: int) -> None:
        self.queued_bytes -= size_bytes
        if not lane.queued:
            self._waiting.pop(lane, None)
