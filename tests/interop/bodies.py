"""Messages of the service for clients that carry bytes."""

import random

import numpy as np

from steelyard.wire.generated import grpc_service as pb
from tests.support.asking import SERVICE, arrays, request

INFER = f"{SERVICE}ModelInfer"
STREAM_INFER = f"{SERVICE}ModelStreamInfer"
LIVE = f"{SERVICE}ServerLive"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def echoed(content: bytes, id: str = "") -> bytes:
    """A request whose answer holds `content`, a multiple of four bytes, again."""
    rows = np.frombuffer(content, np.uint8).reshape(-1, 4)
    body: bytes = request("same_uint8", {"x": rows}, id=id).SerializeToString()
    return body


def echo_in(body: bytes) -> bytes:
    """The content in the answer to such a request."""
    return arrays(pb.ModelInferResponse.FromString(body))["y"].tobytes()


def echo_streamed(body: bytes) -> bytes:
    """The same of a stream's answer."""
    answer = pb.ModelStreamInferResponse.FromString(body)
    assert not answer.error_message
    return arrays(answer.infer_response)["y"].tobytes()


def doubled(number: float) -> bytes:
    """A small request."""
    body: bytes = request("double", {"x": np.full((1, 4), number, np.float32)}).SerializeToString()
    return body


def stalled(turns: int) -> bytes:
    """A request that takes about so many microseconds."""
    body: bytes = request("stall", {"turns": np.array([turns], np.int64)}).SerializeToString()
    return body


def noise(count: int) -> bytes:
    """Bytes that no one can compress."""
    return random.Random(count).randbytes(count)
