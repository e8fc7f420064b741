"""The engine with real models, in process: isolation of culprits, suspects, accounting, classification, life cycle."""

import asyncio
import gc
import math
import os
import sys
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard._native import path
from steelyard._native.journal import Ring
from steelyard._native.observe import Segment
from steelyard._native.path import EngineCall
from steelyard.clock import SystemClock
from steelyard.errors import InvalidRequest, SteelyardError
from steelyard.observe.segment import SegmentReader
from steelyard.observe.segment_file import create_segment
from steelyard.scheduling.scheduler import Scheduler
from steelyard.serving import plain
from steelyard.serving.catalog import Catalog
from steelyard.serving.engine import Engine
from steelyard.serving.entries import TRANSITIONS, VersionEntry, VersionState
from steelyard.serving.lifecycle import Lifecycle, Phase
from steelyard.serving.loader import Loader
from steelyard.serving.loading import Environment
from steelyard.serving.recording import Recording
from steelyard.serving.suspects import CULPRITS, REMEMBERED, WINDOW_NS, Suspects
from steelyard.serving.verdicts import Verdicts
from steelyard.wire.generated import grpc_service as pb
from tests.runtime import models


class RecordedCall(EngineCall):
    """A call whose outcome can be awaited."""

    def __init__(self, peer: str = "a", deadline_ns: int = 0) -> None:
        self.peer = peer
        self.deadline_ns = deadline_ns
        self.trailing: dict[str, str] = {}
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def metadata(self) -> tuple[()]:
        return ()

    def answer(self, body: bytes, decision_id: str, trailing: tuple[tuple[str, str], ...]) -> None:
        self.trailing = {"steelyard-decision-id": decision_id, **dict(trailing)}
        self.outcome.set_result(pb.ModelInferResponse.FromString(body))

    def fail(self, error: SteelyardError, decision_id: str, trailing: tuple[tuple[str, str], ...]) -> None:
        self.trailing = {"steelyard-decision-id": decision_id, **dict(trailing)}
        self.outcome.set_result(error)


