"""The demo's model, asked with raw files and with tensors that its client prepared: requests a second, in turn.

`python -m benchmarks.demo_files ADDRESS raw|prepared DIRECTORY` is the client, a process of its own, which the
benchmark starts. What it favours: prepared tensors where files are large, since a raw file may have 2 MiB where the
tensor has 8 KB, and has to be sent and read; raw files where the client is short of CPU. Files lie in the client's
memory, and no disk is read.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import cpu_s, steelyard
from steelyard.client import AsyncClient
from steelyard.demo.corpus import default_roots, find_files
from steelyard.demo.features import MODEL_FILE, FeatureSpec, extract
from steelyard.demo.questions import choose
from steelyard.demo.repository import INPUT, MANIFEST, MODEL, OUTPUT, inputs_of, outputs_of
from steelyard.models.add import add_version
from steelyard.models.version_manifest import VersionManifest

FILES = 600
IN_FLIGHT = 16
TENSOR = "bytes"
KINDS = ("raw", "prepared")
CLIENT_TIMEOUT_S = 300.0


async def ask(address: str, kind: str, contents: list[bytes]) -> dict[str, Any]:
    """Asks about the files in `contents`, IN_FLIGHT at a time; preparing them is a part of what is timed."""
    spec = FeatureSpec.packaged()
    labels = [""] * len(contents)
    waiting = iter(enumerate(contents))

    async def work(client: AsyncClient) -> None:
        for index, content in waiting:
            if kind == "raw":
                inputs = {INPUT: np.array([content], dtype=object)}
            else:
                row = extract(spec, content)
                assert row is not None
                inputs = {TENSOR: row[np.newaxis]}
            result = await client.infer(MODEL, inputs, classes={OUTPUT: 1})
            labels[index] = result[OUTPUT].ravel()[0].decode().split(":", 2)[2]

    client = AsyncClient(address, timeout_s=60.0)
    try:
        await client.metadata(MODEL)
        cpu, start = time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.create_task(work(client))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    finally:
        await client.close()
    return {
        "requests_per_s": len(contents) / seconds,
        "client_cpu_ms": cpu / len(contents) * 1000,
        "mean_bytes": sum(map(len, contents)) / len(contents),
        "labels": labels,
    }


def run(rounds: int = 5, files: int = FILES) -> dict[str, Any]:
    """Both kinds in turn against one version that takes either."""
    taken: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        spec = FeatureSpec.packaged()
        source = Path(str(resources.files("magika").joinpath(MODEL_FILE)))
        given = VersionManifest(input=inputs_of(spec), output=outputs_of(spec), model_tensors=True)
        add_version(repository, MODEL, source, given=given, model=MANIFEST)
        corpus = Path(temporary) / "files"
        corpus.mkdir()
        asked = choose(find_files(default_roots()), spec, files).asked
        for index, question in enumerate(asked):
            (corpus / f"{index:06d}").write_bytes(question.file.content)
        with steelyard(repository) as server:
            for number in range(rounds + 1):
                for kind in KINDS if number % 2 else reversed(KINDS):
                    before = cpu_s(server.worker_pid)
                    found = _client(f"127.0.0.1:{server.port}", kind, corpus)
                    found["server_cpu_ms"] = (cpu_s(server.worker_pid) - before) / len(asked) * 1000
                    # The first round is for both to be warm.
                    if number:
                        taken[kind].append(found)
    answers = [found.pop("labels") for kind in KINDS for found in taken[kind]]
    if any(answer != answers[0] for answer in answers):
        raise RuntimeError("the two kinds of request were not answered alike")
    ratios = [
        raw["requests_per_s"] / prepared["requests_per_s"]
        for raw, prepared in zip(taken["raw"], taken["prepared"], strict=True)
    ]
    return {
        "files": len(asked),
        "mean_bytes": taken["raw"][0]["mean_bytes"],
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        **{
            kind: {
                key: statistics.median(found[key] for found in taken[kind])
                for key in ("requests_per_s", "client_cpu_ms", "server_cpu_ms")
            }
            for kind in KINDS
        },
    }


def _client(address: str, kind: str, corpus: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.demo_files", address, kind, str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CLIENT_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def report(found: dict[str, Any]) -> list[str]:
    """The table, line by line."""
    lines = [
        f"{found['files']} files of {found['mean_bytes'] / 1000:.0f} KB in the mean, {IN_FLIGHT} in flight",
        "| the client sends | requests/s | CPU ms a request: client, server |",
        "|---|---|---|",
    ]
    for kind, text in (("raw", "raw files"), ("prepared", "tensors that it prepared")):
        row = found[kind]
        lines.append(
            f"| {text} | {row['requests_per_s']:.0f} "
            f"| {row['client_cpu_ms']:.2f}, {row['server_cpu_ms']:.2f} |"
        )
    low, high = min(found["ratios"]), max(found["ratios"])
    return [*lines, f"raw ÷ prepared: {found['ratio']:.3f} ({low:.3f}–{high:.3f})"]


if __name__ == "__main__":
    corpus = [path.read_bytes() for path in sorted(Path(sys.argv[3]).iterdir())]
    print(json.dumps(asyncio.run(ask(sys.argv[1], sys.argv[2], corpus))))
