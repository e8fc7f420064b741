"""Runs inside the environment of `nvidia-pytriton`: MODEL GRPC_PORT HTTP_PORT METRICS_PORT."""

import sys

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main(file: str, grpc_port: str, http_port: str, metrics_port: str) -> None:
    """Triton's C++ front and batcher, and the run in this process, behind its Python backend."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    @batch
    def infer(X: np.ndarray) -> dict[str, np.ndarray]:  # the tensor's name
        return {"Y": session.run(None, {"X": X})[0]}

    config = TritonConfig(
        grpc_port=int(grpc_port),
        http_port=int(http_port),
        metrics_port=int(metrics_port),
        grpc_address="127.0.0.1",
        http_address="127.0.0.1",
        cache_config=None,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="tiny",
            infer_func=infer,
            inputs=[Tensor(name="X", dtype=np.float32, shape=(16,))],
            outputs=[Tensor(name="Y", dtype=np.float32, shape=(4,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
