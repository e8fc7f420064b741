"""A canary's arms in process: how each request of an arm is counted, and what is left of it when its route goes."""

import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.clock import SystemClock
from steelyard.rollout.bucket import bucket
from steelyard.rollout.directive import Split
from steelyard.rollout.labels import Holder
from steelyard.serving.canary import Canaries, Keys
from tests.runtime import models
from tests.serving.test_engine import RecordedCall, Server
from tests.support.waiting import until

MS = 1_000_000
ROW = np.ones((1, 3), np.float32)


class KeyedCall(RecordedCall):
    """A call with a key in its metadata."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def metadata(self) -> Any:
        return (("steelyard-key", self.key),)


class Rollout:
    """A server with version 2 of a model in production, and version 1 as its candidate."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.canaries = Canaries(server.catalog, SystemClock())
        entry = server.catalog.model("scaled")
        self.primary, self.candidate = (entry.versions[number].served for number in (2, 1))
        holders = [Holder(one.number, one.digest) for one in (self.primary, self.candidate)]
        self.split = Split(7, 0, *holders, 0.999999, (1, 3_600_000 * MS))

    def begin(self, split: Split | None) -> None:
        self.canaries.direct("scaled", split)

    def ask(self, call: RecordedCall | None = None) -> RecordedCall:
        return self.server.ask("scaled", ROW, "FP32", call)

    def taken(self) -> Counter[str]:
        """What both arms have counted since the last time; `slower` by the place of the threshold."""
        found: Counter[str] = Counter()
        for counts in self.canaries.take():
            for arm in (counts["primary"], counts["candidate"]):
                slower = {f"slower {place}": count for place, count in enumerate(arm["slower"])}
                found.update({**{name: arm[name] for name in ("assigned", "ended", "failed")}, **slower})
        return +found


@pytest.fixture(params=[0, 10**9], ids=["executor", "inline"])
async def rollout(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rollout]:
    for number in (1, 2):
        models.scaled(tmp_path / "scaled" / str(number))
    (tmp_path / "scaled" / "model.toml").write_text("[serving]\nversions = { all = true }\n")
    running = Server(tmp_path, request.param)
    await running.loader.load_all()
    yield Rollout(running)
    await running.engine.drain()
    running.engine.close()
    running.loader.close()
    assert running.unaccounted() == {}
    os.close(running.descriptor)


def hold(rollout: Rollout) -> Callable[[], None]:
    """Lets nothing of the candidate run until what this gives is called."""
    lane = rollout.candidate.lane
    lane.running += lane.policy.instances

    def go_on() -> None:
        lane.running -= lane.policy.instances
        rollout.server.engine._dispatch()

    return go_on


async def read(call: RecordedCall) -> None:
    await until(lambda: call.place is not None, every_s=0.0)


async def test_an_answer_and_a_refusal_are_counted_once(rollout: Rollout) -> None:
    rollout.begin(rollout.split)
    await rollout.ask().outcome
    await rollout.server.ask("scaled", ROW[:, :2], "FP32").outcome
    assert rollout.taken() == {"assigned": 2, "ended": 2, "failed": 1, "slower 0": 2, "slower 1": 1}
    assert not rollout.taken()


