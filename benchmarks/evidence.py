"""What recording every decision costs: `tiny` with evidence off, best effort and required, in turn, medians.

What it favours: a model that costs nothing, so that a record's cost is as large a part of a request as it can be.
Client, server and the thread that writes share the cores. The files are on the disk of the temporary directory: what a
commit costs there is what `required` shows. Sealing is not in it: `python -m benchmarks sealing`.
"""

import contextlib
import os
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.open_loop import open_loop
from benchmarks.processes import Served, h2load, steelyard
from benchmarks.tiny import framed, save_tiny, tiny_request
from steelyard.wire.generated import grpc_service as pb

MODES = ("off", "best_effort", "required")
INTERVALS_MS = (0.0, 1.0, 5.0, 20.0)
CONNECTIONS, STREAMS = 4, 16


def run(rounds: int = 7, requests: int = 200_000, seconds: float = 15.0) -> dict[str, Any]:
    """Requests a second and p99 by mode and round, and the open loop's p99, both also with a stuck disk; commit
    intervals."""
    found: dict[str, Any] = {"closed": {}, "open": {}, "required": {}, "stuck": {}, "stuck_open": {}}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        root = Path(temporary)
        repository = root / "models"
        bodies: dict[str, bytes] = {}
        for mode in MODES:
            save_tiny(repository, mode)
            (repository / mode / "model.toml").write_text(f'[evidence]\nmode = "{mode}"\n')
            request = pb.ModelInferRequest.FromString(tiny_request())
            request.model_name = mode
            bodies[mode] = request.SerializeToString()
            (root / mode).write_bytes(framed(bodies[mode]))
            (root / f"{mode}.body").write_bytes(bodies[mode])
        # Sealing begins with a file that is closed: here none is.
        unsealed = root / "unsealed.toml"
        unsealed.write_text('journal_segment_bytes = "4 GiB"\njournal_segment_age_s = 86400\n')
        with steelyard(repository, "--config", str(unsealed)) as server:
            found["closed"] = _closed(server, root, rounds, requests)
            half = statistics.median(found["closed"]["off"]["requests_per_s"]) / 2
            found["open"] = _open(server, root, rounds, min(half, _most(server, root)), seconds)
            found["records"] = server.metric("steelyard_decisions_total", record="recorded")
            found["dropped"] = server.metric("steelyard_decisions_total", record="dropped")
            written = server.metric("steelyard_journal_records_total", state="written")
            found["bytes_a_record"] = server.metric("steelyard_journal_bytes_total") / max(written, 1)
        for interval_ms in INTERVALS_MS:
            config = root / f"{interval_ms}.toml"
            config.write_text(f"journal_commit_interval_ms = {interval_ms}\n")
            with steelyard(repository, "--config", str(config)) as server:
                part = _rounds(server, root, ("required",), max(2, rounds // 2), requests // 10)
                found["required"][interval_ms] = part["required"]
        flag = root / "stuck"
        stack.enter_context(_preloaded(root, flag))
        with steelyard(repository, "--config", str(unsealed)) as server:
            flag.touch()
            found["stuck"] = _closed(server, root, rounds, requests)
            found["stuck_open"] = _open(server, root, rounds, found["open"]["rate"], seconds)
            found["stuck_dropped"] = server.metric("steelyard_decisions_total", record="dropped")
            found["stuck_bytes"] = server.metric("steelyard_journal_waiting_bytes")
            flag.unlink()
    return found


def _closed(server: Served, root: Path, rounds: int, requests: int) -> dict[str, Any]:
    return _rounds(server, root, ("off", "best_effort"), rounds, requests)


def _rounds(server: Served, root: Path, modes: tuple[str, ...], rounds: int, requests: int) -> dict[str, Any]:
    found: dict[str, Any] = {mode: {"requests_per_s": [], "p50_ms": [], "p99_ms": []} for mode in modes}
    for turn in range(rounds + 1):
        for mode in modes if turn % 2 else modes[::-1]:
            count = requests if turn else max(requests // 10, 1_000)
            before = server.metric("steelyard_requests_total", model=mode, outcome="answered")
            load = h2load(server.port, root / mode, count, CONNECTIONS, STREAMS)
            answered = server.metric("steelyard_requests_total", model=mode, outcome="answered") - before
            if answered != count:
                raise RuntimeError(f"{mode}: {count} requests were sent, {answered} good answers counted")
            if turn:
                found[mode]["requests_per_s"].append(load.requests_per_s)
                found[mode]["p50_ms"].append(load.p50_ms)
                found[mode]["p99_ms"].append(load.p99_ms)
    return found


def _most(server: Served, root: Path) -> float:
    """Half of what server and open-loop client do together: where the client has no time, its lateness is measured."""
    with open_loop(server.port, root / "off.body", 60_000, 2.0) as running:
        outcome = running.outcome()
    took_s = float(outcome.due_s[-1] - outcome.due_s[0]) + float(outcome.latency_ms[-1]) / 1e3
    return len(outcome.due_s) / max(took_s, 0.1) / 2


def _open(server: Served, root: Path, rounds: int, rate: float, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {"rate": rate, "off": [], "best_effort": []}
    modes = ("off", "best_effort")
    for turn in range(rounds):
        for mode in modes if turn % 2 else modes[::-1]:
            with open_loop(server.port, root / f"{mode}.body", rate, seconds) as running:
                found[mode].append(running.outcome().percentile(99))
    return found


@contextlib.contextmanager
def _preloaded(root: Path, flag: Path) -> Iterator[None]:
    """Servers that are started inside have a disk that is stuck while `flag` is there."""
    library = root / "stuck_disk.so"
    source = Path(__file__).with_name("stuck_disk.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    before = {name: os.environ.get(name) for name in ("LD_PRELOAD", "STUCK_DISK")}
    os.environ.update(LD_PRELOAD=str(library), STUCK_DISK=str(flag))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ratio(more: list[float], less: list[float]) -> str:
    ratios = [a / b for a, b in zip(more, less, strict=True)]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f})"


def report(found: dict[str, Any]) -> list[str]:
    """The tables, line by line."""
    lines = [
        "| `tiny`, 64 in flight on 4 connections | requests/s, off | best effort | best effort ÷ off | p99 ms |",
        "|---|---|---|---|---|",
    ]
    for name, part in (("a disk that answers", found["closed"]), ("a disk that is stuck", found["stuck"])):
        off, best = part["off"], part["best_effort"]
        lines.append(
            f"| {name} | {statistics.median(off['requests_per_s']):,.0f} "
            f"| {statistics.median(best['requests_per_s']):,.0f} "
            f"| {_ratio(best['requests_per_s'], off['requests_per_s'])} "
            f"| {statistics.median(off['p99_ms']):.2f}, {statistics.median(best['p99_ms']):.2f} |"
        )
    opened = (("", found["open"]), (", disk stuck", found["stuck_open"]))
    lines += [
        "",
        *(
            f"Open loop at {part['rate']:,.0f} requests/s{name}: p99 best effort ÷ off "
            f"{_ratio(part['best_effort'], part['off'])}, {statistics.median(part['off']):.2f} ms without."
            for name, part in opened
        ),
        f"{found['records']:,.0f} records, {found['bytes_a_record']:.0f} bytes each in the journal, "
        f"{found['dropped']:,.0f} dropped; with the disk stuck {found['stuck_dropped']:,.0f} dropped and counted, "
        f"{found['stuck_bytes'] / (1 << 20):.1f} MiB waiting.",
        "",
        "| required: gathers for, ms | requests/s | p50 ms | p99 ms |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {interval} | {statistics.median(part['requests_per_s']):,.0f} "
        f"| {statistics.median(part['p50_ms']):.2f} | {statistics.median(part['p99_ms']):.2f} |"
        for interval, part in found["required"].items()
    ]
    return lines
