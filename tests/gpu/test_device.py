"""What only a device can show: that its answers are the CPU's, staged and replayed, with several batches under way."""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from steelyard.models.manifest import ModelManifest
from steelyard.runtime.cuda import CudaMemory, memory_of
from steelyard.runtime.devices import resolve
from steelyard.runtime.session import open_session, providers_available
from steelyard.serving.loading import Environment, LoadedVersion, load_version
from steelyard.serving.verdicts import Verdicts
from tests.runtime import models
from tests.runtime.device import CPU, request
from tests.serving.test_engine import Server

pytestmark = pytest.mark.gpu

ROWS = 8
FLOAT = TensorProto.FLOAT


def convolution(path: Path) -> Path:
    """Y = mean over places of relu(X * W): float32 [n,3,16,16] to [n,8,1,1], with kernels of cuDNN's."""
    weights = np.random.default_rng(4).standard_normal((8, 3, 3, 3)).astype(np.float32)
    return models.save(
        path,
        [
            helper.make_node("Conv", ["X", "W"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["Y"]),
        ],
        [("X", FLOAT, ["n", 3, 16, 16])],
        [("Y", FLOAT, ["n", 8, 1, 1])],
        {"W": weights},
    )


def load(file: Path, device: str, **serving: Any) -> LoadedVersion:
    manifest = ModelManifest.model_validate({"serving": {"device": device, "max_batch": ROWS, **serving}})
    return load_version("m", file.parent, manifest, Environment(4, "dev", Verdicts(None)))


def check(loaded: LoadedVersion, file: Path, threads: int = 3, rounds: int = 30) -> None:
    """Batches of every size, on several threads, against the CPU."""
    staging, spec = loaded.staging, loaded.spec
    assert staging is not None
    on_cpu = open_session(file, CPU)
    dims = spec.inputs[0].dims[1:]

    def work(seed: int) -> None:
        runner, rng = staging.runner(spec), np.random.default_rng(seed)
        for _ in range(rounds):
            x = rng.random((int(rng.integers(1, ROWS + 1)), *dims), np.float32)
            shape, arrays = runner.fill([request(row[None]) for row in x], len(x), ())
            (found,) = runner.run(shape, arrays, len(x))
            assert runner.is_staged
            np.testing.assert_allclose(found, on_cpu.run(None, {"X": x})[0], rtol=2e-3, atol=2e-3)
        runner.release()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def test_copies_to_the_device_and_back(tmp_path: Path, device: str) -> None:
    # This is what brings CUDA's runtime into the process.
    open_session(models.scaled(tmp_path), resolve(device, providers_available(), []))
    memory = memory_of(device)
    assert isinstance(memory, CudaMemory)
    there, stream = memory.device(1 << 20), memory.stream()
    sent, back = memory.host(1 << 20), memory.host(1 << 20)
    sent[:] = np.random.default_rng(0).integers(0, 256, 1 << 20)
    stream.copy_in(there.address, sent, 1 << 20)
    stream.copy_out(back, there.address, 1 << 20)
    stream.wait()
    assert np.array_equal(sent, back)


@pytest.mark.parametrize("make", [models.scaled, convolution])
@pytest.mark.parametrize("graphs", [False, True], ids=["staged", "graphs"])
def test_answers_are_the_cpus(tmp_path: Path, device: str, make: Any, graphs: bool) -> None:
    file = make(tmp_path)
    loaded = load(file, device, cuda_graphs=graphs)
    assert loaded.bindable
    assert loaded.batching.allowed, loaded.batching.reason
    assert loaded.session.graphs is graphs
    check(loaded, file)


def test_graphs_are_captured_by_themselves_where_they_can_be(tmp_path: Path, device: str) -> None:
    assert load(models.scaled(tmp_path / "fixed"), device).session.graphs
    loaded = load(models.summed(tmp_path / "open"), device)
    assert loaded.staging is not None
    assert not loaded.session.graphs


def test_one_version_is_captured_beside_the_runs_of_another(tmp_path: Path, device: str) -> None:
    first, second = convolution(tmp_path / "a"), models.scaled(tmp_path / "b")
    loaded = load(first, device, cuda_graphs=True)
    with ThreadPoolExecutor(1) as beside:
        serving = beside.submit(check, loaded, first, 2, 300)
        for _ in range(5):
            check(load(second, device, cuda_graphs=True), second, rounds=3)
        serving.result(120)


def test_versions_come_and_go(tmp_path: Path, device: str) -> None:
    file = convolution(tmp_path)
    for _ in range(10):
        check(load(file, device, cuda_graphs=True), file, rounds=2)


@pytest.fixture
async def server(tmp_path: Path, device: str) -> AsyncIterator[Server]:
    models.embedding(tmp_path / "tokens" / "1", length=3)
    models.scaled(tmp_path / "scaled" / "1")
    for name in ("tokens", "scaled"):
        (tmp_path / name / "model.toml").write_text(f'[serving]\ndevice = "{device}"\n')
    running = Server(tmp_path, inline_below_ns=0)
    await running.loader.load_all()
    yield running
    await running.engine.drain()
    running.engine.close()
    running.loader.close()
    assert running.unaccounted() == {}
    os.close(running.descriptor)


async def test_requests_are_answered_with_their_own_rows(server: Server) -> None:
    rng = np.random.default_rng(5)
    inputs = [rng.random((rows, 3), np.float32) for rows in rng.integers(0, 6, 200)]
    calls = [server.ask("scaled", x, "FP32") for x in inputs]
    for x, response in zip(inputs, await asyncio.gather(*[call.outcome for call in calls]), strict=True):
        assert np.array_equal(np.frombuffer(response.raw_output_contents[0], np.float32), 2 * x.ravel())


def test_tensorrt_stages_and_captures_nothing(tmp_path: Path, device: str) -> None:
    if "TensorrtExecutionProvider" not in providers_available():
        pytest.skip("ONNX Runtime has no TensorrtExecutionProvider")
    file = models.scaled(tmp_path)
    loaded = load(file, "tensorrt:0")
    assert not loaded.session.graphs
    check(loaded, file)
