"""A shadow as a whole: engine, tap, a process with a real candidate, and what it has counted."""

import asyncio
import math
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from steelyard.errors import LoadFailed
from steelyard.rollout.disagreements import DisagreementsReader
from steelyard.rollout.pairs import PairCounts
from steelyard.supervisor.shadow_process import ShadowProcess, ShadowState
from tests.shadow.candidates import ENDLESS, columns, patient
from tests.shadow.conftest import body_of, primary_of
from tests.support import models
from tests.support.waiting import until

ONLY_THE_FIRST = "[serving]\nversions = { list = [1] }\n"
GUARDRAILS = """
[[rollout.gate.guardrail]]
on = "error_rate"
margin = 0.01
harm = 0.02

[[rollout.gate.guardrail]]
on = "disagreement"
margin = 0.01
harm = 0.02

[[rollout.gate.guardrail]]
on = "slower_than"
threshold_ms = 60000
margin = 0.01
harm = 0.02
"""
MANIFEST = ONLY_THE_FIRST + GUARDRAILS


def two_versions(root: Path, first: bytes, second: bytes, manifest: str = MANIFEST) -> Path:
    """A repository of the model `m`, of which the first version is served; gives the second's directory."""
    models.put(root, "m", first, 1, manifest)
    return models.put(root, "m", second, 2)


def rows(count: int, height: int = 1, seed: int = 1) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [body_of("m", rng.random((height, 4), np.float32) + 1) for _ in range(count)]


def pairs_of(process: ShadowProcess) -> PairCounts:
    return PairCounts.model_validate(process.checkpoint["pairs"], strict=False)


async def counted(process: ShadowProcess, pairs: int) -> dict[str, dict[str, int]]:
    """The guardrails' differences, once so many pairs have been counted."""
    await until(lambda: sum(process.checkpoint["guardrails"]["error_rate"].values()) >= pairs)
    found: dict[str, dict[str, int]] = process.checkpoint["guardrails"]
    return found


def differences(worse: int = 0, same: int = 0, better: int = 0) -> dict[str, int]:
    return {"worse": worse, "same": same, "better": better}


async def test_a_candidate_that_answers_the_same_agrees(tmp_path: Path, socket_path: Path) -> None:
    second = two_versions(tmp_path / "models", models.scaled(2.0), models.scaled(2.0))
    async with primary_of(tmp_path / "models") as primary:
        tap, process = await primary.shadow("m", second, socket_path)
        await primary.ask(rows(50, height=2))
        assert await counted(process, 50) == {
            "error_rate": differences(same=50),
            "disagreement": differences(same=50),
            "slower_than_60000ms": differences(same=50),
        }
        assert process.checkpoint["digests"] == [process.digest]
        seen = pairs_of(process)
        assert (seen.pairs, seen.agreed) == (50, 50)
        assert sum(h.count for h in seen.primary_ns.values()) == process.checkpoint["units"]
        counts = tap.counts()
        assert counts["sampled"] == counts["sent"] == counts["acknowledged"] == 50
        assert counts["waiting_bytes"] == 0


async def test_disagreements_are_counted_and_the_worst_kept(tmp_path: Path, socket_path: Path) -> None:
    second = two_versions(tmp_path / "models", models.scaled(2.0), models.scaled(2.1))
    kept = tmp_path / "kept.sqlite"
    async with primary_of(tmp_path / "models") as primary:
        _, process = await primary.shadow("m", second, socket_path, disagreements=kept)
        bodies = rows(20)
        await primary.ask(bodies)
        found = await counted(process, 20)
        assert found["error_rate"] == differences(same=20)
        assert found["disagreement"] == differences(worse=20)
        with DisagreementsReader(kept) as reader:
            listed = reader.list("two")
            assert 0 < len(listed) <= 20
            again = reader.get(listed[0].decision_id)
        assert again is not None
        assert again.request in bodies
        assert isinstance(again.candidate, bytes)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (models.scaled(2.0), models.scaled(math.nan)),
        (columns(4), columns(2)),
    ],
    ids=["NaN", "other shapes"],
)
async def test_what_cannot_be_compared_is_the_worst_disagreement(
    tmp_path: Path, socket_path: Path, first: bytes, second: bytes
) -> None:
    candidate = two_versions(tmp_path / "models", first, second)
    kept = tmp_path / "kept.sqlite"
    async with primary_of(tmp_path / "models") as primary:
        _, process = await primary.shadow("m", candidate, socket_path, disagreements=kept)
        answers = await primary.ask(rows(8))
        assert all(isinstance(answer, bytes) for answer in answers)
        assert (await counted(process, 8))["disagreement"] == differences(worse=8)
        with DisagreementsReader(kept) as reader:
            assert {each.severity for each in reader.list("two")} == {math.inf}


