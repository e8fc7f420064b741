"""`tiny` over the wire against the transport's own ceiling: h2load, in turn, medians.

What it favours: a model that costs nothing, so that only the server is measured; a client that never waits, so that
the figures are capacity and say nothing of latency under a load that one would choose. Client and servers share the
same cores.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Chart
from benchmarks.processes import Load, ceiling, cpu_s, h2load, steelyard
from benchmarks.tiny import framed, save_tiny, tiny_request

# Connections and streams: 64, 4 and 1 in flight.
SHAPES = {"64": (4, 16), "4": (4, 1), "1": (1, 1)}


def run(rounds: int = 5, requests: int = 20_000) -> dict[str, Any]:
    """Requests a second, p50, p99 and CPU of both, and the ratio of each round."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        save_tiny(repository)
        body = Path(temporary) / "tiny.body"
        body.write_bytes(framed(tiny_request()))
        with steelyard(repository) as server, ceiling("grpcio") as fixed:
            sent = 0
            for port in (server.port, fixed):
                h2load(port, body, requests // 4, 4, 16)
            sent += requests // 4
            for name, (connections, streams) in SHAPES.items():
                count = requests if name == "64" else requests // 4
                own: list[Load] = []
                other: list[Load] = []
                used = 0.0
                for _ in range(rounds):
                    other.append(h2load(fixed, body, count, connections, streams))
                    before = cpu_s(server.worker_pid)
                    own.append(h2load(server.port, body, count, connections, streams))
                    used += cpu_s(server.worker_pid) - before
                    sent += count
                ratios = [a.requests_per_s / b.requests_per_s for a, b in zip(own, other, strict=True)]
                found[name] = {
                    "steelyard": _medians(own),
                    "rounds_per_s": {
                        "steelyard": [load.requests_per_s for load in own],
                        "fixed-bytes grpc.aio": [load.requests_per_s for load in other],
                    },
                    "ceiling": _medians(other),
                    "ratio": statistics.median(ratios),
                    "ratios": ratios,
                    "worker_cpu_us": used / (count * rounds) * 1e6,
                }
            answered = server.metric("steelyard_requests_total", model="tiny", outcome="answered")
            batches = server.metric("steelyard_batches_total", model="tiny")
        if answered != sent:
            raise RuntimeError(f"{sent} requests were sent, the server counts {answered} good answers")
        found["mean_batch_rows"] = answered / batches
    return found


def _medians(loads: list[Load]) -> dict[str, float]:
    return {
        "requests_per_s": statistics.median(load.requests_per_s for load in loads),
        "p50_ms": statistics.median(load.p50_ms for load in loads),
        "p99_ms": statistics.median(load.p99_ms for load in loads),
    }


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    lines = [
        "| in flight | requests/s | fixed-bytes grpc.aio | ratio (spread) | p50 ms | p99 ms | its p50, p99 | CPU µs |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name in SHAPES:
        row = found[name]
        own, other, ratios = row["steelyard"], row["ceiling"], row["ratios"]
        lines.append(
            f"| {name} | {own['requests_per_s']:,.0f} | {other['requests_per_s']:,.0f} "
            f"| {row['ratio']:.2f} ({min(ratios):.2f}–{max(ratios):.2f}) | {own['p50_ms']:.2f} | {own['p99_ms']:.2f} "
            f"| {other['p50_ms']:.2f}, {other['p99_ms']:.2f} | {row['worker_cpu_us']:.0f} |"
        )
    return lines


def charts(found: dict[str, Any]) -> list[Chart]:
    """A chart a number of requests in flight."""
    return [Chart(f"{name} in flight", "requests/s", found[name]["rounds_per_s"]) for name in SHAPES]
