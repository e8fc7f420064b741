"""MLServer with a custom runtime, as its documentation has them for what it has no runtime of its own for."""

import json
from collections.abc import Sequence

from benchmarks.peers.peer import PROGRAMS, Peer, Spoken, Start

# Its batching waits until a batch is full or this has passed; with nothing it would not batch.
MAX_BATCH_TIME_S = 0.001


def command(start: Start) -> Sequence[str]:
    """No process of its own for inference, which costs more than `tiny` does; adaptive batching on."""
    grpc_port, http_port, metrics_port = start.ports
    server = {
        "host": "127.0.0.1",
        "grpc_port": grpc_port,
        "http_port": http_port,
        "metrics_port": metrics_port,
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": "tiny",
        "implementation": "mlserver_runtime.OnnxRuntime",
        "max_batch_size": 64,
        "max_batch_time": MAX_BATCH_TIME_S,
        "parameters": {"uri": str(start.model)},
    }
    (start.directory / "settings.json").write_text(json.dumps(server))
    (start.directory / "model-settings.json").write_text(json.dumps(model))
    return [str(start.python.with_name("mlserver")), "start", str(start.directory)]


PEER = Peer(
    "mlserver",
    "MLServer 1.7.1, adaptive batching",
    Spoken.GRPC,
    command,
    ("mlserver==1.7.1", "onnxruntime==1.32.0"),
    {"PYTHONPATH": str(PROGRAMS)},
)