async def test_errors_on_one_side_and_on_both(tmp_path: Path, socket_path: Path) -> None:
    candidate = two_versions(tmp_path / "models", models.embedding(16), models.embedding(20))
    async with primary_of(tmp_path / "models") as primary:
        _, process = await primary.shadow("m", candidate, socket_path)
        # The first fits both tables, the second the candidate's alone, the third none.
        for index in (3, 18, 99):
            await primary.ask([body_of("m", np.array([[index]], np.int64), "ids", "INT64")])
        found = await counted(process, 3)
        assert found["error_rate"] == differences(same=2, better=1)
        assert found["disagreement"] == differences(same=1)
        failures = pairs_of(process).failures
        assert (failures.primary_only, failures.candidate_only, failures.both) == (1, 0, 1)
        assert failures.primary_kinds == {"INVALID_ARGUMENT": 2}


@pytest.mark.parametrize(
    ("second", "named"),
    [
        (models.two_inputs(), "input 'a': only the candidate has it"),
        (models.identity("FP64"), "input 'x': expected FP32 [-1, 4], got FP64 [-1, 4]"),
        (models.scaled(1.0, ("batch", 5)), "output 'y': expected FP32 [-1, 4], got FP32 [-1, 5]"),
        (models.unknown_operator(), "FlyToTheMoon"),
    ],
    ids=["names", "datatype", "shape", "does not load"],
)
async def test_a_candidate_that_does_not_fit_is_refused(
    tmp_path: Path, socket_path: Path, second: bytes, named: str
) -> None:
    candidate = two_versions(tmp_path / "models", models.scaled(2.0), second)
    async with primary_of(tmp_path / "models") as primary:
        process = primary.start(primary.task("m", candidate, socket_path))
        with pytest.raises(LoadFailed) as refused:
            await process.started()
        assert named in str(refused.value)
        assert process.state is ShadowState.FAILED
        assert process.restarts == 0


async def test_a_candidate_that_hangs_has_failed_and_is_started_again(
    tmp_path: Path, socket_path: Path
) -> None:
    manifest = MANIFEST + "[rollout.shadow]\ntimeout_s = 0.5\n"
    candidate = two_versions(tmp_path / "models", patient(False), patient(True), manifest)
    async with primary_of(tmp_path / "models") as primary:
        tap, process = await primary.shadow("m", candidate, socket_path)
        await primary.ask([turns(1)])
        await counted(process, 1)
        (answer,) = await primary.ask([turns(ENDLESS)])
        assert isinstance(answer, bytes)
        await until(lambda: process.exits["hung"] == 1)
        assert (await counted(process, 2))["error_rate"] == differences(worse=1, same=1)
        await until(lambda: process.state is ShadowState.RUNNING)
        await until(lambda: tap.counts()["connected"])
        await primary.ask([turns(1)])
        assert (await counted(process, 3))["error_rate"] == differences(worse=1, same=2)
        counts = tap.counts()
        assert counts["sampled"] == counts["acknowledged"] + counts["dropped_down"]


