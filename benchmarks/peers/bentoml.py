"""BentoML, whose services of today speak HTTP alone."""

from collections.abc import Sequence

from benchmarks.peers.peer import PROGRAMS, Peer, Spoken, Start


def command(start: Start) -> Sequence[str]:
    """One worker, batching, no line of log a request."""
    serve = [str(start.python.with_name("bentoml")), "serve", "bentoml_service:Tiny"]
    return [*serve, "--host", "127.0.0.1", "--port", str(start.ports[0])]


PEER = Peer(
    "bentoml",
    "BentoML 1.4.39, batching",
    Spoken.JSON,
    command,
    ("bentoml==1.4.39", "onnxruntime==1.32.0"),
    {
        "PYTHONPATH": str(PROGRAMS),
        "BENTOML_DO_NOT_TRACK": "true",
        "BENTOML_CONFIG_OPTIONS": "api_server.logging.access.enabled=false",
    },
    path="predict",
)
