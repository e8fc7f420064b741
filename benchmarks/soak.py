"""Minutes of full load on `tiny`: whether memory stands still after the first twenty seconds."""

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import h2load, resident_mib, steelyard
from benchmarks.tiny import framed, save_tiny, tiny_request

SETTLED_AFTER_S = 20.0


def run(seconds: float = 120.0) -> dict[str, Any]:
    """MiB of the worker every second under 64 in flight, for `seconds`."""
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
            sent = 0
            try:
                while time.monotonic() - started < seconds:
                    h2load(server.port, body, 20_000, 4, 16)
                    sent += 20_000
            finally:
                over.set()
                watcher.join()
            answered = server.metric("steelyard_requests_total", model="tiny", outcome="answered")
        settled = [mib for at, mib in samples if at >= SETTLED_AFTER_S]
        return {
            "seconds": seconds,
            "requests": sent,
            "answered": answered,
            "settled_mib": settled[0],
            "last_mib": settled[-1],
            "highest_mib": max(settled),
        }


def report(found: dict[str, Any]) -> list[str]:
    """The figures, line by line."""
    return [
        f"{found['seconds']:.0f} s of full load, {found['answered']:,.0f} of {found['requests']:,} answered: "
        f"{found['settled_mib']:.1f} MiB after {SETTLED_AFTER_S:.0f} s, {found['last_mib']:.1f} MiB at the end, "
        f"{found['highest_mib']:.1f} MiB at most"
    ]


if __name__ == "__main__":
    print("\n".join(report(run())))
