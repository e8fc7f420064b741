"""Erasures on the supervisor's loop: recorded before and after, also where the caller goes away or the server stops."""

import asyncio
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from steelyard.clock import ManualClock
from steelyard.errors import EvidenceError, InvalidRequest, SteelyardError, Unavailable
from steelyard.evidence import erasing as evidence_erasing
from steelyard.evidence.event import Event
from steelyard.evidence.feedback import add_feedback, feedback_of
from steelyard.evidence.log import EventLog
from steelyard.evidence.payload import Payload
from steelyard.evidence.payload_files import PayloadWriter, find
from steelyard.serving.methods import Methods
from steelyard.supervisor import erasing
from steelyard.supervisor.erasing import Erasing
from steelyard.supervisor.record import Record
from steelyard.wire.admin import EVIDENCE_SERVICE
from steelyard.wire.generated import admin as pb
from steelyard.wire.generated import evidence
from tests.evidence.test_payload_files import payload
from tests.support.held_up import HeldUp
from tests.support.waiting import until

CLOCK = ManualClock()
KEY = "customer-17"


class House:
    """A server's erasing without its processes."""

    def __init__(self, data: Path) -> None:
        self.log = EventLog(data, CLOCK)
        self.erasing = Erasing(Record(self.log, data / "models", CLOCK), data, list)
        methods = Methods()
        self.erasing.register(methods)
        self._handle: Any = methods.unary[EVIDENCE_SERVICE + "Erase"]

    def erase(self, actor: str = "ann@desk", reason: str = "asked for", **which: str) -> asyncio.Task[bytes]:
        request = evidence.EraseRequest(who=pb.Who(actor=actor, reason=reason), **which)
        return asyncio.ensure_future(self._handle(request.SerializeToString(), None))

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.log.events]


@contextmanager
def opened(data: Path) -> Iterator[House]:
    house = House(data)
    yield house
    house.log.close()


@pytest.fixture
def one(tmp_path: Path) -> Payload:
    """What is kept of a request: its payload, and what was said of it."""
    kept = payload(CLOCK, key=KEY, request_id="order-7")
    writer = PayloadWriter(tmp_path, "worker-0", CLOCK)
    writer.append(kept)
    writer.close()
    add_feedback(tmp_path, uuid.UUID(kept.decision_id), "Ann Example", "sales", CLOCK)
    return kept


def is_there(data: Path, kept: Payload) -> bool:
    said = [one.value for one in feedback_of(data, kept.decision_id).feedback]
    return find(data, kept.decision_id).read() == kept and said == ["Ann Example"]


def details(event: Event) -> dict[str, Any]:
    return dict(event.details)


@pytest.mark.parametrize(
    ("who", "told"),
    [
        ({"reason": " "}, "expected reason, came none"),
        ({"reason": "x" * 1001}, "a reason of at most 1000 characters, came 1001"),
        ({"actor": " "}, "expected actor, came none"),
    ],
)
async def test_what_cannot_be_recorded_is_not_erased(
    tmp_path: Path, one: Payload, who: dict[str, str], told: str
) -> None:
    with opened(tmp_path) as house:
        for which in ({"decision": one.decision_id}, {"key": KEY}):
            with pytest.raises(InvalidRequest, match=told):
                await house.erase(**who, **which)
        assert house.kinds == []
    with pytest.raises(EvidenceError, match=r"events\.log: cannot be written"):
        await house.erase(key=KEY)
    assert is_there(tmp_path, one)


async def test_who_is_to_erase_is_recorded_first_and_what_was_erased_after_it(
    tmp_path: Path, one: Payload
) -> None:
    with opened(tmp_path) as house:
        await house.erase(decision=one.decision_id)
        with pytest.raises(EvidenceError, match="no payload of decision 'Ann Example' is kept"):
            await house.erase(decision="Ann Example")
        await house.erase(key=KEY)
        assert house.kinds == ["payload.erasing", "payload.erased"] * 3
        assert [(event.actor, event.reason) for event in house.log.events] == [("ann@desk", "asked for")] * 6
        assert [(event.model, details(event)) for event in house.log.events] == [
            ("", {"by": "decision", "decision": one.decision_id}),
            ("m", {"by": "decision", "erasing": 1, "failures": 0, "decisions": [one.decision_id]}),
            ("", {"by": "decision"}),
            ("", {"by": "decision", "erasing": 3, "failures": 0, "decisions": []}),
            ("", {"by": "key"}),
            ("", {"by": "key", "erasing": 5, "failures": 0, "decisions": []}),
        ]


async def test_a_caller_who_goes_away_leaves_the_event(tmp_path: Path, one: Payload) -> None:
    held_up = HeldUp(tmp_path, "m")
    with opened(tmp_path) as house:
        call = house.erase(key=KEY)
        await until(lambda: find(tmp_path, one.decision_id).head.erased)
        assert house.kinds == ["payload.erasing"]
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        # One at a time: this one waits for the first.
        another = house.erase(decision=one.decision_id)
        await asyncio.to_thread(held_up.let_go)
        await another
        assert house.kinds == ["payload.erasing", "payload.erased"] * 2
        assert house.log.events[1].details["decisions"] == [one.decision_id]


async def test_a_stop_kills_the_process_that_reads_records(
    tmp_path: Path, one: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "FINISHED_WITHIN_S", 0.0)
    journal = tmp_path / "journal" / "worker-0"
    journal.mkdir(parents=True)
    os.mkfifo(journal / "00000000000000000001.log")
    with opened(tmp_path) as house:
        # Others may be left of tests before: multiprocessing's own, say.
        there = set(psutil.Process().children())
        call = house.erase(key=KEY)
        (reader,) = await until(lambda: set(psutil.Process().children()) - there)
        await house.erasing.close()
        assert not reader.is_running()
        with pytest.raises(
            EvidenceError, match=r"^1 erased, but not all .*: it was broken off: erase again$"
        ):
            await call
        assert house.kinds == ["payload.erasing", "payload.erased"]
        erased = {"by": "key", "erasing": 1, "failures": 1, "decisions": [one.decision_id]}
        assert details(house.log.events[1]) == erased
        with pytest.raises(Unavailable, match="the server stops: nothing was erased"):
            await house.erase(key=KEY)


async def test_nothing_is_erased_after_a_stop_has_recorded_what_was(
    tmp_path: Path, one: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "FINISHED_WITHIN_S", 0.0)
    monkeypatch.setattr(evidence_erasing, "THREAD_ENDS_WITHIN_S", 0.0)
    held_up = HeldUp(tmp_path, "m", last=False)
    with opened(tmp_path) as house:
        call = house.erase(key=KEY)
        await until(lambda: house.kinds)
        await house.erasing.close()
        with pytest.raises(SteelyardError, match=r"^0 erased, .*: it was broken off: erase again$"):
            await call
        assert house.kinds == ["payload.erasing", "payload.erased"]
    await asyncio.to_thread(held_up.let_go)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert is_there(tmp_path, one)
