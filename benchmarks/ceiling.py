"""What a transport alone can do: every ModelInfer gets the same bytes. `python -m benchmarks.ceiling grpcio`."""

import sys

import grpc
import grpc.aio
import numpy as np
import uvloop

from steelyard.wire import encode_response

ANSWER = encode_response(
    "tiny", "1", "", {}, [("Y", "FP32", (1, 4), memoryview(np.zeros(4, np.float32)).cast("B"))]
)


async def serve_grpcio() -> None:
    """A `grpc.aio` server whose handler does nothing."""

    async def infer(body: bytes, context: object) -> bytes:
        return ANSWER

    handlers = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    if sys.argv[1:] != ["grpcio"]:
        sys.exit("usage: python -m benchmarks.ceiling grpcio")
    uvloop.run(serve_grpcio())
