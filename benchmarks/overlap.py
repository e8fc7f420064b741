"""Models that take image files against bare ONNX Runtime on prepared tensors, and what the cores are used for.

What it favours: bare ONNX Runtime, which has its tensors at hand, decodes and resizes nothing, and has no client beside
it; every batch size is tried, and it has the same number of threads as the server's runs. The server decodes and
resizes each file as well, on what cores are left: `CPU ms` says what a request takes of the worker in all and of bare
ONNX Runtime, and `CPU allows` what ratio can come of that on so many cores. One file is sent again and again, so the
tables of its resize are computed once.
"""

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import uvloop

from benchmarks import timeline
from benchmarks.benchmark import Chart
from benchmarks.pictures import PictureModel, picture_models
from benchmarks.processes import cpu_s, h2load, steelyard
from benchmarks.tiny import framed

IN_FLIGHT = 16
CORES = 2
BATCHES = (1, 2, 4, 8)
# Runs at a time, and threads of each.
WAYS = ((1, 1), (2, 1), (1, 2))
TIMELINES = Path(".bench") / "timelines.json"


class Bare:
    """ONNX Runtime with `runs` runs of `threads` threads each, and nothing else."""

    def __init__(self, model: PictureModel, runs: int, threads: int) -> None:
        self.runs = runs
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = ort.InferenceSession(model.graph, options, providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(3)
        self._inputs = {n: {model.tensor: rng.random((n, *model.dims), np.float32)} for n in BATCHES}

    def rate(self, batch: int, seconds: float) -> tuple[float, float]:
        """Rows a second, and CPU ms a row."""
        done = [0] * self.runs
        self._session.run(None, self._inputs[batch])
        cpu, start = time.process_time(), time.perf_counter()

        def work(index: int) -> None:
            while time.perf_counter() - start < seconds:
                self._session.run(None, self._inputs[batch])
                done[index] += batch

        workers = [threading.Thread(target=work, args=(index,)) for index in range(self.runs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        rows = sum(done)
        return rows / (time.perf_counter() - start), (time.process_time() - cpu) / rows * 1000


def compare(model: PictureModel, runs: int, threads: int, rounds: int, seconds: float) -> dict[str, Any]:
    """The served rate and the bare one, in turn."""
    bare = Bare(model, runs, threads)
    quick = {batch: bare.rate(batch, seconds / 4)[0] for batch in BATCHES}
    # The best two of a quick look, each measured again beside the server, so that noise picks no winner.
    contenders = sorted(quick, key=lambda batch: -quick[batch])[:2]
    best: dict[int, list[tuple[float, float]]] = {batch: [] for batch in contenders}
    served: list[float] = []
    served_cpu_ms: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        model.save(repository, {"instances": runs, "threads": threads})
        body = Path(temporary) / "body"
        body.write_bytes(framed(model.request()))
        with steelyard(repository, "--threads", str(CORES)) as server:
            requests = max(IN_FLIGHT * 2, int(max(quick.values()) * seconds * 0.8))
            h2load(server.port, body, max(IN_FLIGHT, requests // 4), 4, IN_FLIGHT // 4)
            for _ in range(rounds):
                for batch in contenders:
                    best[batch].append(bare.rate(batch, seconds))
                before = cpu_s(server.worker_pid)
                served.append(h2load(server.port, body, requests, 4, IN_FLIGHT // 4).requests_per_s)
                served_cpu_ms.append((cpu_s(server.worker_pid) - before) / requests * 1000)
            rows = server.metric("steelyard_rows_total", model=model.name)
            batches = server.metric("steelyard_batches_total", model=model.name)
    winner = max(contenders, key=lambda batch: statistics.median(rate for rate, _ in best[batch]))
    ratios = [ours / theirs for ours, (theirs, _) in zip(served, best[winner], strict=True)]
    return {
        "served": statistics.median(served),
        "bare": statistics.median(rate for rate, _ in best[winner]),
        "bare_batch": winner,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "served_cpu_ms": statistics.median(served_cpu_ms),
        "bare_cpu_ms": statistics.median(cpu for _, cpu in best[winner]),
        "cpu_allows": statistics.median(
            min(1.0, CORES / ours / (runs * threads / theirs))
            for ours, (_, theirs) in zip(served_cpu_ms, best[winner], strict=True)
        ),
        "mean_batch_rows": rows / batches,
    }


def run(
    rounds: int = 5,
    seconds: float = 4.0,
    models: Sequence[PictureModel] | None = None,
    ways: Sequence[tuple[int, int]] = WAYS,
) -> dict[str, Any]:
    """For each model and way to use the cores: the comparison, and a timeline of the engine without a transport."""
    found: dict[str, Any] = {}
    kept = {}
    for model in picture_models() if models is None else models:
        for runs, threads in ways:
            name = f"{model.name}, {runs} x {threads}"
            found[name] = compare(model, runs, threads, rounds, seconds)
            requests = max(IN_FLIGHT * 2, int(found[name]["served"] * seconds / 2))
            serving = {"instances": runs, "threads": threads}
            rate, spans = uvloop.run(timeline.record(model, serving, CORES, IN_FLIGHT, requests))
            found[name]["timeline"] = {"requests_per_s": rate, **timeline.summary(spans)}
            found[name]["drawn"] = timeline.drawn(spans)
            kept[name] = [asdict(span) for span in spans]
    TIMELINES.parent.mkdir(exist_ok=True)
    TIMELINES.write_text(json.dumps(kept))
    return found


def report(found: dict[str, Any]) -> list[str]:
    """The tables and the drawings, line by line."""
    lines = [
        "| model, runs x threads | served/s | bare/s (batch) | served ÷ bare (spread) | CPU allows "
        "| CPU ms: served, bare | batch |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        lines.append(
            f"| {name} | {row['served']:.0f} | {row['bare']:.0f} ({row['bare_batch']}) | {row['ratio']:.3f} "
            f"({min(row['ratios']):.3f}–{max(row['ratios']):.3f}) | {row['cpu_allows']:.2f} "
            f"| {row['served_cpu_ms']:.1f}, {row['bare_cpu_ms']:.1f} | {row['mean_batch_rows']:.1f} |"
        )
    lines += [
        "",
        "| without a transport | requests/s | prepare, ms a row | fill | run | batch | prepared beside a run |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        taken = row["timeline"]
        lines.append(
            f"| {name} | {taken['requests_per_s']:.0f} | {taken['prepare_ms_a_row']:.2f} "
            f"| {taken['fill_ms_a_row']:.2f} | {taken['run_ms_a_row']:.2f} | {taken['batch_rows']:.1f} "
            f"| {taken['prepared_beside_runs']:.0%} |"
        )
    for name, row in found.items():
        lines += ["", name, *row["drawn"]]
    return lines


def charts(found: dict[str, Any]) -> list[Chart]:
    """The ratios of every row, and what the cores would allow."""
    ratios = {name: row["ratios"] for name, row in found.items()}
    return [Chart("image files served ÷ bare ONNX Runtime on tensors", "ratio", ratios)]
