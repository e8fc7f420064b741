"""Calls, in the order of their streams, and what servers answer: python -m tests.rpc.answered DIRECTORY records it.

Each file has what one server sent over one connection, byte by byte, until it had stopped.
"""

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from steelyard.errors import DeadlineExpired
from steelyard.fronts.http2.front import Http2Front
from steelyard.rpc.client import ClientConnection
from steelyard.rpc.client_calls import ClientCall, ClientHappening
from steelyard.rpc.limits import Limits
from steelyard.serving.methods import Context, Methods
from tests.client.peers import BOTH, DOWN, DOWN_ANSWERS, FAIL, METADATA, UNARY, ZEROS, grpcio, grpcio_aio
from tests.rpc.client_peers import client


class Asking(NamedTuple):
    """One call."""

    path: str
    bodies: tuple[bytes, ...]
    streams_answers: bool = False
    metadata: tuple[tuple[bytes, bytes], ...] = ()


CALLS = (
    Asking(UNARY, (b"x",)),
    Asking(FAIL, (b"",)),
    Asking(ZEROS, (b"900",)),
    Asking(DOWN, (b"d",), True),
    Asking(BOTH, (b"a", b"", bytes(300)), True),
    Asking(METADATA, (b"",), metadata=((b"x-text", b"a b"), (b"x-raw-bin", b"AP8"))),
    Asking("/test.Calls/Nothing", (b"x",)),
    Asking(ZEROS, (b"4001",)),
)


def begin(connection: ClientConnection, asking: Asking) -> ClientCall:
    """Begins a call, and sends all of it."""
    call = connection.start(asking.path, metadata=asking.metadata, streams_answers=asking.streams_answers)
    for number, body in enumerate(asking.bodies, 1):
        connection.send(call, body, last=number == len(asking.bodies))
    return call


def answers(address: str, stop: Callable[[], object]) -> bytes:
    """What a server sends, from its settings to its end."""
    connection, found, ended, stopped = client(Limits(max_message_bytes=4_000)), b"", 0, False
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 30.0) as connected:
        connected.sendall(connection.data_to_send())
        begun = False
        while data := connected.recv(1 << 16):
            found += data
            events = connection.receive(data)
            if connection.ready and not begun:
                begun = True
                for asking in CALLS:
                    begin(connection, asking)
            ended += sum(happening is ClientHappening.ENDED for happening, _, _, _ in events)
            while out := connection.data_to_send():
                connected.sendall(out)
            if ended == len(CALLS) and not stopped:
                stopped = True
                stop()
            if connection.closed or (connection.draining and not connection.calls):
                break
    return found


@contextlib.contextmanager
def front(compress: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """Our own, and what stops it."""

    async def echo(body: bytes, call: Context) -> bytes:
        return body

    async def fail(body: bytes, call: Context) -> bytes:
        raise DeadlineExpired("nö, 100 %")

    async def zeros(body: bytes, call: Context) -> bytes:
        return bytes(int(body))

    async def down(body: bytes, call: Context) -> AsyncIterator[bytes]:
        for number in range(DOWN_ANSWERS):
            yield body + str(number).encode()

    async def both(bodies: AsyncIterator[bytes], call: Context) -> AsyncIterator[bytes]:
        async for body in bodies:
            yield body

    async def start(listener: socket.socket) -> Http2Front:
        unary = {UNARY: echo, METADATA: echo, FAIL: fail, ZEROS: zeros}
        methods = Methods(unary=unary, server_stream={DOWN: down}, bidi_stream={BOTH: both})
        found = Http2Front(methods, None, Limits(), compress=compress)
        await found.start([(listener, None)])
        return found

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    running = asyncio.run_coroutine_threadsafe(start(listener), loop).result(30)

    def stop() -> Any:
        return asyncio.run_coroutine_threadsafe(running.stop(10.0), loop)

    try:
        yield address, stop
    finally:
        stop().result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def main(directory: Path) -> None:
    """Records all of them."""
    with contextlib.ExitStack() as stack:
        for name, compression in (("grpcio", None), ("grpcio-gzip", grpc.Compression.Gzip)):
            server = contextlib.ExitStack()
            address = stack.enter_context(server).enter_context(grpcio(compression=compression))
            (directory / name).write_bytes(answers(address, server.close))
        server = contextlib.ExitStack()
        address = stack.enter_context(server).enter_context(grpcio_aio())
        (directory / "grpc-aio").write_bytes(answers(address, server.close))
        for name, compress in (("http2", False), ("http2-gzip", True)):
            address, stop = stack.enter_context(front(compress))
            (directory / name).write_bytes(answers(address, stop))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