@pytest.mark.parametrize(
    ("timeout_ms", "failed"), [(0, False), (3_600_000, False), (-1, True)], ids=["none", "far", "passed"]
)
@pytest.mark.parametrize("where", ["unread", "queued", "running"])
async def test_a_caller_who_gives_up_is_counted_once(
    rollout: Rollout, where: str, timeout_ms: int, failed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout.begin(rollout.split)
    engine = rollout.server.engine
    go_on = hold(rollout) if where != "running" else lambda: None
    call = RecordedCall(deadline_ns=time.monotonic_ns() + 3_600_000 * MS if timeout_ms else 0)
    if where == "running":
        monkeypatch.setattr(engine._scheduler, "_is_inline", lambda lane: False)
    held: list[Any] = []
    submit = engine._executor.submit
    monkeypatch.setattr(engine._executor, "submit", held.append)
    rollout.ask(call)
    if where != "unread":
        await read(call)
    if failed:
        # As if so much time had gone by.
        call.deadline_ns = 1
        if call.place is not None:
            call.place[2].deadline_ns = 1
    engine.cancel(call)
    for job in held:
        submit(job)
    go_on()
    monkeypatch.undo()
    await engine.drain()
    assert not call.outcome.done()
    expected = {"assigned": 1, "ended": 1, "slower 0": 1}
    assert rollout.taken() == (expected | {"failed": 1, "slower 1": 1} if failed else expected)


async def test_a_deadline_that_passes_in_the_queue_has_failed(rollout: Rollout) -> None:
    rollout.begin(rollout.split)
    go_on = hold(rollout)
    call = rollout.ask(RecordedCall(deadline_ns=time.monotonic_ns() + 30 * MS))
    assert "deadline passed" in str(await call.outcome)
    rollout.server.engine.cancel(call)
    go_on()
    assert rollout.taken() == {"assigned": 1, "ended": 1, "failed": 1, "slower 0": 1, "slower 1": 1}


@pytest.mark.parametrize("key", [3, True, "", "x" * 257])
async def test_a_key_that_cannot_be_is_none(rollout: Rollout, key: Any) -> None:
    rollout.begin(rollout.split)
    for _ in range(2):
        call = KeyedCall(key)
        await rollout.ask(call).outcome
        assert call.trailing["steelyard-decision-id"] == call.decision_id != ""
    assert rollout.taken()["assigned"] == 2


async def ask_keys(rollout: Rollout, count: int) -> None:
    for key in range(count):
        await rollout.ask(KeyedCall(str(key))).outcome


async def test_a_split_that_is_away_for_a_moment_loses_no_count_and_no_key(rollout: Rollout) -> None:
    rollout.begin(rollout.split)
    await ask_keys(rollout, 20)
    go_on = hold(rollout)
    waiting = rollout.ask()
    await read(waiting)
    rollout.begin(None)
    go_on()
    await waiting.outcome
    assert waiting.trailing["steelyard-decision-id"] == waiting.decision_id
    counts = rollout.taken()
    assert (counts["assigned"], counts["ended"], counts["failed"]) == (21, 21, 0)
    assert not rollout.taken()
    assert not rollout.primary.in_canary
    assert not rollout.candidate.in_canary
    rollout.begin(replace(rollout.split, counted=21))
    await ask_keys(rollout, 25)
    counts = rollout.taken()
    assert (counts["assigned"], counts["ended"]) == (5, 25)
    # Another canary counts its own.
    rollout.begin(replace(rollout.split, number=8))
    await ask_keys(rollout, 3)
    assert rollout.taken()["assigned"] == 3


async def test_a_worker_that_knows_no_keys_of_a_canary_counts_none(rollout: Rollout) -> None:
    split = replace(rollout.split, counted=1)
    assert Split.from_json(split.to_json()).counted == 1
    rollout.begin(split)
    await ask_keys(rollout, 5)
    rollout.begin(None)
    rollout.begin(replace(split, step=1, counted=0))
    await ask_keys(rollout, 5)
    await rollout.ask().outcome
    counts = rollout.taken()
    assert (counts["assigned"], counts["ended"]) == (1, 11)


async def test_the_number_that_was_counted_makes_no_other_split(rollout: Rollout) -> None:
    rollout.begin(rollout.split)
    route = rollout.primary.canary
    rollout.begin(replace(rollout.split, counted=5))
    assert rollout.primary.canary is route


def test_of_several_workers_one_counts_a_key_and_each_of_them_some_of_either_arm() -> None:
    workers = 3
    counting = [Keys(7, True, worker, workers) for worker in range(workers)]
    counted: Counter[tuple[int, bool]] = Counter()
    for number in range(600):
        place = bucket(7, f"key {number}")
        new = [worker for worker, keys in enumerate(counting) if keys.is_new(place)]
        assert len(new) == 1
        assert not any(keys.is_new(place) for keys in counting)
        counted[new[0], place < 0.5] += 1
    assert len(counted) == 2 * workers
    assert min(counted.values()) > 60
