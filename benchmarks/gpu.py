"""A device: staged batches and replayed graphs, against plain host arrays; one batch at a time, and several.

What it favours: nothing is served, no client takes time, and the inputs are assembled from the same few requests again
and again. So it shows what the way to the device costs and gains, and says nothing of a server. Where ONNX Runtime has
no CUDA provider everything is run on the CPU, with its memory in the place of a device's: that shows what staging
itself costs, and that this runs, and no more. There are no graphs then.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.benchmark import Chart
from benchmarks.real_models import RealModel, real_models
from benchmarks.tiny import tiny_model
from steelyard.models.graph import describe
from steelyard.models.manifest import Serving
from steelyard.models.spec import ModelSpec
from steelyard.models.version_manifest import VersionManifest
from steelyard.runtime.cuda import memory_of
from steelyard.runtime.device_session import DeviceSession
from steelyard.runtime.devices import Device, resolve
from steelyard.runtime.memory import HostMemory, Memory
from steelyard.runtime.runner import Runner
from steelyard.runtime.session import open_session, providers_available
from steelyard.runtime.staging import SLOTS
from steelyard.serving.staging import stage

BATCHES = (1, 8, 32)
AT_A_TIME = (1, SLOTS)
HOST, STAGED, GRAPHS = "host arrays", "staged", "staged, graphs"

Batch = Callable[[], None]


def models() -> list[RealModel]:
    """One that costs nothing to run, and one of 4 GFLOP a row."""
    tiny = RealModel(
        "tiny",
        lambda: tiny_model().SerializeToString(),
        {"X": np.random.default_rng(7).random((1, 16), np.float32)},
    )
    return [tiny, *(model for model in real_models() if model.name == "resnet50")]


def run(
    rounds: int = 5,
    seconds: float = 1.0,
    batches: Sequence[int] = BATCHES,
    chosen: Sequence[RealModel] | None = None,
) -> dict[str, Any]:
    """For each model, batch, number of batches at a time and way: rows a second and median ms of a batch, by round."""
    available = providers_available()
    has_cuda = "CUDAExecutionProvider" in available
    device = resolve("auto", available, [])
    found: dict[str, Any] = {"device": device.name, "providers": available, "rows": []}
    with tempfile.TemporaryDirectory() as temporary:
        for model in models() if chosen is None else chosen:
            file = model.save(Path(temporary))
            for batch in batches:
                ways = {
                    name: made
                    for name in (HOST, STAGED, GRAPHS)
                    if (made := _way(name, model, file, device, has_cuda, batch)) is not None
                }
                for at_a_time in AT_A_TIME:
                    row = {"model": model.name, "batch": batch, "at_a_time": at_a_time, "ways": {}}
                    for name in ways:
                        row["ways"][name] = {"per_s": [], "ms": []}
                    for _ in range(rounds):
                        for name, make in ways.items():
                            per_s, ms = _busy([make() for _ in range(at_a_time)], batch, seconds)
                            row["ways"][name]["per_s"].append(per_s)
                            row["ways"][name]["ms"].append(ms)
                    found["rows"].append(row)
    return found


def _way(
    name: str, model: RealModel, file: Path, device: Device, has_cuda: bool, batch: int
) -> Callable[[], Batch] | None:
    """Makes callables that each run one batch after the other; None where there is no such way."""
    if name == GRAPHS and not has_cuda:
        return None

    def opened(graphs: bool) -> Any:
        return open_session(file, device.capturing() if graphs else device)

    def find_memory(asked: str) -> Memory | None:
        return memory_of(asked) if has_cuda else HostMemory()

    session = DeviceSession(opened)
    spec = describe(session.get_inputs(), session.get_outputs(), VersionManifest(), file.parent)
    if name == HOST:
        return lambda: _batches(Runner(session, spec, batch), spec, model, batch)
    serving = Serving(cuda_graphs=name == GRAPHS, device=device.name)
    staging = stage(session, device.name, spec, serving, batch, _request(spec, model, batch), find_memory)
    if staging is None:
        raise RuntimeError(f"{model.name}: batches of {batch} cannot be staged on {device.name}")
    return lambda: _batches(staging.runner(spec), spec, model, batch)


def _request(spec: ModelSpec, model: RealModel, rows: int) -> Any:
    arrays = [np.repeat(model.row[tensor.name], rows, axis=0) for tensor in spec.inputs]
    return SimpleNamespace(
        inputs=[SimpleNamespace(data=memoryview(array.tobytes()), shape=array.shape) for array in arrays]
    )


def _batches(runner: Runner, spec: ModelSpec, model: RealModel, batch: int) -> Batch:
    requests: list[Any] = [_request(spec, model, 1)] * batch

    def one() -> None:
        shape, arrays = runner.fill(requests, batch, ())
        runner.run(shape, arrays, batch)
        runner.release()

    one()
    return one


def _busy(callers: Sequence[Batch], batch: int, seconds: float) -> tuple[float, float]:
    """Rows a second, all callers together, and the median ms of a batch; each counts until its own end."""
    rates: list[float] = []
    took_ms: list[float] = []
    began = time.perf_counter()

    def work(one: Batch) -> None:
        done = 0
        while (so_far := time.perf_counter() - began) < seconds or not done:
            before = time.perf_counter()
            one()
            took_ms.append((time.perf_counter() - before) * 1e3)
            done += 1
        rates.append(done * batch / max(so_far, 1e-9))

    threads = [threading.Thread(target=work, args=(one,)) for one in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates), statistics.median(took_ms)


def report(found: dict[str, Any]) -> list[str]:
    """What it ran on, then the table, line by line."""
    lines = []
    if "CUDAExecutionProvider" not in found["providers"]:
        lines.append(
            f"NO GPU: this ONNX Runtime has no CUDAExecutionProvider, only {', '.join(found['providers'])}. Run on the "
            "CPU instead, its memory in the place of a device's, without graphs."
        )
    else:
        lines.append(f"on {found['device']}")
    ways = [name for name in (HOST, STAGED, GRAPHS) if any(name in row["ways"] for row in found["rows"])]
    lines += [
        f"| model | batch | at a time | {' | '.join(f'{way}: rows/s (ms)' for way in ways)} "
        f"| {' | '.join(f'{way} ÷ {HOST}' for way in ways[1:])} |",
        "|---" * (3 + len(ways) + len(ways[1:])) + "|",
    ]
    for row in found["rows"]:
        cells = [
            f"{statistics.median(row['ways'][way]['per_s']):.0f} ({statistics.median(row['ways'][way]['ms']):.2f})"
            for way in ways
        ]
        ratios = [f"{statistics.median(_ratios(row, way)):.2f}" for way in ways[1:]]
        lines.append(
            f"| {row['model']} | {row['batch']} | {row['at_a_time']} | {' | '.join([*cells, *ratios])} |"
        )
    return lines


def _ratios(row: dict[str, Any], way: str) -> list[float]:
    pairs = zip(row["ways"][way]["per_s"], row["ways"][HOST]["per_s"], strict=True)
    return [ours / base for ours, base in pairs]


def charts(found: dict[str, Any]) -> list[Chart]:
    """Ratios to plain host arrays, a picture for each model."""
    return [
        Chart(
            f"{name} on {found['device']}: rows/s ÷ {HOST}",
            "ratio",
            {
                f"{way}, {row['batch']} rows, {row['at_a_time']} at a time": _ratios(row, way)
                for row in found["rows"]
                if row["model"] == name
                for way in row["ways"]
                if way != HOST
            },
        )
        for name in dict.fromkeys(row["model"] for row in found["rows"])
    ]
