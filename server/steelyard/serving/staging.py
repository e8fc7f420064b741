"""Staging buffers and CUDA graphs of a version: made and tried at load, left out where anything speaks against them."""

import logging
from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort

from steelyard.errors import DeviceUnavailable, ExecutionFailed, LoadFailed
from steelyard.models.manifest import Serving
from steelyard.models.spec import ModelSpec
from steelyard.observe.logs import log
from steelyard.runtime.cuda import memory_of
from steelyard.runtime.device_session import DeviceSession
from steelyard.runtime.devices import Device
from steelyard.runtime.graphs import sizes_to_capture, why_no_graphs
from steelyard.runtime.independence import difference
from steelyard.runtime.memory import Memory
from steelyard.runtime.runner import Runner
from steelyard.runtime.session import open_session
from steelyard.runtime.staged import Staging
from steelyard.runtime.staging import SLOTS, Ring
from steelyard.wire.types import InferRequest


def open_version(
    file: Path, device: Device, threads: int, serving: Serving
) -> ort.InferenceSession | DeviceSession:
    """The version's session: ONNX Runtime's own on the CPU. Raises what `open_session` raises."""
    options = serving.session_options

    def opened(graphs: bool) -> ort.InferenceSession:
        where = device.capturing() if graphs else device
        return open_session(file, where, threads, options.graph_optimization, options.extra)

    return opened(False) if device.name == "cpu" else DeviceSession(opened)


def stage(
    session: DeviceSession,
    device: str,
    spec: ModelSpec,
    serving: Serving,
    rows: int,
    filled: InferRequest,
    find_memory: Callable[[str], Memory | None] = memory_of,
) -> Staging | None:
    """What stages the version's batches of up to `rows` rows; None where that cannot be, with the reason in the log.

    filled: a request of `rows` rows that the model takes. It is run plainly and staged, and must give the same; and
    where graphs are wished for they are captured and tried. Raises `LoadFailed` where `cuda_graphs = true` cannot be.
    """
    wish = serving.cuda_graphs
    slots = serving.instances or SLOTS
    try:
        memory = find_memory(device)
        if memory is None:
            return None
        staging = Staging(session, Ring(memory, rows, slots))
        _try_out(staging, spec, rows, filled, serving)
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        log("staging.off", level=logging.WARNING, device=device, reason=_line(error))
        if wish is True:
            raise LoadFailed(f"cuda_graphs = true, and nothing can be staged: {_line(error)}") from None
        return None
    reason = "model.toml says cuda_graphs = false" if wish is False else why_no_graphs(spec, device)
    if not reason:
        # What was bound to the session that was open before is gone with it.
        staging = Staging(session, Ring(memory, rows, slots))
        try:
            session.reopen(True)
            _capture(staging, spec, rows, slots, filled, serving)
        except Exception as error:  # as above
            reason = _line(error)
            session.reopen(False)
            staging = Staging(session, Ring(memory, rows, slots))
    if reason and wish is True:
        raise LoadFailed(f"cuda_graphs = true, and there can be none: {reason}")
    log("staging.on", device=device, slots=slots, graphs=not reason, reason=reason)
    return staging


def _try_out(staging: Staging, spec: ModelSpec, rows: int, filled: InferRequest, serving: Serving) -> None:
    """Raises `ExecutionFailed` where a staged run does not give what a plain one gives, and whatever a run raises."""
    plain = Runner(staging.session, spec, capacity=0, shared=False)
    plain.may_bind = False
    expected = plain.run(*plain.fill([filled], rows, ()), rows)
    runner = staging.runner(spec)
    shape, arrays = runner.fill([filled], rows, ())
    if not runner.is_staged:
        raise DeviceUnavailable(f"there is no memory for a staging buffer of {rows} rows")
    found = runner.run(shape, arrays, rows)
    tolerance = serving.batch_tolerance
    for tensor, one, other in zip(spec.outputs, found, expected, strict=True):
        distance = difference(one, other, tolerance.absolute, tolerance.relative)
        if distance is not None:
            raise ExecutionFailed(f"output {tensor.name!r} differs by {distance} where it is staged")
    runner.release()


def _capture(
    staging: Staging, spec: ModelSpec, rows: int, slots: int, filled: InferRequest, serving: Serving
) -> None:
    """Captures every size on every slot. Raises whatever `StagedRunner.capture` raises."""
    sizes = sizes_to_capture(rows) if spec.batched else [1]
    tolerance = serving.batch_tolerance
    runners = [staging.runner(spec) for _ in range(slots)]
    for runner in runners:
        runner.fill([filled], rows, ())
        runner.capture(sizes, tolerance.absolute, tolerance.relative)
    for runner in runners:
        runner.release()


def _line(error: BaseException) -> str:
    """An error on one line, bounded."""
    return " ".join(str(error).split())[:300] or type(error).__name__
