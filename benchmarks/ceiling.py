"""What a transport alone can do, and what it leaves of ONNX Runtime: servers with nothing else in them.

`python -m benchmarks.ceiling grpcio`                 every ModelInfer gets the same bytes
`python -m benchmarks.ceiling grpcio MODEL`           every ModelInfer is one run of the model, by a thread
`python -m benchmarks.ceiling http2`                  the same bytes, by as little as speaks HTTP/2: asyncio and ngh2
`python -m benchmarks.ceiling front`                  the same bytes, by our own front with nothing behind it
`python -m benchmarks.ceiling grpcio|front BYTES`     so many bytes of zeros instead
"""

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import grpc
import grpc.aio
import ngh2
import numpy as np
import onnxruntime as ort
import uvloop
from ngh2.config import Configuration, Role
from ngh2.enums import Setting
from ngh2.events import DataReceived

from steelyard.fronts.http2.front import Http2Front
from steelyard.rpc.framing import frame
from steelyard.rpc.limits import Limits
from steelyard.serving.methods import Methods
from steelyard.wire import decode_request, encode_response

ANSWER = encode_response(
    "tiny", "1", "", {}, [("Y", "FP32", (1, 4), memoryview(np.zeros(4, np.float32)).cast("B"))]
)


DTYPES = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}


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


def fixed(answer: bytes) -> Any:
    """A handler that does nothing."""

    async def infer(body: bytes, context: object) -> bytes:
        return answer

    return infer


def one_run(model: str) -> Any:
    """A handler that checks and encodes nothing: the request's tensors go into one run, by a thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def run(body: bytes) -> None:
        tensors = decode_request(body).inputs
        inputs = {
            tensor.name: np.frombuffer(tensor.data, DTYPES[tensor.datatype]).reshape(tensor.shape)
            for tensor in tensors
        }
        session.run(None, inputs)

    async def infer(body: bytes, context: object) -> bytes:
        await asyncio.get_running_loop().run_in_executor(pool, run, body)
        return ANSWER

    return infer


DECISION = "01980000-0000-7000-8000-000000000000"


class Sketch(asyncio.Protocol):
    """Answers whatever it is asked: no checks, no limits, no flow of control but the library's own."""

    head: ClassVar = [(b":status", b"200"), (b"content-type", b"application/grpc")]
    tail: ClassVar = [(b"grpc-status", b"0")]
    answer = frame(ANSWER)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.h2 = ngh2.Connection(Role.SERVER, Configuration())
        told = {Setting.MAX_CONCURRENT_STREAMS: 1000, Setting.INITIAL_WINDOW_SIZE: 1 << 20}
        self.h2.initiate_connection(told)
        transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        h2 = self.h2
        h2.receive_data(data)
        for event in h2.events():
            if type(event) is DataReceived and event.end_stream:
                h2.send_response(event.stream_id, self.head)
                h2.send_data(event.stream_id, self.answer)
                h2.send_trailers(event.stream_id, self.tail)
        if out := h2.data_to_send():
            self.transport.write(out)


class FixedEngine:
    """Stands where the engine is, and does nothing."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def submit_all(self, arrivals: Sequence[Any], size_bytes: int) -> None:
        """Answers at once."""
        for call, _, _ in arrivals:
            call.answer(self._answer, DECISION, ())

    def cancel(self, call: Any) -> None:
        """Never needed: every call has been answered."""


async def serve_http2(kind: str, answer: bytes) -> None:
    """The sketch, or our front, on a free port, which is printed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    if kind == "front":
        engine: Any = FixedEngine(answer)
        await Http2Front(Methods(), engine, Limits()).start([(listener, None)])
    else:
        await asyncio.get_running_loop().create_server(Sketch, sock=listener)
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


def main(kind: str, argument: str = "") -> None:
    """Serves until it is ended."""
    answer = bytes(int(argument)) if argument.isdigit() else ANSWER
    if kind == "grpcio":
        uvloop.run(serve(one_run(argument) if argument and not argument.isdigit() else fixed(answer)))
    else:
        uvloop.run(serve_http2(kind, answer))


if __name__ == "__main__":
    if sys.argv[1:2] not in (["http2"], ["front"], ["grpcio"]):
        sys.exit("usage: python -m benchmarks.ceiling http2|front|grpcio [BYTES | MODEL]")
    main(*sys.argv[1:])
