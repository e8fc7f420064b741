"""What a transport alone can do, and what it leaves of ONNX Runtime: servers with nothing else in them.

`python -m benchmarks.ceiling grpcio`                 every ModelInfer gets the same bytes
`python -m benchmarks.ceiling grpcio MODEL`           every ModelInfer is one run of the model, by a thread
`python -m benchmarks.ceiling http2`                  the same bytes, by as little as speaks HTTP/2: asyncio and ngh2
`python -m benchmarks.ceiling http2 MODEL`            the same, with one run of `tiny` over what a read brought
`python -m benchmarks.ceiling front`                  the same bytes, by our own front with nothing behind it
`python -m benchmarks.ceiling grpcio|front BYTES`     so many bytes of zeros instead
`--port PORT` after any of them; else a free one, which is printed
"""

import argparse
import asyncio
import os
import socket
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


ROW_BYTES = {"X": 64, "Y": 16}
DTYPES = {"FP32": np.float32, "INT32": np.int32, "INT64": np.int64}


async def serve(infer: Any, port: int) -> None:
    """A `grpc.aio` server around one handler; prints its port."""
    handlers = {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer)}
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
    )
    port = server.add_insecure_port(f"127.0.0.1:{port}")
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
    session = one_thread(model)
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def run(body: bytes) -> bytes:
        tensors = decode_request(body).inputs
        inputs = {
            tensor.name: np.frombuffer(tensor.data, DTYPES[tensor.datatype]).reshape(tensor.shape)
            for tensor in tensors
        }
        output = session.run(None, inputs)[0]
        return answer_of(output)

    async def infer(body: bytes, context: object) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(pool, run, body)

    return infer


def one_thread(model: str) -> Any:
    """A session whose runs take one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def answer_of(output: np.ndarray[Any, Any]) -> bytes:
    """An answer with one output."""
    content = memoryview(np.ascontiguousarray(output)).cast("B")
    return encode_response("tiny", "1", "", {}, [("Y", "FP32", output.shape, content)])


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


class BareRun(Sketch):
    """Rows of `tiny`, of which nothing but the last bytes of the body are looked at; one run a read."""

    session: ClassVar[Any] = None
    prefix = ANSWER[: -ROW_BYTES["Y"]]

    def data_received(self, data: bytes) -> None:
        h2 = self.h2
        h2.receive_data(data)
        whole = [
            (event.stream_id, bytes(event.data[-ROW_BYTES["X"] :]))
            for event in h2.events()
            if type(event) is DataReceived and event.end_stream
        ]
        if whole:
            rows = np.frombuffer(b"".join(row for _, row in whole), np.float32).reshape(-1, 16)
            scores = self.session.run(None, {"X": rows})[0]
            for (stream, _), row in zip(whole, scores, strict=True):
                h2.send_response(stream, self.head)
                h2.send_data(stream, frame(self.prefix + row.tobytes()))
                h2.send_trailers(stream, self.tail)
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


async def serve_http2(kind: str, answer: bytes, model: str, port: int) -> None:
    """The sketch, with a run behind it or without, or our front; prints the port."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    if kind == "front":
        engine: Any = FixedEngine(answer)
        await Http2Front(Methods(), engine, Limits()).start([(listener, None)])
    else:
        if model:
            BareRun.session = one_thread(model)
        protocol = BareRun if model else Sketch
        await asyncio.get_running_loop().create_server(protocol, sock=listener)
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


def main(kind: str, argument: str, port: int) -> None:
    """Serves until it is ended."""
    size = int(argument) if argument.isdigit() else None
    model = argument if size is None else ""
    answer = ANSWER if size is None else bytes(size)
    if kind == "grpcio":
        uvloop.run(serve(one_run(model) if model else fixed(answer), port))
    else:
        uvloop.run(serve_http2(kind, answer, model, port))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ceiling")
    parser.add_argument("kind", choices=("http2", "front", "grpcio"))
    parser.add_argument("argument", nargs="?", default="", help="a model's file, or a number of bytes")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    main(given.kind, given.argument, given.port)
