"""The engine without a transport: request bytes in, answer bytes out, 64 in flight, everything on.

What it favours: every request is there when it is asked for, no socket is touched, and 64 requests share each run of
the model. It is the ceiling that a front can come near to, not what a client sees.
"""

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.benchmark import Chart
from benchmarks.tiny import save_tiny, tiny_request
from steelyard._native.observe import Segment
from steelyard._native.path import EngineCall
from steelyard.clock import SystemClock
from steelyard.errors import SteelyardError
from steelyard.observe.layout import Stage
from steelyard.observe.segment import SegmentReader
from steelyard.observe.segment_file import create_segment
from steelyard.scheduling.scheduler import Scheduler
from steelyard.serving.call import Metadata
from steelyard.serving.catalog import Catalog
from steelyard.serving.engine import Engine
from steelyard.serving.loader import Loader
from steelyard.serving.loading import Environment
from steelyard.serving.verdicts import Verdicts

IN_FLIGHT = 64
ROUNDS = 7
REQUESTS_A_ROUND = 64_000


class BenchCall(EngineCall):
    """A call that is asked anew as soon as it is answered, as long as the round lasts."""

    __slots__ = ("bench", "peer")

    def __init__(self, bench: "Bench") -> None:
        self.bench = bench
        self.peer = "bench"

    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        return ()

    def answer(self, body: bytes, decision_id: str, trailing: Metadata) -> None:
        bench = self.bench
        bench.answered += 1
        if bench.asked < bench.wanted:
            bench.asked += 1
            bench.engine.submit(self, bench.body)
        elif bench.answered == bench.wanted:
            bench.done.set_result(None)

    def fail(self, error: SteelyardError, decision_id: str, trailing: Metadata) -> None:
        raise AssertionError(error)


class Bench:
    """Keeps calls in the engine until `wanted` were answered."""

    def __init__(self, engine: Engine, body: bytes) -> None:
        self.engine = engine
        self.body = body
        self.asked = self.answered = self.wanted = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def answers(self, requests: int, in_flight: int) -> None:
        """Returns when `requests` were answered, `in_flight` of them at a time."""
        self.asked = self.answered = 0
        self.wanted = requests
        self.done = asyncio.get_running_loop().create_future()
        for _ in range(in_flight):
            self.asked += 1
            self.engine.submit(BenchCall(self), self.body)
        await self.done

    async def round(self, requests: int) -> tuple[float, float]:
        """Wall and CPU seconds for `requests` answers."""
        wall, cpu = time.perf_counter(), time.process_time()
        await self.answers(requests, IN_FLIGHT)
        return time.perf_counter() - wall, time.process_time() - cpu


@contextlib.asynccontextmanager
async def engine_at_work() -> AsyncIterator[tuple[Bench, SegmentReader]]:
    """An engine with `tiny` loaded as a server loads it, and its counts; closed at the end."""
    loop = asyncio.get_running_loop()
    descriptor = create_segment("bench")
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary)
        save_tiny(repository)
        clock = SystemClock()
        segment = Segment(descriptor, os.getpid(), clock.unix_ns())
        catalog, scheduler = Catalog(), Scheduler(1, 1 << 30, 100_000)
        engine = Engine(loop, clock, catalog, scheduler, segment.unknown)
        loader = Loader(repository, catalog, segment, Environment(1, "dev", Verdicts(None), 100_000), 1)
        await loader.load_all()
        try:
            yield Bench(engine, tiny_request()), SegmentReader(descriptor)
        finally:
            loader.close()
            engine.close()
            os.close(descriptor)


async def run(rounds: int = ROUNDS, requests: int = REQUESTS_A_ROUND) -> dict[str, Any]:
    """Requests a second and µs of CPU a request, medians over `rounds`, and the mean of every stage."""
    async with engine_at_work() as (bench, reader):
        await bench.round(requests // 4)
        taken = [await bench.round(requests) for _ in range(rounds)]
        counts = reader.snapshot().slot("tiny", "1")
    return {
        "rounds_per_s": [requests / wall for wall, _ in taken],
        "requests_per_s": statistics.median(requests / wall for wall, _ in taken),
        "requests_per_cpu_s": statistics.median(requests / cpu for _, cpu in taken),
        "cpu_us_per_request": statistics.median(cpu / requests * 1e6 for _, cpu in taken),
        "mean_batch_rows": counts.rows / counts.batches,
        "stage_mean_us": {stage.name.lower(): counts.stages[stage].mean_ns / 1000 for stage in Stage},
    }


def report(result: dict[str, Any]) -> list[str]:
    """The figures, line by line."""
    low, high = min(result["rounds_per_s"]), max(result["rounds_per_s"])
    lines = [
        f"engine, tiny, {IN_FLIGHT} in flight: {result['requests_per_s']:,.0f} requests/s ({low:,.0f}–{high:,.0f})",
        f"CPU: {result['cpu_us_per_request']:.2f} µs a request, mean batch {result['mean_batch_rows']:.1f} rows",
        "a batch's way, µs (the mean request's time in each stage, most of it shared with its batch):",
    ]
    lines += [f"  {stage:9} {mean:8.2f}" for stage, mean in result["stage_mean_us"].items()]
    return lines


def measure(rounds: int = ROUNDS) -> dict[str, Any]:
    """`run` on a loop of its own."""
    return uvloop.run(run(rounds))


def charts(found: dict[str, Any]) -> list[Chart]:
    """The rate of every round."""
    return [Chart("the engine without a transport", "requests/s", {"tiny": found["rounds_per_s"]})]
