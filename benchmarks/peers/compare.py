"""`tiny` served by us and by others, asked by the same h2load, in turn.

What it favours: us, whom it is ours to set up; of each other server, its own documentation's way to serve such a model
is taken, with batching where it has any and one thread a run everywhere. A model that costs nothing, so that nothing
but the servers is measured, and a client that never waits. Servers that speak HTTP alone are asked over HTTP/1.1 with
JSON, which costs them more than gRPC would, on 64 connections in the place of 4; there ours is asked over gRPC on as
many connections.
"""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.benchmark import Chart
from benchmarks.peers import bare, bentoml, grpc_aio, kserve, litserve, mlserver, pytriton, ray_serve
from benchmarks.peers.environment import NotInstalled, python_of
from benchmarks.peers.peer import Peer, Spoken
from benchmarks.peers.running import NotServing, first_answer, running
from benchmarks.processes import Load, Served, h2load, steelyard
from benchmarks.tiny import framed, save_tiny, tiny_request

PEERS = (
    bare.PEER,
    grpc_aio.PEER,
    mlserver.PEER,
    kserve.PEER,
    litserve.PEER,
    ray_serve.PEER,
    bentoml.PEER,
    pytriton.PEER,
)
CHEAP = (bare.PEER, grpc_aio.PEER)
"""Those that need nothing to be installed."""
ENVIRONMENTS = Path(".bench") / "peers"

WARM_UP_REQUESTS = 256
# JSON has more digits for some scores than for others, which depend on the batch in the last place.
JSON_BYTES_SPREAD = 0.05


class Asking:
    """What h2load sends to ours and to a peer, and how many of the answers are good."""

    def __init__(self, server: Served, directory: Path, model: Path) -> None:
        self._server = server
        self._directory = directory
        request = tiny_request()
        self._request = framed(request)
        row = np.frombuffer(request[-64:], np.float32).reshape(1, 16)
        self._row = row[0].tolist()
        session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        self._right = session.run(None, {"X": row})[0][0].tolist()
        self.ours = directory / "ours.body"
        self.ours.write_bytes(self._request)

    def peer(self, peer: Peer, port: int, rounds: int, seconds: float) -> dict[str, Any]:
        """The rounds of ours and of the peer, in turn; raises NotServing where not every answer is good."""
        content = peer.body(self._request, self._row)
        body = self._directory / f"{peer.name}.body"
        body.write_bytes(content)
        good = first_answer(peer, port, content, self._right)
        shape = peer.spoken.shape

        def ask_ours(requests: int, connections: int, streams: int) -> Load:
            before = self._answered()
            load = h2load(self._server.port, self.ours, requests, connections, streams)
            if (came := self._answered() - before) != requests:
                raise RuntimeError(f"{requests} requests were sent, ours counts {came:.0f} good answers")
            return load

        def ask(requests: int, connections: int, streams: int) -> Load:
            http1 = peer.spoken is Spoken.JSON
            load = h2load(port, body, requests, connections, streams, method=peer.path, http1=http1)
            expected = requests * good.body_bytes
            if abs(load.data_bytes - expected) > (JSON_BYTES_SPREAD * expected if http1 else 0):
                raise NotServing(
                    f"{requests} answers of {good.body_bytes} bytes were expected, {load.data_bytes} bytes came"
                )
            return load

        both = {"ours": ask_ours, "peer": ask}
        counts = {}
        for name, asker in both.items():
            asker(WARM_UP_REQUESTS, *shape)
            rate = asker(WARM_UP_REQUESTS, *shape).requests_per_s
            counts[name] = max(WARM_UP_REQUESTS, int(rate * seconds))
        loads: dict[str, list[Load]] = {"ours": [], "peer": []}
        lone: dict[str, list[Load]] = {"ours": [], "peer": []}
        for _ in range(rounds):
            for name, asker in both.items():
                loads[name].append(asker(counts[name], *shape))
            for name, asker in both.items():
                lone[name].append(asker(max(32, counts[name] // 32), 1, 1))
        return {
            "title": peer.title,
            "spoken": peer.spoken.value,
            "shape": list(shape),
            "requests_per_s": {
                name: [load.requests_per_s for load in taken] for name, taken in loads.items()
            },
            "p50_ms": {name: [load.p50_ms for load in taken] for name, taken in loads.items()},
            "p99_ms": {name: [load.p99_ms for load in taken] for name, taken in loads.items()},
            "lone_p50_ms": {name: [load.p50_ms for load in taken] for name, taken in lone.items()},
            "ratios": [
                a.requests_per_s / b.requests_per_s for a, b in zip(loads["ours"], loads["peer"], strict=True)
            ],
        }

    def _answered(self) -> float:
        return self._server.metric("steelyard_requests_total", model="tiny", outcome="answered")


def run(
    rounds: int = 5, seconds: float = 3.0, peers: Sequence[Peer] = PEERS, environments: Path = ENVIRONMENTS
) -> dict[str, Any]:
    """By peer: what was measured, or the reason why nothing was."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        model = save_tiny(repository) / "model.onnx"
        with steelyard(repository) as server:
            asking = Asking(server, Path(temporary), model)
            for peer in peers:
                try:
                    python = python_of(peer, environments)
                    with running(peer, python, model) as port:
                        found[peer.name] = asking.peer(peer, port, rounds, seconds)
                except (NotInstalled, NotServing) as error:
                    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                    found[peer.name] = {"title": peer.title, "spoken": peer.spoken.value, "reason": reason}
    return found


def report(found: dict[str, Any]) -> list[str]:
    """The table, and below it the reasons of those that are not in it."""
    lines = [
        "| server | asked by | connections × calls | requests/s | ours | ours ÷ its (spread) "
        "| p50, p99 ms | ours | alone, p50 ms | ours |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found.values():
        if "reason" in row:
            lines.append(f"| {row['title']} | {row['spoken']} | – | not measured | – | – | – | – | – | – |")
            continue
        middle = {
            name: {who: statistics.median(row[name][who]) for who in ("ours", "peer")}
            for name in ("requests_per_s", "p50_ms", "p99_ms", "lone_p50_ms")
        }
        ratios = row["ratios"]
        rate, p50, p99, lone = middle.values()
        lines.append(
            f"| {row['title']} | {row['spoken']} | {' × '.join(map(str, row['shape']))} | {rate['peer']:,.0f} "
            f"| {rate['ours']:,.0f} | {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) "
            f"| {p50['peer']:.2f}, {p99['peer']:.2f} | {p50['ours']:.2f}, {p99['ours']:.2f} "
            f"| {lone['peer']:.2f} | {lone['ours']:.2f} |"
        )
    return [*lines, *(f"{name}: {row['reason']}" for name, row in found.items() if "reason" in row)]


def charts(found: dict[str, Any]) -> list[Chart]:
    """How many times as many requests ours answers, and how many each."""
    measured = {row["title"]: row for row in found.values() if "reason" not in row}
    if not measured:
        return []
    ours = [
        rate
        for row in measured.values()
        if row["spoken"] == Spoken.GRPC.value
        for rate in row["requests_per_s"]["ours"]
    ]
    theirs = {name: row["requests_per_s"]["peer"] for name, row in measured.items()}
    return [
        Chart("tiny: ours ÷ the peer's", "ratio", {name: row["ratios"] for name, row in measured.items()}),
        Chart(
            "tiny, 64 in flight", "requests/s", {"ours, asked by gRPC": ours, **theirs} if ours else theirs
        ),
    ]
