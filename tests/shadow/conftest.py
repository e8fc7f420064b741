"""A primary in this process, with the engine and the taps of a worker, and candidates in processes of their own."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard._native.observe import Segment
from steelyard._native.path import EngineCall
from steelyard.clock import SystemClock
from steelyard.errors import SteelyardError
from steelyard.models.manifest import read_model_manifest
from steelyard.observe.segment_file import create_segment
from steelyard.scheduling.scheduler import Scheduler
from steelyard.serving.catalog import Catalog
from steelyard.serving.engine import Engine
from steelyard.serving.loader import Loader
from steelyard.serving.loading import Environment
from steelyard.serving.shadowing import Pressure, ShadowTap
from steelyard.serving.verdicts import Verdicts
from steelyard.serving.version import ServedVersion
from steelyard.shadow.task import LocalTarget, RemoteTarget, ShadowTask
from steelyard.supervisor.shadow_process import ShadowProcess
from steelyard.wire.generated import grpc_service as pb
from tests.support.waiting import until


class RecordedCall(EngineCall):
    """A call whose outcome can be awaited."""

    def __init__(self) -> None:
        self.peer = "a"
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def metadata(self) -> tuple[()]:
        return ()

    def answer(self, body: bytes, decision_id: str, trailing: object) -> None:
        self.outcome.set_result(body)

    def fail(self, error: SteelyardError, decision_id: str, trailing: object) -> None:
        self.outcome.set_result(error)


def body_of(
    model: str,
    array: np.ndarray,
    name: str = "x",
    datatype: str = "FP32",
    shape: tuple[int, ...] | None = None,
) -> bytes:
    """A serialized request of one input."""
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name=name, datatype=datatype, shape=array.shape if shape is None else shape)
    request.raw_input_contents.append(array.tobytes())
    return request.SerializeToString()


class Unpressed(Pressure):
    """Never pauses, however busy the machine is that a test runs on."""

    def ran(self, now_ns: int, wait_ns: int, execute_ns: int) -> None:
        pass


class Primary:
    """An engine over a repository whose versions can be given shadows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.descriptor = create_segment("test")
        clock = SystemClock()
        segment = Segment(self.descriptor, os.getpid(), clock.unix_ns())
        self.catalog = Catalog()
        self.engine = Engine(
            asyncio.get_running_loop(), clock, self.catalog, Scheduler(2, 1 << 30, 0), segment.unknown
        )
        self.loader = Loader(root, self.catalog, segment, Environment(2, "dev", Verdicts(None), 0), 2)
        self.taps: list[ShadowTap] = []
        self.processes: list[tuple[ShadowProcess, asyncio.Task[None]]] = []

    def version(self, model: str) -> ServedVersion:
        served = self.catalog.model(model).default()
        assert served is not None
        return served

    def tap(
        self, model: str, path: Path, share: float = 1.0, max_bytes: int = 64 << 20, name: str = "two"
    ) -> ShadowTap:
        """A tap of the model's version, in force from now on."""
        tap = ShadowTap(name, path, share, max_bytes, Unpressed())
        self.taps.append(tap)
        self.version(model).shadows += (tap,)
        return tap

    def task(self, model: str, candidate: Path | RemoteTarget, socket: Path, **more: Any) -> ShadowTask:
        """What the process is told for a candidate in a directory, or elsewhere."""
        version = self.version(model)
        if isinstance(candidate, Path):
            target: Any = LocalTarget(number=int(candidate.name), path=candidate)
        else:
            target = candidate
        return ShadowTask(
            rollout="two",
            model=model,
            offered=version.offered,
            manifest=read_model_manifest(self.root / model / "model.toml"),
            candidate=target,
            socket=socket,
            **more,
        )

    def start(self, task: ShadowTask) -> ShadowProcess:
        """A process for the task; ended with the test."""
        process = ShadowProcess(task)
        self.processes.append((process, asyncio.ensure_future(process.run())))
        return process

    async def shadow(
        self, model: str, candidate: Path | RemoteTarget, socket: Path, share: float = 1.0, **more: Any
    ) -> tuple[ShadowTap, ShadowProcess]:
        """A candidate that runs, and the tap that it hears from."""
        process = self.start(self.task(model, candidate, socket, **more))
        await process.started()
        tap = self.tap(model, socket, share)
        await until(lambda: tap.counts()["connected"])
        return tap, process

    def submit(self, body: bytes) -> RecordedCall:
        call = RecordedCall()
        self.engine.submit(call, body)
        return call

    async def ask(self, bodies: list[bytes]) -> list[Any]:
        """The outcomes of requests that come together."""
        calls = [self.submit(body) for body in bodies]
        return [await call.outcome for call in calls]

    async def close(self) -> None:
        for tap in self.taps:
            tap.close()
        for process, running in self.processes:
            process.stop()
            await running
            process.close()
        await self.engine.drain()
        self.engine.close()
        self.loader.close()
        for tap in self.taps:
            assert await asyncio.to_thread(tap.join, 10)
        os.close(self.descriptor)


@asynccontextmanager
async def primary_of(root: Path) -> AsyncIterator[Primary]:
    primary = Primary(root)
    await primary.loader.load_all()
    try:
        yield primary
    finally:
        await primary.close()


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "shadow.sock"
