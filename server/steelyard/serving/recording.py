"""Every decision into the journal: answers by the batch, all others one by one; and answers that wait for the disk."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from steelyard._native.decision import new_ids
from steelyard._native.journal import Ring
from steelyard.clock import Clock
from steelyard.errors import SteelyardError
from steelyard.evidence.journal import Journal, Trouble
from steelyard.evidence.record import NO_REASON, Flag, Outcome, Role
from steelyard.observe.layout import refusal_of
from steelyard.observe.logs import log
from steelyard.pipelines.plan import PreparedRequest
from steelyard.scheduling.ticket import Ticket
from steelyard.serving.execution import Job
from steelyard.serving.held import FULL, HeldAnswers
from steelyard.serving.version import ServedVersion
from steelyard.wire.status import Status, message_of, status_of

# A record at its longest, its length included: while there is room for as many as a batch has, none of them is lost.
MAX_RECORD_BYTES = 2400

# Of columns that a contract flagged, a note has so many, and so much of each name: notes are a few kilobytes at most.
MAX_FLAGS_NOTED = 32
MAX_FLAG_CHARS = 64

# In the place of a message of a model that masks anything.
HELD_BACK = "held back, as the model masks what callers send"


class Recording:
    """Puts records into the ring of a worker's segment; lives on the event loop.

    Nothing here waits. Answers of versions whose evidence is required are `held` until the journal says that their
    records are on disk.
    """

    def __init__(self, ring: Ring, clock: Clock) -> None:
        self._ring = ring
        self._clock = clock
        self._journal: Journal | None = None
        self._held: HeldAnswers | None = None
        self._batches = 0

    def begin(self, journal: Journal, held: HeldAnswers) -> None:
        """journal: writes what is put into the ring."""
        self._journal = journal
        self._held = held

    @property
    def is_holding(self) -> bool:
        """Whether answers wait for their records."""
        return bool(self._held)

    def answered(self, job: Job, tickets: list[Ticket], decision_ids: list[str]) -> None:
        """Records requests of one batch as answered; their tickets have calls and requests still."""
        version = job.version
        subject = version.subject
        if subject is None:
            self._ring.left_out(len(tickets))
            return
        self._batches += 1
        self._ring.batch(
            subject,
            tickets,
            decision_ids,
            role_of(version),
            self._clock.unix_ns() - self._clock.now_ns(),
            job.batch.taken_ns,
            job.assembled_ns,
            job.executed_ns,
            job.encoded_ns,
            self._batches,
            job.batch.rows,
            None if version.pipeline is None else flags_of,
        )
        if version.pipeline is not None and self._journal is not None:
            for ticket, decision_id in zip(tickets, decision_ids, strict=True):
                if ticket.request.flagged or ticket.request.marked:
                    self._journal.note(flags_note(decision_id, ticket.request))

    def no_room_for(self, requests: int) -> str:
        """Why so many records might find no room, or their answers may not be held meanwhile; empty where they can."""
        assert self._held is not None
        if self._ring.room < requests * MAX_RECORD_BYTES:
            return "the journal is full"
        return "" if self._held.has_room else FULL

    def hold(self, job: Job) -> None:
        """Has a batch, whose records are in the ring, told when these are on disk."""
        assert self._journal is not None
        assert self._held is not None
        self._held.put(self._ring.head, job)
        self._journal.commit()

    def synced(self, position: int, error: OSError | None) -> None:
        """Tells batches whose records are on disk; all, where the file takes no more."""
        if self._held is not None:
            self._held.synced(position, error)

    def told_otherwise(self, decision_id: str, error: SteelyardError | None) -> None:
        """Notes of a decision that is recorded as answered that its caller was told of `error` instead; None: it has
        gone."""
        if self._journal is not None:
            code = Status.CANCELLED if error is None else status_of(error)
            self._journal.note({"note": "told", "decision_id": decision_id, "code": int(code)})

    def ended(
        self,
        version: ServedVersion | None,
        call: Any,
        request: Any,
        decision_id: str,
        error: SteelyardError | None,
        received_ns: int,
        total_ns: int,
        ticket: Ticket | None = None,
        ran: bool = False,
    ) -> None:
        """Records one request that got no answer.

        error: None where its caller went away. ran: it has failed then, whatever the error is; else it was refused, or
        failed before.
        """
        if version is not None and version.subject is None:
            self._ring.left_out(1)
            return
        reason = None if error is None else refusal_of(error)
        outcome = Outcome.CANCELLED
        if error is not None:
            outcome = Outcome.FAILED if ran or reason is None else Outcome.REFUSED
        now_ns = self._clock.now_ns()
        deadline_ns = ticket.deadline_ns if ticket is not None else getattr(call, "deadline_ns", 0)
        try:
            self._ring.one(
                None if version is None else version.subject,
                "" if request is None else getattr(request, "request", request).model_name,
                decision_id or new_ids(1, self._clock.unix_ns() // 1_000_000)[0],
                outcome,
                Status.CANCELLED if error is None else status_of(error),
                NO_REASON if reason is None else reason,
                Role.PRIMARY if version is None else role_of(version),
                self._clock.unix_ns() - now_ns + received_ns,
                total_ns,
                0 if ticket is None else ticket.decode_ns,
                0 if ticket is None or ran else max(0, total_ns - ticket.decode_ns),
                deadline_ns - now_ns,
                bool(deadline_ns),
                0 if ticket is None else ticket.rows,
                call,
                request,
                "" if error is None else told_of(version, error),
            )
        except Exception as fault:  # evidence of one request must not end another
            log("record.fault", level=logging.ERROR, decision_id=decision_id, exception=repr(fault)[:2000])


def told_of(version: ServedVersion | None, error: SteelyardError) -> str:
    """What is recorded of what a caller was told: messages quote values, and masked ones must not be kept."""
    if version is not None and version.manifest.evidence.capture.masks:
        return HELD_BACK
    return message_of(error)


def role_of(version: ServedVersion) -> Role:
    """In what capacity a version is asked now."""
    return Role.CANARY if version.in_canary and version.canary is None else Role.PRIMARY


def flags_of(prepared: PreparedRequest) -> int:
    """What the data contract said of a request."""
    return (Flag.FLAGGED if prepared.flagged else 0) | (Flag.MARKED if prepared.marked else 0)


def flags_note(decision_id: str, prepared: PreparedRequest) -> dict[str, Any]:
    """The note that says which columns the data contract flagged or marked, and by which rules; no values."""
    problems = (*prepared.flagged, *prepared.marked)
    names = {problem.column or problem.rule: None for problem in problems}
    rules = {problem.rule: None for problem in problems}
    return {
        "note": "flags",
        "decision_id": decision_id,
        "flags": [name[:MAX_FLAG_CHARS] for name in names][:MAX_FLAGS_NOTED],
        "rules": list(rules),
    }


def tell_log(trouble: Trouble) -> None:
    """Writes trouble of the journal's to the log; any thread may call."""
    level = logging.INFO if trouble.kind == "over" else logging.ERROR
    log(
        f"journal.{trouble.kind}",
        level=level,
        directory=str(trouble.directory),
        lost=trouble.lost,
        reason=trouble.reason,
    )


def on_loop(loop: asyncio.AbstractEventLoop, recording: Recording) -> Callable[[int, OSError | None], None]:
    """What the journal's thread calls after each commit."""

    def synced(position: int, error: OSError | None) -> None:
        if recording.is_holding:
            loop.call_soon_threadsafe(recording.synced, position, error)

    return synced
