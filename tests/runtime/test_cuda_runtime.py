"""What is asked of CUDA's runtime library, and what is made of its answers: with a library that only keeps books."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.errors import DeviceUnavailable, ExecutionFailed
from steelyard.runtime.cuda import Cuda, CudaMemory, CudaStream, mapped_libraries, memory_of


class Books:
    """CUDA's runtime as far as it is used, with memory of the host for that of a device. `failing`: a function that
    answers with an error."""

    def __init__(self) -> None:
        self.registered: dict[int, int] = {}
        self.streams: set[int] = set()
        self.devices: list[int] = []
        self.failing = ""
        for name, function in {
            "cudaSetDevice": self.devices.append,
            "cudaHostRegister": lambda address, size, flags: self.registered.update({address: size}),
            "cudaHostUnregister": lambda address: self.registered.pop(address) and None,
            "cudaStreamCreateWithFlags": self._create,
            "cudaStreamDestroy": lambda stream: self.streams.remove(stream.value),
            "cudaStreamSynchronize": lambda stream: None,
            "cudaMemcpyAsync": lambda to, source, size, way, stream: (
                ctypes.memmove(to, source, size) and None
            ),
        }.items():
            setattr(self, name, self._answering(name, function))
        self.cudaGetErrorString = lambda status: b"an illegal memory access was encountered"
        self.cudaGetErrorString = _with_types(self.cudaGetErrorString)

    def _answering(self, name: str, function: Callable[..., Any]) -> Any:
        return _with_types(lambda *arguments: 700 if name == self.failing else (function(*arguments), 0)[1])

    def _create(self, handle: Any, flags: int) -> None:
        assert flags == 1, "a stream that waits for no other"
        self.streams.add(41)
        handle._obj.value = 41


def _with_types(function: Any) -> Any:
    def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


def test_pages_are_locked_for_as_long_as_anything_looks_at_them() -> None:
    books = Books()
    memory = CudaMemory(1, Cuda(books))
    view = memory.host(5000)[:5000].view(np.float32).reshape(-1, 2)
    ((address, size),) = books.registered.items()
    assert (address % 4096, size) == (0, 8192)
    assert address <= view.ctypes.data < address + size
    assert books.devices == [1]
    gc.collect()
    assert books.registered
    del view
    gc.collect()
    assert not books.registered


def test_copies_go_both_ways_on_a_stream_that_is_given_back() -> None:
    books = Books()
    stream = CudaStream(Cuda(books), 0)
    host, device = np.arange(8, dtype=np.uint8), np.zeros(8, np.uint8)
    stream.copy_in(device.ctypes.data, host, 6)
    stream.wait()
    assert device.tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    stream.copy_out(host[6:], device.ctypes.data, 2)
    assert host.tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert books.streams == {41}
    del stream
    gc.collect()
    assert not books.streams


def test_errors_name_the_device_and_cudas_reason() -> None:
    books = Books()
    stream = CudaStream(Cuda(books), 2)
    host = np.zeros(8, np.uint8)
    books.failing = "cudaMemcpyAsync"
    with pytest.raises(ExecutionFailed, match=r"cuda:2 did not copy 8 bytes: .*CUDA error 700 \(an illegal"):
        stream.copy_in(host.ctypes.data, host, 8)
    books.failing = "cudaStreamSynchronize"
    with pytest.raises(ExecutionFailed, match="cuda:2 did not end its copies"):
        stream.wait()
    books.failing = "cudaHostRegister"
    with pytest.raises(DeviceUnavailable, match="gives no 4096 bytes of page-locked memory"):
        CudaMemory(0, Cuda(books)).host(1)
    books.failing = "cudaSetDevice"
    with pytest.raises(DeviceUnavailable, match="cuda:7 gives no stream"):
        CudaStream(Cuda(books), 7)


def test_the_library_that_the_process_has_is_found(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00000000 00:01 17 /opt/a b/libcudart.so.12.4.99\n"
        "7f01-7f02 r--p 00000000 00:01 17 /opt/a b/libcudart.so.12.4.99\n"
        "7f03-7f04 rw-p 00000000 00:00 0\n"
        "7f05-7f06 r-xp 00000000 00:01 18 /lib/libcudnn.so.9\n"
    )
    assert mapped_libraries(maps) == ["/opt/a b/libcudart.so.12.4.99"]


def test_the_cpu_has_no_memory_of_a_device() -> None:
    assert memory_of("cpu") is None