async def test_a_candidate_that_dies_has_failed_and_what_was_counted_survives(
    tmp_path: Path, socket_path: Path
) -> None:
    manifest = MANIFEST + "[rollout.shadow]\ntimeout_s = 600\n"
    candidate = two_versions(tmp_path / "models", patient(False), patient(True), manifest)
    async with primary_of(tmp_path / "models") as primary:
        tap, process = await primary.shadow("m", candidate, socket_path)
        await primary.ask([turns(1)])
        await counted(process, 1)
        await primary.ask([turns(ENDLESS)])
        await until(lambda: process.running == 1)
        os.kill(process.pid, signal.SIGKILL)
        assert (await counted(process, 2))["error_rate"] == differences(worse=1, same=1)
        assert process.exits == {"crashed": 1}
        assert pairs_of(process).failures.candidate_kinds == {"crashed": 1}
        await until(lambda: tap.counts()["connected"])
        assert tap.counts()["dropped_lost"] == 1
        await primary.ask([turns(1)])
        await counted(process, 3)


async def test_a_candidate_that_grows_beyond_its_bound_is_started_again(
    tmp_path: Path, socket_path: Path
) -> None:
    manifest = MANIFEST + "[rollout.shadow]\nmax_memory = 65536\n"
    candidate = two_versions(tmp_path / "models", models.scaled(), models.scaled(), manifest)
    async with primary_of(tmp_path / "models") as primary:
        process = primary.start(primary.task("m", candidate, socket_path))
        await process.started()
        await until(lambda: process.exits["leaked"] >= 1)
        assert process.exits.keys() == {"leaked"}


async def test_stopping_ends_at_once_whatever_the_candidate_does(tmp_path: Path, socket_path: Path) -> None:
    manifest = MANIFEST + "[rollout.shadow]\ntimeout_s = 600\n"
    candidate = two_versions(tmp_path / "models", patient(False), patient(True), manifest)
    async with primary_of(tmp_path / "models") as primary:
        tap, process = await primary.shadow("m", candidate, socket_path)
        await primary.ask([turns(ENDLESS) for _ in range(5)])
        await until(lambda: process.running == 1)
        primary.version("m").shadows = ()
        tap.close()
        process.stop()
        await asyncio.wait_for(primary.processes[0][1], 5)
        assert process.state is ShadowState.STOPPED
        assert await asyncio.to_thread(tap.join, 5)
        counts = tap.counts()
        assert counts["sampled"] == 5 == counts["dropped_closed"] + counts["dropped_lost"]
        (answer,) = await primary.ask([turns(ENDLESS)])
        assert isinstance(answer, bytes)
        assert tap.counts() == counts


async def test_a_slow_candidate_costs_its_budget_and_nothing_else(tmp_path: Path, socket_path: Path) -> None:
    manifest = MANIFEST + "[rollout.shadow]\ntimeout_s = 600\n"
    candidate = two_versions(tmp_path / "models", patient(False), patient(True), manifest)
    async with primary_of(tmp_path / "models") as primary:
        process = primary.start(primary.task("m", candidate, socket_path))
        await process.started()
        tap = primary.tap("m", socket_path, max_bytes=4096)
        await until(lambda: tap.counts()["connected"])
        answers = await primary.ask([turns(ENDLESS) for _ in range(50)])
        assert all(isinstance(answer, bytes) for answer in answers)
        counts = tap.counts()
        assert counts["sampled"] == 50
        assert counts["waiting_bytes"] <= 4096
        assert counts["dropped_budget"] > 30


async def test_several_candidates_at_once_each_get_their_own_share(tmp_path: Path) -> None:
    root = tmp_path / "models"
    second = two_versions(root, models.scaled(2.0), models.scaled(2.0))
    third = models.put(root, "m", models.scaled(3.0), 3)
    async with primary_of(root) as primary:
        (_, same), (few, other) = await asyncio.gather(
            primary.shadow("m", second, tmp_path / "2.sock"),
            primary.shadow("m", third, tmp_path / "3.sock", share=0.5),
        )
        await primary.ask(rows(60))
        assert (await counted(same, 60))["disagreement"] == differences(same=60)
        sampled = few.counts()["sampled"]
        assert 0 < sampled < 60
        assert (await counted(other, sampled))["disagreement"] == differences(worse=sampled)


