"""From a call's bytes to its place in a queue, or to the refusal that it gets at once."""

import logging

from steelyard._native.observe import Slot
from steelyard.clock import Clock
from steelyard.errors import DeadlineExpired, ExecutionFailed, InvalidRequest, SteelyardError
from steelyard.observe.logs import log
from steelyard.pipelines.plan import PreparedRequest
from steelyard.scheduling.lane import Lane
from steelyard.scheduling.scheduler import Scheduler
from steelyard.scheduling.ticket import PRIORITY_DEFAULT, PRIORITY_LAST, Ticket
from steelyard.serving.call import Call
from steelyard.serving.catalog import Catalog
from steelyard.serving.fit import fit
from steelyard.serving.ledger import Ledger
from steelyard.serving.preparing import Direct, count_steps, prepare_request
from steelyard.serving.raggedness import place
from steelyard.serving.suspects import Suspects
from steelyard.serving.version import ServedVersion
from steelyard.wire import InferRequest, decode_request

# Deadlines past this are none.
NO_DEADLINE_NS = 1 << 62


class Admission:
    """Decodes calls, finds their version, and queues them; lives on the event loop.

    `suspects` are callers of requests that failed in execution: theirs are queued by themselves.
    """

    def __init__(
        self, clock: Clock, catalog: Catalog, scheduler: Scheduler, suspects: Suspects, ledger: Ledger
    ) -> None:
        self._now_ns = clock.now_ns
        self._catalog = catalog
        self._scheduler = scheduler
        self._suspects = suspects
        self._ledger = ledger
        self._unknown = ledger.unknown
        self._touched = ledger.touched

    def admit(self, call: Call, body: bytes, received_ns: int, request: InferRequest | None = None) -> None:
        """Decode, route, check against the version's signature, queue. `request`: where it is decoded already."""
        slot = self._unknown
        version: ServedVersion | None = None
        started_ns = self._now_ns()
        try:
            if request is None:
                request = decode_request(body)
            version = self._catalog.route(request.model_name, request.model_version)
            if version.canary is not None and not request.model_version:
                version = version.canary.choose(call, request, version)
            slot = version.slot
            slot.received(1)
            if call.cancelled:
                if call.arm is not None:
                    self._ledger.given_up(call, received_ns, call.deadline_ns)
                self._ledger.gone(slot, call, received_ns, version, request)
                return
            rows, key, direct = fit(version, request)
            deadline_ns = call.deadline_ns
            priority = PRIORITY_DEFAULT
            if request.parameters:
                priority, deadline_ns = _wishes(request, received_ns, deadline_ns)
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
                if version.prepare_lane is not None and not pipeline.is_inline(request, rows, direct):
                    size = request.held_bytes
                    asked = Direct(request) if direct else request
                    waiting = Ticket(
                        call, asked, rows, key, received_ns, decode_ns, deadline_ns, priority, size
                    )
                    self.queue(version, version.prepare_lane, waiting)
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
            self.queue(version, version.lane, ticket)
        except SteelyardError as error:
            self._turn_away(call, request, slot, error, received_ns, version)
        except (
            Exception
        ) as error:  # a fault of ours must not take the calls with it that came beside this one
            self._fault(call, request, slot, error, received_ns, version)

    def _fault(
        self,
        call: Call,
        request: InferRequest | None,
        slot: Slot,
        error: Exception,
        received_ns: int,
        version: ServedVersion | None,
    ) -> None:
        """Ends a request for a fault of ours, which the log has."""
        refusal = ExecutionFailed("the server failed on this request")
        decision_id = self._turn_away(call, request, slot, refusal, received_ns, version)
        log("request.fault", level=logging.ERROR, decision_id=decision_id, exception=repr(error))

    def _turn_away(
        self,
        call: Call,
        request: InferRequest | None,
        slot: Slot,
        error: SteelyardError,
        received_ns: int,
        version: ServedVersion | None,
    ) -> str:
        """Refuses a request that did not reach a queue, however far it was understood; gives its decision id."""
        if slot is self._unknown:
            slot.received(1)
        return self._ledger.refuse(call, slot, error, received_ns, version, request)

    def queue(self, version: ServedVersion, lane: Lane, ticket: Ticket) -> None:
        """Queues a ticket with others of its key, or by itself where it has no rows or a caller of many culprits."""
        group: object = ticket.key
        if version.ragged is not None and lane is version.lane:
            group = place(version.ragged, ticket)
        suspects = self._suspects
        if not ticket.rows or (
            suspects.callers and suspects.is_suspect(ticket.call.peer, ticket.received_ns)
        ):
            group = ticket
        self._scheduler.offer(lane, ticket, group)
        ticket.call.place = (version, lane, ticket)
        version.in_flight += 1
        self._touched.add(version)

    def queue_all(self, version: ServedVersion, tickets: list[Ticket], key: tuple[int, ...]) -> None:
        """Queues tickets with rows of one version and one key, whose callers are no suspects, in their order."""
        lane, slot = version.lane, version.slot
        slot.received(len(tickets))
        try:
            if self._scheduler.offer_all(lane, tickets, key):
                for ticket in tickets:
                    ticket.call.place = (version, lane, ticket)
                version.in_flight += len(tickets)
                self._touched.add(version)
                return
        except Exception as error:  # a fault of ours: none of these requests may be left without an end
            for ticket in tickets:
                self._fault(ticket.call, ticket.request, slot, error, ticket.received_ns, version)
            return
        for ticket in tickets:
            try:
                self.queue(version, lane, ticket)
            except SteelyardError as error:
                self._turn_away(ticket.call, ticket.request, slot, error, ticket.received_ns, version)
            except Exception as error:  # as in admit
                self._fault(ticket.call, ticket.request, slot, error, ticket.received_ns, version)

    def refuse_unread(self, call: Call, error: SteelyardError, received_ns: int) -> None:
        """Ends a call whose request was not read, so that nobody knows which model it is for."""
        if call.cancelled:
            self._unknown.received(1)
            self._ledger.gone(self._unknown, call, received_ns)
        else:
            self._turn_away(call, None, self._unknown, error, received_ns, None)


def _wishes(request: InferRequest, received_ns: int, deadline_ns: int) -> tuple[int, int]:
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


def prepared_ticket(
    call: Call, prepared: PreparedRequest, received_ns: int, decode_ns: int, deadline_ns: int, priority: int
) -> Ticket:
    """The place of a request that has been prepared; preparing counts as a part of decoding it."""
    size = prepared.held_bytes
    return Ticket(
        call, prepared, prepared.rows, prepared.key, received_ns, decode_ns, deadline_ns, priority, size
    )
