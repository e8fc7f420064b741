"""Compressed requests, and answers that a server compresses where it is asked to and the client understands it."""

import asyncio
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest

from tests.interop.bodies import INFER, STREAM_INFER, echo_in, echo_streamed, echoed, noise
from tests.interop.grpc_js_client import GrpcJs
from tests.interop.grpcio_clients import OPTIONS, GrpcioAio, GrpcioSync
from tests.interop.grpclib_client import Grpclib
from tests.interop.headers import Answer, answer_to, framed
from tests.interop.outcome import TIMEOUT_S, Asked, Client, Kind
from tests.support import models
from tests.support.server import Server

CLIENTS = [GrpcioSync, GrpcioAio, pytest.param(GrpcJs, marks=pytest.mark.extra)]
ENCODINGS = ["identity", "gzip", "deflate"]
CONTENTS = [b"", b"abcd" * 100, b"abcd" * 5_000, b"abcd" * 500_000, noise(200_000)]


@pytest.fixture(scope="module", params=["http2", "grpcio"])
def compressing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that compresses answers."""
    root = tmp_path_factory.mktemp("compressing")
    repository = root / "models"
    repository.mkdir()
    models.put(repository, "same_uint8", models.identity("UINT8"))
    running = Server(repository, root / "log", front=request.param, compress_answers="gzip").wait_ready()
    yield running
    running.stop()


def answer_for(address: str, size: int, accepts: str | None) -> Answer:
    """The answer with `size` bytes that compress well, for a client that accepts so much."""
    sent = framed(echoed(b"abcd" * (size // 4)))
    return answer_to(address, INFER, sent, {"grpc-accept-encoding": accepts})


async def unary(client: Client, encoding: str) -> None:
    for content in CONTENTS:
        outcome = await client.call(Asked(INFER, [echoed(content)], encoding=encoding))
        assert outcome.code == 0, outcome.message
        assert echo_in(outcome.bodies[0]) == content
        assert outcome.trailing["steelyard-decision-id"]


async def stream(client: Client, encoding: str) -> None:
    bodies = [echoed(content) for content in CONTENTS]
    outcome = await client.call(Asked(STREAM_INFER, bodies, Kind.BIDI, takes_turns=True, encoding=encoding))
    assert outcome.code == 0, outcome.message
    assert [echo_streamed(body) for body in outcome.bodies] == CONTENTS


@pytest.mark.parametrize("make", CLIENTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("call", [unary, stream])
async def test_requests(server: Server, make, encoding: str, call) -> None:
    client = make(server.address)
    await call(client, encoding)
    await client.close()


@pytest.mark.parametrize("make", CLIENTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("call", [unary, stream])
async def test_requests_and_answers(compressing: Server, make, encoding: str, call) -> None:
    client = make(compressing.address)
    await call(client, encoding)
    await client.close()


@pytest.mark.parametrize(
    ("accepts", "size", "encoding"),
    [
        ("identity,deflate,gzip", 5_000, "gzip"),
        ("gzip", 800_000, "gzip"),
        ("identity, gzip ,br", 5_000, "gzip"),
    ],
)
def test_answers_are_compressed_for_those_who_say_that_they_understand_it(
    compressing: Server, accepts: str, size: int, encoding: str
) -> None:
    answer = answer_for(compressing.address, size, accepts)
    assert answer.headers["grpc-encoding"] == encoding
    assert answer.body[0] == 1
    assert len(answer.body) < size / 5


def test_answers_are_as_they_are_where_that_is_not_so(start) -> None:
    server = start(front="http2", compress_answers="gzip")
    for accepts, size in ((None, 5_000), ("identity", 5_000), ("xgzip,br", 100_000), ("gzip", 500)):
        answer = answer_for(server.address, size, accepts)
        assert answer.headers.get("grpc-encoding", "identity") == "identity"
        assert answer.body[0] == 0
        assert len(answer.body) > size
    plain = start(front="http2")
    assert answer_for(plain.address, 5_000, "gzip").body[0] == 0


async def test_a_client_that_understands_none(start) -> None:
    server = start(front="http2", compress_answers="gzip")
    client = Grpclib(server.address)
    await unary(client, "identity")
    await stream(client, "identity")
    await client.close()


async def test_callers_who_go_away_while_their_answers_are_compressed(compressing: Server) -> None:
    sent = echoed(b"abcd" * 500_000)
    async with grpc.aio.insecure_channel(compressing.address, options=OPTIONS) as channel:
        infer = channel.unary_unary(INFER)

        async def answer() -> bytes:
            return await infer(sent, timeout=TIMEOUT_S)

        for patience_ms in range(40):
            calls = [asyncio.create_task(answer()) for _ in range(4)]
            await asyncio.wait(calls, timeout=patience_ms / 1e3)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        assert echo_in(await answer())
    assert "Traceback" not in compressing.output()
    assert not compressing.events("worker.died")
