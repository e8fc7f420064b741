"""What counting costs a request: `python -m benchmarks observe`.

It favours us: our six observations are made for a whole batch in one call, as the server makes them, and in a
loop that keeps every cache warm; `prometheus_client` has no such call and is asked once an observation. A
batch of 1 shows what our call costs without that.
"""

import os
import statistics
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from prometheus_client import CollectorRegistry, Histogram

from benchmarks.benchmark import Chart
from steelyard._native import decision
from steelyard._native import observe as native
from steelyard.observe import decision_ids, plain
from steelyard.observe.collector import exposition, metrics_registry
from steelyard.observe.segment import SegmentReader
from steelyard.observe.segment_file import create_segment
from steelyard.observe.view import WorkerView

ROUNDS = 15
BATCH = 64


def rounds_ns(
    work: Callable[[], object], per_call: int, rounds: int, budget_ns: int = 20_000_000
) -> list[float]:
    """The time of `work` in every round, in ns for each of its `per_call` units."""
    work()
    began = time.perf_counter_ns()
    work()
    calls = max(1, budget_ns // max(1, time.perf_counter_ns() - began))
    took = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        for _ in range(calls):
            work()
        took.append((time.perf_counter_ns() - began) / (calls * per_call))
    return took


def six_observations(module: ModuleType, batch: int, rounds: int) -> list[float]:
    """ns a request for all six stages and the counters beside them, in batches of `batch`."""
    fd = create_segment("benchmark")
    slot = module.Segment(fd, os.getpid(), time.time_ns()).slot("tiny", "1")
    tickets = [module.Ticket(None, None, 1, None, 977 * i, 977 * i + 800, 0, 0, 64) for i in range(batch)]
    ns = rounds_ns(
        lambda: slot.record_batch(tickets, batch, 90_000, 91_000, 121_000, 124_000, 7), batch, rounds
    )
    os.close(fd)
    return ns


def prometheus_observations(rounds: int) -> list[float]:
    """ns a request for six `Histogram.observe`, on children that were looked up beforehand."""
    histogram = Histogram("stage_seconds", "The same stages.", ["stage"], registry=CollectorRegistry())
    stages = [
        histogram.labels(stage) for stage in ("decode", "queue", "assemble", "execute", "encode", "total")
    ]

    def observe() -> None:
        for stage in stages:
            stage.observe(0.000_081)

    return rounds_ns(observe, 1, rounds)


def scrape_ms(asked: int, idle: int, rounds: int) -> list[float]:
    """ms for one page over one worker with `asked` models that ran and `idle` ones that did not."""
    fd = create_segment("benchmark")
    segment = native.Segment(fd, os.getpid(), time.time_ns())
    ticket = native.Ticket(None, None, 1, None, 0, 800)
    for i in range(asked + idle):
        slot = segment.slot(f"model-{i}", "1")
        if i < asked:
            slot.received()
            slot.record_batch([ticket], 1, 90_000, 91_000, 121_000, 124_000, 7)
    view = WorkerView(0, SegmentReader(fd), True, 0)
    registry = metrics_registry(lambda: [view])
    took = rounds_ns(lambda: exposition(registry, ""), 1, rounds)
    os.close(fd)
    return [ns / 1e6 for ns in took]


def measure(rounds: int = ROUNDS) -> dict[str, dict[str, Any]]:
    """Every measurement, one after the other in this process: its unit, and the figure of each round."""
    ids = decision_ids.IdSource(os.urandom(32))
    ticket = native.Ticket
    in_ns = {
        f"six observations, native, batch of {BATCH}": six_observations(native, BATCH, rounds),
        "six observations, native, batch of 8": six_observations(native, 8, rounds),
        "six observations, native, batch of 1": six_observations(native, 1, rounds),
        f"six observations, plain twin, batch of {BATCH}": six_observations(plain, BATCH, rounds),
        "six observations, prometheus_client": prometheus_observations(rounds),
        "ticket, native": rounds_ns(lambda: ticket(None, None, 1, None, 0, 800, 0, 0, 64), 1, rounds),
        f"decision id, native, {BATCH} at a time": rounds_ns(
            lambda: decision.new_ids(BATCH, 7), BATCH, rounds
        ),
        "decision id, native, one at a time": rounds_ns(lambda: decision.new_ids(1, 7), 1, rounds),
        f"decision id, plain twin, {BATCH} at a time": rounds_ns(
            lambda: ids.new_ids(BATCH, 7), BATCH, rounds
        ),
    }
    in_ms = {
        "scrape, 10 models asked, 1,500 idle": scrape_ms(10, 1_500, rounds),
        "scrape, 300 models asked": scrape_ms(300, 0, rounds),
    }
    return {
        **{what: {"unit": "ns", "rounds": took} for what, took in in_ns.items()},
        **{what: {"unit": "ms", "rounds": took} for what, took in in_ms.items()},
    }


def report(found: dict[str, Any]) -> list[str]:
    """A line a measurement: the median and the spread of its rounds, for a request, an id or a page."""
    return [
        f"{what:<48} {statistics.median(row['rounds']):>10.1f} {row['unit']} "
        f"({min(row['rounds']):.1f}–{max(row['rounds']):.1f})"
        for what, row in found.items()
    ]


def charts(found: dict[str, Any]) -> list[Chart]:
    """A chart a unit."""
    return [
        Chart(
            f"counting, {unit}",
            unit,
            {what: row["rounds"] for what, row in found.items() if row["unit"] == unit},
        )
        for unit in ("ns", "ms")
    ]
