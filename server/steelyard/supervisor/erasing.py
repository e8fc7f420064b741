"""The admin socket's part about captured payloads."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from steelyard.errors import EvidenceError, InvalidRequest, Unavailable
from steelyard.evidence.erasing import Erasure
from steelyard.evidence.event import Draft, Event
from steelyard.observe.logs import log
from steelyard.serving.messages import serialized
from steelyard.serving.methods import Methods
from steelyard.supervisor.acting import named
from steelyard.supervisor.admin import event_message
from steelyard.supervisor.erasure import Asked, carried_out
from steelyard.supervisor.life import WorkerLife
from steelyard.supervisor.record import Record
from steelyard.wire.admin import EVIDENCE_SERVICE
from steelyard.wire.generated import evidence as pb

# Payloads that wait are 16 MiB a model, which a disk that answers takes in a second.
WRITTEN_WITHIN_S = 5.0

# Most erasures take less. One that reads the records of years takes minutes, for which no stop waits.
FINISHED_WITHIN_S = 2.0

# To end what is being overwritten, and the process that reads records, and to record that.
BROKEN_OFF_WITHIN_S = 10.0


class Erasing:
    """The handler that erases payloads and records that it did. One erasure at a time; the others wait.

    A caller who goes away ends their wait, but not an erasure that has begun: what it erases has to be recorded.
    """

    def __init__(self, record: Record, data: Path, workers: Callable[[], Sequence[WorkerLife]]) -> None:
        self._record = record
        self._data = data
        self._workers = workers
        self._one = asyncio.Lock()
        self._running: asyncio.Task[tuple[Erasure, list[Event]]] | None = None
        self._closing = False

    def register(self, methods: Methods) -> None:
        """Puts the handler into the table."""
        methods.unary[EVIDENCE_SERVICE + "Erase"] = serialized(pb.EraseRequest, self._erase)

    async def close(self) -> None:
        """Begins none any more, and breaks off what is under way and takes longer than a moment. What was erased by
        then is recorded."""
        self._closing = True
        if (running := self._running) is None:
            return
        await asyncio.wait({running}, timeout=FINISHED_WITHIN_S)
        running.cancel()
        await asyncio.wait({running}, timeout=BROKEN_OFF_WITHIN_S)

    async def _erase(self, request: Any) -> Any:
        by = request.WhichOneof("which")
        wanted = getattr(request, by) if by else ""
        if not wanted:
            raise InvalidRequest("expected a decision or a key, came neither")
        asked = Asked(by, wanted, named(request.who.actor), request.who.reason)
        await self._one.acquire()
        self._running = asyncio.get_running_loop().create_task(self._carry_out(asked))
        self._running.add_done_callback(self._ended)
        erasure, events = await asyncio.shield(self._running)
        return pb.EraseResponse(decisions=erasure.ids, events=[event_message(event) for event in events])

    async def _carry_out(self, asked: Asked) -> tuple[Erasure, list[Event]]:
        if self._closing:
            raise Unavailable("the server stops: nothing was erased")
        try:
            # What is written after the files were read would stay.
            late = await asyncio.gather(
                *(_not_written(worker) for worker in self._workers() if worker.loaded)
            )
        except asyncio.CancelledError:
            raise Unavailable("the server stops: nothing was erased") from None
        return await carried_out(self._append, self._data, asked, [why for why in late if why])

    def _append(self, drafts: Sequence[Draft]) -> list[Event]:
        try:
            return self._record.append(drafts)
        except EvidenceError as error:
            # Nobody may be there any more to hear of it.
            log("erasure.not_recorded", level=logging.ERROR, reason=str(error))
            raise

    def _ended(self, task: asyncio.Task[tuple[Erasure, list[Event]]]) -> None:
        self._running = None
        self._one.release()


async def _not_written(worker: WorkerLife) -> str:
    """Has a worker write the payloads that wait; why that cannot be, else nothing."""
    try:
        async with asyncio.timeout(WRITTEN_WITHIN_S):
            try:
                await worker.ask({"write_payloads": True})
            except Unavailable:
                # It is about to end, and writes what waits or takes it along.
                await worker.ended.wait()
    except TimeoutError:
        return (
            f"worker {worker.number}: payloads that wait to be written were not within {WRITTEN_WITHIN_S:g} s: "
            "erase again when its disk answers"
        )
    return ""
