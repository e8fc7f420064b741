"""Runs inside the environment of KServe's SDK: MODEL GRPC_PORT HTTP_PORT."""

import logging
import sys
from typing import Any

import grpc.aio
import kserve.protocol.rest.server as rest
import onnxruntime as ort
import uvicorn
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class OnnxModel(Model):
    """A model as the SDK's documentation has custom ones; the SDK batches nothing."""

    def __init__(self, file: str) -> None:
        super().__init__("tiny")
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.ready = True

    async def predict(
        self, payload: InferRequest, headers: object = None, response_headers: object = None
    ) -> InferResponse:
        """One run a request."""
        rows = payload.inputs[0].as_numpy()
        outputs = self._session.run(None, {"X": rows})
        output = InferOutput(name="Y", shape=list(outputs[0].shape), datatype="FP32")
        output.set_data_from_numpy(outputs[0], binary_data=True)
        return InferResponse(response_id=payload.id or "0", model_name=self.name, infer_outputs=[output])


class LoopbackConfig(uvicorn.Config):
    """The SDK listens on every address of the machine, and has no setting for it."""

    def __init__(self, app: Any, **settings: Any) -> None:
        super().__init__(app, **{**settings, "host": "127.0.0.1"})


def listen_on_loopback() -> None:
    """The same for its gRPC port."""
    add = grpc.aio.Server.add_insecure_port
    grpc.aio.Server.add_insecure_port = lambda self, address: add(self, address.replace("[::]", "127.0.0.1"))
    rest.uvicorn.Config = LoopbackConfig


if __name__ == "__main__":
    listen_on_loopback()
    model = OnnxModel(sys.argv[1])
    server = ModelServer(
        grpc_port=int(sys.argv[2]),
        http_port=int(sys.argv[3]),
        enable_grpc=True,
        workers=1,
        access_log_format=None,
        enable_latency_logging=False,
    )
    # Else it writes two lines for each request.
    logging.getLogger("kserve").setLevel(logging.WARNING)
    server.start([model])
