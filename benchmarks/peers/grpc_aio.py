"""`grpc.aio` on uvloop and a run on a thread for each request: what a first server in Python is."""

from collections.abc import Sequence

from benchmarks.peers.peer import Peer, Spoken, Start


def command(start: Start) -> Sequence[str]:
    """Nothing is batched."""
    python, port = str(start.python), str(start.ports[0])
    return [python, "-m", "benchmarks.ceiling", "grpcio", str(start.model), "--port", port]


PEER = Peer("grpc-aio", "grpc.aio on uvloop, a run on a thread a request", Spoken.GRPC, command)
