"""The interpreter's switch interval: a model on executor threads beside a loop that is kept busy by another model.

A run that returns from ONNX Runtime waits for the interpreter's lock, at most `sys.getswitchinterval()` behind a thread
that does not give it up by itself. What it favours: short intervals, since the loop never rests; two clients on the
same cores add their noise to all alike.
"""

import contextlib
import os
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.processes import h2load, steelyard
from benchmarks.tiny import framed, save_tiny, tiny_request
from steelyard.wire.generated import grpc_service as pb
from tests.support import models

INTERVALS_S = (0.005, 0.001, 0.0002)
VARIABLE = "SWITCH_INTERVAL_S"

# Python runs it in every process that it starts with this directory on its path.
CUSTOMIZED = f"import os, sys\nsys.setswitchinterval(float(os.environ.get({VARIABLE!r}, '0.005')))\n"


@contextlib.contextmanager
def _environment(directory: Path, interval_s: float) -> Iterator[None]:
    """For what is started inside: the switch interval."""
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = f"{directory}:{before.get('PYTHONPATH', '')}"
    os.environ[VARIABLE] = str(interval_s)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run(rounds: int = 7, seconds: float = 3.0) -> dict[str, Any]:
    """For each interval the figures of every round: p50 and p99 of the heavier model in ms, the light one's rate."""
    found: dict[str, Any] = {str(one): {"p50_ms": [], "p99_ms": [], "tiny_per_s": []} for one in INTERVALS_S}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        directory = Path(temporary)
        (directory / "sitecustomize.py").write_text(CUSTOMIZED)
        repository = directory / "models"
        save_tiny(repository)
        heavier = repository / "heavier" / "1"
        heavier.mkdir(parents=True)
        (heavier / "model.onnx").write_bytes(models.slow_embedding(loops=2))
        light, heavy = directory / "light", directory / "heavy"
        light.write_bytes(framed(tiny_request()))
        heavy.write_bytes(framed(_request()))
        ports = {}
        for interval_s in INTERVALS_S:
            with _environment(directory, interval_s):
                ports[interval_s] = stack.enter_context(steelyard(repository)).port
        rates = {one: h2load(port, light, 20_000, 4, 16).requests_per_s for one, port in ports.items()}
        heavies = {one: h2load(port, heavy, 300, 1, 2).requests_per_s for one, port in ports.items()}
        with ThreadPoolExecutor(1) as beside:
            for _ in range(rounds):
                for interval_s, port in ports.items():
                    busy = beside.submit(h2load, port, light, int(rates[interval_s] * seconds), 4, 16)
                    load = h2load(port, heavy, max(100, int(heavies[interval_s] * seconds / 4)), 1, 2)
                    row = found[str(interval_s)]
                    row["p50_ms"].append(load.p50_ms)
                    row["p99_ms"].append(load.p99_ms)
                    row["tiny_per_s"].append(busy.result().requests_per_s)
    return found


def _request() -> bytes:
    request = pb.ModelInferRequest(model_name="heavier")
    request.inputs.add(name="ids", datatype="INT64", shape=[1, 1])
    request.raw_input_contents.append(bytes(8))
    body: bytes = request.SerializeToString()
    return body


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    lines = ["| interval ms | p50 ms | p99 ms (spread) | tiny/s beside it |", "|---|---|---|---|"]
    for interval_s, row in found.items():
        p99 = row["p99_ms"]
        lines.append(
            f"| {float(interval_s) * 1000:g} | {statistics.median(row['p50_ms']):.2f} "
            f"| {statistics.median(p99):.2f} ({min(p99):.2f}–{max(p99):.2f}) "
            f"| {statistics.median(row['tiny_per_s']):.0f} |"
        )
    return lines
