"""Runs inside Ray's environment: MODEL GRPC_PORT HTTP_PORT."""

# Ray sends the deployment to its workers with its annotations, and messages' classes cannot be sent.
from __future__ import annotations

import sys
import threading

import numpy as np
import onnxruntime as ort
import ray
from ray import serve
from ray.serve.config import HTTPOptions, gRPCOptions
from tritonclient.grpc import service_pb2 as pb


@serve.deployment(max_ongoing_requests=256)
class OnnxDeployment:
    """One replica; concurrent requests are batched by Serve's own decorator."""

    def __init__(self, file: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.0)
    async def _run(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        return list(self._session.run(None, {"X": np.stack(rows)})[0])

    async def ModelInfer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:  # the method's name
        """One row in, one row out."""
        row = np.frombuffer(request.raw_input_contents[0], np.float32)
        scores = await self._run(row)
        answer = pb.ModelInferResponse(model_name="tiny")
        answer.outputs.add(name="Y", datatype="FP32", shape=[1, 4])
        answer.raw_output_contents.append(scores.tobytes())
        return answer


def main(file: str, grpc_port: str, http_port: str) -> None:
    """Ray, Serve and one application, until it is ended."""
    ray.init(
        _node_ip_address="127.0.0.1",
        include_dashboard=False,
        num_cpus=2,
        log_to_driver=False,
        object_store_memory=100 << 20,
    )
    serve.start(
        http_options=HTTPOptions(host="127.0.0.1", port=int(http_port)),
        grpc_options=gRPCOptions(
            port=int(grpc_port),
            grpc_servicer_functions=[
                "tritonclient.grpc.service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server"
            ],
        ),
    )
    serve.run(OnnxDeployment.bind(file), name="tiny")
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
