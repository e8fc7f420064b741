"""Bare ONNX Runtime behind a sketch of a transport: every request that one read brought goes into one run."""

from collections.abc import Sequence

from benchmarks.peers.peer import Peer, Spoken, Start


def command(start: Start) -> Sequence[str]:
    """Nothing is checked, counted or limited, so that no server that may be used can be as fast."""
    python, port = str(start.python), str(start.ports[0])
    return [python, "-m", "benchmarks.ceiling", "http2", str(start.model), "--port", port]


PEER = Peer("bare", "ONNX Runtime behind forty lines of asyncio and ngh2", Spoken.GRPC, command)
