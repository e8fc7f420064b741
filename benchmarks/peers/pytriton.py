"""Triton's C++ front and batcher, as `nvidia-pytriton` ships them, with its Python backend running ONNX Runtime."""

import shutil
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.peers.peer import PROGRAMS, Peer, Spoken, Start

# The stub that it ships for a minor version of Python is that version as it was some patch releases ago, and the
# standard library of a later one asks it for what it has not (`RLock._recursion_count`, of 3.11.6 and 3.12.1).
SUITS = "import sys, _thread; sys.exit(hasattr(_thread.RLock(), '_recursion_count'))"
CANDIDATES = (sys.executable, "/usr/bin/python3", "python3.11", "python3.12", "python3.13")


def interpreter() -> str:
    """The first of CANDIDATES whose standard library suits the stub; RuntimeError where there is none."""
    for found in filter(None, map(shutil.which, CANDIDATES)):
        if subprocess.run([found, "-c", SUITS], capture_output=True, timeout=30).returncode == 0:
            return found
    raise RuntimeError("its Python stubs need a Python older than 3.11.6, or 3.12.0; none is here")


def command(start: Start) -> Sequence[str]:
    """Dynamic batching without a delay."""
    ports = [str(port) for port in start.ports]
    return [str(start.python), str(PROGRAMS / "pytriton_server.py"), str(start.model), *ports]


PEER = Peer(
    "pytriton",
    "Triton's C++ core by nvidia-pytriton 0.7.0, Python backend",
    Spoken.GRPC,
    command,
    ("nvidia-pytriton==0.7.0", "onnxruntime==1.32.0"),
    interpreter=interpreter,
)
