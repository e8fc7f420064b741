"""Our gRPC front against a sketch of a transport, with a run and without, and against `grpc.aio`: medians, in turn.

What it favours: a model that costs nothing, and a client that never waits and batches what it writes. Client and
servers share the same cores. The sketch answers fixed bytes with as little as speaks HTTP/2; it checks nothing, so no
server that may be used can be as fast. With a run, it puts what one read brought into ONNX Runtime, which no server of
this model can leave out.
"""

import statistics
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Chart
from benchmarks.processes import Load, ceiling, cpu_s, h2load, steelyard
from benchmarks.tiny import framed, save_tiny, tiny_request
from tests.support.certificates import Authority

# Connections and streams. Fewer requests come with a read where there are more connections.
SHAPES = {"64 on 4": (4, 16), "1": (1, 1), "64 on 64": (64, 1), "512 on 512": (512, 1)}
SERVERS = ("sketch", "sketch with a run", "front alone", "server", "grpc.aio")
ENCRYPTED = ("64 on 4", "1")
"""Shapes in which the server is asked over TLS as well, which the client has to work for as much as the server."""
SLOW = {"grpc.aio": 10}
"""So many times fewer requests, that a round does not wait for one of them."""


def run(
    rounds: int = 5, requests: int = 100_000, shapes: Mapping[str, tuple[int, int]] = SHAPES
) -> dict[str, Any]:
    """By shape: each server's requests a second, p50 and p99 of every round, and the server's CPU a request."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        repository = Path(temporary) / "models"
        model = str(save_tiny(repository) / "model.onnx")
        body = Path(temporary) / "tiny.body"
        body.write_bytes(framed(tiny_request()))
        papers = Authority(Path(temporary), "authority").issue("server")
        flags = ("--grpc-tls-address", "127.0.0.1:0", "--tls-certificate", str(papers.certificate))
        server = stack.enter_context(steelyard(repository, *flags, "--tls-key", str(papers.key)))
        ports = {
            "sketch": stack.enter_context(ceiling("http2")),
            "sketch with a run": stack.enter_context(ceiling("http2", model)),
            "front alone": stack.enter_context(ceiling("front")),
            "server": server.port,
            "TLS": server.tls_port,
            "grpc.aio": stack.enter_context(ceiling("grpcio")),
        }
        sent = 0
        for shape, (connections, streams) in shapes.items():
            names = (*SERVERS, "TLS") if shape in ENCRYPTED else SERVERS
            loads: dict[str, list[Load]] = {name: [] for name in names}
            used = 0.0
            for turn in range(rounds + 1):
                for name in names:
                    count = (requests if shape != "1" else requests // 10) // SLOW.get(name, 1)
                    count = max(count if turn else count // 10, 2 * connections)
                    before = cpu_s(server.worker_pid)
                    load = h2load(ports[name], body, count, connections, streams, tls=name == "TLS")
                    if name in ("server", "TLS"):
                        sent += count
                    if turn:
                        loads[name].append(load)
                        used += (cpu_s(server.worker_pid) - before) / count if name == "server" else 0.0
            found[shape] = {"loads": loads, "worker_cpu_us": used / rounds * 1e6}
        answered = server.metric("steelyard_requests_total", model="tiny", outcome="answered")
        if answered != sent:
            raise RuntimeError(f"{sent} requests were sent, the server counts {answered} good answers")
    return found


def _ratios(loads: dict[str, list[Load]], name: str, other: str) -> str:
    ratios = [a.requests_per_s / b.requests_per_s for a, b in zip(loads[name], loads[other], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    lines = [
        "| in flight | sketch, requests/s | with a run | front alone ÷ sketch | server, requests/s | ÷ sketch "
        "| ÷ sketch with a run | ÷ grpc.aio | TLS ÷ plaintext | p50 ms: server, sketch, with a run, grpc.aio "
        "| p99 ms: server, sketch | server's CPU µs |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for shape in found:
        loads = found[shape]["loads"]
        rate = {name: statistics.median(load.requests_per_s for load in loads[name]) for name in SERVERS}
        p50 = {name: statistics.median(load.p50_ms for load in loads[name]) for name in SERVERS}
        p99 = {name: statistics.median(load.p99_ms for load in loads[name]) for name in SERVERS}
        lines.append(
            f"| {shape} | {rate['sketch']:,.0f} | {rate['sketch with a run']:,.0f} "
            f"| {_ratios(loads, 'front alone', 'sketch')} | {rate['server']:,.0f} "
            f"| {_ratios(loads, 'server', 'sketch')} | {_ratios(loads, 'server', 'sketch with a run')} "
            f"| {_ratios(loads, 'server', 'grpc.aio')} "
            f"| {_ratios(loads, 'TLS', 'server') if 'TLS' in loads else '–'} "
            f"| {p50['server']:.3f}, {p50['sketch']:.3f}, {p50['sketch with a run']:.3f}, {p50['grpc.aio']:.3f} "
            f"| {p99['server']:.2f}, {p99['sketch']:.2f} | {found[shape]['worker_cpu_us']:.1f} |"
        )
    return lines


def charts(found: dict[str, Any]) -> list[Chart]:
    """A chart a shape."""
    return [
        Chart(
            f"tiny, {shape}",
            "requests/s",
            {name: [load.requests_per_s for load in loads] for name, loads in found[shape]["loads"].items()},
        )
        for shape in found
    ]