class Server:
    """An engine over one repository, and its counters."""

    def __init__(
        self, root: Path, inline_below_ns: int, path: Any = path, logs: bool = True, records: bool = False
    ) -> None:
        self.descriptor = create_segment("test")
        clock = SystemClock()
        segment = Segment(self.descriptor, os.getpid(), clock.unix_ns())
        self.ring = Ring(segment.memory)
        self.recording = Recording(self.ring, clock) if records else None
        self.catalog = Catalog()
        self.scheduler = Scheduler(2, 1 << 30, inline_below_ns)
        self.told: list[Any] = []
        self.engine = Engine(
            asyncio.get_running_loop(),
            clock,
            self.catalog,
            self.scheduler,
            segment.unknown,
            (lambda *about: self.told.append(about)) if logs else None,
            path=path,
            recording=self.recording,
        )
        self.loader = Loader(
            root, self.catalog, segment, Environment(2, "dev", Verdicts(None), inline_below_ns), 2
        )

    def ask(
        self, model: str, array: np.ndarray, datatype: str, call: RecordedCall | None = None
    ) -> RecordedCall:
        call = call or RecordedCall()
        request = pb.ModelInferRequest(model_name=model)
        request.inputs.add(name="X", datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
        self.engine.submit(call, request.SerializeToString())
        return call

    def counts(self, model: str) -> Any:
        return SegmentReader(self.descriptor).snapshot().slot(model, "1")

    def unaccounted(self) -> dict[Any, int]:
        return SegmentReader(self.descriptor).snapshot().unaccounted()


@pytest.fixture(
    params=[(0, path), (10**9, path), (10**9, plain)], ids=["executor", "inline", "inline, plainly"]
)
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    models.embedding(tmp_path / "tokens" / "1")
    models.scaled(tmp_path / "scaled" / "1")
    models.centred(tmp_path / "centred" / "1")
    running = Server(tmp_path, *request.param)
    await running.loader.load_all()
    yield running
    await running.engine.drain()
    running.engine.close()
    running.loader.close()
    assert running.unaccounted() == {}
    os.close(running.descriptor)


async def test_each_caller_gets_its_own_rows(server: Server) -> None:
    rng = np.random.default_rng(5)
    inputs = [rng.random((rows, 3), np.float32) for rows in rng.integers(0, 6, 100)]
    calls = [server.ask("scaled", x, "FP32") for x in inputs]
    for x, call in zip(inputs, calls, strict=True):
        response = await call.outcome
        assert list(response.outputs[0].shape) == list(x.shape)
        assert np.array_equal(np.frombuffer(response.raw_output_contents[0], np.float32), 2 * x.ravel())
    counts = server.counts("scaled")
    assert counts.rows == sum(len(x) for x in inputs)
    assert counts.batches < 50, "they were put together"
    assert call.trailing["steelyard-model-version"] == "1"
    assert len(call.trailing["steelyard-decision-id"]) == 36


async def test_dependent_rows_are_not_put_together(server: Server) -> None:
    x = np.random.default_rng(5).random((20, 3), np.float32)
    calls = [server.ask("centred", row[None], "FP32") for row in x]
    for call in calls:
        response = await call.outcome
        assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [0, 0, 0]
    assert server.counts("centred").batches == 20


@pytest.mark.parametrize("culprits", [{0}, {13}, {31}, {3, 4}, set(range(32))])
async def test_only_the_culprits_fail(
    server: Server, culprits: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [
        server.ask(
            "tokens", np.array([[999 if i in culprits else i]], np.int64), "INT64", RecordedCall(str(i))
        )
        for i in range(32)
    ]
    for i, call in enumerate(calls):
        outcome = await call.outcome
        if i in culprits:
            assert isinstance(outcome, InvalidRequest)
            assert "model 'tokens' version 1 refused the input in execution" in str(outcome)
            assert "999" in str(outcome)
        else:
            assert np.frombuffer(outcome.raw_output_contents[0], np.float32).tolist() == [2 * i, 2 * i + 1]
    assert server.counts("tokens").failed == len(culprits)


async def test_a_culprit_costs_no_more_runs_than_promised(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    settle = server.engine._settle
    monkeypatch.setattr(server.engine, "_settle", lambda job: (runs.append(job.runs), settle(job)))
    version = server.catalog.route("tokens", "")
    version.lane.limit_rows = 32
    calls = [server.ask("tokens", np.array([[999 if i == 21 else 1]], np.int64), "INT64") for i in range(32)]
    await asyncio.gather(*(call.outcome for call in calls))
    assert max(runs) <= 1 + 2 * math.log2(32)


async def test_a_caller_of_many_culprits_runs_alone_for_a_while(server: Server) -> None:
    for _ in range(CULPRITS):
        await server.ask("tokens", np.array([[999]], np.int64), "INT64", RecordedCall("bad")).outcome
    before = server.counts("tokens").batches
    calls = [server.ask("tokens", np.array([[1]], np.int64), "INT64", RecordedCall("bad")) for _ in range(10)]
    await asyncio.gather(*(call.outcome for call in calls))
    assert server.counts("tokens").batches == before + 10


async def test_a_cancelled_call_hears_nothing_and_is_counted(server: Server) -> None:
    x = np.ones((1, 3), np.float32)
    early = server.ask("scaled", x, "FP32")
    server.engine.cancel(early)
    other = server.ask("scaled", x, "FP32")
    await other.outcome
    assert not early.outcome.done()
    assert server.counts("scaled").cancelled == 1


async def test_an_answered_request_is_let_go_of_whatever_its_deadline(server: Server) -> None:
    request = pb.ModelInferRequest(model_name="scaled")
    request.inputs.add(name="X", datatype="FP32", shape=(1, 3))
    request.raw_input_contents.append(bytes(12))
    body = request.SerializeToString()
    before = sys.getrefcount(body)
    call = RecordedCall(deadline_ns=time.monotonic_ns() + 3_600_000_000_000)
    server.engine.submit(call, body)
    await call.outcome
    await server.ask("scaled", np.ones((1, 3), np.float32), "FP32").outcome
    assert sys.getrefcount(body) == before


async def test_a_version_that_is_unloaded_is_freed_with_its_last_request(server: Server) -> None:
    freed = asyncio.Event()
    collecting = gc.isenabled()
    gc.disable()
    try:
        version = server.catalog.route("scaled", "")
        version.lane.limit_rows = 1
        session = version.session
        weakref.finalize(session, asyncio.get_running_loop().call_soon_threadsafe, freed.set)
        del session, version
        calls = [server.ask("scaled", np.ones((1, 3), np.float32), "FP32") for _ in range(20)]
        await calls[0].outcome
        unloading = asyncio.ensure_future(server.loader.unload("scaled"))
        for call in calls:
            assert isinstance(await call.outcome, pb.ModelInferResponse)
        await unloading
        await asyncio.wait_for(freed.wait(), 10)
    finally:
        if collecting:
            gc.enable()


async def test_refusals_and_answers_are_told_to_the_log_with_whose_they_are(server: Server) -> None:
    server.ask("scaled", np.ones((1, 3), np.float32), "FP32")
    refused = server.ask("scaled", np.ones((1, 4), np.float32), "FP32")
    unknown = server.ask("nobody", np.ones((1, 4), np.float32), "FP32")
    culprit = server.ask("tokens", np.array([[999]], np.int64), "INT64")
    for call in (refused, unknown, culprit):
        await call.outcome
    told = {(model, version): error for _, model, version, error, _ in server.told if error is not None}
    assert set(told) == {("scaled", "1"), ("nobody", ""), ("tokens", "1")}
    assert {decision for decision, *_ in server.told} >= {
        call.trailing["steelyard-decision-id"] for call in (refused, unknown, culprit)
    }


async def test_what_comes_while_draining_is_refused_and_what_came_before_is_answered(server: Server) -> None:
    x = np.ones((1, 3), np.float32)
    accepted = server.ask("scaled", x, "FP32")
    draining = asyncio.ensure_future(server.engine.drain())
    await asyncio.sleep(0)
    late = server.ask("scaled", x, "FP32")
    await draining
    assert type(await accepted.outcome) is pb.ModelInferResponse
    assert "stopping" in str(await late.outcome)


def test_suspicion_needs_several_culprits_and_ends() -> None:
    suspects = Suspects()
    for i in range(CULPRITS):
        assert not suspects.is_suspect("a", i)
        suspects.blame("a", i)
    assert suspects.is_suspect("a", CULPRITS)
    assert not suspects.is_suspect("b", CULPRITS)
    assert not suspects.is_suspect("a", CULPRITS + WINDOW_NS + 1)
    assert not suspects.callers
    for i in range(3 * REMEMBERED):
        suspects.blame(str(i), i)
    assert not suspects.callers, "one culprit is no reason to look anybody up"
    for i in range(2 * REMEMBERED):
        for _ in range(CULPRITS):
            suspects.blame(str(i), i)
    assert len(suspects.callers) == REMEMBERED


def test_whoever_asks_those_whose_time_is_over_are_cleared() -> None:
    suspects = Suspects()
    for _ in range(CULPRITS):
        suspects.blame("gone", 1)
    assert not suspects.is_suspect("another", 2)
    assert suspects.callers
    assert not suspects.is_suspect("another", 2 + WINDOW_NS)
    assert not suspects.callers


class Unanswerable(RecordedCall):
    """A call whose connection has a fault."""

    def answer(self, body: bytes, decision_id: str, trailing: tuple[tuple[str, str], ...]) -> None:
        raise RuntimeError("no way to answer")


class Unreachable(Unanswerable):
    """A call that cannot even be told of its fault."""

    def fail(self, error: SteelyardError, decision_id: str, trailing: tuple[tuple[str, str], ...]) -> None:
        raise RuntimeError("no way to tell")


async def test_a_fault_in_answering_one_call_takes_no_other_with_it(server: Server) -> None:
    x = np.ones((1, 3), np.float32)
    kinds = [RecordedCall, Unanswerable, RecordedCall, Unreachable, RecordedCall]
    calls = [server.ask("scaled", x, "FP32", kind()) for kind in kinds]
    for kind, call in zip(kinds, calls, strict=True):
        if kind is RecordedCall:
            assert type(await call.outcome) is pb.ModelInferResponse
        elif kind is Unanswerable:
            assert "the server failed on this answer" in str(await call.outcome)
    counts = server.counts("scaled")
    assert (counts.answered, counts.failed) == (3, 2)
    assert server.engine.in_flight == 0
    assert type(await server.ask("scaled", x, "FP32").outcome) is pb.ModelInferResponse


async def test_requests_that_cannot_be_queued_for_a_fault_are_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*about: Any) -> bool:
        raise RuntimeError("a fault")

    x = np.ones((1, 3), np.float32)
    with monkeypatch.context() as patched:
        for way in ("offer", "offer_all", "take_at_once"):
            patched.setattr(server.scheduler, way, broken if way != "take_at_once" else lambda *about: None)
        calls = [server.ask("scaled", x, "FP32") for _ in range(3)]
        for call in calls:
            assert "the server failed on this request" in str(await call.outcome)
    assert server.engine.in_flight == 0
    assert type(await server.ask("scaled", x, "FP32").outcome) is pb.ModelInferResponse


@pytest.mark.parametrize("here", list(VersionState))
@pytest.mark.parametrize("there", list(VersionState))
def test_versions_move_only_as_the_table_says(here: VersionState, there: VersionState) -> None:
    entry = VersionEntry(1, here)
    if there in TRANSITIONS[here]:
        entry.move(there, "why")
        assert (entry.state, entry.reason) == (there, "why")
    else:
        with pytest.raises(ValueError, match="cannot go from"):
            entry.move(there)


@pytest.mark.parametrize(
    "path", [[Phase.READY, Phase.DRAINING, Phase.STOPPED], [Phase.DRAINING, Phase.STOPPED]]
)
def test_a_life_goes_one_way(path: list[Phase]) -> None:
    life = Lifecycle()
    heard: list[Phase] = []
    life.watch(lambda: heard.append(life.phase))
    for phase in path:
        life.move(phase)
    assert heard == path
    with pytest.raises(ValueError, match="cannot go from STOPPED"):
        life.move(Phase.READY)
