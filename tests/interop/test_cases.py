"""gRPC's interop cases, with the methods that the server has, from every client's library over every front.

There is no method here that takes a stream and gives one answer, so the client-streaming cases do not apply; nor do
those of authentication.
"""

import re

import pytest

from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.generated import health as health_pb
from tests.interop.bodies import (
    CHECK,
    INFER,
    LIVE,
    REFLECTION,
    STREAM_INFER,
    WATCH,
    doubled,
    echo_in,
    echo_streamed,
    echoed,
    noise,
    stalled,
)
from tests.interop.outcome import Asked, Client, Kind
from tests.support.asking import SERVICE, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import until

OK, CANCELLED, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, UNIMPLEMENTED = 0, 1, 3, 4, 5, 12

# Of gRPC's own cases.
SIZES = (27_184, 8, 1_828, 45_904)


async def test_empty_unary(client: Client) -> None:
    outcome = await client.call(Asked(LIVE))
    assert (outcome.code, outcome.message) == (OK, "")
    assert pb.ServerLiveResponse.FromString(outcome.bodies[0]).live


@pytest.mark.parametrize("size", [271_828, 4 << 20, 20 << 20])
async def test_large_unary(client: Client, size: int) -> None:
    content = noise(size)
    outcome = await client.call(Asked(INFER, [echoed(content)]))
    assert outcome.code == OK, outcome.message
    assert echo_in(outcome.bodies[0]) == content


async def test_large_unary_that_compresses_well(client: Client) -> None:
    content = b"abcd" * (2 << 20)
    outcome = await client.call(Asked(INFER, [echoed(content)]))
    assert outcome.code == OK, outcome.message
    assert echo_in(outcome.bodies[0]) == content


async def test_server_streaming_and_cancel_after_its_first_answer(client: Client) -> None:
    body = health_pb.HealthCheckRequest(service="double").SerializeToString()
    outcome = await client.call(Asked(WATCH, [body], Kind.SERVER_STREAM, cancel_after=1))
    assert outcome.code == CANCELLED
    assert [health_pb.HealthCheckResponse.FromString(body).status for body in outcome.bodies] == [1]


async def test_many_messages_of_several_sizes_on_a_stream(client: Client) -> None:
    contents = [noise(size) for size in SIZES * 5]
    outcome = await client.call(Asked(STREAM_INFER, [echoed(c) for c in contents], Kind.BIDI))
    assert outcome.code == OK, outcome.message
    assert sorted(map(echo_streamed, outcome.bodies)) == sorted(contents)


async def test_ping_pong(client: Client) -> None:
    contents = [noise(size) for size in SIZES]
    asked = Asked(STREAM_INFER, [echoed(c) for c in contents], Kind.BIDI, takes_turns=True)
    outcome = await client.call(asked)
    assert outcome.code == OK, outcome.message
    assert [echo_streamed(body) for body in outcome.bodies] == contents


@pytest.mark.parametrize("method", [STREAM_INFER, REFLECTION])
async def test_empty_stream(client: Client, method: str) -> None:
    outcome = await client.call(Asked(method, [], Kind.BIDI))
    assert (outcome.code, outcome.message, outcome.bodies) == (OK, "", [])


async def test_cancel_after_begin(client: Client, server: Server) -> None:
    outcome = await client.call(Asked(STREAM_INFER, [], Kind.BIDI, stays_open=True, cancel_after=0))
    assert outcome.code == CANCELLED
    # Long enough that a client which loses its core cancels before the answer.
    outcome = await client.call(Asked(INFER, [stalled(200_000)], cancel_after=0))
    assert outcome.code == CANCELLED
    await until(lambda: metrics(server)["steelyard_in_flight"] == 0)
    assert (await client.call(Asked(LIVE))).code == OK


