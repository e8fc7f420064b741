"""KServe's Python SDK with a custom model; it batches nothing itself."""

from collections.abc import Sequence

from benchmarks.peers.peer import PROGRAMS, Peer, Spoken, Start


def command(start: Start) -> Sequence[str]:
    """One worker, its log at warnings."""
    ports = [str(port) for port in start.ports[:2]]
    return [str(start.python), str(PROGRAMS / "kserve_server.py"), str(start.model), *ports]


PEER = Peer(
    "kserve",
    "KServe's Python SDK 0.21.0",
    Spoken.GRPC,
    command,
    ("kserve==0.21.0", "onnxruntime==1.32.0"),
)
