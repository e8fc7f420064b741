"""Answers that wait for the disk, in process: who has gone meanwhile, whose deadline passes, and faults on the way."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.clock import ManualClock, SystemClock
from steelyard.errors import DeadlineExpired
from steelyard.evidence.frames import read_segment
from steelyard.evidence.journal import Journal
from steelyard.observe.layout import Refusal
from steelyard.scheduling.ticket import Ticket
from steelyard.serving.execution import Job
from steelyard.serving.held import HeldAnswers
from steelyard.serving.recording import tell_log
from tests.runtime import models
from tests.serving.test_engine import RecordedCall, Server
from tests.support.waiting import until

ROW = np.ones((1, 3), np.float32)

# By the clock of who holds the answers a deadline is so near, until a test has it pass.
NEAR_NS = 5_000_000


class Waiting:
    """An engine whose answers wait until a test says that their records are on disk."""

    def __init__(self, root: Path) -> None:
        self.server = Server(root / "models", 10**9, records=True)
        self.deadline_ns = time.monotonic_ns() + 600 * 10**9
        self.clock = ManualClock(self.deadline_ns - NEAR_NS)
        self.directory = root / "journal"
        clock, ring = SystemClock(), self.server.ring
        self.journal = Journal(
            self.directory, 0, ring, clock, 1 << 20, 600.0, 0.0, lambda position, error: None, tell_log
        )
        self.faults = 0
        self.answers = HeldAnswers(asyncio.get_running_loop(), self.clock, self._tell, self._late)
        assert self.server.recording is not None
        self.server.recording.begin(self.journal, self.answers)

    def _tell(self, job: Job, error: OSError | None) -> None:
        self.server.engine.tell_recorded(job, error)
        self._fault()

    def _late(self, job: Job, ticket: Ticket, decision_id: str) -> None:
        self.server.engine.tell_late(job, ticket, decision_id)
        self._fault()

    def _fault(self) -> None:
        if self.faults:
            self.faults -= 1
            raise RuntimeError("a fault of ours")

    async def hold(self, *deadlines_ns: int) -> list[RecordedCall]:
        """Asks for one batch, whose answers wait then."""
        before = len(self.answers)
        calls = [
            self.server.ask("scaled", ROW, "FP32", RecordedCall(deadline_ns=deadline_ns))
            for deadline_ns in deadlines_ns
        ]
        await until(lambda: len(self.answers) > before)
        assert len(self.answers) == before + 1
        return calls

    def synced(self) -> None:
        self.answers.synced(self.server.ring.head, None)

    def notes(self) -> list[dict[str, Any]]:
        """What the journal says beside its records; it is closed."""
        self.journal.close()
        (path,) = self.directory.iterdir()
        return read_segment(path).notes


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Waiting]:
    models.scaled(tmp_path / "models" / "scaled" / "1")
    (tmp_path / "models" / "scaled" / "model.toml").write_text('[evidence]\nmode = "required"\n')
    found = Waiting(tmp_path)
    server = found.server
    await server.loader.load_all()
    yield found
    await server.engine.drain()
    found.journal.close()
    server.engine.close()
    server.loader.close()
    assert server.unaccounted() == {}
    os.close(server.descriptor)


async def test_who_has_gone_is_not_told_that_a_deadline_passed(waiting: Waiting) -> None:
    gone, patient = await waiting.hold(waiting.deadline_ns, waiting.deadline_ns)
    waiting.server.engine.cancel(gone)
    waiting.clock.advance(NEAR_NS)
    error = await patient.outcome
    assert isinstance(error, DeadlineExpired)
    assert not gone.outcome.done()
    counts = waiting.server.counts("scaled")
    assert (counts.cancelled, counts.refused[Refusal.DEADLINE]) == (1, 1)
    notes = {note["decision_id"]: note["code"] for note in waiting.notes()}
    assert notes == {gone.decision_id: 1, patient.trailing["steelyard-decision-id"]: 4}
    # The batch is let go of when the disk has answered.
    waiting.synced()


async def test_a_fault_over_one_batch_leaves_none_of_those_behind_it(waiting: Waiting) -> None:
    calls = [call for _ in range(3) for call in await waiting.hold(0)]
    waiting.faults = 1
    waiting.synced()
    for call in calls:
        assert (await call.outcome).model_name == "scaled"
    assert len(waiting.answers) == 0


async def test_a_fault_over_one_deadline_leaves_none_of_the_others_in_its_batch(waiting: Waiting) -> None:
    later_ns = waiting.deadline_ns + NEAR_NS
    calls = await waiting.hold(waiting.deadline_ns, waiting.deadline_ns, later_ns, 0)
    waiting.faults = 3
    waiting.clock.advance(NEAR_NS)
    for call in calls[:2]:
        assert isinstance(await call.outcome, DeadlineExpired)
    waiting.clock.advance(NEAR_NS)
    assert isinstance(await calls[2].outcome, DeadlineExpired)
    assert not calls[3].outcome.done()
    waiting.synced()
    assert (await calls[3].outcome).model_name == "scaled"
