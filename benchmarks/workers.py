"""Two workers behind one port against one: CPU a request, and requests a second, with h2load, in turn, medians.

What it favours: a model that costs nothing, so that all there is to divide is the front's work. Client and servers
share the same cores: where there are two, one worker and the client fill them already, and a second one can only show
what it costs, not what it brings. With as many calls in flight two workers have half of them each, and less to do in
one pass; "each" has so many in flight for every worker.
"""

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.processes import Load, Served, cpu_s, h2load, steelyard
from benchmarks.tiny import framed, save_tiny, tiny_request

# Connections, streams, and whether so many for each worker. The kernel deals connections out, not calls: few of them
# may all go to one worker.
SHAPES = {
    "64 on 64": (64, 1, False),
    "64 on 64, each": (64, 1, True),
    "512 on 512": (512, 1, False),
    "512 on 64": (64, 8, False),
}
WORKERS = (1, 2)
MEASURED = ("requests_per_s", "p99_ms", "cpu_us", "busiest")


def run(rounds: int = 5, requests: int = 100_000) -> dict[str, Any]:
    """By shape and number of workers, of every round: requests a second, p99, the workers' CPU µs a request, and the
    busiest one's part of that."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        repository = Path(temporary) / "models"
        save_tiny(repository)
        body = Path(temporary) / "tiny.body"
        body.write_bytes(framed(tiny_request()))
        servers = {
            workers: stack.enter_context(steelyard(repository, "--workers", str(workers)))
            for workers in WORKERS
        }
        sent = dict.fromkeys(WORKERS, 0)
        for shape, (some, streams, each) in SHAPES.items():
            found[shape] = {workers: {name: [] for name in MEASURED} for workers in WORKERS}
            for turn in range(rounds + 1):
                # Whoever is asked first finds other caches: each is, in turn.
                for workers in WORKERS if turn % 2 else WORKERS[::-1]:
                    connections = some * workers if each else some
                    count = max(requests if turn else requests // 10, 2 * connections * streams)
                    load, used_s = _loaded(servers[workers], body, count, connections, streams)
                    sent[workers] += count
                    if turn:
                        seen = found[shape][workers]
                        seen["requests_per_s"].append(load.requests_per_s)
                        seen["p99_ms"].append(load.p99_ms)
                        seen["cpu_us"].append(sum(used_s) / count * 1e6)
                        seen["busiest"].append(max(used_s) / (sum(used_s) or 1.0))
        for workers, server in servers.items():
            answered = server.metric("steelyard_requests_total", model="tiny", outcome="answered")
            if answered != sent[workers]:
                raise RuntimeError(f"{sent[workers]} requests were sent, {answered} good answers counted")
    return found


def _loaded(
    server: Served, body: Path, count: int, connections: int, streams: int
) -> tuple[Load, list[float]]:
    """One load, and the CPU seconds that each worker used for it."""
    before = [cpu_s(pid) for pid in server.worker_pids]
    load = h2load(server.port, body, count, connections, streams)
    return load, [cpu_s(pid) - used for pid, used in zip(server.worker_pids, before, strict=True)]


def _ratios(more: list[float], less: list[float]) -> str:
    ratios = [a / b for a, b in zip(more, less, strict=True) if b]
    if not ratios:
        return "–"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    lines = [
        "| in flight | CPU µs a request, 1 worker | 2 workers | 2 ÷ 1 | requests/s, 1 worker | 2 workers | 2 ÷ 1 "
        "| p99 ms, 1 and 2 | the busier one's part |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for shape, by_workers in found.items():
        one, two = by_workers[1], by_workers[2]
        middle = {name: (statistics.median(one[name]), statistics.median(two[name])) for name in MEASURED}
        lines.append(
            f"| {shape} | {middle['cpu_us'][0]:.1f} | {middle['cpu_us'][1]:.1f} "
            f"| {_ratios(two['cpu_us'], one['cpu_us'])} "
            f"| {middle['requests_per_s'][0]:,.0f} | {middle['requests_per_s'][1]:,.0f} "
            f"| {_ratios(two['requests_per_s'], one['requests_per_s'])} "
            f"| {middle['p99_ms'][0]:.2f}, {middle['p99_ms'][1]:.2f} | {middle['busiest'][1]:.2f} |"
        )
    return lines
