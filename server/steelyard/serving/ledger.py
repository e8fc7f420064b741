"""What is inside the server, by version, and how calls end that are not answered."""

import asyncio
from collections.abc import Callable
from typing import Any

from steelyard._native.decision import new_ids
from steelyard._native.observe import Slot
from steelyard.clock import Clock
from steelyard.errors import SteelyardError
from steelyard.observe.layout import refusal_of
from steelyard.scheduling.ticket import Ticket
from steelyard.serving.recording import Recording
from steelyard.serving.version import ServedVersion

# A caller's deadline reaches us later than it is: gRPC rounds it up by as much as a hundredth, and it begins anew here.
DEADLINE_ROUNDING = 100
DEADLINE_SLACK_NS = 2_000_000

# Decision id, the model's and the version's name as far as they are known, the error if there was one, and nanoseconds.
RequestLog = Callable[[str, str | None, str | None, SteelyardError | None, int], None]


class Ledger:
    """Each call that came in is in `in_flight` until it ends here or is answered; lives on the event loop.

    `unknown` counts what named no model we know. `log_request` hears of each call that ends, `recording` has
    it recorded; None: nobody does.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        unknown: Slot,
        log_request: RequestLog | None,
        recording: Recording | None = None,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._idle: asyncio.Future[None] | None = None
        self.touched: set[ServedVersion] = set()
        """Versions whose gauges are to be written."""
        self.unknown = unknown
        self.recording = recording
        self.log_request = log_request
        self.in_flight = 0

    def left(self, version: ServedVersion, requests: int = 1) -> None:
        """So many requests have left them. Call `released` when all that they held has been given back."""
        version.in_flight -= requests
        self.touched.add(version)

    def released(self, version: ServedVersion) -> None:
        """Lets go of a version that is retired, where nothing needs it any longer."""
        if version.retired and not version.is_busy:
            version.release()

    def refuse(
        self,
        call: Any,
        slot: Slot,
        error: SteelyardError,
        received_ns: int,
        version: ServedVersion | None = None,
        request: Any = None,
        ticket: Ticket | None = None,
        recorded: bool = False,
    ) -> str:
        """Ends a call that gets no answer, counts and records why; gives the decision id that it was told.

        version, request, ticket: as far as there are any. recorded: as answered, by the id that the call has.
        """
        total_ns = self._clock.now_ns() - received_ns
        call.place = None
        self.in_flight -= 1
        reason = refusal_of(error)
        if reason is None:
            slot.failed(total_ns)
        else:
            slot.refused(reason)
        decision_id: str = call.decision_id or new_ids(1, self._clock.unix_ns() // 1_000_000)[0]
        if call.arm is not None:
            call.arm.end(True, total_ns)
            call.arm = None
        if not call.cancelled:
            call.fail(error, decision_id, ())
        if self.recording is not None and recorded:
            self.recording.told_otherwise(decision_id, error)
        elif self.recording is not None:
            self.recording.ended(version, call, request, decision_id, error, received_ns, total_ns, ticket)
        if version is not None and version.capture is not None:
            asked = ticket.request if request is None and ticket is not None else request
            version.capture.refused(decision_id, asked, error)
        if self.log_request is not None:
            if version is not None:
                self.log_request(decision_id, version.model, version.name, error, total_ns)
            elif request is not None:
                self.log_request(decision_id, request.model_name, request.model_version, error, total_ns)
            else:
                self.log_request(decision_id, None, None, error, total_ns)
        self.ended()
        return decision_id

    def given_up(self, call: Any, received_ns: int, deadline_ns: int) -> None:
        """Ends, for its arm, a call whose caller goes away now: a failure at its deadline (0: none) or after it."""
        now_ns = self._clock.now_ns()
        slack_ns = (deadline_ns - received_ns) // DEADLINE_ROUNDING + DEADLINE_SLACK_NS
        call.arm.end(0 < deadline_ns <= now_ns + slack_ns, now_ns - received_ns)
        call.arm = None

    def gone(
        self,
        slot: Slot,
        call: Any,
        received_ns: int,
        version: ServedVersion | None = None,
        request: Any = None,
        ticket: Ticket | None = None,
    ) -> None:
        """Ends a call whose caller went away, and records it; version, request, ticket: as far as there are any."""
        self.in_flight -= 1
        slot.cancelled()
        if self.recording is not None:
            total_ns = self._clock.now_ns() - received_ns
            self.recording.ended(
                version, call, request, call.decision_id, None, received_ns, total_ns, ticket
            )
        self.ended()

    def gone_after(self, slot: Slot) -> None:
        """Ends a call whose caller went away while its answer, which is recorded, waited for the disk."""
        self.in_flight -= 1
        slot.cancelled()
        self.ended()

    def ended(self) -> None:
        """To be called when calls have ended: wakes who waits for the last one."""
        if not self.in_flight and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def empty(self) -> None:
        """Returns when every call that came in has ended."""
        if self.in_flight:
            self._idle = self._loop.create_future()
            await self._idle

    def show_gauges(self) -> None:
        """Writes the gauges of every version that something happened to since they were last written."""
        for version in self.touched:
            lane = version.lane
            queued, queued_bytes = lane.queued, lane.queued_bytes
            if version.prepare_lane is not None:
                queued += version.prepare_lane.queued
                queued_bytes += version.prepare_lane.queued_bytes
            version.slot.set_gauges(version.in_flight, queued, queued_bytes)
        self.touched.clear()
