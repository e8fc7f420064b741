"""The request path: bytes come in with a call, are decoded, admitted, queued, run in batches, and leave as bytes."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from steelyard._native.decision import new_ids
from steelyard._native.observe import Slot
from steelyard.clock import Clock
from steelyard.errors import (
    DeadlineExpired,
    ExecutionFailed,
    InvalidRequest,
    SteelyardError,
    TooLarge,
    Unavailable,
)
from steelyard.models.golden import GoldenExample
from steelyard.observe.layout import refusal_of
from steelyard.observe.logs import log
from steelyard.pipelines.plan import PreparedRequest
from steelyard.runtime.executor import Executor
from steelyard.scheduling.lane import PRIORITY_DEFAULT, PRIORITY_LAST, Lane
from steelyard.scheduling.scheduler import Scheduler
from steelyard.scheduling.ticket import State, Ticket
from steelyard.serving.call import DECISION_ID, Call
from steelyard.serving.catalog import Catalog
from steelyard.serving.examination import Examination, examine
from steelyard.serving.execution import Job, execute
from steelyard.serving.fit import fit
from steelyard.serving.inbox import Arrival, Inbox
from steelyard.serving.preparing import Preparing, count_steps, prepare, prepare_request
from steelyard.serving.suspects import Suspects
from steelyard.serving.version import ServedVersion
from steelyard.wire import decode_request
from steelyard.wire.types import MAX_MESSAGE_BYTES, InferRequest

# Deadlines past this are none.
NO_DEADLINE_NS = 1 << 62

# Decision id, the model's and the version's name as far as they are known, the error if there was one, and nanoseconds.
RequestLog = Callable[[str, str | None, str | None, SteelyardError | None, int], None]

Work = Job | Preparing | Examination


def _work(job: Work) -> None:
    if isinstance(job, Job):
        execute(job)
    elif isinstance(job, Preparing):
        prepare(job)
    else:
        examine(job)


def prepared_ticket(
    call: Call, prepared: PreparedRequest, received_ns: int, decode_ns: int, deadline_ns: int, priority: int
) -> Ticket:
    """The place of a request that has been prepared; preparing counts as a part of decoding it."""
    size = prepared.held_bytes
    return Ticket(
        call, prepared, prepared.rows, prepared.key, received_ns, decode_ns, deadline_ns, priority, size
    )


class Engine:
    """Everything between a front and ONNX Runtime; lives on one event loop and is called there only.

    All calls that one pass of the loop brings are decoded and offered to the scheduler together, and what can run then
    is run at once: on the loop itself where the batch is predicted to be cheaper than a hand-over between threads, on
    an executor thread otherwise.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        catalog: Catalog,
        scheduler: Scheduler,
        unknown: Slot,
        log_request: RequestLog | None = None,
        max_answer_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._now_ns = clock.now_ns
        self._catalog = catalog
        self._scheduler = scheduler
        self._unknown = unknown
        self._log_request = log_request
        self._max_answer_bytes = max_answer_bytes
        self._executor: Executor[Work] = Executor(loop, scheduler.threads, _work, self._finish)
        self._suspects = Suspects()
        self._touched: set[ServedVersion] = set()
        self._inbox = Inbox(loop, self._now_ns, self._pump)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        self._idle: asyncio.Future[None] | None = None
        self.in_flight = 0
        self.accepting = True

    def submit(self, call: Call, body: bytes) -> None:
        """Takes a ModelInferRequest. `call` hears of the outcome later, never from within this."""
        self.in_flight += 1
        now_ns = self._now_ns()
        if not self.accepting:
            self._loop.call_soon(self._refuse_late, call, now_ns)
            return
        self._inbox.put(call, body, now_ns)

    def cancel(self, call: Call) -> None:
        """The caller is gone: what waits is withdrawn, what runs is thrown away when it is done."""
        call.cancelled = True
        place = call.place
        if place is None:
            return
        version, lane, ticket = place
        if self._scheduler.cancel(lane, ticket):
            call.place = ticket.call = None
            self._left(version)
            self._gone(version.slot)
            self._show_gauges()

    def may_examine(self, version: ServedVersion) -> bool:
        """Whether a golden example could be run now without a request that has to wait for it."""
        if not self.accepting or version.retired or version.examined:
            return False
        if version.prepare_lane is not None and version.prepare_lane.queued:
            return False
        return self._scheduler.has_room(version.lane)

    def examine(self, version: ServedVersion, example: GoldenExample) -> asyncio.Future[str]:
        """Runs a golden example as `version` would answer it; call where it `may_examine`.

        What comes of it is what is wrong with the answer, empty where nothing is. It is no request: it is in none of
        their counts, and in a batch by itself.
        """
        batch = self._scheduler.take_aside(version.lane, self._now_ns())
        version.examined = True
        self.in_flight += 1
        done: asyncio.Future[str] = self._loop.create_future()
        self._executor.submit(Examination(batch, version, example, done))
        return done

    async def drain(self) -> None:
        """Refuses what comes from now on, and returns when everything accepted has been answered."""
        self.accepting = False
        if self.in_flight:
            self._idle = self._loop.create_future()
            await self._idle

    def close(self, wait: bool = True) -> None:
        """Ends the executor's threads; call after `drain`. Without `wait`, a run that hangs is left behind."""
        if self._timer is not None:
            self._timer.cancel()
        self._executor.close(wait)

    def _pump(self, arrivals: list[Arrival]) -> bool:
        admit = self._admit
        for call, body, received_ns in arrivals:
            admit(call, body, received_ns)
        return self._dispatch()

    def _admit(self, call: Call, body: bytes, received_ns: int) -> None:
        """Decode, route, check against the version's signature, queue."""
        slot = self._unknown
        request: InferRequest | None = None
        started_ns = self._now_ns()
        try:
            request = decode_request(body)
            version = self._catalog.route(request.model_name, request.model_version)
            slot = version.slot
            slot.received(1)
            if call.cancelled:
                self._gone(slot)
                return
            rows, key, direct = fit(version, request)
            deadline_ns = call.deadline_ns
            priority = PRIORITY_DEFAULT
            if request.parameters:
                priority, deadline_ns = self._wishes(request, received_ns, deadline_ns)
            if not deadline_ns and version.default_timeout_ns:
                deadline_ns = received_ns + version.default_timeout_ns
            # A caller may name any: the ticket holds 64 bits, and who waits three centuries has no deadline.
            if deadline_ns >= NO_DEADLINE_NS:
                deadline_ns = 0
            decoded_ns = self._now_ns()
            if deadline_ns and deadline_ns <= decoded_ns:
                raise DeadlineExpired(
                    f"model {version.model!r}: the deadline had passed when the request was read"
                )
            decode_ns = decoded_ns - started_ns
            pipeline = version.pipeline
            if pipeline is not None:
                if version.prepare_lane is not None and not direct and not pipeline.is_inline(request):
                    size = request.held_bytes
                    waiting = Ticket(
                        call, request, rows, key, received_ns, decode_ns, deadline_ns, priority, size
                    )
                    self._queue(version, version.prepare_lane, waiting)
                    return
                tally = pipeline.tally()
                try:
                    prepared = prepare_request(version, request, rows, tally, direct)
                finally:
                    count_steps(slot, tally)
                decode_ns = self._now_ns() - started_ns
                ticket = prepared_ticket(call, prepared, received_ns, decode_ns, deadline_ns, priority)
            else:
                size = request.held_bytes
                ticket = Ticket(call, request, rows, key, received_ns, decode_ns, deadline_ns, priority, size)
            self._queue(version, version.lane, ticket)
        except SteelyardError as error:
            self._turn_away(call, request, slot, error, received_ns)
        except (
            Exception
        ) as error:  # a fault of ours must not take the calls with it that came beside this one
            refusal = ExecutionFailed("the server failed on this request")
            decision_id = self._turn_away(call, request, slot, refusal, received_ns)
            log("request.fault", level=logging.ERROR, decision_id=decision_id, exception=repr(error))

    def _turn_away(
        self, call: Call, request: InferRequest | None, slot: Slot, error: SteelyardError, received_ns: int
    ) -> str:
        """Refuses a request that did not reach a queue, however far it was understood; gives its decision id."""
        if slot is self._unknown:
            slot.received(1)
        model, version = (request.model_name, request.model_version) if request is not None else (None, None)
        return self._refuse(call, slot, error, received_ns, model, version)

    def _queue(self, version: ServedVersion, lane: Lane, ticket: Ticket) -> None:
        """Queues a ticket with others of its key, or by itself where it has no rows or a caller of many culprits."""
        group: object = ticket.key
        suspects = self._suspects
        if not ticket.rows or (suspects and suspects.is_suspect(ticket.call.peer, ticket.received_ns)):
            group = ticket
        self._scheduler.offer(lane, ticket, group)
        ticket.call.place = (version, lane, ticket)
        version.in_flight += 1
        self._touched.add(version)

    def _refuse_late(self, call: Call, received_ns: int) -> None:
        """Ends a call that came after the last that will be served."""
        self._unknown.received(1)
        if call.cancelled:
            self._gone(self._unknown)
        else:
            self._refuse(call, self._unknown, Unavailable("the server is stopping"), received_ns)

    def _wishes(self, request: InferRequest, received_ns: int, deadline_ns: int) -> tuple[int, int]:
        """Priority level and deadline, from the request's parameters; their types were checked by the codec."""
        parameters = request.parameters
        priority = min(int(parameters.get("priority", 0)), PRIORITY_LAST) or PRIORITY_DEFAULT
        timeout_us = int(parameters.get("timeout", 0))
        if priority < 0 or timeout_us < 0:
            raise InvalidRequest(
                f"model {request.model_name!r}: 'priority' and 'timeout' are 0 or more, "
                f"not {priority} and {timeout_us}"
            )
        if timeout_us:
            own_ns = received_ns + timeout_us * 1000
            deadline_ns = min(deadline_ns, own_ns) if deadline_ns else own_ns
        return priority, deadline_ns

    def _dispatch(self) -> bool:
        """Runs whatever can run now, and sets the timer for what cannot yet. Returns whether anything ran inline."""
        scheduler = self._scheduler
        ran_inline = False
        while True:
            now_ns = self._now_ns()
            for ticket in scheduler.expire(now_ns):
                version = ticket.call.place[0]
                self._left(version)
                waited_ms = (now_ns - ticket.received_ns) / 1e6
                error = DeadlineExpired(
                    f"model {version.model!r}: the deadline passed after {waited_ms:.1f} ms in the queue"
                )
                self._refuse(
                    ticket.call, version.slot, error, ticket.received_ns, version.model, version.name
                )
                ticket.call = None
            batch = scheduler.next_batch(now_ns)
            if batch is None:
                break
            version = batch.lane.owner
            if batch.lane is version.prepare_lane:
                self._executor.submit(Preparing(batch, version))
            elif batch.inline:
                ran_inline = True
                job = Job(batch, version)
                execute(job)
                self._settle(job)
            else:
                self._executor.submit(Job(batch, version))
        self._show_gauges()
        wakeup_ns = scheduler.next_wakeup_ns(now_ns)
        if wakeup_ns is not None and (self._timer is None or wakeup_ns != self._timer_ns):
            if self._timer is not None:
                self._timer.cancel()
            self._timer_ns = wakeup_ns
            self._timer = self._loop.call_later(max(0, wakeup_ns - now_ns) / 1e9, self._wake)
        return ran_inline

    def _wake(self) -> None:
        self._timer = None
        self._dispatch()

    def _finish(self, jobs: list[Work]) -> None:
        for job in jobs:
            if isinstance(job, Job):
                self._settle(job)
            elif isinstance(job, Preparing):
                self._take_up(job)
            else:
                self._conclude(job)
        self._dispatch()

    def _conclude(self, job: Examination) -> None:
        """Gives back what an examination held, and tells who asked for it."""
        version = job.version
        self._scheduler.finished(job.batch, 0)
        version.examined = False
        self.in_flight -= 1
        if not job.done.done():
            job.done.set_result(job.problem)
        self._if_released(version)
        self._if_idle()

    def _take_up(self, job: Preparing) -> None:
        """Queues a request that has been prepared, or ends it where that was not possible."""
        version, outcome = job.version, job.outcome
        assert outcome is not None
        self._scheduler.finished(job.batch, 0)
        count_steps(version.slot, job.tally)
        (waited,) = job.batch.tickets
        waited.state = State.DONE
        call, received_ns = waited.call, waited.received_ns
        waited.call = waited.request = None
        version.in_flight -= 1
        self._touched.add(version)
        call.place = None
        if call.cancelled:
            self._gone(version.slot)
        elif isinstance(outcome, SteelyardError):
            self._refuse(call, version.slot, outcome, received_ns, version.model, version.name)
        else:
            decode_ns = waited.decode_ns + job.done_ns - job.began_ns
            ticket = prepared_ticket(
                call, outcome, received_ns, decode_ns, waited.deadline_ns, waited.priority
            )
            try:
                self._queue(version, version.lane, ticket)
            except SteelyardError as error:
                self._refuse(call, version.slot, error, received_ns, version.model, version.name)
        self._if_released(version)

    def _settle(self, job: Job) -> None:
        """Gives back what the batch held, counts it, and tells its callers."""
        batch, version = job.batch, job.version
        slot = version.slot
        version.in_flight -= len(batch.tickets)
        self._touched.add(version)
        whole = job.runs == 1 and not job.failed
        self._scheduler.finished(batch, job.executed_ns - job.assembled_ns if whole else 0)
        answered: list[Ticket] = []
        rows = 0
        trailing = version.trailing
        log_request = self._log_request
        for ticket, outcome, decision_id in zip(batch.tickets, job.outcomes, job.decision_ids, strict=True):
            ticket.state = State.DONE
            call = ticket.call
            call.place = None
            # The heap of deadlines may hold the ticket for as long as its deadline is away.
            ticket.call = ticket.request = None
            if call.cancelled:
                self._gone(slot)
                continue
            total_ns = job.encoded_ns - ticket.received_ns
            if type(outcome) is not bytes:
                self._suspects.blame(call.peer, job.encoded_ns)
            elif len(outcome) > self._max_answer_bytes:
                outcome = TooLarge(
                    f"model {version.model!r}: the answer has {len(outcome)} bytes, and the limit is "
                    f"{self._max_answer_bytes} (max_message_bytes): ask with fewer rows, or for fewer outputs"
                )
            if type(outcome) is bytes:
                answered.append(ticket)
                rows += ticket.rows
                self.in_flight -= 1
                call.answer(outcome, ((DECISION_ID, decision_id), *trailing))
                if log_request is not None:
                    log_request(decision_id, version.model, version.name, None, total_ns)
            else:
                assert isinstance(outcome, SteelyardError)
                slot.failed(total_ns)
                self.in_flight -= 1
                call.fail(outcome, ((DECISION_ID, decision_id), *trailing))
                if log_request is not None:
                    log_request(decision_id, version.model, version.name, outcome, total_ns)
        if job.tally is not None:
            count_steps(slot, job.tally)
        if answered:
            slot.record_batch(
                answered,
                rows,
                batch.taken_ns,
                job.assembled_ns,
                job.executed_ns,
                job.encoded_ns,
                self._clock.unix_ns() // 1_000_000,
            )
        self._if_released(version)
        self._if_idle()

    def _refuse(
        self,
        call: Any,
        slot: Slot,
        error: SteelyardError,
        received_ns: int,
        model: str | None = None,
        version: str | None = None,
    ) -> str:
        """Ends a call that will not run, and counts why; gives the decision id that it was told."""
        total_ns = self._now_ns() - received_ns
        call.place = None
        self.in_flight -= 1
        reason = refusal_of(error)
        if reason is None:
            slot.failed(total_ns)
        else:
            slot.refused(reason)
        decision_id = new_ids(1, self._clock.unix_ns() // 1_000_000)[0]
        if not call.cancelled:
            call.fail(error, ((DECISION_ID, decision_id),))
        if self._log_request is not None:
            self._log_request(decision_id, model, version, error, total_ns)
        self._if_idle()
        return decision_id

    def _left(self, version: ServedVersion) -> None:
        version.in_flight -= 1
        self._touched.add(version)
        self._if_released(version)

    def _if_released(self, version: ServedVersion) -> None:
        if version.retired and not version.is_busy:
            version.release()

    def _show_gauges(self) -> None:
        """Writes the gauges of every version that something happened to since they were last written."""
        for version in self._touched:
            lane = version.lane
            queued, queued_bytes = lane.queued, lane.queued_bytes
            if version.prepare_lane is not None:
                queued += version.prepare_lane.queued
                queued_bytes += version.prepare_lane.queued_bytes
            version.slot.set_gauges(version.in_flight, queued, queued_bytes)
        self._touched.clear()

    def _gone(self, slot: Slot) -> None:
        self.in_flight -= 1
        slot.cancelled()
        self._if_idle()

    def _if_idle(self) -> None:
        if not self.in_flight and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
