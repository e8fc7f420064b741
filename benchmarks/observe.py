"""What counting costs a request: `python -m benchmarks.observe`.

It favours us: our six observations are made for a whole batch in one call, as the server makes them, and in a
loop that keeps every cache warm; `prometheus_client` has no such call and is asked once an observation. A
batch of 1 shows what our call costs without that.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from types import ModuleType

from prometheus_client import CollectorRegistry, Histogram

from steelyard._native import decision
from steelyard._native import observe as native
from steelyard.observe import decision_ids, plain
from steelyard.observe.collector import WorkerView, exposition, metrics_registry
from steelyard.observe.segment import SegmentReader, create_segment

ROUNDS = 15
BATCH = 64


def median_ns(work: Callable[[], object], per_call: int, budget_ns: int = 20_000_000) -> float:
    """The median over ROUNDS of the time of `work`, in ns for each of its `per_call` units."""
    work()
    began = time.perf_counter_ns()
    work()
    calls = max(1, budget_ns // max(1, time.perf_counter_ns() - began))
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        for _ in range(calls):
            work()
        rounds.append((time.perf_counter_ns() - began) / (calls * per_call))
    return statistics.median(rounds)


def six_observations(module: ModuleType, batch: int) -> float:
    """ns a request for all six stages and the counters beside them, in batches of `batch`."""
    fd = create_segment("benchmark")
    slot = module.Segment(fd, os.getpid(), time.time_ns()).slot("tiny", "1")
    tickets = [module.Ticket(None, None, 1, None, 977 * i, 977 * i + 800, 0, 0, 64) for i in range(batch)]
    ns = median_ns(lambda: slot.record_batch(tickets, batch, 90_000, 91_000, 121_000, 124_000, 7), batch)
    os.close(fd)
    return ns


def prometheus_observations() -> float:
    """ns a request for six `Histogram.observe`, on children that were looked up beforehand."""
    histogram = Histogram("stage_seconds", "The same stages.", ["stage"], registry=CollectorRegistry())
    stages = [
        histogram.labels(stage) for stage in ("decode", "queue", "assemble", "execute", "encode", "total")
    ]

    def observe() -> None:
        for stage in stages:
            stage.observe(0.000_081)

    return median_ns(observe, 1)


def scrape_ms(asked: int, idle: int) -> float:
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
    ns = median_ns(lambda: exposition(registry, ""), 1)
    os.close(fd)
    return ns / 1e6


def measure() -> list[tuple[str, float, str]]:
    """Every measurement as (what, figure, unit), made one after the other in this process."""
    ids = decision_ids.IdSource(os.urandom(32))
    ticket = native.Ticket
    return [
        (f"six observations, native, batch of {BATCH}", six_observations(native, BATCH), "ns/request"),
        ("six observations, native, batch of 8", six_observations(native, 8), "ns/request"),
        ("six observations, native, batch of 1", six_observations(native, 1), "ns/request"),
        (f"six observations, plain twin, batch of {BATCH}", six_observations(plain, BATCH), "ns/request"),
        ("six observations, prometheus_client", prometheus_observations(), "ns/request"),
        ("ticket, native", median_ns(lambda: ticket(None, None, 1, None, 0, 800, 0, 0, 64), 1), "ns"),
        (
            f"decision id, native, {BATCH} at a time",
            median_ns(lambda: decision.new_ids(BATCH, 7), BATCH),
            "ns/id",
        ),
        ("decision id, native, one at a time", median_ns(lambda: decision.new_ids(1, 7), 1), "ns/id"),
        (
            f"decision id, plain twin, {BATCH} at a time",
            median_ns(lambda: ids.new_ids(BATCH, 7), BATCH),
            "ns/id",
        ),
        ("scrape, 10 models asked, 1,500 idle", scrape_ms(10, 1_500), "ms"),
        ("scrape, 300 models asked", scrape_ms(300, 0), "ms"),
    ]


def main() -> None:
    print(f"Python {sys.version.split()[0]}, medians of {ROUNDS} rounds")
    for what, figure, unit in measure():
        print(f"{what:<48} {figure:>10.1f} {unit}")


if __name__ == "__main__":
    main()
