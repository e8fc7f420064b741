"""ONNX Runtime's session, opened with the thread budget's options."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime as ort

from steelyard.errors import LoadFailed
from steelyard.runtime.devices import Device, confirm

_OPTIMIZATION = {
    "off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

# Models smaller than this run without ONNX Runtime's arena. It keeps what the largest batch ever needed, for good, in
# every session (0.16 MB for the smallest model, measured over 300 of them), and is worth having only where a run
# allocates megabytes again and again (3 to 6 % of a run, measured on a file-type model of 3 MB).
ARENA_ABOVE_BYTES = 1 << 20

# ONNX Runtime's own scale: 2 shows warnings, 4 what ends the process. Its errors come as exceptions as well, and each
# request that a model refuses would write a line of them to stderr. A device that cannot start says why in a warning.
_LOG_FATAL, _LOG_WARNINGS = 4, 2


def open_session(
    model: Path,
    device: Device,
    threads: int = 1,
    optimization: str = "all",
    entries: Mapping[str, str] | None = None,
) -> ort.InferenceSession:
    """Opens `model` on `device`, with `threads` threads inside a run.

    With one thread, the default, a session has no pool of its own: runs in parallel come from the server's own
    threads, so a thousand sessions have no thread among them. With more, the pool does not spin while it waits,
    since it shares its cores with the event loop.
    Raises `LoadFailed` with ONNX Runtime's reason.
    """
    if device.name != "cpu":
        find_cuda()
    options = ort.SessionOptions()
    options.log_severity_level = _LOG_FATAL if device.name == "cpu" else _LOG_WARNINGS
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = _OPTIMIZATION[optimization]
    options.enable_cpu_mem_arena = model.stat().st_size > ARENA_ABOVE_BYTES
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        for key, value in (entries or {}).items():
            options.add_session_config_entry(key, value)
        session = ort.InferenceSession(str(model), options, providers=list(device.providers))
    except Exception as error:  # ONNX Runtime's exceptions have no common base of their own
        raise LoadFailed(f"{model}: ONNX Runtime cannot load it: {_reason(error)}") from None
    confirm(device, session.get_providers())
    return session


@cache
def find_cuda() -> None:
    """Lets ONNX Runtime load CUDA's libraries from where pip puts them, which it does not do of itself (from 1.21)."""
    preload = getattr(ort, "preload_dlls", None)
    if preload is not None:
        preload()


def _reason(error: BaseException) -> str:
    """ONNX Runtime's message on one line, bounded."""
    return " ".join(str(error).split())[:1000] or type(error).__name__


def execution_error(error: BaseException) -> tuple[bool, str]:
    """Whether ONNX Runtime blames the input for a failed run, and its reason on one line."""
    return type(error).__name__ == "InvalidArgument", _reason(error)


def providers_available() -> list[str]:
    """The execution providers that the installed ONNX Runtime has."""
    found: list[Any] = ort.get_available_providers()
    return [str(name) for name in found]
