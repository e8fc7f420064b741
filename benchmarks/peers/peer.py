"""Another server: what it is installed from, how it is started, and how it is asked."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from benchmarks.processes import METHOD

PROGRAMS = Path(__file__).parent / "programs"


class Spoken(Enum):
    """How a peer is asked, with 64 calls in flight."""

    GRPC = "gRPC"
    JSON = "JSON over HTTP/1.1"

    @property
    def shape(self) -> tuple[int, int]:
        """Connections, and calls in flight on each: HTTP/1.1 has one on a connection."""
        return (4, 16) if self is Spoken.GRPC else (64, 1)


@dataclass(frozen=True, slots=True)
class Start:
    """What a peer is started with."""

    python: Path
    """Of its environment."""
    model: Path
    """The file of `tiny`."""
    directory: Path
    """Its own, empty, for as long as it runs; it is started there."""
    ports: tuple[int, int, int]
    """Free ones; the first is the one that is asked."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server that is compared with; a module of this package each."""

    name: str
    title: str
    """With the version, and what stands between the wire and ONNX Runtime."""
    spoken: Spoken
    command: Callable[[Start], Sequence[str]]
    """Serves until SIGTERM."""
    requirements: Sequence[str] = ()
    """What pip installs, pinned; nothing: it runs in the benchmarks' own environment."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of this process; MODEL is the model's file."""
    interpreter: Callable[[], str] = lambda: sys.executable
    """Makes its environment; RuntimeError where there is none that would do."""
    path: str = METHOD

    def body(self, request: bytes, row: Sequence[float]) -> bytes:
        """What h2load sends: a framed ModelInferRequest, or one row as JSON."""
        return request if self.spoken is Spoken.GRPC else json.dumps({"x": [list(row)]}).encode()
