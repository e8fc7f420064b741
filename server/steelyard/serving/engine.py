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
from steelyard.observe.layout import refusal_of
from steelyard.observe.logs import log
from steelyard.runtime.executor import Executor
from steelyard.scheduling.lane import PRIORITY_DEFAULT, PRIORITY_LAST
from steelyard.scheduling.scheduler import Scheduler
from steelyard.scheduling.ticket import State, Ticket
from steelyard.serving.call import DECISION_ID, Call
from steelyard.serving.catalog import Catalog
from steelyard.serving.classification import check_classes
from steelyard.serving.empty_tensors import check_empty
from steelyard.serving.execution import Job, execute
from steelyard.serving.suspects import Suspects
from steelyard.serving.version import ServedVersion
from steelyard.wire import decode_request
from steelyard.wire.check import check_outputs, explain_misfit
from steelyard.wire.types import MAX_MESSAGE_BYTES, InferRequest

# Deadlines past this are none.
NO_DEADLINE_NS = 1 << 62

RequestLog = Callable[[str, ServedVersion | None, SteelyardError | None, int], None]

# Requests are gathered over passes of a busy loop until there are so many, or the first has waited so long: enough
# for most of what sharing a run saves, and little beside what a request waits at a loop that is busy for that long.
GATHERED = 64
GATHER_NS = 3_000_000

# What a pass of the loop takes that has nothing to do: a system call and a callback, 3 µs measured, with room for
# slower machines. The shortest pass that brings a request of another front takes several times as long.
IDLE_PASS_NS = 15_000

# Idle passes in a row that end the gathering where requests have come together before.
MAX_PATIENCE = 16


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
        self._executor: Executor[Job] = Executor(loop, scheduler.threads, execute, self._finish)
        self._suspects = Suspects()
        self._touched: set[ServedVersion] = set()
        self._inbox: list[tuple[Call, bytes, int]] = []
        self._patience = 1
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
        inbox = self._inbox
        inbox.append((call, body, now_ns))
        if len(inbox) == 1:
            self._loop.call_soon(self._gather, now_ns, 0)

    def cancel(self, call: Call) -> None:
        """The caller is gone: what waits is withdrawn, what runs is thrown away when it is done."""
        call.cancelled = True
        place = call.place
        if place is None:
            return
        version, ticket = place
        if self._scheduler.cancel(version.lane, ticket):
            call.place = None
            self._left(version)
            self._gone(version.slot)
            self._show_gauges()

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

    def _gather(self, since_ns: int, idle_passes: int) -> None:
        """Lets the loop go round while that is likely to bring more requests, then pumps.

        While passes are busy the thread has other work, so a run made later loses nothing, and one run for several
        requests saves most of what a run costs beside a busy front: measured with `grpc.aio`, which brings requests
        one a pass, 45 µs each. Idle passes end it: after one where requests come alone, after up to `MAX_PATIENCE`
        (some 60 µs) where the last times have shown that others follow.
        """
        inbox = self._inbox
        now_ns = self._now_ns()
        idle_passes = idle_passes + 1 if now_ns - since_ns < IDLE_PASS_NS else 0
        gathered = len(inbox)
        if idle_passes < self._patience and gathered < GATHERED and now_ns - inbox[0][2] < GATHER_NS:
            self._loop.call_soon(self._gather, now_ns, idle_passes)
            return
        # Only runs on this thread are worth waiting for: for the others requests gather while a thread is busy.
        pays = self._pump() and gathered > 1
        self._patience = min(self._patience * 2, MAX_PATIENCE) if pays else max(self._patience // 2, 1)

    def _pump(self) -> bool:
        inbox, self._inbox = self._inbox, []
        admit = self._admit
        for call, body, received_ns in inbox:
            admit(call, body, received_ns)
        return self._dispatch()

    def _admit(self, call: Call, body: bytes, received_ns: int) -> None:
        """Decode, route, check against the version's signature, queue."""
        slot = self._unknown
        started_ns = self._now_ns()
        try:
            request = decode_request(body)
            version = self._catalog.route(request.model_name, request.model_version)
            slot = version.slot
            slot.received(1)
            if call.cancelled:
                self._gone(slot)
                return
            bound = version.signature.bind(request)
            if bound is None:
                explain_misfit(request, version.model, version.input_specs, version.spec.batched)
            rows, key = bound
            if request.outputs:
                check_outputs(request, version.model, version.output_names)
                check_classes(request, version)
            if not rows or 0 in key:
                check_empty(request, version.model)
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
            size = request.held_bytes
            ticket = Ticket(call, request, rows, key, received_ns, decode_ns, deadline_ns, priority, size)
            group: object = key
            if not rows or (self._suspects and self._suspects.is_suspect(call.peer, received_ns)):
                group = ticket
            self._scheduler.offer(version.lane, ticket, group)
            call.place = (version, ticket)
            version.in_flight += 1
            self._touched.add(version)
        except SteelyardError as error:
            if slot is self._unknown:
                slot.received(1)
            self._refuse(call, slot, error, received_ns)
        except (
            Exception
        ) as error:  # a fault of ours: it must not take the calls with it that came beside this one
            if slot is self._unknown:
                slot.received(1)
            log("request.fault", level=logging.ERROR, exception=repr(error))
            self._refuse(call, slot, ExecutionFailed("the server failed on this request"), received_ns)

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
                self._refuse(ticket.call, version.slot, error, ticket.received_ns)
            batch = scheduler.next_batch(now_ns)
            if batch is None:
                break
            job = Job(batch, batch.lane.owner)
            if batch.inline:
                ran_inline = True
                execute(job)
                self._settle(job)
            else:
                self._executor.submit(job)
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

    def _finish(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._settle(job)
        self._dispatch()

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
            if call.cancelled:
                self._gone(slot)
                continue
            if type(outcome) is bytes and len(outcome) > self._max_answer_bytes:
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
                    log_request(decision_id, version, None, job.encoded_ns - ticket.received_ns)
            else:
                assert isinstance(outcome, SteelyardError)
                slot.failed()
                self.in_flight -= 1
                self._suspects.blame(call.peer, job.encoded_ns)
                call.fail(outcome, ((DECISION_ID, decision_id), *trailing))
                if log_request is not None:
                    log_request(decision_id, version, outcome, job.encoded_ns - ticket.received_ns)
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
        self._if_idle()

    def _refuse(self, call: Any, slot: Slot, error: SteelyardError, received_ns: int) -> None:
        """Ends a call that will not run, and counts why."""
        call.place = None
        self.in_flight -= 1
        reason = refusal_of(error)
        if reason is None:
            slot.failed()
        else:
            slot.refused(reason)
        decision_id = new_ids(1, self._clock.unix_ns() // 1_000_000)[0]
        if not call.cancelled:
            call.fail(error, ((DECISION_ID, decision_id),))
        if self._log_request is not None:
            self._log_request(decision_id, None, error, self._now_ns() - received_ns)
        self._if_idle()

    def _left(self, version: ServedVersion) -> None:
        version.in_flight -= 1
        self._touched.add(version)

    def _show_gauges(self) -> None:
        """Writes the gauges of every version that something happened to since they were last written."""
        for version in self._touched:
            lane = version.lane
            version.slot.set_gauges(version.in_flight, lane.queued, lane.queued_bytes)
        self._touched.clear()

    def _gone(self, slot: Slot) -> None:
        self.in_flight -= 1
        slot.cancelled()
        self._if_idle()

    def _if_idle(self) -> None:
        if not self.in_flight and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
