"""What each thread does when: requests prepared, batches filled and run, in an engine without a transport."""

import asyncio
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine import Bench
from benchmarks.pictures import PictureModel
from steelyard._native.observe import Segment
from steelyard.clock import SystemClock
from steelyard.observe.segment_file import create_segment
from steelyard.scheduling.scheduler import Scheduler
from steelyard.serving.catalog import Catalog
from steelyard.serving.engine import Engine
from steelyard.serving.execution import Job
from steelyard.serving.loader import Loader
from steelyard.serving.loading import Environment
from steelyard.serving.preparing import Preparing
from steelyard.serving.verdicts import Verdicts

KINDS = ("prepare", "fill", "run")
SIGNS = {"prepare": "p", "fill": "f", "run": "R"}


@dataclass(frozen=True, slots=True)
class Span:
    """One thing that one thread did, from and to in ns of one clock."""

    thread: str
    kind: str
    begin_ns: int
    end_ns: int
    rows: int


async def record(
    model: PictureModel, serving: dict[str, Any], cores: int, in_flight: int, requests: int
) -> tuple[float, list[Span]]:
    """Requests a second and what was done for `requests` files, `in_flight` at a time, with a budget of `cores`."""
    loop = asyncio.get_running_loop()
    descriptor = create_segment("timeline")
    spans: list[Span] = []
    with tempfile.TemporaryDirectory() as temporary:
        model.save(Path(temporary), serving)
        clock = SystemClock()
        segment = Segment(descriptor, os.getpid(), clock.unix_ns())
        catalog, scheduler = Catalog(), Scheduler(cores, 1 << 30, 100_000)
        engine = Engine(loop, clock, catalog, scheduler, segment.unknown)
        loader = Loader(
            Path(temporary), catalog, segment, Environment(cores, "dev", Verdicts(None), 100_000), 1
        )
        await loader.load_all()
        executor = engine._executor
        work = executor._run

        def watched(job: Job | Preparing) -> None:
            work(job)
            thread = threading.current_thread().name
            if isinstance(job, Preparing):
                spans.append(Span(thread, "prepare", job.began_ns, job.done_ns, 1))
            else:
                rows = job.batch.rows
                spans.append(Span(thread, "fill", job.batch.taken_ns, job.assembled_ns, rows))
                spans.append(Span(thread, "run", job.assembled_ns, job.executed_ns, rows))

        executor._run = watched
        bench = Bench(engine, model.request())
        await bench.answers(in_flight * 2, in_flight)
        spans.clear()
        began = time.perf_counter()
        await bench.answers(requests, in_flight)
        seconds = time.perf_counter() - began
        loader.close()
        engine.close()
    os.close(descriptor)
    return requests / seconds, spans


def summary(spans: list[Span]) -> dict[str, float]:
    """ms a row of each kind, rows of a batch, and the share of preparing during which a batch was running."""
    found = {}
    for kind in KINDS:
        own = [span for span in spans if span.kind == kind]
        found[f"{kind}_ms_a_row"] = sum(s.end_ns - s.begin_ns for s in own) / sum(s.rows for s in own) / 1e6
    runs = [span for span in spans if span.kind == "run"]
    found["batch_rows"] = sum(span.rows for span in runs) / len(runs)
    running = merged(runs)
    prepared = [span for span in spans if span.kind == "prepare"]
    beside = sum(
        max(0, min(span.end_ns, end) - max(span.begin_ns, begin))
        for span in prepared
        for begin, end in running
    )
    found["prepared_beside_runs"] = beside / sum(span.end_ns - span.begin_ns for span in prepared)
    return found


def merged(spans: list[Span]) -> list[tuple[int, int]]:
    """The times, in ns, in which at least one of `spans` goes on."""
    found: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda span: span.begin_ns):
        if found and span.begin_ns <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], span.end_ns))
        else:
            found.append((span.begin_ns, span.end_ns))
    return found


def drawn(spans: list[Span], ms: float = 150.0, columns: int = 100) -> list[str]:
    """A line a thread over `ms` out of the middle, with a sign for what it does there."""
    middle = (min(s.begin_ns for s in spans) + max(s.end_ns for s in spans)) // 2
    column_ns = ms * 1e6 / columns
    threads = sorted({span.thread for span in spans})
    lines = {thread: [" "] * columns for thread in threads}
    # What is short is drawn last, so that it is seen.
    for span in sorted(spans, key=lambda span: span.begin_ns - span.end_ns):
        first = int((span.begin_ns - middle) // column_ns)
        last = int((span.end_ns - middle) // column_ns)
        for column in range(max(0, first), min(columns - 1, last) + 1):
            lines[span.thread][column] = SIGNS[span.kind]
    made = [f"{thread:8} |{''.join(line)}|" for thread, line in lines.items()]
    return [*made, f"{'':8}  {ms:.0f} ms: p prepares a request, f fills a batch, R runs one"]
