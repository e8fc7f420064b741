"""1,500 small models in one repository: how soon they are ready, with how many threads and how much memory.

What it favours: the models are as small as models get, so this is what a model costs beside its own weights.
"""

import tempfile
from pathlib import Path
from typing import Any

import onnx

from benchmarks.processes import resident_mib, steelyard, threads
from benchmarks.tiny import tiny_model

MODELS = 1500


def run(models: int = MODELS) -> dict[str, Any]:
    """Seconds from the start of the process to readiness, with nothing known of the models; then threads and MiB of
    both processes."""
    with tempfile.TemporaryDirectory() as temporary:
        repository = Path(temporary) / "models"
        serialized = tiny_model().SerializeToString()
        for index in range(models):
            directory = repository / f"tiny-{index:04}" / "1"
            directory.mkdir(parents=True)
            (directory / "model.onnx").write_bytes(serialized + _label(index))
        with steelyard(repository) as server:
            return {
                "models": models,
                "ready_after_s": server.ready_after_s,
                "threads": threads(server.worker_pid) + threads(server.pid),
                "worker_mib": resident_mib(server.worker_pid),
                "supervisor_mib": resident_mib(server.pid),
            }


def _label(index: int) -> bytes:
    """A `doc_string` that makes each model another one, so that no two share a digest."""
    return bytes(onnx.ModelProto(doc_string=f"model {index}").SerializeToString())


def report(found: dict[str, Any]) -> list[str]:
    """The figures, line by line."""
    return [
        f"{found['models']} models: ready after {found['ready_after_s']:.1f} s, {found['threads']} threads, "
        f"{found['worker_mib']:.0f} MiB in the worker, {found['supervisor_mib']:.0f} MiB in the supervisor"
    ]
