"""What each room of the engine costs a request of `tiny`, in batches of 64: `python -m benchmarks rooms`.

What it favours: each room is run in a loop of its own, so its code and data are in the caches; beside a front they
are not, and a room costs up to twice as much there. The last line is the whole engine, measured as one.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import engine
from benchmarks.benchmark import Chart
from benchmarks.tiny import save_tiny, tiny_request
from steelyard._native.decision import new_ids
from steelyard._native.observe import Segment, Ticket
from steelyard.models.manifest import ModelManifest
from steelyard.observe.segment_file import create_segment
from steelyard.scheduling.scheduler import Scheduler
from steelyard.serving.entering import enter
from steelyard.serving.loading import Environment, load_version
from steelyard.serving.verdicts import Verdicts
from steelyard.serving.version import ServedVersion
from steelyard.wire import decode_request

BATCH = 64
ROUNDS = 15
ROUND_S = 0.02


def served_tiny(repository: Path) -> ServedVersion:
    """`tiny`, loaded as a server loads it."""
    path = save_tiny(repository)
    manifest = ModelManifest()
    loaded = load_version("tiny", path, manifest, Environment(1, "dev", Verdicts(None), 100_000))
    descriptor = create_segment("rooms")
    slot = Segment(descriptor, os.getpid(), time.time_ns()).slot("tiny", "1")
    os.close(descriptor)
    version = enter("tiny", 1, path, manifest, loaded, slot, 0)
    version.lane.limit_rows = BATCH
    return version


def rounds_us(work: Callable[[], object], rounds: int) -> list[float]:
    """µs a request of `work`, which does BATCH of them, in every round."""
    work()
    taken = []
    for _ in range(rounds):
        calls, started = 0, time.perf_counter()
        while (now := time.perf_counter()) - started < ROUND_S:
            work()
            calls += 1
        taken.append((now - started) / calls / BATCH * 1e6)
    return taken


def run(rounds: int = ROUNDS) -> dict[str, list[float]]:
    """µs a request of each room in every round."""
    body = tiny_request()
    with tempfile.TemporaryDirectory() as temporary:
        version = served_tiny(Path(temporary))
    requests = [decode_request(body) for _ in range(BATCH)]
    for request in requests:
        version.signature.bind(request)
    runner = version.borrow_runner()
    shape, arrays = runner.fill(requests, BATCH, ())
    outputs = runner.run(shape, arrays, BATCH)
    row_shapes = [output.shape[1:] for output in outputs]
    rows, ids = [1] * BATCH, new_ids(BATCH, 1)
    tickets = [Ticket(None, request, 1, (), 1, 1, 0, 8, 100) for request in requests]
    scheduler = Scheduler(1, 1 << 30, 100_000)

    def decode() -> None:
        for _ in range(BATCH):
            version.signature.bind(decode_request(body))

    def queue() -> None:
        for request in requests:
            scheduler.offer(version.lane, Ticket(None, request, 1, (), 1, 1, 0, 8, 100), ())
        batch = scheduler.next_batch(2)
        assert batch is not None
        assert len(batch.tickets) == BATCH
        scheduler.finished(batch, 10_000)

    def observe() -> None:
        version.slot.record_batch(tickets, BATCH, 10, 20, 30, 40, 1)

    works: dict[str, Callable[[], object]] = {
        "decode and check": decode,
        "admission and queue": queue,
        "fill the batch": lambda: runner.fill(requests, BATCH, ()),
        "ONNX Runtime's call, a share of": lambda: runner.run(shape, arrays, BATCH),
        "split and encode": lambda: version.encoder.encode_batch(
            requests, rows, ids, outputs, row_shapes, True
        ),
        "six histograms and counters": observe,
        "decision id": lambda: new_ids(BATCH, 1),
    }
    return {name: rounds_us(work, rounds) for name, work in works.items()}


# What the design allows each of them, µs.
BUDGET = {
    "decode and check": 0.8,
    "admission and queue": 0.7,
    "fill the batch": 0.4,
    "split and encode": 0.8,
    "six histograms and counters": 0.3,
    "ONNX Runtime's call, a share of": 0.5,
    "decision id": 0.5,
}


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """The rooms, and the CPU µs a request of the engine as a whole."""
    return {
        "rooms": run(rounds),
        "whole_cpu_us": engine.measure(min(rounds, engine.ROUNDS))["cpu_us_per_request"],
    }


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    lines = ["| room | µs a request (spread) | budget |", "|---|---|---|"]
    medians = {name: statistics.median(took) for name, took in found["rooms"].items()}
    for name, took in found["rooms"].items():
        lines.append(f"| {name} | {medians[name]:.2f} ({min(took):.2f}–{max(took):.2f}) | {BUDGET[name]} |")
    lines.append(f"| sum | {sum(medians.values()):.2f} | |")
    lines.append(f"| the engine as a whole, CPU | {found['whole_cpu_us']:.2f} | 4.0 |")
    return lines


def charts(found: dict[str, Any]) -> list[Chart]:
    """All rooms beside one another."""
    return [Chart("the engine, room by room", "µs a request", found["rooms"])]
