"""Servers that no one here wrote, and servers that do what no good one does, on real sockets."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import grpc.aio
import ngh2
from ngh2.config import Role

UNARY, DOWN, UP, BOTH = "/test.Calls/Unary", "/test.Calls/Down", "/test.Calls/Up", "/test.Calls/Both"
FAIL, HANG, METADATA = "/test.Calls/Fail", "/test.Calls/Hang", "/test.Calls/Metadata"
PEER, ZEROS = "/test.Calls/Peer", "/test.Calls/Zeros"

DOWN_ANSWERS = 5


def _said(context: Any) -> bytes:
    own = sorted((key, value) for key, value in context.invocation_metadata() if key.startswith("x-"))
    return repr(own).encode()


class Calls(grpc.GenericRpcHandler):
    """Echoes in all four ways, fails, hangs until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.hung = threading.Event()
        self.left = threading.Event()

    def service(self, details: Any) -> Any:
        def up(bodies: Iterator[bytes], context: Any) -> bytes:
            return b"".join(bodies)

        def down(body: bytes, context: Any) -> Iterator[bytes]:
            yield from (body + str(number).encode() for number in range(DOWN_ANSWERS))

        def fail(body: bytes, context: Any) -> bytes:
            context.set_trailing_metadata(
                (("steelyard-decision-id", "d-1"), ("grpc-retry-pushback-ms", "12"))
            )
            context.abort(grpc.StatusCode.ABORTED, "nö, 100 %")
            raise AssertionError("abort raises")

        def hang(body: bytes, context: Any) -> bytes:
            context.add_callback(self.left.set)
            self.hung.set()
            self.go_on.wait(60)
            return body

        handlers = {
            UNARY: grpc.unary_unary_rpc_method_handler(lambda body, context: body),
            ZEROS: grpc.unary_unary_rpc_method_handler(lambda body, context: bytes(int(body))),
            METADATA: grpc.unary_unary_rpc_method_handler(lambda body, context: _said(context)),
            PEER: grpc.unary_unary_rpc_method_handler(lambda body, context: body + context.peer().encode()),
            FAIL: grpc.unary_unary_rpc_method_handler(fail),
            HANG: grpc.unary_unary_rpc_method_handler(hang),
            DOWN: grpc.unary_stream_rpc_method_handler(down),
            UP: grpc.stream_unary_rpc_method_handler(up),
            BOTH: grpc.stream_stream_rpc_method_handler(lambda bodies, context: bodies),
        }
        return handlers.get(details.method)


class AioCalls(grpc.GenericRpcHandler):
    """The echoes of `Calls`, for grpc.aio."""

    def service(self, details: Any) -> Any:
        async def unary(body: bytes, context: Any) -> bytes:
            return body

        async def up(bodies: AsyncIterator[bytes], context: Any) -> bytes:
            return b"".join([body async for body in bodies])

        async def down(body: bytes, context: Any) -> AsyncIterator[bytes]:
            for number in range(DOWN_ANSWERS):
                yield body + str(number).encode()

        async def both(bodies: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            async for body in bodies:
                yield body

        handlers = {
            UNARY: grpc.unary_unary_rpc_method_handler(unary),
            DOWN: grpc.unary_stream_rpc_method_handler(down),
            UP: grpc.stream_unary_rpc_method_handler(up),
            BOTH: grpc.stream_stream_rpc_method_handler(both),
        }
        return handlers.get(details.method)


_OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


@contextmanager
def grpcio(
    address: str = "127.0.0.1:0", compression: Any = None, credentials: Any = None, calls: Calls | None = None
) -> Iterator[str]:
    """grpcio's server; gives its address."""
    calls = calls or Calls()
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool, options=_OPTIONS, compression=compression)
        server.add_generic_rpc_handlers((calls,))
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
        server.start()
        try:
            yield address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
        finally:
            calls.go_on.set()
            server.stop(None).wait()


@contextmanager
def grpcio_aio() -> Iterator[str]:
    """grpc.aio's server, on a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[Any, int]:
        server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((AioCalls(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


Script = Callable[[socket.socket, int], None]
"""What to do with the n-th connection, from 0."""


@contextmanager
def scripted(script: Script) -> Iterator[str]:
    """A server that does with each connection, one after the other, what the script says; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            number = 0
            with suppress(OSError):
                while True:
                    connected, _ = listener.accept()
                    with connected, suppress(OSError):
                        connected.settimeout(30)
                        script(connected, number)
                    number += 1

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)
            assert not thread.is_alive()


def speak(connected: socket.socket, answer: Callable[[Any, Any], None]) -> None:
    """Speaks HTTP/2 until the client leaves; `answer` is given the library's connection and each event."""
    h2: Any = ngh2.Connection(Role.SERVER)
    h2.initiate_connection()
    while data := connected.recv(1 << 16):
        h2.receive_data(data)
        for event in h2.events():
            answer(h2, event)
        while out := h2.data_to_send():
            connected.sendall(out)
