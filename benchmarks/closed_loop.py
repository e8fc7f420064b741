"""A closed-loop load that keeps an account of every call: when it began, which version answered, whether it failed.

Run in a process of its own: `python -m benchmarks.closed_loop PORT BODY IN_FLIGHT SECONDS RESULT`.
"""

import asyncio
import contextlib
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import uvloop

from load.connection import METHOD

# Where the answer says which version it is from.
VERSION = "steelyard-model-version"


@dataclass(frozen=True, slots=True)
class Calls:
    """One entry a call, in the order in which they ended."""

    began_ns: np.ndarray[Any, Any]
    """On the system's monotonic clock, int64."""
    ended_ns: np.ndarray[Any, Any]
    version: np.ndarray[Any, Any]
    """int64; 0 where the call failed."""

    @property
    def failed(self) -> int:
        return int((self.version == 0).sum())

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.began_ns) / ((self.ended_ns.max() - self.began_ns.min()) / 1e9)


class Loop:
    """A load that is under way."""

    def __init__(self, process: "subprocess.Popen[bytes]", result: Path) -> None:
        self._process = process
        self._result = result

    def calls(self) -> Calls:
        """Waits for the end."""
        if self._process.wait(600) != 0:
            raise RuntimeError(f"the load ended with {self._process.returncode}")
        with np.load(self._result) as found:
            return Calls(found["began_ns"], found["ended_ns"], found["version"])


@contextlib.contextmanager
def closed_loop(port: int, body: Path, in_flight: int, seconds: float) -> Iterator[Loop]:
    """A load of so many callers that ask again as soon as they are answered, for `seconds`."""
    with tempfile.TemporaryDirectory() as temporary:
        result = Path(temporary) / "calls.npz"
        command = [sys.executable, "-m", "benchmarks.closed_loop"]
        process = subprocess.Popen([*command, *map(str, (port, body, in_flight, seconds, result))])
        try:
            yield Loop(process, result)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)


async def send(port: int, body: bytes, in_flight: int, seconds: float) -> Calls:
    """Sends the load and gathers what becomes of it."""
    found: list[tuple[int, int, int]] = []
    end_ns = time.monotonic_ns() + int(seconds * 1e9)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary(METHOD)
        gc.collect()
        gc.freeze()
        gc.disable()

        async def caller() -> None:
            while (began_ns := time.monotonic_ns()) < end_ns:
                call = method(body, timeout=30)
                try:
                    await call
                    trailing = {str(key): value for key, value in await call.trailing_metadata()}
                    version = int(trailing[VERSION])
                except grpc.aio.AioRpcError:
                    version = 0
                found.append((began_ns, time.monotonic_ns(), version))

        await asyncio.gather(*(caller() for _ in range(in_flight)))
    table = np.array(found, np.int64).reshape(-1, 3)
    return Calls(table[:, 0], table[:, 1], table[:, 2])


def main() -> None:
    """Takes port, file of the request's bytes, callers, seconds, and where to write the calls."""
    port, body, in_flight, seconds, result = sys.argv[1:]
    calls = uvloop.run(send(int(port), Path(body).read_bytes(), int(in_flight), float(seconds)))
    np.savez(result, began_ns=calls.began_ns, ended_ns=calls.ended_ns, version=calls.version)


if __name__ == "__main__":
    main()
