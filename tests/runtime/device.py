"""Stand-ins for a device: memory whose copies can be watched, and sessions that keep CUDA's rules for graphs."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

from steelyard.errors import DeviceUnavailable, ExecutionFailed
from steelyard.models.graph import describe
from steelyard.models.spec import ModelSpec
from steelyard.models.version_manifest import VersionManifest
from steelyard.runtime.device_session import DeviceSession
from steelyard.runtime.devices import resolve
from steelyard.runtime.graphs import GRAPH_ID, Gate
from steelyard.runtime.memory import Bytes, HostMemory, HostStream, Stream
from steelyard.runtime.session import open_session

CPU = resolve("cpu", ["CPUExecutionProvider"], [])


def opened(file: Path) -> tuple[DeviceSession, ModelSpec]:
    """A session on the CPU in the place of a device, and what its model takes."""
    session = DeviceSession(lambda graphs: open_session(file, CPU), gate=Gate())
    return session, spec_of(session, file)


def spec_of(session: Any, file: Path) -> ModelSpec:
    return describe(session.get_inputs(), session.get_outputs(), VersionManifest(), file.parent)


def request(*arrays: np.ndarray[Any, Any]) -> Any:
    """A request as a runner sees it."""
    return SimpleNamespace(
        inputs=[SimpleNamespace(data=memoryview(array.tobytes()), shape=array.shape) for array in arrays]
    )


class WatchedMemory(HostMemory):
    """The host's memory; `on_wait` is called in every wait, and `room_bytes` is all that there is."""

    def __init__(self, on_wait: Callable[[], None] = lambda: None, room_bytes: int = 1 << 40) -> None:
        self.on_wait = on_wait
        self.room_bytes = room_bytes
        self.failing_copies = 0

    def host(self, size_bytes: int) -> Bytes:
        if size_bytes > self.room_bytes:
            raise DeviceUnavailable(f"expected room for {size_bytes} bytes, there are {self.room_bytes}")
        self.room_bytes -= size_bytes
        return super().host(size_bytes)

    def stream(self) -> Stream:
        return WatchedStream(self)


class WatchedStream(HostStream):
    """Copies that fail while the memory says so."""

    def __init__(self, memory: WatchedMemory) -> None:
        self._memory = memory

    def copy_in(self, address: int, host: Bytes, size_bytes: int) -> None:
        if self._memory.failing_copies:
            self._memory.failing_copies -= 1
            raise ExecutionFailed("the device is gone")
        super().copy_in(address, host, size_bytes)

    def wait(self) -> None:
        self._memory.on_wait()


class ReplayingSession:
    """Runs on the CPU, with the rules of graphs: what was bound at the capture is what a replay runs, whatever is bound
    by then, and no two threads may run it. `spoiled`: replays give what the capture gave."""

    def __init__(self, file: Path, gate: Gate, *, spoiled: bool = False, refuses: bool = False) -> None:
        self._session = open_session(file, CPU)
        self._gate = gate
        self._spoiled = spoiled
        self._refuses = refuses
        self._captured: dict[int, Any] = {}
        self.threads: set[int] = set()
        self.replays: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: Any, feed: Any, options: ort.RunOptions) -> Any:
        assert self._number(options) == -1
        return self._session.run(names, feed)

    def run_with_iobinding(self, binding: Any, options: ort.RunOptions) -> None:
        number = self._number(options)
        if number == -1:
            self._session.run_with_iobinding(binding)
        elif number not in self._captured:
            if self._refuses:
                raise RuntimeError("operation not permitted when stream is capturing")
            assert self._gate._capturing
            self._captured[number] = binding
            self._session.run_with_iobinding(binding)
        else:
            self.replays.append(number)
            if not self._spoiled:
                self._session.run_with_iobinding(self._captured[number])

    def _number(self, options: ort.RunOptions) -> int:
        self.threads.add(threading.get_ident())
        return int(options.get_run_config_entry(GRAPH_ID))
