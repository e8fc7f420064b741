"""A version of 90 MB is swapped again and again while another model serves: what that costs the other's p99."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.open_loop import open_loop
from benchmarks.processes import steelyard
from benchmarks.tiny import save_tiny, tiny_request
from steelyard.wire.generated import grpc_service as pb

SERVICE = "/inference.GRPCInferenceService/"

# About half of what a server with grpc.aio answers with its client on the same two cores.
RATE = 1500.0


def large_graph() -> bytes:
    """The graph of all-MiniLM-L6-v2 with its weights, 90 MB."""
    from examples.sentences.graph import build
    from examples.sentences.package import model_directory

    content: bytes = build(model_directory() / "model.safetensors")
    return content


def run(swaps: int = 10, rate: float = RATE, pause_s: float = 2.0) -> dict[str, Any]:
    """The other model's latencies in quiet seconds and in those in which a version is loaded, in one run."""
    graph = large_graph()
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        save_tiny(repository)
        large = repository / "large" / "1"
        large.mkdir(parents=True)
        (large / "model.onnx").write_bytes(graph)
        body = Path(temporary) / "tiny.body"
        body.write_bytes(tiny_request())
        spans: list[tuple[float, float]] = []
        seconds = swaps * (pause_s + 3.0) + 5.0
        with (
            steelyard(repository, "--poll-interval-s", "0") as server,
            grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
            open_loop(server.port, body, rate, seconds) as load,
        ):
            reload = channel.unary_unary(f"{SERVICE}RepositoryModelLoad")
            time.sleep(2.0)
            for _ in range(swaps):
                time.sleep(pause_s)
                began = time.monotonic()
                reload(pb.RepositoryModelLoadRequest(model_name="large").SerializeToString(), timeout=60)
                spans.append((began, time.monotonic()))
            outcome = load.outcome()
        within = np.zeros(len(outcome.due_s), bool)
        for began, ended in spans:
            within |= (outcome.due_s >= began) & (outcome.due_s <= ended)
        return {
            "rate": rate,
            "megabytes": len(graph) / 1e6,
            "swaps": swaps,
            "swap_s": statistics.median(ended - began for began, ended in spans),
            "requests": len(within),
            "during": int(within.sum()),
            "failed": outcome.failed,
            "p50_ms": outcome.percentile(50, ~within),
            "p99_ms": outcome.percentile(99, ~within),
            "p50_during_ms": outcome.percentile(50, within),
            "p99_during_ms": outcome.percentile(99, within),
        }


def report(found: dict[str, Any]) -> list[str]:
    """The result as lines of text."""
    return [
        f"{found['megabytes']:.0f} MB swapped {found['swaps']} times, {found['swap_s']:.2f} s each, under "
        f"{found['rate']:.0f} requests/s on another model: {found['requests']:,} requests, {found['failed']} failed",
        f"p50 {found['p50_ms']:.2f} -> {found['p50_during_ms']:.2f} ms; p99 {found['p99_ms']:.2f} -> "
        f"{found['p99_during_ms']:.2f} ms, {found['p99_during_ms'] / found['p99_ms']:.2f} times",
    ]
