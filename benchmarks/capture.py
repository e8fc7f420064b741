"""What keeping requests and answers costs: `tiny` without, with a hundredth, all, masked, and with digests alone.

What it favours: a model that costs nothing, so that what a capture costs is as large a part of a request as it can be.
Client, server and the thread that masks and writes share the cores, and that thread the interpreter's lock with the
loop. Payloads that the thread cannot keep up with are dropped, as they would be, and their share is shown.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.processes import Served, h2load, steelyard
from benchmarks.tiny import framed, save_tiny, tiny_request
from steelyard.wire.generated import grpc_service as pb

MODELS = {
    "none": "",
    "a hundredth": "[evidence.capture]\nrate = 0.01\n",
    "all": "[evidence.capture]\nrate = 1.0\n",
    "all, masked": '[evidence.capture]\nrate = 1.0\nmasks = ["{input}"]\n',
    "digests": "[evidence]\npayload_digest = true\n",
}
OUTCOMES = ("kept", "digested", "dropped_budget", "dropped_disk", "dropped_fault")
CONNECTIONS, STREAMS = 4, 16


def run(rounds: int = 7, requests: int = 100_000) -> dict[str, Any]:
    """By what is kept: requests a second and p99 of each round, and what became of those that were chosen."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        repository = root / "models"
        name = pb.ModelInferRequest.FromString(tiny_request()).inputs[0].name
        for number, manifest in enumerate(MODELS.values()):
            save_tiny(repository, f"m{number}")
            (repository / f"m{number}" / "model.toml").write_text(manifest.replace("{input}", name))
            request = pb.ModelInferRequest.FromString(tiny_request())
            request.model_name = f"m{number}"
            (root / f"m{number}").write_bytes(framed(request.SerializeToString()))
        with steelyard(repository) as server:
            return _rounds(server, root, rounds, requests)


def _rounds(server: Served, root: Path, rounds: int, requests: int) -> dict[str, Any]:
    found: dict[str, Any] = {kept: {"requests_per_s": [], "p99_ms": []} for kept in MODELS}
    for turn in range(rounds + 1):
        places = list(enumerate(MODELS))
        for number, kept in places if turn % 2 else places[::-1]:
            count = requests if turn else max(requests // 10, 1_000)
            load = h2load(server.port, root / f"m{number}", count, CONNECTIONS, STREAMS)
            if turn:
                found[kept]["requests_per_s"].append(load.requests_per_s)
                found[kept]["p99_ms"].append(load.p99_ms)
    for number, kept in enumerate(MODELS):
        found[kept]["outcomes"] = {
            outcome: server.metric("steelyard_payloads_total", model=f"m{number}", outcome=outcome)
            for outcome in OUTCOMES
        }
    return found


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    none = found["none"]["requests_per_s"]
    lines = [
        "| `tiny`, 64 in flight on 4 connections, kept | requests/s | ÷ none | p99 ms | chosen | of these dropped |",
        "|---|---|---|---|---|---|",
    ]
    for kept, part in found.items():
        ratios = [one / other for one, other in zip(part["requests_per_s"], none, strict=True)]
        chosen = sum(part["outcomes"].values())
        dropped = sum(count for name, count in part["outcomes"].items() if name.startswith("dropped"))
        lines.append(
            f"| {kept} | {statistics.median(part['requests_per_s']):,.0f} | {statistics.median(ratios):.2f} "
            f"| {statistics.median(part['p99_ms']):.2f} | {chosen:,.0f} | {dropped / max(chosen, 1):.0%} |"
        )
    return lines
