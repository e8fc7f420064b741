"""Messages from 150 KB to 64 MB, up and down: our front against `grpc.aio`, both with a handler that does nothing.

What it favours: nothing but the transport. h2load sends and takes as fast as it can, in turn, medians. The memory is
that of a process with one call at a time, above what it had after a small one.
"""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Chart
from benchmarks.processes import ceiling_process, forget_peak, h2load, peak_mib, resident_mib
from benchmarks.tiny import framed

FRONTS = ("front", "grpcio")
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Size:
    """A message, and how many of them are on their way at once, each on a connection of its own."""

    name: str
    bytes: int
    in_flight: int
    calls: int
    """A round."""


# The largest is what fits with its prefix into the default of max_message_bytes.
SIZES = (
    Size("150 KB", 150_000, 4, 2_000),
    Size("1 MB", MIB, 4, 400),
    Size("16 MB", 16 * MIB, 1, 24),
    Size("64 MB", 64 * MIB, 1, 8),
)
SMALL = 100


def run(rounds: int = 5, sizes: Sequence[Size] = SIZES, scale: float = 1.0) -> dict[str, Any]:
    """By direction and size: MiB/s of both in every round, and the messages that each holds at most."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for size in sizes:
            for way in ("up", "down"):
                body = Path(temporary) / "body"
                body.write_bytes(framed(bytes(size.bytes if way == "up" else SMALL)))
                answer = str(SMALL if way == "up" else size.bytes)
                found[f"{size.name} {way}"] = _compare(size, body, answer, rounds, scale)
    return found


def _compare(size: Size, body: Path, answer: str, rounds: int, scale: float) -> dict[str, Any]:
    rates: dict[str, list[float]] = {front: [] for front in FRONTS}
    held: dict[str, float] = {}
    calls = max(2 * size.in_flight, int(size.calls * scale))
    with ceiling_process("front", answer) as front, ceiling_process("grpcio", answer) as grpcio:
        servers = dict(zip(FRONTS, (front, grpcio), strict=True))
        small = body.with_name("small")
        small.write_bytes(framed(bytes(SMALL)))
        for name, (port, pid) in servers.items():
            # Whatever a first call makes once, without a large message in it: no method of that name is served.
            h2load(port, small, 20, 1, 1, method="none/None")
            before = resident_mib(pid)
            forget_peak(pid)
            h2load(port, body, 4, 1, 1)
            held[name] = (peak_mib(pid) - before) * MIB / size.bytes
        for _ in range(rounds):
            for name, (port, _) in servers.items():
                load = h2load(port, body, calls, size.in_flight, 1)
                rates[name].append(load.requests_per_s * size.bytes / MIB)
    return {"mib_per_s": rates, "messages_held": held}


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    lines = [
        "| message | front, MiB/s | grpc.aio | ratio (spread) | memory, messages: front, grpc.aio |",
        "|---|---|---|---|---|",
    ]
    for name, row in found.items():
        ours, theirs = (row["mib_per_s"][front] for front in FRONTS)
        ratios = [own / other for own, other in zip(ours, theirs, strict=True)]
        held = row["messages_held"]
        lines.append(
            f"| {name} | {statistics.median(ours):,.0f} | {statistics.median(theirs):,.0f} "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) "
            f"| {held['front']:.1f}, {held['grpcio']:.1f} |"
        )
    return lines


def charts(found: dict[str, Any]) -> list[Chart]:
    """A chart a size and direction."""
    return [Chart(name, "MiB/s", row["mib_per_s"]) for name, row in found.items()]
