"""As much of CUDA's runtime as staging needs: page-locked memory, streams, and copies that do not hold anything up.

ONNX Runtime's Python interface allocates on a device, but locks no pages, and its own copies are waited for one by one.
The library is the one that ONNX Runtime's CUDA provider has brought into the process: open a session first.
"""

import ctypes
import weakref
from functools import cache
from pathlib import Path
from typing import Any

from steelyard.errors import DeviceUnavailable, ExecutionFailed
from steelyard.runtime.memory import Bytes, DeviceBuffer, OrtBuffer, Stream, whole_pages

# Values of CUDA's runtime interface.
_TO_DEVICE, _TO_HOST = 1, 2
_NON_BLOCKING = 1
_PORTABLE = 1

# Where the provider is linked to it statically, the process has none of its own: those that a system may have.
_NAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")

_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaSetDevice": (ctypes.c_int,),
    "cudaHostRegister": (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint),
    "cudaHostUnregister": (ctypes.c_void_p,),
    "cudaStreamCreateWithFlags": (ctypes.POINTER(ctypes.c_void_p), ctypes.c_uint),
    "cudaStreamDestroy": (ctypes.c_void_p,),
    "cudaStreamSynchronize": (ctypes.c_void_p,),
    "cudaMemcpyAsync": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p),
}


def mapped_libraries(maps: Path = Path("/proc/self/maps")) -> list[str]:
    """The files of CUDA's runtime that this process has loaded, each once."""
    found: dict[str, None] = {}
    for line in maps.read_text().splitlines():
        # Address, permissions, offset, device, inode, and the path, which may hold spaces.
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and Path(fields[5]).name.startswith("libcudart"):
            found[fields[5]] = None
    return list(found)


class Cuda:
    """CUDA's runtime library, called through ctypes, which gives up the interpreter's lock for each call."""

    def __init__(self, library: Any) -> None:
        """library: as ctypes opens it, or what stands in for it."""
        self._library = library
        for name, arguments in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, ctypes.c_int
        library.cudaGetErrorString.argtypes = (ctypes.c_int,)
        library.cudaGetErrorString.restype = ctypes.c_char_p

    def call(self, name: str, *arguments: Any) -> str:
        """Calls a function; returns what is wrong, empty where nothing is."""
        status = getattr(self._library, name)(*arguments)
        if not status:
            return ""
        text = self._library.cudaGetErrorString(status)
        return f"{name}: CUDA error {status} ({(text or b'no text').decode('utf-8', 'replace')})"


@cache
def cuda() -> Cuda:
    """The library. Raises `DeviceUnavailable` where none is found."""
    tried = [*mapped_libraries(), *_NAMES]
    for name in tried:
        try:
            return Cuda(ctypes.CDLL(name))
        except (OSError, AttributeError):
            continue
    raise DeviceUnavailable(
        f"CUDA's runtime library was not found, expected one of {', '.join(tried)}: pip install "
        "'onnxruntime-gpu[cuda,cudnn]' brings it"
    )


class CudaStream:
    """A stream of its own on one device."""

    def __init__(self, library: Cuda, ordinal: int) -> None:
        self._cuda = library
        self._name = f"cuda:{ordinal}"
        handle = ctypes.c_void_p()
        problem = library.call("cudaSetDevice", ordinal) or library.call(
            "cudaStreamCreateWithFlags", ctypes.byref(handle), _NON_BLOCKING
        )
        if problem:
            raise DeviceUnavailable(f"device {self._name} gives no stream for copies: {problem}")
        self._handle = handle
        weakref.finalize(self, library.call, "cudaStreamDestroy", handle).atexit = False

    def copy_in(self, address: int, host: Bytes, size_bytes: int) -> None:
        self._copy(address, host.ctypes.data, size_bytes, _TO_DEVICE)

    def copy_out(self, host: Bytes, address: int, size_bytes: int) -> None:
        self._copy(host.ctypes.data, address, size_bytes, _TO_HOST)

    def wait(self) -> None:
        if problem := self._cuda.call("cudaStreamSynchronize", self._handle):
            raise ExecutionFailed(f"device {self._name} did not end its copies: {problem}")

    def _copy(self, target: int, source: int, size_bytes: int, direction: int) -> None:
        problem = self._cuda.call("cudaMemcpyAsync", target, source, size_bytes, direction, self._handle)
        if problem:
            raise ExecutionFailed(f"device {self._name} did not copy {size_bytes} bytes: {problem}")


class CudaMemory:
    """One CUDA device; the host's buffers are page-locked, so that the device reads and writes them by itself."""

    kind = "cuda"

    def __init__(self, ordinal: int, library: Cuda | None = None) -> None:
        """Raises `DeviceUnavailable` where CUDA's runtime is not to be had."""
        self.ordinal = ordinal
        self._cuda = cuda() if library is None else library

    def host(self, size_bytes: int) -> Bytes:
        held = whole_pages(size_bytes)
        address = held.ctypes.data
        problem = self._cuda.call("cudaSetDevice", self.ordinal) or self._cuda.call(
            "cudaHostRegister", address, held.nbytes, _PORTABLE
        )
        if problem:
            raise DeviceUnavailable(f"the host gives no {held.nbytes} bytes of page-locked memory: {problem}")
        # Views keep `held.base` alive and not `held`: only when the last of them is gone may the pages be let go.
        base = held.base
        assert base is not None
        weakref.finalize(base, self._cuda.call, "cudaHostUnregister", address).atexit = False
        return held

    def device(self, size_bytes: int) -> DeviceBuffer:
        try:
            return OrtBuffer(size_bytes, self.kind, self.ordinal)
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            reason = " ".join(str(error).split())[:300]
            raise DeviceUnavailable(
                f"device cuda:{self.ordinal} gives no {size_bytes} bytes: {reason}"
            ) from None

    def stream(self) -> Stream:
        return CudaStream(self._cuda, self.ordinal)


def memory_of(device: str) -> CudaMemory | None:
    """The memory of a device by the name that it has for people; None for the CPU. Raises `DeviceUnavailable`."""
    kind, _, ordinal = device.partition(":")
    return CudaMemory(int(ordinal)) if kind in ("cuda", "tensorrt") else None
