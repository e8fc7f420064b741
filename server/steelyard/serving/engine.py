"""The request path: bytes come in with a call, are decoded, admitted, queued, run in batches, and leave as bytes."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from steelyard._native import path
from steelyard._native.observe import Slot
from steelyard._native.path import let_go
from steelyard.alarm import Alarm
from steelyard.clock import Clock
from steelyard.errors import (
    Cancelled,
    DeadlineExpired,
    ExecutionFailed,
    SteelyardError,
    TooLarge,
    Unavailable,
)
from steelyard.models.golden import GoldenExample
from steelyard.observe.logs import log
from steelyard.runtime.executor import Executor
from steelyard.scheduling.lane import Batch
from steelyard.scheduling.scheduler import Scheduler
from steelyard.scheduling.ticket import DONE, Ticket
from steelyard.serving.admission import Admission, prepared_ticket
from steelyard.serving.call import Call
from steelyard.serving.catalog import Catalog
from steelyard.serving.examination import Examination, examine
from steelyard.serving.execution import Job, execute
from steelyard.serving.inbox import Arrival, Inbox
from steelyard.serving.ledger import Ledger, RequestLog
from steelyard.serving.plain import Left
from steelyard.serving.preparing import Preparing, count_steps, prepare
from steelyard.serving.recording import Recording
from steelyard.serving.shadowing import Answered
from steelyard.serving.suspects import Suspects
from steelyard.serving.version import ServedVersion
from steelyard.wire.types import MAX_MESSAGE_BYTES

Work = Job | Preparing | Examination

# The place of a call whose body is being made.
EXPECTED: Final = object()


def _work(job: Work) -> None:
    if isinstance(job, Job):
        execute(job)
    elif isinstance(job, Preparing):
        prepare(job)
    else:
        examine(job)


def _hand_over(job: Job, answers: Answered) -> None:
    """Offers a batch whose callers have been told to its version's taps; one that has a fault gets nothing more."""
    version = job.version
    for tap in version.shadows:
        try:
            tap.offer(job, answers)
        except Exception as error:  # a fault of a shadow's must not meet the requests of its primary
            log("shadow.fault", level=logging.ERROR, shadow=tap.name, exception=repr(error))
            tap.close()
            version.shadows = tuple(other for other in version.shadows if other is not tap)


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
        path: Any = path,
        recording: Recording | None = None,
    ) -> None:
        """path: the native one, or its plain twin. recording: None: no decision is recorded."""
        self._loop = loop
        self._clock = clock
        self._now_ns = clock.now_ns
        self._scheduler = scheduler
        self._ledger = Ledger(loop, clock, unknown, log_request, recording)
        self._recording = recording
        self._max_answer_bytes = max_answer_bytes
        threads = scheduler.threads + scheduler.own_preparing
        self._executor: Executor[Work] = Executor(loop, threads, _work, self._finish)
        self._suspects = Suspects()
        self._admission = Admission(clock, catalog, scheduler, self._suspects, self._ledger)
        self._intake = path.Intake(self._admission, catalog.routes, self._suspects.callers, clock.now_ns)
        self._answer_all = path.answer_all
        self._inbox = Inbox(loop, self._now_ns, self._pump)
        self._alarm = Alarm()
        self._alarm_ns: int | None = None
        loop.add_reader(self._alarm.descriptor, self._wake)
        self.accepting = True

    @property
    def in_flight(self) -> int:
        """Calls that have not ended, and golden examples that run."""
        return self._ledger.in_flight

    def submit(self, call: Call, body: bytes) -> None:
        """Takes a ModelInferRequest. `call` hears of the outcome later, never from within this."""
        self.submit_all([(call, body, self._now_ns())], len(body))

    def submit_all(self, arrivals: Sequence[Arrival], size_bytes: int) -> None:
        """Takes requests that came together, with when each came, as `submit` does one. size_bytes: of the bodies."""
        self._ledger.in_flight += len(arrivals)
        if self.accepting:
            self._inbox.put(arrivals, size_bytes)
        else:
            for call, _, received_ns in arrivals:
                self._refuse_late(call, received_ns)

    def expect(self, call: Call) -> int | None:
        """Takes a call that has come, and whose body has yet to be made: `submit_expected` follows, or `refuse`, or
        `cancel`. Returns when it came; None where nothing follows, as it came too late."""
        self._ledger.in_flight += 1
        received_ns = self._now_ns()
        if not self.accepting:
            self._refuse_late(call, received_ns)
            return None
        call.place = EXPECTED
        return received_ns

    def submit_expected(self, call: Call, body: bytes, received_ns: int) -> None:
        """Takes the body of a call that was expected, however late it is made."""
        call.place = None
        self._inbox.put([(call, body, received_ns)], len(body))

    def refuse(self, call: Call, error: SteelyardError, received_ns: int) -> None:
        """Ends a call that was expected, and whose body cannot be made."""
        self._admission.refuse_unread(call, error, received_ns)

    def _refuse_late(self, call: Call, received_ns: int) -> None:
        error = Unavailable("the server is stopping")
        self._loop.call_soon(self._admission.refuse_unread, call, error, received_ns)

    def cancel(self, call: Call) -> None:
        """The caller is gone: what waits is withdrawn, what runs is thrown away when it is done."""
        call.cancelled = True
        place = call.place
        if place is None:
            return
        if place is EXPECTED:
            call.place = None
            self._admission.refuse_unread(call, Cancelled("the caller went away"), self._now_ns())
            return
        version, lane, ticket = place
        if call.arm is not None:
            self._ledger.given_up(call, ticket.received_ns, ticket.deadline_ns)
        request = ticket.request
        if self._scheduler.cancel(lane, ticket):
            call.place = ticket.call = None
            ledger = self._ledger
            ledger.left(version)
            ledger.released(version)
            ledger.gone(version.slot, call, ticket.received_ns, version, request, ticket)
            ledger.show_gauges()

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
        self._ledger.in_flight += 1
        done: asyncio.Future[str] = self._loop.create_future()
        self._executor.submit(Examination(batch, version, example, done))
        return done

    async def drain(self) -> None:
        """Refuses what comes from now on, and returns when everything accepted has been answered."""
        self.accepting = False
        await self._ledger.empty()

    def close(self, wait: bool = True) -> None:
        """Ends the executor's threads; call after `drain`. Without `wait`, a run that hangs is left behind."""
        self._loop.remove_reader(self._alarm.descriptor)
        self._alarm.close()
        self._executor.close(wait)

    def _pump(self, arrivals: list[Arrival]) -> bool:
        last = self._intake.take(arrivals)
        if last is not None and self._run_at_once(*last):
            # Nothing else waited, nor does now.
            self._ledger.show_gauges()
            return True
        return self._dispatch()

    def _run_at_once(
        self, version: ServedVersion, tickets: list[Ticket], rows: int, key: tuple[int, ...], due_ns: int
    ) -> bool:
        """Runs what came together, where nothing else waits and it would be run inline next; else queues it."""
        batch = self._scheduler.take_at_once(version.lane, tickets, rows, due_ns, self._now_ns())
        if batch is None:
            self._admission.queue_all(version, tickets, key)
            return False
        version.slot.received(len(tickets))
        version.in_flight += len(tickets)
        self._run_inline(batch, version)
        return True

    def _run_inline(self, batch: Batch, version: ServedVersion) -> None:
        job = Job(batch, version)
        execute(job)
        self._settle(job)

    def _dispatch(self) -> bool:
        """Runs whatever can run now, and sets the alarm for what cannot yet. Returns whether anything ran inline."""
        scheduler = self._scheduler
        ran_inline = False
        while True:
            now_ns = self._now_ns()
            for ticket in scheduler.expire(now_ns):
                version = ticket.call.place[0]
                self._ledger.left(version)
                self._ledger.released(version)
                waited_ms = (now_ns - ticket.received_ns) / 1e6
                left_ms = (ticket.deadline_ns - now_ns) / 1e6
                passed = "passed" if left_ms <= 0 else f"is in {left_ms:.1f} ms, less than the model takes,"
                error = DeadlineExpired(
                    f"model {version.model!r}: the deadline {passed} after {waited_ms:.1f} ms in the queue"
                )
                self._ledger.refuse(
                    ticket.call, version.slot, error, ticket.received_ns, version, ticket.request, ticket
                )
                ticket.call = ticket.request = None
            batch = scheduler.next_batch(now_ns)
            if batch is None:
                break
            version = batch.lane.owner
            if batch.lane is version.prepare_lane:
                self._executor.submit(Preparing(batch, version))
            elif batch.inline:
                ran_inline = True
                self._run_inline(batch, version)
            else:
                self._executor.submit(Job(batch, version))
        self._ledger.show_gauges()
        wakeup_ns = scheduler.next_wakeup_ns(now_ns)
        if wakeup_ns is not None and wakeup_ns != self._alarm_ns:
            self._alarm_ns = wakeup_ns
            # The injected clock need not be the system's.
            self._alarm.set(time.monotonic_ns() + max(0, wakeup_ns - now_ns))
        return ran_inline

    def _wake(self) -> None:
        self._alarm.read()
        self._alarm_ns = None
        self._dispatch()

    def _finish(self, jobs: list[Work]) -> None:
        for job in jobs:
            try:
                if isinstance(job, Job):
                    self._settle(job)
                elif isinstance(job, Preparing):
                    self._take_up(job)
                else:
                    self._conclude(job)
            except Exception as error:  # a fault of ours must not keep the jobs that ended with it
                log("engine.fault", level=logging.ERROR, exception=repr(error)[:2000])
        self._dispatch()

    def _conclude(self, job: Examination) -> None:
        """Gives back what an examination held, and tells who asked for it."""
        version = job.version
        self._scheduler.finished(job.batch, 0)
        version.examined = False
        self._ledger.in_flight -= 1
        if not job.done.done():
            job.done.set_result(job.problem)
        self._ledger.released(version)
        self._ledger.ended()

    def _take_up(self, job: Preparing) -> None:
        """Queues a request that has been prepared, or ends it where that was not possible."""
        version, outcome = job.version, job.outcome
        assert outcome is not None
        self._scheduler.finished(job.batch, 0)
        count_steps(version.slot, job.tally)
        (waited,) = job.batch.tickets
        waited.state = DONE
        call, request, received_ns = waited.call, waited.request, waited.received_ns
        waited.call = waited.request = None
        ledger = self._ledger
        ledger.left(version)
        call.place = None
        if call.cancelled:
            ledger.gone(version.slot, call, received_ns, version, request, waited)
        elif isinstance(outcome, SteelyardError):
            ledger.refuse(call, version.slot, outcome, received_ns, version, request, waited)
        else:
            decode_ns = waited.decode_ns + job.done_ns - job.began_ns
            ticket = prepared_ticket(
                call, outcome, received_ns, decode_ns, waited.deadline_ns, waited.priority
            )
            try:
                self._admission.queue(version, version.lane, ticket)
            except SteelyardError as error:
                ledger.refuse(call, version.slot, error, received_ns, version, request, waited)
        ledger.released(version)

    def _settle(self, job: Job) -> None:
        """Gives back what the batch held, and tells its callers: at once, or when their records are on disk."""
        version = job.version
        self._ledger.left(version, len(job.batch.tickets))
        whole = job.runs == 1 and not job.failed
        self._scheduler.finished(job.batch, job.executed_ns - job.assembled_ns if whole else 0)
        recording = self._recording
        if recording is not None and version.evidence_required:
            if why := recording.no_room_for(len(job.batch.tickets)):
                self._not_recorded(job, why)
            elif self._record_before(recording, job):
                # Not released yet: its answers name it.
                version.in_flight += 1
                recording.hold(job)
                return
        self._tell(job)

    def _record_before(self, recording: Recording, job: Job) -> bool:
        """Records what will be answered; whether there is any of it."""
        will_be = [
            (ticket, decision_id)
            for ticket, outcome, decision_id in zip(
                job.batch.tickets, job.outcomes, job.decision_ids, strict=True
            )
            if type(outcome) is bytes and len(outcome) <= self._max_answer_bytes and not ticket.call.cancelled
        ]
        if will_be:
            recording.answered(job, [ticket for ticket, _ in will_be], [one for _, one in will_be])
            job.recorded = frozenset(one for _, one in will_be)
        return bool(will_be)

    def tell_recorded(self, job: Job, error: OSError | None) -> None:
        """Tells the callers of a batch whose records are on disk, or cannot be written."""
        self._ledger.left(job.version)
        if error is not None:
            self._not_recorded(job, error.strerror or "the journal cannot be written")
        self._tell(job)
        self._ledger.show_gauges()

    def tell_late(self, job: Job, ticket: Ticket, decision_id: str) -> None:
        """Tells the caller of a request, whose answer waited for the disk, that its deadline has passed, unless it is
        gone."""
        version, call = job.version, ticket.call
        ticket.state = DONE
        if call.cancelled:
            self._gone(job, ticket, call, decision_id)
        else:
            waited_ms = (self._now_ns() - job.encoded_ns) / 1e6
            error = DeadlineExpired(
                f"model {version.model!r}: the deadline passed while the answer waited {waited_ms:.1f} ms "
                "for its record"
            )
            call.decision_id = decision_id
            self._ledger.refuse(
                call, version.slot, error, ticket.received_ns, version, ticket.request, ticket, recorded=True
            )
        ticket.call = ticket.request = None

    def _gone(self, job: Job, ticket: Ticket, call: Any, decision_id: str) -> None:
        """Ends a request that has run and whose caller has gone."""
        version, ledger = job.version, self._ledger
        call.decision_id = decision_id
        if decision_id in job.recorded:
            ledger.gone_after(version.slot)
            if self._recording is not None:
                self._recording.told_otherwise(decision_id, None)
        else:
            ledger.gone(version.slot, call, ticket.received_ns, version, ticket.request, ticket)

    def _not_recorded(self, job: Job, why: str) -> None:
        """Nobody gets an answer that could not be recorded before."""
        problem = Unavailable(f"model {job.version.model!r}: the decision could not be recorded: {why}")
        job.outcomes = [problem if type(outcome) is bytes else outcome for outcome in job.outcomes]

    def _tell(self, job: Job) -> None:
        """Tells the callers of a batch that has run, counts it and records it."""
        batch, version = job.batch, job.version
        slot = version.slot
        ledger = self._ledger
        shadows = version.shadows
        tickets = batch.tickets
        # Tickets lose their calls and requests below.
        answers = [(ticket.call, ticket.request) for ticket in tickets] if shadows else []
        left: list[Left] = []
        answered, rows = self._answer_all(
            tickets, job.outcomes, job.decision_ids, version.trailing, self._max_answer_bytes, left
        )
        ledger.in_flight -= len(answered)
        for one in left:
            if self._settle_one(job, *one):
                answered.append(one[0])
                rows += one[0].rows
        if ledger.log_request is not None:
            self._log_answered(ledger.log_request, job, answered)
        if job.tally is not None:
            count_steps(slot, job.tally)
        if job.places:
            slot.padded(job.places, job.padding)
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
            if self._recording is not None and not job.recorded:
                ids = job.decision_ids if len(answered) == len(tickets) and not left else job.ids_of(answered)
                self._recording.answered(job, answered, ids)
        let_go(tickets)
        ledger.released(version)
        ledger.ended()
        if answers:
            _hand_over(job, answers)

    def _settle_one(self, job: Job, ticket: Ticket, call: Any, outcome: Any, decision_id: str) -> bool:
        """Tells the caller of a request that has run, in whatever way it ended. Returns whether it was answered."""
        version, ledger = job.version, self._ledger
        if call.cancelled:
            self._gone(job, ticket, call, decision_id)
            return False
        total_ns = job.encoded_ns - ticket.received_ns
        ledger.in_flight -= 1
        error = self._tell_one(job, call, outcome, decision_id)
        if error is not None:
            version.slot.failed(total_ns)
            if self._recording is not None and decision_id in job.recorded:
                self._recording.told_otherwise(decision_id, error)
            elif self._recording is not None:
                self._recording.ended(
                    version,
                    call,
                    ticket.request,
                    decision_id,
                    error,
                    ticket.received_ns,
                    total_ns,
                    ticket,
                    True,
                )
            if ledger.log_request is not None:
                ledger.log_request(decision_id, version.model, version.name, error, total_ns)
        if call.arm is not None:
            call.arm.end(error is not None, total_ns)
            call.arm = None
        return error is None

    def _tell_one(self, job: Job, call: Any, outcome: Any, decision_id: str) -> SteelyardError | None:
        """Tells a caller of an outcome, unless it was told; returns the error where it was one."""
        version, limit = job.version, self._max_answer_bytes
        if type(outcome) is bytes:
            if len(outcome) <= limit:
                try:
                    outcome = call.answer(outcome, decision_id, version.trailing)
                except Exception as fault:  # of ours, and nothing to the rest of the batch
                    outcome = fault
            else:
                outcome = TooLarge(
                    f"model {version.model!r}: the answer has {len(outcome)} bytes, and the limit is {limit} "
                    "(max_message_bytes): ask with fewer rows, or for fewer outputs"
                )
        elif isinstance(outcome, SteelyardError) and not isinstance(outcome, Unavailable):
            self._suspects.blame(call.peer, job.encoded_ns)
        if outcome is None:
            return None
        if isinstance(outcome, str):
            # Said in the place of an answer that found no room.
            return TooLarge(outcome)
        error: SteelyardError
        if isinstance(outcome, SteelyardError):
            error = outcome
        else:
            log("answer.fault", level=logging.ERROR, decision_id=decision_id, exception=repr(outcome))
            error = ExecutionFailed("the server failed on this answer")
        try:
            call.fail(error, decision_id, version.trailing)
        except Exception as fault:  # as above
            log("answer.fault", level=logging.ERROR, decision_id=decision_id, exception=repr(fault))
        return error

    def _log_answered(self, log_request: RequestLog, job: Job, answered: list[Ticket]) -> None:
        version = job.version
        found = set(map(id, answered))
        for ticket, decision_id in zip(job.batch.tickets, job.decision_ids, strict=True):
            if id(ticket) in found:
                total_ns = job.encoded_ns - ticket.received_ns
                log_request(decision_id, version.model, version.name, None, total_ns)
