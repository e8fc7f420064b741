"""Golden examples of versions that serve: when they are run, what they are held against, and what follows."""

import asyncio
import gc
import logging
import os
import re
import shutil
import weakref
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.clock import ManualClock
from steelyard.models.golden import read_example, write_golden
from steelyard.serving.golden_rounds import DUE_KEPT_BELOW, GIVE_WAY_NS, GoldenRounds
from steelyard.serving.golden_turns import Place, offset_ns
from steelyard.serving.health import NOT_SERVING, SERVING, Health
from steelyard.serving.lifecycle import Lifecycle, Phase
from steelyard.wire import encode_bytes_tensor, encode_response
from steelyard.wire.generated import grpc_service as pb
from tests.runtime import models
from tests.serving.test_engine import Server
from tests.support.models import put, stall

S = 1_000_000_000
X = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def request(name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> bytes:
    message = pb.ModelInferRequest(model_name="whatever it was called", model_version="9")
    message.inputs.add(name=name, datatype=datatype, shape=shape)
    message.raw_input_contents.append(raw)
    return message.SerializeToString()


def answer(name: str, array: np.ndarray[Any, Any], datatype: str = "FP32") -> bytes:
    return encode_response("m", "1", "", {}, [(name, datatype, array.shape, array.tobytes())])


ASKED = request("X", "FP32", X.shape, X.tobytes())
RIGHT = answer("Y", 2 * X)
WRONG = answer("Y", 2 * X + 0.5)


class Examined:
    """A server with a clock that is moved by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.server = Server(root, 0)
        self.catalog = self.server.catalog
        self.clock = ManualClock()
        self.told: list[tuple[str, bool]] = []
        self.rounds = GoldenRounds(
            self.server.engine, self.catalog, self.clock, told=lambda *told: self.told.append(told)
        )
        self.lifecycle = Lifecycle()
        self.health = Health(self.catalog, self.lifecycle)
        self.lifecycle.move(Phase.READY)

    def put(self, name: str, manifest: str = "", **examples: bytes) -> Path:
        """A version of Y = 2 X with examples, by name; each is asked the same."""
        version = self.root / name / "1"
        models.scaled(version)
        if manifest:
            (version.parent / "model.toml").write_text(f"[serving.golden]\n{manifest}\n")
        for example, expected in examples.items():
            write_golden(version, example, ASKED, expected)
        return version

    async def start(self) -> None:
        await self.server.loader.load_all()

    async def round(self) -> None:
        """Everything that is due, with the clock moved to when it is."""
        due_ns = self.rounds.next_due_ns()
        assert due_ns is not None
        self.clock.advance(max(0, due_ns - self.clock.now_ns()))
        while (due_ns := self.rounds.next_due_ns()) is not None and due_ns <= self.clock.now_ns():
            await self.rounds.step()

    def counts(self, name: str) -> tuple[int, int, int]:
        """Passed runs, failed runs, and examples that fail."""
        found = self.server.counts(name)
        return found.golden_passed, found.golden_failed, found.golden_failing

    def failing(self, name: str) -> dict[str, str]:
        return self.catalog.route(name, "").failing


@pytest.fixture
async def examined(tmp_path: Path) -> AsyncIterator[Examined]:
    running = Examined(tmp_path)
    yield running
    await running.server.engine.drain()
    running.server.engine.close()
    running.server.loader.close()
    running.rounds.close()
    assert running.server.unaccounted() == {}
    os.close(running.server.descriptor)


async def one_pass() -> None:
    """Lets the event loop go round once."""
    await asyncio.sleep(0)


def events(caplog: pytest.LogCaptureFixture, name: str) -> list[Any]:
    return [record.fields for record in caplog.records if record.getMessage() == name]  # type: ignore[attr-defined]


@given(
    st.text(max_size=30),
    st.integers(1, 2**31),
    st.integers(1, 86_400 * S),
    st.integers(0, 1 << 60),
    st.integers(1, 9),
)
def test_workers_take_turns_and_a_round_begins_in_each_interval(
    model: str, number: int, interval_ns: int, now_ns: int, workers: int
) -> None:
    due = sorted(
        Place(worker, workers).next_round_ns(model, number, interval_ns, now_ns) for worker in range(workers)
    )
    assert now_ns < due[0] <= now_ns + interval_ns
    assert [after - before for before, after in pairwise(due)] == [interval_ns] * (workers - 1)
    for worker in range(workers):
        place = Place(worker, workers)
        first = place.next_round_ns(model, number, interval_ns, now_ns)
        assert place.next_round_ns(model, number, interval_ns, first) == first + workers * interval_ns


def test_versions_that_were_loaded_together_are_spread_over_the_interval() -> None:
    due = np.array([offset_ns(f"model-{n:04}", 1, 300 * S) for n in range(1500)])
    assert due.min() >= 0
    assert due.max() < 300 * S
    by_tenth = np.histogram(due, bins=10, range=(0, 300 * S))[0]
    assert by_tenth.min() > 100
    assert by_tenth.max() < 200


async def test_a_round_runs_each_example_once_and_is_no_traffic(examined: Examined) -> None:
    examined.put("scaled", "interval_s = 60", a=RIGHT, b=RIGHT)
    began_ns = examined.clock.now_ns()
    await examined.start()
    assert examined.counts("scaled") == (2, 0, 0), "the runs at load"
    assert examined.rounds.next_due_ns() == Place().next_round_ns("scaled", 1, 60 * S, began_ns)
    await examined.round()
    assert examined.counts("scaled") == (4, 0, 0)
    assert examined.rounds.next_due_ns() == examined.clock.now_ns() + 60 * S
    counts = examined.server.counts("scaled")
    assert (counts.received, counts.answered, counts.batches, counts.in_flight) == (0, 0, 0, 0)
    assert counts.golden_last_unix_ms == examined.clock.unix_ns() // 1_000_000
    assert examined.server.told == []


async def test_without_an_interval_nothing_is_ever_due(examined: Examined) -> None:
    examined.put("scaled", "interval_s = 0", a=RIGHT)
    await examined.start()
    assert examined.rounds.next_due_ns() is None
    await examined.rounds.step()
    assert examined.counts("scaled") == (1, 0, 0)


async def test_an_example_that_is_added_fails_and_passes_again_is_logged_at_each_turn(
    examined: Examined, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "steelyard")
    version = examined.put("scaled", "interval_s = 60")
    await examined.start()
    await examined.round()
    assert examined.counts("scaled") == (0, 0, 0)
    directory = write_golden(version, "new", ASKED, WRONG)
    for _ in range(3):
        await examined.round()
    assert examined.counts("scaled") == (0, 3, 1)
    (line,) = events(caplog, "golden.failing")
    assert line == {
        "model": "scaled",
        "version": 1,
        "example": "new",
        "problem": "output 'Y' differs by 0.5",
    }
    (directory / "expected.pb").write_bytes(RIGHT)
    for _ in range(2):
        await examined.round()
    assert examined.counts("scaled") == (2, 3, 0)
    (line,) = events(caplog, "golden.passing")
    assert line == {"model": "scaled", "version": 1, "example": "new"}
    assert examined.health.status("scaled") == SERVING


async def test_health_follows_where_the_manifest_says_so_and_requests_are_answered(
    examined: Examined, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "steelyard")
    version = examined.put("strict", 'while_failing = "not_serving"', good=RIGHT)
    lenient = examined.put("lenient", good=RIGHT)
    await examined.start()
    heard: list[str] = []
    examined.catalog.watch(heard.append)
    for directory in (version, lenient):
        write_golden(directory, "bad", ASKED, WRONG)
        write_golden(directory, "worse", ASKED, WRONG)
    for _ in range(3):
        await examined.round()
    assert set(examined.failing("strict")) == set(examined.failing("lenient")) == {"bad", "worse"}
    assert examined.health.status("strict") == NOT_SERVING
    assert examined.health.status("lenient") == SERVING
    assert examined.health.status("") == SERVING
    assert heard == ["strict"], "told once"
    asked = examined.server.ask("strict", X, "FP32")
    assert type(await asked.outcome) is pb.ModelInferResponse
    shutil.rmtree(version / "golden" / "bad")
    for _ in range(3):
        await examined.round()
    assert examined.health.status("strict") == NOT_SERVING, "one still fails"
    shutil.rmtree(version / "golden" / "worse")
    for _ in range(3):
        await examined.round()
    assert examined.health.status("strict") == SERVING
    assert heard == ["strict", "strict"]
    assert [line["example"] for line in events(caplog, "golden.removed")] == ["bad", "worse"]


async def test_what_changes_is_told_and_what_others_tell_is_examined_at_once(examined: Examined) -> None:
    version = examined.put("scaled", 'interval_s = 60\nwhile_failing = "not_serving"', good=RIGHT)
    await examined.start()
    write_golden(version, "bad", ASKED, WRONG)
    await examined.round()
    await examined.round()
    assert examined.told == [("scaled", True)], "once, though it failed twice"
    shutil.rmtree(version / "golden" / "bad")
    now_ns = examined.clock.now_ns()
    examined.rounds.look("scaled")
    examined.rounds.look("nobody")
    await examined.round()
    assert examined.clock.now_ns() == now_ns
    assert examined.failing("scaled") == {}
    assert examined.told[1:] == [("scaled", False)], "who told it does not look again"
    assert examined.rounds.next_due_ns() == Place().next_round_ns("scaled", 1, 60 * S, now_ns)
    examined.catalog.fails_elsewhere = lambda version: True
    assert examined.health.status("scaled") == NOT_SERVING


async def test_what_is_told_in_the_middle_of_a_round_is_examined_after_it(examined: Examined) -> None:
    examined.put("scaled", "interval_s = 60", a=RIGHT, b=RIGHT)
    await examined.start()
    due_ns = examined.rounds.next_due_ns()
    assert due_ns is not None
    examined.clock.advance(due_ns - examined.clock.now_ns())
    await examined.rounds.step()
    assert examined.counts("scaled") == (3, 0, 0)
    examined.rounds.look("scaled")
    await examined.round()
    assert examined.counts("scaled") == (6, 0, 0)


async def test_versions_that_come_and_go_leave_nothing_in_the_heap(examined: Examined) -> None:
    for n in range(3):
        examined.put(f"m{n}", "interval_s = 60", a=RIGHT)
    await examined.start()
    for _ in range(60):
        for n in range(3):
            await examined.server.loader.load(f"m{n}")
    assert len(examined.rounds._due) <= DUE_KEPT_BELOW
    for _ in range(6):
        await examined.round()
    assert [examined.counts(f"m{n}")[0] for n in range(3)] == [63, 63, 63]


async def test_what_failed_at_load_and_was_let_in_is_said_to_fail_from_the_start(
    examined: Examined, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "steelyard")
    manifest = 'at_load = "report"\nwhile_failing = "not_serving"'
    version = examined.put("let_in", manifest, good=RIGHT, bad=WRONG)
    examined.put("kept_out", "", bad=WRONG)
    await examined.start()
    assert not examined.catalog.served("kept_out")
    assert examined.counts("let_in") == (1, 1, 1)
    assert examined.health.status("let_in") == NOT_SERVING
    assert [line["example"] for line in events(caplog, "golden.failing")] == ["bad"]
    (version / "golden" / "bad" / "expected.pb").write_bytes(RIGHT)
    await examined.round()
    assert examined.counts("let_in") == (3, 1, 0)
    assert examined.health.status("let_in") == SERVING


async def test_a_version_that_goes_leaves_nothing_failing_behind(examined: Examined) -> None:
    version = examined.put("scaled", 'at_load = "report"', bad=WRONG)
    await examined.start()
    assert examined.counts("scaled") == (0, 1, 1)
    (version / "golden" / "bad" / "expected.pb").write_bytes(RIGHT)
    await examined.server.loader.load("scaled")
    assert examined.counts("scaled") == (1, 1, 0)
    (version / "golden" / "bad" / "expected.pb").write_bytes(WRONG)
    await examined.round()
    assert examined.counts("scaled") == (1, 2, 1)
    await examined.server.loader.unload("scaled")
    assert examined.counts("scaled") == (1, 2, 0)
    assert examined.rounds.next_due_ns() is None


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("request.pb", b"\xff", "malformed ModelInferRequest"),
        (
            "request.pb",
            request("X", "FP32", (1, 4), bytes(16)),
            r"expected dimension 1 of \[-1, 3\] to be 3, came \[1, 4\]",
        ),
        ("expected.pb", b"\xff", "no ModelInferResponse"),
        ("expected.pb", answer("Z", X), "does not have"),
        ("expected.pb", answer("Y", np.zeros((2, 3), np.int32), "INT32"), "expected INT32, came FP32"),
        ("golden.toml", b"absolut = 1", "did you mean 'absolute'"),
    ],
    ids=["garbage", "misfit", "no-answer", "other-output", "other-datatype", "unknown-option"],
)
async def test_an_example_that_is_spoilt_fails_and_the_next_is_run(
    examined: Examined, name: str, content: bytes, said: str
) -> None:
    version = examined.put("scaled", a=RIGHT, b=RIGHT)
    await examined.start()
    (version / "golden" / "a" / name).write_bytes(content)
    await examined.round()
    assert examined.counts("scaled") == (3, 1, 1)
    (problem,) = examined.failing("scaled").values()
    assert re.search(said, problem), problem


async def test_a_directory_of_too_many_examples_fails_and_recovers(
    examined: Examined,
) -> None:
    version = examined.put("scaled", a=RIGHT)
    await examined.start()
    (version / "golden").rename(version / "kept")
    (version / "golden").mkdir()
    for n in range(1001):
        (version / "golden" / str(n)).mkdir()
    await examined.round()
    assert "at most 1000 examples" in examined.failing("scaled")["golden"]
    shutil.rmtree(version / "golden")
    (version / "kept").rename(version / "golden")
    await examined.round()
    assert examined.failing("scaled") == {}


async def test_it_gives_way_to_requests_that_wait(examined: Examined) -> None:
    examined.put("scaled", a=RIGHT, b=RIGHT)
    await examined.start()
    due_ns = examined.rounds.next_due_ns()
    assert due_ns is not None
    examined.clock.advance(due_ns - examined.clock.now_ns())
    await examined.rounds.step()
    assert examined.counts("scaled") == (3, 0, 0)
    version = examined.catalog.route("scaled", "")
    version.lane.limit_rows = 1
    calls = [examined.server.ask("scaled", X[:1], "FP32") for _ in range(50)]
    while not version.lane.queued:
        await one_pass()
    await examined.rounds.step()
    assert examined.counts("scaled") == (3, 0, 0)
    assert examined.rounds.next_due_ns() == examined.clock.now_ns() + GIVE_WAY_NS
    await asyncio.gather(*(call.outcome for call in calls))
    await examined.round()
    assert examined.counts("scaled") == (4, 0, 0)
    assert examined.server.counts("scaled").answered == 50


async def test_the_whole_way_of_files_in_and_labels_out(examined: Examined) -> None:
    version = examined.root / "kinds" / "1"
    models.identity(version, 6, ["n", 4])
    (version / "version.toml").write_text(
        '[[input]]\nname = "file"\n'
        'steps = [{ step = "windows", begin = 2, end = 2, block = 8, pad = 0 }]\n'
        '[[output]]\nname = "kind"\nsource = "Y"\nlabels = ["a", "b", "c", "d"]\nsteps = [{ step = "argmax" }]\n'
    )
    asked = request("file", "BYTES", (2,), encode_bytes_tensor([b"azbc", b"abzc"]))
    right = encode_response("m", "1", "", {}, [("kind", "BYTES", (2,), encode_bytes_tensor([b"b", b"c"]))])
    wrong = encode_response("m", "1", "", {}, [("kind", "BYTES", (2,), encode_bytes_tensor([b"b", b"d"]))])
    write_golden(version, "right", asked, right)
    await examined.start()
    await examined.round()
    assert examined.counts("kinds") == (2, 0, 0)
    write_golden(version, "wrong", asked, wrong)
    await examined.round()
    assert examined.failing("kinds") == {"wrong": "output 'kind': expected other texts than came"}


def put_stall(examined: Examined, turns: int) -> None:
    count = np.array([turns], np.int64)
    version = put(examined.root, "stall", stall())
    asked = request("turns", "INT64", (1,), count.tobytes())
    write_golden(version, "long", asked, answer("count", count, "INT64"))


async def test_draining_waits_for_the_example_that_is_run_and_no_other_begins(examined: Examined) -> None:
    put_stall(examined, 100_000)
    await examined.start()
    version = examined.catalog.route("stall", "")
    done = examined.server.engine.examine(version, read_example(version.path / "golden" / "long"))
    assert not examined.server.engine.may_examine(version), "one at a time"
    await examined.server.engine.drain()
    assert done.done()
    assert await done == ""
    assert not examined.server.engine.may_examine(version)
    await examined.round()
    assert examined.counts("stall") == (1, 0, 0)


async def test_a_version_that_is_unloaded_while_it_is_examined_is_freed_afterwards(
    examined: Examined,
) -> None:
    put_stall(examined, 300_000)
    await examined.start()
    freed = asyncio.Event()
    collecting = gc.isenabled()
    gc.disable()
    try:
        session = examined.catalog.route("stall", "").session
        weakref.finalize(session, asyncio.get_running_loop().call_soon_threadsafe, freed.set)
        del session
        running = asyncio.ensure_future(examined.round())
        while not examined.catalog.route("stall", "").examined:
            await one_pass()
        await examined.server.loader.unload("stall")
        await asyncio.wait_for(freed.wait(), 10)
        assert examined.rounds.next_due_ns() is None
        await running
    finally:
        if collecting:
            gc.enable()
    assert examined.counts("stall") == (1, 0, 0), "what came of it is nobody's any more"


async def test_the_rounds_go_on_by_the_clock_until_they_are_ended(examined: Examined) -> None:
    examined.put("scaled", "interval_s = 0.01", a=RIGHT)
    await examined.start()
    task = asyncio.ensure_future(examined.rounds.run())
    for expected in range(1, 4):
        while examined.counts("scaled")[0] < expected:
            examined.clock.advance(S // 100)
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
