"""Millions of calls on `tiny`, with callers who go away and deadlines that pass: whether memory stands still.

Beside h2load with 64 in flight a second client asks, all the time: it gives calls up as soon as they are begun, some
before and some after they are answered, and others have deadlines of as little as a microsecond. Each call is counted
by the server under what became of it, and the sum of all counts is what both clients have begun.
"""

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import uvloop

from benchmarks.processes import METHOD, h2load, resident_mib, steelyard
from benchmarks.tiny import framed, save_tiny, tiny_request

SETTLED_AFTER_S = 60.0
CALLS_A_LOAD = 100_000

# Of the second client: calls that begin together, the pause between such times, and how long their deadlines are, s. It
# stays below the 2,000 resets a second that end a connection.
AT_ONCE = 50
PAUSE_S = 0.05
DEADLINES_S = (1e-6, 1e-4, 1e-3, 1e-2)


def run(calls: int = 10_000_000) -> dict[str, Any]:
    """MiB of the worker every second while `calls` are made, and what became of them."""
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        save_tiny(repository)
        body = Path(temporary) / "tiny.body"
        body.write_bytes(framed(tiny_request()))
        with steelyard(repository) as server:
            over = threading.Event()
            samples: list[tuple[float, float]] = []
            started = time.monotonic()

            def watch() -> None:
                while not over.wait(1.0):
                    samples.append((time.monotonic() - started, resident_mib(server.worker_pid)))

            watcher = threading.Thread(target=watch)
            watcher.start()
            unsteady = subprocess.Popen([sys.executable, "-m", "benchmarks.soak", str(server.port)])
            sent = 0
            try:
                while sent < calls:
                    h2load(server.port, body, min(CALLS_A_LOAD, calls - sent), 4, 16)
                    sent += min(CALLS_A_LOAD, calls - sent)
            finally:
                unsteady.terminate()
                unsteady.wait(30)
                over.set()
                watcher.join()
            seconds = time.monotonic() - started
            outcomes = {
                outcome: server.metric("steelyard_requests_total", model="tiny", outcome=outcome)
                for outcome in ("answered", "cancelled", "refused", "failed")
            }
        after_s = min(SETTLED_AFTER_S, seconds / 2)
        settled = [mib for at, mib in samples if at >= after_s] or [samples[-1][1]]
        return {
            "seconds": seconds,
            "requests": sent,
            "outcomes": outcomes,
            "settled_after_s": after_s,
            "settled_mib": settled[0],
            "last_mib": settled[-1],
            "highest_mib": max(settled),
        }


def report(found: dict[str, Any]) -> list[str]:
    """The figures, line by line."""
    outcomes = ", ".join(f"{count:,.0f} {outcome}" for outcome, count in found["outcomes"].items())
    return [
        f"{found['requests']:,} calls of one client in {found['seconds']:.0f} s, beside those of another",
        f"of all: {outcomes}",
        f"{found['settled_mib']:.1f} MiB after {found['settled_after_s']:.0f} s, {found['last_mib']:.1f} MiB at the "
        f"end, {found['highest_mib']:.1f} MiB at most",
    ]


async def _unsteady(port: int) -> None:
    """Begins calls without end, and lets few of them be answered."""
    body = tiny_request()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer: Any = channel.unary_unary(f"/{METHOD}")
        while True:
            for pause_s in (0.0, 0.001):
                calls = [infer(body) for _ in range(AT_ONCE)]
                await asyncio.sleep(pause_s)
                for call in calls:
                    call.cancel()
            late = [infer(body, timeout=DEADLINES_S[n % len(DEADLINES_S)]) for n in range(AT_ONCE)]
            await asyncio.sleep(PAUSE_S)
            for call in late:
                with contextlib.suppress(grpc.RpcError, asyncio.CancelledError):
                    await call


if __name__ == "__main__":
    uvloop.run(_unsteady(int(sys.argv[1])))
