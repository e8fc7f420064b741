"""What a transport alone can do, and what it leaves of ONNX Runtime: servers with nothing else in them.

`python -m benchmarks.ceiling grpcio`                 every ModelInfer gets the same bytes
`python -m benchmarks.ceiling grpcio MODEL TENSOR`    every ModelInfer is one run of the model on one row, by a thread
"""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
import numpy as np
import onnxruntime as ort
import uvloop

from steelyard.wire import encode_response

ANSWER = encode_response(
    "tiny", "1", "", {}, [("Y", "FP32", (1, 4), memoryview(np.zeros(4, np.float32)).cast("B"))]
)


async def serve(infer: Any) -> None:
    """A `grpc.aio` server around one handler; prints its port."""
    handlers = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer)}
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def fixed(body: bytes, context: object) -> bytes:
    """A handler that does nothing."""
    return ANSWER


def one_run(model: str, tensor: str) -> Any:
    """A handler that decodes nothing but the row, which is the end of the body, and encodes nothing."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    wanted = next(value for value in session.get_inputs() if value.name == tensor)
    shape = (1, *wanted.shape[1:])
    dtype = np.dtype({"tensor(float)": np.float32, "tensor(int32)": np.int32}[wanted.type])
    size = int(np.prod(shape)) * dtype.itemsize
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def run(body: bytes) -> None:
        row = np.frombuffer(body[len(body) - size :], dtype).reshape(shape)
        session.run(None, {tensor: row})

    async def infer(body: bytes, context: object) -> bytes:
        await asyncio.get_running_loop().run_in_executor(pool, run, body)
        return ANSWER

    return infer


if __name__ == "__main__":
    if len(sys.argv) not in (2, 4) or sys.argv[1] != "grpcio":
        sys.exit("usage: python -m benchmarks.ceiling grpcio [MODEL TENSOR]")
    uvloop.run(serve(one_run(*sys.argv[2:]) if len(sys.argv) == 4 else fixed))