async def test_cancel_after_first_response(client: Client, server: Server) -> None:
    contents = [noise(size) for size in SIZES]
    bodies = [echoed(content) for content in contents]
    asked = Asked(STREAM_INFER, bodies, Kind.BIDI, takes_turns=True, cancel_after=1)
    outcome = await client.call(asked)
    assert outcome.code == CANCELLED
    assert [echo_streamed(body) for body in outcome.bodies] == contents[:1]
    await until(lambda: metrics(server)["steelyard_in_flight"] == 0)
    assert (await client.call(Asked(LIVE))).code == OK


async def test_timeout_on_sleeping_server(client: Client, server: Server) -> None:
    outcome = await client.call(Asked(STREAM_INFER, [], Kind.BIDI, timeout_s=0.1, stays_open=True))
    assert (outcome.code, outcome.bodies) == (DEADLINE_EXCEEDED, [])
    outcome = await client.call(Asked(WATCH, [b""], Kind.SERVER_STREAM, timeout_s=0.2))
    assert outcome.code == DEADLINE_EXCEEDED
    await client.call(Asked(INFER, [stalled(100_000)]))
    outcome = await client.call(Asked(INFER, [stalled(1_000_000)], timeout_s=0.1))
    assert (outcome.code, outcome.bodies) == (DEADLINE_EXCEEDED, [])
    await until(lambda: metrics(server)["steelyard_in_flight"] == 0)


async def test_custom_metadata(client: Client) -> None:
    metadata = (
        ("x-text", "some text, with % and = in it"),
        ("x-bytes-bin", bytes(range(256))),
        ("x-short-bin", b"\xab\xab\xab\xab\x00"),
        ("x-empty-bin", b""),
    )
    outcome = await client.call(Asked(INFER, [doubled(1)], metadata=metadata))
    assert outcome.code == OK, outcome.message
    assert re.fullmatch("[0-9a-f-]{36}", str(outcome.trailing["steelyard-decision-id"]))
    assert outcome.trailing["steelyard-model-version"] == "1"
    assert re.fullmatch("sha256:[0-9a-f]{64}", str(outcome.trailing["steelyard-model-digest"]))
    outcome = await client.call(Asked(STREAM_INFER, [doubled(1)], Kind.BIDI, metadata=metadata))
    assert outcome.code == OK, outcome.message
    outcome = await client.call(Asked(CHECK, metadata=metadata))
    assert outcome.code == OK, outcome.message


async def test_status_code_and_message(client: Client) -> None:
    outcome = await client.call(Asked(INFER, [request("nobody", {}).SerializeToString()]))
    assert outcome.code == NOT_FOUND
    assert "'nobody'" in outcome.message
    assert outcome.trailing["steelyard-decision-id"]
    outcome = await client.call(Asked(INFER, [b"\xff\xff"]))
    assert outcome.code == INVALID_ARGUMENT
    assert "ModelInferRequest" in outcome.message
    outcome = await client.call(Asked(REFLECTION, [b"\xff\xff"], Kind.BIDI))
    assert outcome.code == INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["☺ and 😈", "100 %", "%41%zz", "a+b c", "ü" * 40])
async def test_special_status_message(client: Client, name: str) -> None:
    outcome = await client.call(Asked(INFER, [request(name, {}).SerializeToString()]))
    assert outcome.code == NOT_FOUND
    assert repr(name) in outcome.message


@pytest.mark.parametrize(
    "method", [f"{SERVICE}NoSuchMethod", "/no.such.Service/ModelInfer", f"{SERVICE}modelinfer"]
)
@pytest.mark.parametrize("kind", [Kind.UNARY, Kind.BIDI])
async def test_unimplemented_method_and_service(client: Client, method: str, kind: Kind) -> None:
    # Nothing is sent on the stream: grpcio's asyncio client loses the status where it comes before a message left.
    outcome = await client.call(Asked(method, [noise(100)] if kind is Kind.UNARY else [], kind))
    assert outcome.code == UNIMPLEMENTED
    assert outcome.message
    assert (await client.call(Asked(LIVE))).code == OK
