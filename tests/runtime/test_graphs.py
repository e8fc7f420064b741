"""CUDA graphs: what is captured and when not, held against a session that keeps CUDA's rules on the CPU."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from steelyard.errors import LoadFailed
from steelyard.models.manifest import Serving
from steelyard.runtime.device_session import DeviceSession, OneThread
from steelyard.runtime.devices import resolve
from steelyard.runtime.graphs import (
    MAX_SIZES,
    Gate,
    captured_size,
    graph_number,
    sizes_to_capture,
)
from steelyard.runtime.memory import HostMemory
from steelyard.runtime.session import open_session
from steelyard.runtime.staged import Staging
from steelyard.runtime.staging import SLOTS
from steelyard.serving.staging import stage
from tests.runtime import models
from tests.runtime.device import CPU, ReplayingSession, request, spec_of

ROWS = 6


class Device:
    """A version's way to a device that is none: the session, and what became of it."""

    def __init__(self, file: Path, **faults: bool) -> None:
        self.gate = Gate()
        self.opened: list[Any] = []

        def open_it(graphs: bool) -> Any:
            self.opened.append(
                ReplayingSession(file, self.gate, **faults) if graphs else open_session(file, CPU)
            )
            return self.opened[-1]

        self.session = DeviceSession(open_it, self.gate)
        self.spec = spec_of(self.session, file)

    def stage(self, wish: bool | str, rows: int = ROWS) -> Staging | None:
        own = self.spec.inputs[0].dims
        dims = (rows, *(max(dim, 1) for dim in own[1:])) if self.spec.batched else own
        values = np.random.default_rng(1).random(dims, np.float32)
        serving = Serving.model_validate({"cuda_graphs": wish})
        return stage(
            self.session, "cuda:0", self.spec, serving, rows, request(values), lambda _: HostMemory()
        )


def test_batches_of_every_size_replay_what_was_captured(tmp_path: Path) -> None:
    """On every slot, each on the session's one thread, whoever asks; and the rows are the caller's own."""
    device = Device(models.scaled(tmp_path))
    staging = device.stage("auto")
    assert staging is not None
    (_, replaying) = device.opened
    captured = len(replaying.replays)
    assert captured == SLOTS * len(sizes_to_capture(ROWS))

    def work(seed: int) -> None:
        runner, rng = staging.runner(device.spec), np.random.default_rng(seed)
        for _ in range(20):
            values = rng.random((int(rng.integers(1, ROWS + 1)), 3), np.float32)
            shape, arrays = runner.fill([request(row[None]) for row in values], len(values), ())
            (output,) = runner.run(shape, arrays, len(values))
            assert np.array_equal(output, 2 * values)
        runner.release()

    with ThreadPoolExecutor(SLOTS) as threads:
        list(threads.map(work, range(SLOTS)))
    assert len(replaying.replays) == captured + 20 * SLOTS
    assert len(set(replaying.replays)) > len(sizes_to_capture(ROWS))
    assert len(replaying.threads) == 1
    assert replaying.threads.isdisjoint({threading.get_ident()})


def test_a_request_larger_than_a_slot_runs_without_a_graph(tmp_path: Path) -> None:
    device = Device(models.scaled(tmp_path))
    staging = device.stage(True)
    assert staging is not None
    replays = len(device.opened[-1].replays)
    values = np.ones((ROWS + 1, 3), np.float32)
    runner = staging.runner(device.spec)
    (output,) = runner.run(*runner.fill([request(values)], ROWS + 1, ()), ROWS + 1)
    assert np.array_equal(output, 2 * values)
    assert len(device.opened[-1].replays) == replays


@pytest.mark.parametrize(
    ("faults", "reason"),
    [({"refuses": True}, "stream is capturing"), ({"spoiled": True}, "where a graph is replayed")],
)
def test_what_cannot_be_captured_is_served_without_or_refused(
    tmp_path: Path, faults: dict[str, bool], reason: str
) -> None:
    device = Device(models.scaled(tmp_path), **faults)
    staging = device.stage("auto")
    assert staging is not None
    assert not device.session.graphs
    values = np.ones((2, 3), np.float32)
    runner = staging.runner(device.spec)
    (output,) = runner.run(*runner.fill([request(values)], 2, ()), 2)
    assert np.array_equal(output, 2 * values)
    assert runner.is_staged
    with pytest.raises(LoadFailed, match=reason):
        Device(models.scaled(tmp_path), **faults).stage(True)


def test_open_dimensions_and_a_manifest_that_says_no_are_never_tried(tmp_path: Path) -> None:
    open_ended = models.summed(tmp_path / "a")
    for file, wish in ((open_ended, "auto"), (models.scaled(tmp_path / "b"), False)):
        device = Device(file)
        assert device.stage(wish) is not None
        assert not device.session.graphs
        assert len(device.opened) == 1
    with pytest.raises(LoadFailed, match="dimensions beside the rows are open"):
        Device(open_ended).stage(True)


def test_a_model_without_a_batch_axis_is_captured_as_it_is(tmp_path: Path) -> None:
    device = Device(models.identity(tmp_path, TensorProto.FLOAT, [2, 2]))
    staging = device.stage(True, rows=1)
    assert staging is not None
    assert device.session.graphs


def test_captured_sizes_hold_every_batch_at_most_twice() -> None:
    for most in (1, 2, 3, 64, 65_536):
        sizes = sizes_to_capture(most)
        assert len(sizes) <= MAX_SIZES
        graphs = {size: number for number, size in enumerate(sizes)}
        for rows in {1, (most + 1) // 2, most // 2 + 1, most}:
            size = captured_size(graphs, rows)
            assert size is not None
            assert rows <= size < 2 * rows or rows == size
        assert captured_size(graphs, most + 1) is None
    assert captured_size({}, 1) is None


@given(st.sets(st.tuples(st.integers(1, 1000), st.integers(0, MAX_SIZES - 1))))
def test_each_size_of_each_slot_has_a_number_of_its_own(places: set[tuple[int, int]]) -> None:
    numbers = {graph_number(slot, place) for slot, place in places}
    assert len(numbers) == len(places)
    assert all(number > 0 for number in numbers)


def test_a_capture_waits_for_runs_and_runs_wait_for_it() -> None:
    gate, began, go_on = Gate(), threading.Event(), threading.Event()
    seen: list[str] = []

    def run() -> None:
        with gate.running():
            began.set()
            go_on.wait(20)
            seen.append("run")

    def capture() -> None:
        with gate.capturing():
            seen.append("capture")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(run)
        assert began.wait(20)
        second = threads.submit(capture)
        assert not second.done()
        go_on.set()
        first.result(20)
        second.result(20)
    with gate.running(), ThreadPoolExecutor(1) as beside:
        beside.submit(run).result(20)
    assert seen == ["run", "capture", "run"]


def test_what_goes_wrong_on_the_one_thread_is_told_to_who_asked() -> None:
    thread = OneThread("device")

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        thread.call(fail)
    assert thread.call(lambda: threading.current_thread().name) == "device"
    thread.close()


def test_the_thread_ends_with_the_session(tmp_path: Path) -> None:
    device = Device(models.scaled(tmp_path))
    assert device.stage(True) is not None
    (thread,) = [one for one in threading.enumerate() if one.ident in device.opened[-1].threads]
    del device
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


def test_only_cudas_own_provider_is_told_of_graphs() -> None:
    available = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    device = resolve("cuda:1", available, []).capturing()
    assert dict(device.providers) == {
        "CUDAExecutionProvider": {"device_id": 1, "enable_cuda_graph": "1"},
        "CPUExecutionProvider": {},
    }
