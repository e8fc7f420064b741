"""Versions whose batches are staged, served by the engine: on the CPU in the place of a device, graphs included."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.errors import InvalidRequest
from steelyard.models.manifest import Serving
from steelyard.runtime.device_session import DeviceSession
from steelyard.runtime.devices import Device
from steelyard.runtime.graphs import Gate, sizes_to_capture
from steelyard.runtime.memory import HostMemory
from steelyard.runtime.session import open_session
from steelyard.runtime.staging import SLOTS
from steelyard.serving import loading
from steelyard.serving.staging import stage
from tests.runtime import models
from tests.runtime.device import ReplayingSession
from tests.serving.test_engine import Server


@pytest.fixture
def replaying() -> dict[str, ReplayingSession]:
    """The sessions that capture graphs, by model."""
    return {}


@pytest.fixture
async def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaying: dict[str, ReplayingSession]
) -> AsyncIterator[Server]:
    def on_device(file: Path, device: Device, threads: int, serving: Serving) -> DeviceSession:
        gate = Gate()

        def opened(graphs: bool) -> Any:
            if not graphs:
                return open_session(file, device, threads)
            return replaying.setdefault(file.parents[1].name, ReplayingSession(file, gate))

        return DeviceSession(opened, gate)

    def staged(session: DeviceSession, device: str, *about: Any) -> Any:
        return stage(session, "cuda:0", *about, lambda _: HostMemory())

    monkeypatch.setattr(loading, "open_version", on_device)
    monkeypatch.setattr(loading, "stage", staged)
    models.embedding(tmp_path / "tokens" / "1", length=3)
    models.scaled(tmp_path / "scaled" / "1")
    models.summed(tmp_path / "summed" / "1")
    models.centred(tmp_path / "centred" / "1")
    (tmp_path / "scaled" / "model.toml").write_text("[serving]\nmax_batch = 8\n")
    running = Server(tmp_path, inline_below_ns=0)
    await running.loader.load_all()
    yield running
    await running.engine.drain()
    running.engine.close()
    running.loader.close()
    assert running.unaccounted() == {}
    os.close(running.descriptor)


async def test_each_caller_gets_its_own_rows_from_replays(
    server: Server, replaying: dict[str, ReplayingSession]
) -> None:
    rng = np.random.default_rng(5)
    inputs = [rng.random((rows, 3), np.float32) for rows in rng.integers(0, 10, 200)]
    for x, call in [(x, server.ask("scaled", x, "FP32")) for x in inputs]:
        response = await call.outcome
        assert list(response.outputs[0].shape) == list(x.shape)
        assert np.array_equal(np.frombuffer(response.raw_output_contents[0], np.float32), 2 * x.ravel())
    assert server.catalog.served("scaled")[1].session.graphs
    captured = SLOTS * len(sizes_to_capture(8))
    assert len(replaying["scaled"].replays) > captured + 10
    assert len(replaying["scaled"].threads) == 1


async def test_rows_of_any_length_are_staged_by_length(server: Server) -> None:
    inputs = [np.ones((2, length), np.float32) for length in (*range(1, 30), 3, 1)]
    for x, call in [(x, server.ask("summed", x, "FP32")) for x in inputs]:
        response = await call.outcome
        assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [x.shape[1]] * 2


async def test_dependent_rows_are_run_by_themselves(server: Server) -> None:
    x = np.random.default_rng(5).random((20, 3), np.float32)
    for call in [server.ask("centred", row[None], "FP32") for row in x]:
        response = await call.outcome
        assert np.frombuffer(response.raw_output_contents[0], np.float32).tolist() == [0, 0, 0]


async def test_only_the_culprits_fail(server: Server) -> None:
    ids = [np.array([[at % 50, 1, 2 if at not in (3, 13) else 99]], np.int64) for at in range(32)]
    calls = [server.ask("tokens", x, "INT64") for x in ids]
    outcomes = await asyncio.gather(*[call.outcome for call in calls])
    for at, (x, outcome) in enumerate(zip(ids, outcomes, strict=True)):
        if at in (3, 13):
            assert isinstance(outcome, InvalidRequest)
        else:
            values = np.frombuffer(outcome.raw_output_contents[0], np.float32)
            assert values.reshape(3, 2)[:, 0].tolist() == (2 * x[0]).tolist()
