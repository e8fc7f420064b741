"""Ray Serve by its gRPC proxy, with the service of the Open Inference Protocol that `tritonclient` has generated."""

from collections.abc import Sequence

from benchmarks.peers.peer import PROGRAMS, Peer, Spoken, Start


def command(start: Start) -> Sequence[str]:
    """One replica, batching by its decorator."""
    ports = [str(port) for port in start.ports[:2]]
    return [str(start.python), str(PROGRAMS / "ray_server.py"), str(start.model), *ports]


PEER = Peer(
    "ray-serve",
    "Ray Serve 2.60.0, its gRPC proxy, batching",
    Spoken.GRPC,
    command,
    # The reflection of later versions wants a protobuf that `tritonclient` does not allow.
    (
        "ray[serve-grpc]==2.60.0",
        "grpcio-reflection==1.81.1",
        "tritonclient[grpc]==2.73.0",
        "onnxruntime==1.32.0",
    ),
    {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(PROGRAMS)},
)
