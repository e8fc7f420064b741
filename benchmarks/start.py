"""From the start of the process to the first answer, and what a worker's memory is over that of bare ONNX Runtime.

What it favours: a small model, warm files, and a client that is there already and asks again every few milliseconds.
"""

import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import children, resident_mib
from benchmarks.tiny import save_tiny
from steelyard import Client
from steelyard.errors import SteelyardError

ROUNDS = 7
GIVEN_UP_S = 60.0
AGAIN_S = 0.002
AIM_S, AIM_MIB = 1.0, 60.0

BARE = """
import sys
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"X": np.ones((1, 16), np.float32)})
print("up", flush=True)
sys.stdin.read()
"""


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Seconds of each start, the worker's and a bare process's resident memory after one answer, MiB."""
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        save_tiny(repository)
        model = next(repository.glob("*/1/model.onnx"))
        starts, workers = [], []
        for turn in range(rounds + 1):
            seconds, mib = _start(repository, Path(temporary) / "data")
            # The first finds cold files and writes what later ones know of the model.
            if turn:
                starts.append(seconds)
                workers.append(mib)
        bare = [_bare(model) for _ in range(3)]
    return {"start_s": starts, "worker_mib": statistics.median(workers), "bare_mib": statistics.median(bare)}


def _start(repository: Path, data: Path) -> tuple[float, float]:
    port = _free_port()
    command = [sys.executable, "-m", "steelyard.cli.main", "serve", str(repository), "--data", str(data)]
    command += ["--grpc-address", f"127.0.0.1:{port}", "--http-address", "127.0.0.1:0"]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Client(f"127.0.0.1:{port}") as client:
            _first_answer(client, port, started)
            seconds = time.monotonic() - started
        return seconds, resident_mib(children(process.pid)[0])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _first_answer(client: Client, port: int, started: float) -> None:
    inputs = {"X": np.ones((1, 16), np.float32)}
    while time.monotonic() - started < GIVEN_UP_S:
        try:
            # Before anybody listens a client would wait longer each time before it tries again.
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            client.infer("tiny", inputs)
            return
        except (OSError, SteelyardError):
            time.sleep(AGAIN_S)
    raise RuntimeError(f"no answer within {GIVEN_UP_S} s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _bare(model: Path) -> float:
    process = subprocess.Popen(
        [sys.executable, "-c", BARE, str(model)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()
        return resident_mib(process.pid)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)


def report(found: dict[str, Any]) -> list[str]:
    """The figures, line by line."""
    starts = found["start_s"]
    over = found["worker_mib"] - found["bare_mib"]
    return [
        f"process start to first answer: {statistics.median(starts):.2f} s "
        f"({min(starts):.2f}–{max(starts):.2f}); aim {AIM_S:.1f}",
        f"the worker after it: {found['worker_mib']:.0f} MiB, bare ONNX Runtime {found['bare_mib']:.0f} MiB: "
        f"{over:.0f} MiB over it; aim {AIM_MIB:.0f}",
    ]
