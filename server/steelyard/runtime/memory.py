"""Where the tensors of a staged run are: memory of the host, memory of the device, and the copies between them."""

import ctypes
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

Bytes = npt.NDArray[np.uint8]

# Page-locking works on whole pages, and a buffer that shares one with another would lock and unlock that as well.
PAGE_BYTES = 4096


class DeviceBuffer(Protocol):
    """So many bytes on the device, until the object goes."""

    @property
    def address(self) -> int: ...


class Stream(Protocol):
    """Copies that are done in the order in which they were asked for, beside whatever else the device does.

    A copy may still be under way when its call returns: the host's buffer must not be touched until `wait` has
    returned. All three raise `ExecutionFailed` with the device's reason.
    """

    def copy_in(self, address: int, host: Bytes, size_bytes: int) -> None: ...

    def copy_out(self, host: Bytes, address: int, size_bytes: int) -> None: ...

    def wait(self) -> None:
        """Returns when all copies are done; other threads of the interpreter go on meanwhile."""


class Memory(Protocol):
    """The memory of a device, and of the host as far as the device copies from it and to it.

    `kind` and `ordinal` are what ONNX Runtime calls the device in a binding. The calls raise `DeviceUnavailable` where
    there is no memory left.
    """

    kind: str
    ordinal: int

    def host(self, size_bytes: int) -> Bytes: ...

    def device(self, size_bytes: int) -> DeviceBuffer: ...

    def stream(self) -> Stream: ...


def whole_pages(size_bytes: int) -> Bytes:
    """Memory of the host that begins at a page and shares none of its pages."""
    pages = max(1, -(-size_bytes // PAGE_BYTES))
    held = np.empty((pages + 1) * PAGE_BYTES, np.uint8)
    start = -held.ctypes.data % PAGE_BYTES
    return held[start : start + pages * PAGE_BYTES]


class OrtBuffer:
    """A device's buffer out of ONNX Runtime's own allocator."""

    def __init__(self, size_bytes: int, kind: str, ordinal: int) -> None:
        self._value: Any = ort.OrtValue.ortvalue_from_shape_and_type(
            [max(1, size_bytes)], np.uint8, kind, ordinal
        )
        self.address = int(self._value.data_ptr())


class HostStream:
    """Copies within the host's memory, done when asked for."""

    def copy_in(self, address: int, host: Bytes, size_bytes: int) -> None:
        ctypes.memmove(address, host.ctypes.data, size_bytes)

    def copy_out(self, host: Bytes, address: int, size_bytes: int) -> None:
        ctypes.memmove(host.ctypes.data, address, size_bytes)

    def wait(self) -> None:
        return


class HostMemory:
    """The host in the place of a device: what is staged on one runs the same way here, with copies to no end.

    For tests, and to see what staging itself costs: a version on the CPU is served without.
    """

    kind = "cpu"
    ordinal = 0

    def host(self, size_bytes: int) -> Bytes:
        return whole_pages(size_bytes)

    def device(self, size_bytes: int) -> DeviceBuffer:
        return OrtBuffer(size_bytes, self.kind, self.ordinal)

    def stream(self) -> Stream:
        return HostStream()
