"""LitServe, which speaks HTTP alone."""

from collections.abc import Sequence

from benchmarks.peers.peer import PROGRAMS, Peer, Spoken, Start


def command(start: Start) -> Sequence[str]:
    """One process for HTTP and one for the model, as it has them."""
    return [str(start.python), str(PROGRAMS / "litserve_server.py"), str(start.ports[0])]


PEER = Peer(
    "litserve",
    "LitServe 0.2.19, batching",
    Spoken.JSON,
    command,
    ("litserve==0.2.19", "onnxruntime==1.32.0"),
    path="predict",
)
