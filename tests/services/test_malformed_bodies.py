"""Bodies that are no messages: cut, padded, random, nested, forged in length, too large, packed."""

import gzip
import random
import zlib

import grpc
import numpy as np
import pytest

from tests.support.asking import Asker, arrays, request
from tests.support.metrics import metrics
from tests.support.server import Server

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MESSAGE_LIMIT = 1 << 20

ONES = {"x": np.ones((1, 4), np.float32)}
BODY = request("double", ONES, id="an id", outputs=["y"]).SerializeToString()

METHODS = [
    "ModelInfer",
    "ModelReady",
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "/grpc.health.v1.Health/Check",
]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_a_body_cut_at_every_byte(ask: Asker) -> None:
    """Some beginnings are messages by themselves; none gets an answer that it did not ask for."""
    for end in range(len(BODY)):
        refusal = ask.outcome(BODY[:end])
        if refusal is not None:
            assert refusal.code in (INVALID, grpc.StatusCode.NOT_FOUND), BODY[:end]
            assert refusal.message
    assert arrays(ask.call("ModelInfer", request("double", ONES)))["y"].tolist() == [[2.0] * 4]


@pytest.mark.parametrize("method", METHODS)
def test_random_bytes(ask: Asker, method: str) -> None:
    chance = random.Random(method)
    for _ in range(60):
        body = chance.randbytes(chance.randrange(1, 200))
        refusal = ask.outcome(body, method)
        if refusal is not None:
            assert refusal.code in (INVALID, grpc.StatusCode.NOT_FOUND), (body, refusal)
            assert refusal.message


def test_bytes_flipped_in_a_good_body(ask: Asker) -> None:
    chance = random.Random(2)
    known = {
        INVALID,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
    for _ in range(400):
        body = bytearray(BODY)
        for _ in range(chance.randrange(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        refusal = ask.outcome(bytes(body))
        assert refusal is None or refusal.code in known, (bytes(body), refusal)


def test_an_empty_body(ask: Asker) -> None:
    assert ask.refused(b"").code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "tail",
    [
        b"\x0a" + varint(2**31),
        b"\x0a" + varint(2**32 - 1) + b"x",
        b"\x0a" + varint(2**63 - 1) + b"x",
        b"\x0a" + varint(2**64 - 1) + b"x",
        b"\x2a" + varint(2**63),
        b"\x3a" + varint(2**64 - 8),
        b"\x3a" + b"\xff" * 10,
        b"\x0a" + b"\x80" * 11 + b"\x01",
        b"\x08",
        b"\x0b",
        b"\x0c",
        b"\x0e",
        b"\x0f",
        b"\x00\x00",
    ],
)
def test_lengths_and_tags_that_cannot_be(ask: Asker, tail: bytes) -> None:
    refusal = ask.refused(BODY + tail)
    assert refusal.code is INVALID
    assert "ModelInferRequest" in refusal.message
    assert f"{len(BODY) + len(tail)} bytes" in refusal.message


@pytest.mark.parametrize("depth", [50, 101, 5_000, 100_000])
def test_nested_groups(ask: Asker, depth: int) -> None:
    """Unknown groups are skipped as protobuf does, up to its bound on depth."""
    opened = varint(1000 << 3 | 3) * depth
    for body in (BODY + opened + varint(1000 << 3 | 4) * depth, BODY + opened):
        refusal = ask.outcome(body)
        if refusal is None:
            assert depth == 50
        else:
            assert refusal.code is INVALID


def test_a_message_nested_in_itself(ask: Asker) -> None:
    inner = b""
    while len(inner) < 60_000:
        inner = b"\x2a" + varint(len(inner)) + inner
    assert ask.refused(BODY + inner).code is INVALID


@pytest.mark.parametrize(
    "field",
    [
        b"\x0a\x02\xff\xfe",
        b"\x12\x01\x80",
        b"\x1a\x03\xed\xa0\x80",
        b"\x2a\x04\x0a\x02\xc3\x28",
        b"\x32\x04\x0a\x02\xff\xff",
        b"\x22\x06\x0a\x02\xf0\x28\x12\x00",
    ],
)
def test_bad_utf8_in_names(ask: Asker, field: bytes) -> None:
    refusal = ask.refused(BODY + field)
    assert refusal.code is INVALID
    assert refusal.message


def test_unknown_fields_are_skipped_and_a_repeated_singular_one_takes_the_last(ask: Asker) -> None:
    unknown = varint(900 << 3) + varint(5) + varint(901 << 3 | 2) + varint(3) + b"abc"
    body = b"\x0a\x03nil" + unknown + BODY
    assert ask.raw("ModelInfer", body)


def test_a_body_over_the_limit(server: Server, ask: Asker) -> None:
    fitting = np.ones((MESSAGE_LIMIT // 16 - 32, 4), np.float32)
    assert ask.infer("double", {"x": fitting})["y"].shape == fitting.shape
    before = metrics(server)
    refusal = ask.refused(request("double", {"x": np.ones((MESSAGE_LIMIT // 16, 4), np.float32)}))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(MESSAGE_LIMIT) in refusal.message
    # The library refused it, and nobody else saw it.
    assert metrics(server)["steelyard_requests_received_total"] == before["steelyard_requests_received_total"]


def test_an_answer_over_the_limit(server: Server, ask: Asker) -> None:
    before = metrics(server, model="labelled")
    message = request("labelled", {"x": np.ones((33_000, 3), np.float32)}, outputs=["y"])
    message.outputs[0].parameters["classification"].int64_param = 3
    refusal = ask.refused(message)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    for part in ("'labelled'", "answer", str(MESSAGE_LIMIT), "max_message_bytes"):
        assert part in refusal.message
    after = metrics(server, model="labelled")
    assert after.outcome("failed") == before.outcome("failed") + 1
    assert after.outcome("refused") == before.outcome("refused")


def test_more_classes_than_one_answer_may_have(ask: Asker) -> None:
    message = request("labelled", {"x": np.ones((40_000, 3), np.float32)}, outputs=["y"])
    message.outputs[0].parameters["classification"].int64_param = 3
    refusal = ask.refused(message)
    assert refusal.code is INVALID
    for part in ("'labelled'", "'y'", "'classification'", "100000", "3 for each of 40000"):
        assert part in refusal.message


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_by_the_client(ask: Asker, algorithm: grpc.Compression) -> None:
    sent = request("double", {"x": np.ones((1000, 4), np.float32)})
    answer = ask.raw("ModelInfer", sent.SerializeToString(), compression=algorithm)
    assert len(answer) > 16_000


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_small_body_that_unpacks_to_a_large_one(ask: Asker, algorithm: grpc.Compression) -> None:
    sent = request("double", {"x": np.zeros((2 * MESSAGE_LIMIT // 16, 4), np.float32)}).SerializeToString()
    assert len(gzip.compress(sent)) < 5_000
    assert len(zlib.compress(sent)) < 5_000
    refusal = ask.refused(sent, compression=algorithm)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_server_goes_on(server: Server, ask: Asker) -> None:
    assert server.is_ready()
    assert ask.infer("double", ONES)["y"].tolist() == [[2.0] * 4]
    assert not server.events("worker.died")
    assert not server.events("request.fault")
