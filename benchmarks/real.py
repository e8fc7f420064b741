"""Real models: served requests a second against the best that bare ONNX Runtime does on the same cores.

What it favours: bare ONNX Runtime, which has its input at hand, no client beside it on the same cores and no bytes to
read or write; it is given every batch size and thread count in turn and its best is taken. The client, h2load, costs
little, and keeps 16 requests in flight, or twice as many as the best bare way has in its runs. A server that is nothing
but `grpc.aio` and a run on a thread shows what that transport leaves. Bare ONNX Runtime is also measured beside as many
requests as the server had, which a sketch of a transport answers with fixed bytes in another process: what client and
transport leave of these cores to any server.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from benchmarks.benchmark import Chart
from benchmarks.processes import ceiling, h2load, steady_load, steelyard
from benchmarks.real_models import RealModel, real_models
from benchmarks.tiny import framed

IN_FLIGHT = 16
CORES = 2
CONTENDERS = 3
"""Ways of bare ONNX Runtime that are measured again beside the server, so that noise picks no winner."""


@dataclass(frozen=True, slots=True)
class Way:
    """How bare ONNX Runtime uses the cores."""

    runs: int
    threads: int
    batch: int

    def __str__(self) -> str:
        return f"{self.runs} runs x {self.threads} threads, batch {self.batch}"


class Bare:
    """A model in ONNX Runtime and nothing else."""

    def __init__(self, model: RealModel, file: Path) -> None:
        self._model = model
        self._sessions = {threads: session(file, threads) for threads in {1, CORES}}

    def ways(self) -> list[Way]:
        """Every way that is tried."""
        shapes = [(CORES, 1), (1, CORES), (2, CORES)]
        return [Way(runs, threads, batch) for runs, threads in shapes for batch in self._model.batches]

    def rate(self, way: Way, seconds: float) -> float:
        """Rows a second over about so many seconds; each of the runs counts until its own end."""
        run, inputs = self._sessions[way.threads].run, self._model.inputs(way.batch)
        run(None, inputs)
        rates: list[float] = []
        began = time.perf_counter()

        def work() -> None:
            rows = 0
            while (took := time.perf_counter() - began) < seconds or not rows:
                run(None, inputs)
                rows += way.batch
            rates.append(rows / took)

        workers = [threading.Thread(target=work) for _ in range(way.runs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(rates)


def session(file: Path, threads: int) -> Any:
    """A session of so many threads a run, which spin while there is something to run."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def run(
    rounds: int = 5, seconds: float = 4.0, models: Sequence[RealModel] | None = None
) -> dict[str, dict[str, Any]]:
    """For each model: the best bare way, measured again in turn with the served rate."""
    chosen = real_models() if models is None else models
    return {model.name: compare(model, rounds, seconds) for model in chosen}


def compare(model: RealModel, rounds: int, seconds: float) -> dict[str, Any]:
    """One model's figures, each as the list of its rounds."""
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        file = model.save(repository)
        body = Path(temporary) / "body"
        body.write_bytes(framed(model.request()))
        bare = Bare(model, file)
        looked = {way: bare.rate(way, seconds / 8) for way in bare.ways()}
        contenders = sorted(looked, key=lambda way: -looked[way])[:CONTENDERS]
        best: dict[Way, list[float]] = {way: [] for way in contenders}
        served: list[float] = []
        beside: list[float] = []
        left: list[float] = []
        with (
            steelyard(repository) as server,
            ceiling("grpcio", str(file)) as nothing_else,
            ceiling("http2") as sketch,
        ):
            best_way = contenders[0]
            in_flight = max(IN_FLIGHT, 2 * best_way.runs * best_way.batch)
            requests = max(in_flight * 2, int(looked[best_way] * seconds))
            h2load(server.port, body, max(requests // 4, in_flight), 4, in_flight // 4)
            h2load(nothing_else, body, in_flight, 4, in_flight // 4)
            for _ in range(rounds):
                for way in contenders:
                    best[way].append(bare.rate(way, seconds))
                served.append(h2load(server.port, body, requests, 4, in_flight // 4).requests_per_s)
                beside.append(h2load(nothing_else, body, requests, 4, in_flight // 4).requests_per_s)
                with steady_load(sketch, body, served[-1], 4, int(2 * seconds) + 30):
                    left.append(bare.rate(best_way, seconds))
            rows = server.metric("steelyard_rows_total", model=model.name)
            batches = server.metric("steelyard_batches_total", model=model.name)
            asked = server.metric("steelyard_requests_total", model=model.name)
            answered = server.metric("steelyard_requests_total", model=model.name, outcome="answered")
    if answered != asked:
        raise RuntimeError(f"{model.name}: {asked:.0f} requests, {answered:.0f} good answers")
    winner = max(contenders, key=lambda way: statistics.median(best[way]))
    return {
        "served": served,
        "bare": best[winner],
        "bare_way": str(winner),
        "ratios": [ours / theirs for ours, theirs in zip(served, best[winner], strict=True)],
        "left_ratios": [some / theirs for some, theirs in zip(left, best[contenders[0]], strict=True)],
        "grpc_aio_ratios": [other / theirs for other, theirs in zip(beside, best[winner], strict=True)],
        "mean_batch_rows": rows / batches,
    }


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    lines = [
        "| model | served/s | bare/s | bare's best way | served ÷ bare (spread) "
        "| bare beside the requests ÷ bare | grpc.aio and a run ÷ bare | batch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        ratios = row["ratios"]
        lines.append(
            f"| {name} | {statistics.median(row['served']):.0f} | {statistics.median(row['bare']):.0f} "
            f"| {row['bare_way']} | {statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f}) "
            f"| {statistics.median(row['left_ratios']):.3f} "
            f"({min(row['left_ratios']):.3f}–{max(row['left_ratios']):.3f}) "
            f"| {statistics.median(row['grpc_aio_ratios']):.3f} | {row['mean_batch_rows']:.1f} |"
        )
    return lines


def charts(found: dict[str, Any]) -> list[Chart]:
    """The ratios of all models, one below the other."""
    ratios = {name: row["ratios"] for name, row in found.items()}
    return [Chart("served ÷ bare ONNX Runtime's best way", "ratio", ratios)]
