"""Status messages of every character, through each front and to each client, by a method that says what it is told."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from steelyard.errors import InvalidRequest
from steelyard.fronts.grpcio import GrpcioFront
from steelyard.fronts.http2.front import Http2Front
from steelyard.rpc.limits import Limits
from steelyard.serving.methods import Context, Methods
from tests.interop.grpc_js_client import GrpcJs
from tests.interop.grpcio_clients import GrpcioAio, GrpcioSync
from tests.interop.grpclib_client import Grpclib
from tests.interop.outcome import Asked, Client, Kind

UNARY = "/test.Telling/Unary"
STREAM = "/test.Telling/Stream"
EARLY = "/test.Telling/Early"

GRPC_JS = pytest.param(GrpcJs, marks=pytest.mark.extra)

MESSAGES = [
    "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n",
    "100 % of %25, %, %zz and %4",
    "".join(map(chr, range(1, 256))),
    "ü" * 600,
]


async def refuse(body: bytes, context: Context) -> bytes:
    """Fails with the message that it is given."""
    raise InvalidRequest(body.decode())


async def refuse_in_stream(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    """Answers with each message, and fails with the last when there are no more."""
    message = b""
    async for message in bodies:
        yield message
    raise InvalidRequest(message.decode())


async def refuse_early(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    """Answers the first message, and fails with it while others may come."""
    async for body in bodies:
        yield body
        raise InvalidRequest(body.decode())


@pytest.fixture(params=["http2", "grpcio"])
async def address(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Where such a server listens."""
    methods = Methods(unary={UNARY: refuse}, bidi_stream={STREAM: refuse_in_stream, EARLY: refuse_early})
    front: Http2Front | GrpcioFront
    if request.param == "http2":
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        front = Http2Front(methods, None, Limits())
        await front.start([(listener, None)])
    else:
        front = GrpcioFront(methods, None, 1 << 20)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        await front.start([(f"127.0.0.1:{port}", None)])
    yield f"127.0.0.1:{port}"
    await front.stop(0)


async def check(client: Client, asked: Asked, message: str) -> None:
    outcome = await asyncio.wait_for(client.call(asked), 30)
    assert outcome.code == 3
    assert outcome.message == message
    assert outcome.bodies == ([] if asked.kind is Kind.UNARY else list(asked.bodies))


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
@pytest.mark.parametrize("make", [GrpcioSync, GrpcioAio, Grpclib, GRPC_JS])
async def test_special_status_message(address: str, make: type[GrpcioSync], message: str) -> None:
    client = make(address)
    await check(client, Asked(UNARY, [message.encode()]), message)
    await check(client, Asked(STREAM, [message.encode()], Kind.BIDI), message)
    await client.close()


# Not grpclib: it forgets the messages that it has not read when the reset comes that follows an early status.
@pytest.mark.parametrize("make", [GrpcioSync, GrpcioAio, GRPC_JS])
async def test_a_status_while_the_client_may_still_send(address: str, make: type[GrpcioSync]) -> None:
    client = make(address)
    for _ in range(20):
        await check(client, Asked(EARLY, [b"enough"], Kind.BIDI, stays_open=True), "enough")
    await client.close()
