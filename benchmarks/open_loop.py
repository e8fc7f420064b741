"""An open-loop load: requests are sent when they are due, and their latency counts from that moment.

Run in a process of its own: `python -m benchmarks.open_loop PORT BODY RATE SECONDS RESULT`.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from load.arrivals import Poisson
from load.fleet import HEAD_START_NS
from load.job import one_body
from load.sender import Sender
from steelyard.rpc import codes

SEED = 5
TIMEOUT_S = 30.0

# A server that stands still must not make the client hold requests without end; what is beyond counts as failed.
MOST_IN_FLIGHT = 5_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of each request, in the order in which they were due."""

    due_s: np.ndarray[Any, Any]
    """On the system's monotonic clock, float64 of shape [requests]."""
    latency_ms: np.ndarray[Any, Any]
    """From when it was due to its answer; NaN where it failed or was not sent."""

    @property
    def failed(self) -> int:
        return int(np.isnan(self.latency_ms).sum())

    def percentile(self, q: float, chosen: np.ndarray[Any, Any] | None = None) -> float:
        """Of the requests that were answered, or the `chosen` ones of them, in ms."""
        latency = self.latency_ms if chosen is None else self.latency_ms[chosen]
        return float(np.nanpercentile(latency, q)) if len(latency) else float("nan")


@contextlib.contextmanager
def open_loop(port: int, body: Path, rate: float, seconds: float) -> Iterator["Running"]:
    """A load at `rate` requests a second (Poisson) that ends by itself after `seconds`."""
    with tempfile.TemporaryDirectory() as temporary:
        result = Path(temporary) / "outcome.npz"
        command = [
            sys.executable,
            "-m",
            "benchmarks.open_loop",
            *map(str, (port, body, rate, seconds, result)),
        ]
        process = subprocess.Popen(command)
        try:
            yield Running(process, result, seconds)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)


class Running:
    """A load that is under way."""

    def __init__(self, process: "subprocess.Popen[bytes]", result: Path, seconds: float) -> None:
        self._process = process
        self._result = result
        self._seconds = seconds

    def outcome(self) -> Outcome:
        """Waits for the end."""
        if self._process.wait(self._seconds + 60) != 0:
            raise RuntimeError(f"the load ended with {self._process.returncode}")
        with np.load(self._result) as found:
            return Outcome(found["due_s"], found["latency_ms"])


async def send(port: int, body: bytes, rate: float, seconds: float) -> Outcome:
    """Sends the load and gathers what becomes of it."""
    arrivals = Poisson(arrivals="poisson", rate=rate, seconds=seconds).draw(np.random.default_rng(SEED))
    due_ns = (arrivals.due_s * 1e9).astype(np.int64)
    job = one_body(f"127.0.0.1:{port}", body, due_ns, TIMEOUT_S, connections=1, max_in_flight=MOST_IN_FLIGHT)
    sender = Sender(job, lambda glimpse: None)
    await sender.prepare()
    start_ns = time.monotonic_ns() + HEAD_START_NS
    part = await sender.run(start_ns)
    sender.close()
    latency_ms = np.where(part.code == codes.OK, (part.ended_ns - start_ns - due_ns) / 1e6, np.nan)
    return Outcome((start_ns + due_ns) / 1e9, latency_ms)


def main() -> None:
    """Takes port, file of the request's bytes, requests a second, seconds, and where to write the outcome."""
    port, body, rate, seconds, result = sys.argv[1:]
    outcome = uvloop.run(send(int(port), Path(body).read_bytes(), float(rate), float(seconds)))
    np.savez(result, due_s=outcome.due_s, latency_ms=outcome.latency_ms)


if __name__ == "__main__":
    main()