async def test_times_are_of_batches_of_the_same_size_whatever_is_sampled(
    tmp_path: Path, socket_path: Path
) -> None:
    manifest = MANIFEST.replace("[serving]", "[serving]\nbatching = true")
    second = two_versions(tmp_path / "models", models.scaled(2.0), models.scaled(2.0), manifest)
    async with primary_of(tmp_path / "models") as primary:
        tap, process = await primary.shadow("m", second, socket_path, share=0.5)
        for seed in range(20):
            await primary.ask(rows(8, seed=seed))
        sampled = tap.counts()["sampled"]
        await counted(process, sampled)
        seen = pairs_of(process)
        assert seen.primary_ns.keys() == seen.candidate_ns.keys()
        assert max(seen.primary_ns) > 1, "some were put together"
        timed = sum(process.checkpoint["guardrails"]["slower_than_60000ms"].values())
        assert 0 < timed <= sampled


async def test_requests_go_through_the_candidates_own_pipeline(tmp_path: Path, socket_path: Path) -> None:
    about = '[[input]]\nname = "file"\nsteps = [{ step = "windows", begin = 4, end = 0, block = 16, pad = 256 }]\n'
    root = tmp_path / "models"
    models.put(root, "m", models.identity("INT32", ("batch", 4)), 1, MANIFEST, about=about)
    second = models.put(root, "m", models.identity("INT32", ("batch", 4)), 2, about=about.replace("256", "7"))
    async with primary_of(root) as primary:
        _, process = await primary.shadow("m", second, socket_path)
        for content in (b"abcdefgh", b"ab"):
            element = len(content).to_bytes(4, "little") + content
            await primary.ask([body_of("m", np.frombuffer(element, np.uint8), "file", "BYTES", (1,))])
        assert (await counted(process, 2))["disagreement"] == differences(worse=1, same=1)


async def test_calibration_learns_the_noise_of_the_version_itself(tmp_path: Path, socket_path: Path) -> None:
    root = tmp_path / "models"
    manifest = MANIFEST.replace("[serving]", "[serving]\nbatching = true")
    first = models.put(root, "m", models.dynamically_quantized(), 1, manifest)
    async with primary_of(root) as primary:
        _, process = await primary.shadow("m", first, socket_path, calibrate=True)
        rng = np.random.default_rng(3)
        for _ in range(12):
            await primary.ask([body_of("m", rng.normal(size=(1, 8)).astype(np.float32))])
        await until(lambda: process.checkpoint["calibration"]["runs"] == 24)
        learned = process.checkpoint["calibration"]
        assert learned["unlike"] == 0
        assert learned["errors"]["y"][0] > 0, "the scale is the whole batch's"
        absolute, _ = learned["tolerances"]["y"]
        assert absolute >= 2 * learned["errors"]["y"][0]


async def test_a_long_path_is_reached_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    second = two_versions(tmp_path / "models", models.scaled(), models.scaled())
    async with primary_of(tmp_path / "models") as primary:
        _, process = await primary.shadow("m", second, deep / "shadow.sock")
        assert (deep / "shadow.sock").stat().st_mode & 0o777 == 0o600
        await primary.ask(rows(3))
        await counted(process, 3)


async def test_the_process_gives_way_to_everybody_else(tmp_path: Path, socket_path: Path) -> None:
    second = two_versions(tmp_path / "models", models.scaled(), models.scaled())
    async with primary_of(tmp_path / "models") as primary:
        _, process = await primary.shadow("m", second, socket_path)
        threads = os.listdir(f"/proc/{process.pid}/task")
        assert {os.sched_getscheduler(int(thread)) for thread in threads} == {os.SCHED_IDLE}


def turns(count: int) -> bytes:
    return body_of("m", np.array([count], np.int64), "turns", "INT64")
