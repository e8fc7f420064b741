"""How bare ONNX Runtime uses two cores best: runs at a time, threads inside a run, spinning, one pool for all sessions.

What it favours: throughput, since every thread always has work; what a lone request gains by more threads is in the
time of a run. What pools cost while there is little to do is measured apart, as CPU time of a run every 20 ms.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

from benchmarks.benchmark import Chart
from benchmarks.real_models import RealModel, real_models

WAYS = {
    "2 x 1": (2, 1, False),
    "1 x 2": (1, 2, False),
    "1 x 2, spinning": (1, 2, True),
    "2 x 2": (2, 2, False),
    "2 x 2, spinning": (2, 2, True),
}
"""Runs at a time, threads inside each, whether they spin; the first is what the others are held against."""

POOLS = ("own, spinning", "own", "shared")
SESSIONS = 8
PAUSE_S = 0.02
SPARSE_RUNS = 60


def session(file: Path, threads: int, spinning: bool, shared: bool = False) -> Any:
    """A session with a pool of its own of so many threads, or on the one that is `shared`."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    if shared:
        options.use_per_session_threads = False
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def run(
    rounds: int = 5, seconds: float = 1.0, models: Sequence[RealModel] | None = None
) -> dict[str, dict[str, Any]]:
    """For each model and way, by round: rows a second and ms a run; and what pools cost for the first model."""
    chosen = real_models() if models is None else models
    found: dict[str, dict[str, Any]] = {"ways": {}, "pools": {}}
    with tempfile.TemporaryDirectory() as temporary:
        files = {model.name: model.save(Path(temporary)) for model in chosen}
        for model in chosen:
            found["ways"][model.name] = compare(model, files[model.name], rounds, seconds)
        for pool in POOLS:
            found["pools"][pool] = _sparse(files[chosen[0].name], chosen[0].name, pool)
    return found


def compare(model: RealModel, file: Path, rounds: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """One row a run, every way in turn."""
    sessions = {way: session(file, threads, spinning) for way, (_, threads, spinning) in WAYS.items()}
    inputs = model.inputs(1)
    found: dict[str, dict[str, list[float]]] = {way: {"per_s": [], "ms": []} for way in WAYS}
    for one in sessions.values():
        one.run(None, inputs)
    for _ in range(rounds):
        for way, (runs, _, _) in WAYS.items():
            rate, ms = _busy(sessions[way], inputs, runs, seconds)
            found[way]["per_s"].append(rate)
            found[way]["ms"].append(ms)
    return found


def _busy(one: Any, inputs: dict[str, Any], runs: int, seconds: float) -> tuple[float, float]:
    """Runs a second and the median ms of one, so many at a time; each caller counts until its own end."""
    rates: list[float] = []
    took_ms: list[float] = []
    began = time.perf_counter()

    def work() -> None:
        done = 0
        while (so_far := time.perf_counter() - began) < seconds or not done:
            before = time.perf_counter()
            one.run(None, inputs)
            took_ms.append((time.perf_counter() - before) * 1e3)
            done += 1
        rates.append(done / so_far)

    callers = [threading.Thread(target=work) for _ in range(runs)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return sum(rates), statistics.median(took_ms)


def _sparse(file: Path, name: str, pool: str) -> dict[str, Any]:
    """What `sparse` finds in a process of its own, since the shared pool is one for a process and for good."""
    command = [sys.executable, "-m", "benchmarks.threads", str(file), name, pool]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def sparse(file: Path, name: str, pool: str) -> dict[str, Any]:
    """Threads that some sessions start, and CPU ms of a run where there is one every PAUSE_S; None: cannot be had."""
    shared = pool == "shared"
    if shared and not hasattr(ort, "set_global_thread_pool_sizes"):
        return {"threads": None, "cpu_ms": None}
    if shared:
        ort.set_global_thread_pool_sizes(2, 1)
    inputs = next(model for model in real_models() if model.name == name).inputs(1)
    before = _threads()
    sessions = [session(file, 2, pool == "own, spinning", shared) for _ in range(SESSIONS)]
    started = _threads() - before
    for one in sessions:
        one.run(None, inputs)
    cpu_s = time.process_time()
    for turn in range(SPARSE_RUNS):
        sessions[turn % SESSIONS].run(None, inputs)
        time.sleep(PAUSE_S)
    return {"threads": started, "cpu_ms": (time.process_time() - cpu_s) / SPARSE_RUNS * 1e3}


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def report(found: dict[str, dict[str, Any]]) -> list[str]:
    """The tables, line by line."""
    first = next(iter(WAYS))
    lines = [f"| model | {' | '.join(WAYS)} |", "|---|" + "---|" * len(WAYS)]
    for name, ways in found["ways"].items():
        cells = [
            f"{statistics.median(_ratios(ways, way, first)):.2f} ({statistics.median(ways[way]['ms']):.1f} ms)"
            for way in WAYS
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        f"| pool | threads of {SESSIONS} sessions | CPU ms a run, one every 20 ms |",
        "|---|---|---|",
    ]
    for pool, row in found["pools"].items():
        known = row["cpu_ms"] is not None
        lines.append(
            f"| {pool} | {row['threads']} | {row['cpu_ms']:.1f} |"
            if known
            else f"| {pool} | not to be had | |"
        )
    return lines


def _ratios(ways: dict[str, dict[str, list[float]]], way: str, first: str) -> list[float]:
    return [ours / base for ours, base in zip(ways[way]["per_s"], ways[first]["per_s"], strict=True)]


def charts(found: dict[str, dict[str, Any]]) -> list[Chart]:
    """Throughput by way, for each model."""
    first = next(iter(WAYS))
    return [
        Chart(f"{name}: throughput ÷ {first}", "ratio", {way: _ratios(ways, way, first) for way in WAYS})
        for name, ways in found["ways"].items()
    ]


if __name__ == "__main__":
    print(json.dumps(sparse(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
