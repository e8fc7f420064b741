"""The calls that the corpus has of each client: python -m tests.rpc.recorded KIND ADDRESS."""

import asyncio
import sys

import grpc
import numpy as np
import tritonclient.grpc

from tests.interop.bodies import INFER, LIVE, STREAM_INFER, WATCH, doubled
from tests.interop.grpc_js_client import GrpcJs
from tests.interop.outcome import Asked, Kind
from tests.support.asking import Asker, request

X = {"x": np.ones((1, 4), np.float32)}


def unary(asker: Asker) -> None:
    """Answers and an error, a deadline and metadata."""
    asker.infer("double", X, id="one")
    asker.call("ServerLive")
    asker.outcome(request("nobody", X), metadata=(("key", "value"), ("trace-bin", b"\0\1\2")), timeout=5.0)


def stream(asker: Asker) -> None:
    """A stream of three requests."""
    assert len(list(asker.stream([request("double", X, id=str(n)) for n in range(3)]))) == 3


def compressed(asker: Asker) -> None:
    """Compressed both ways that there are."""
    for how in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        asker.call("ModelInfer", request("double", {"x": np.ones((50, 4), np.float32)}), compression=how)


def cancelled(asker: Asker) -> None:
    """Calls that are given up."""
    for call in [asker.start(request("double", X)) for _ in range(5)]:
        call.cancel()
    asker.infer("double", X)


def pieces(asker: Asker) -> None:
    """A health check, a watch that is left, and a message of several kilobytes."""
    asker.raw("/grpc.health.v1.Health/Check", b"")
    watch = asker.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=10.0)
    next(watch)
    watch.cancel()
    asker.infer("double", {"x": np.ones((200, 4), np.float32)})


def heads(asker: Asker) -> None:
    """Calls whose headers are large enough to be counted."""
    for name in ("double", "nobody"):
        asker.outcome(request(name, X), metadata=(("note", name * 400),))


def triton(address: str) -> None:
    """What NVIDIA's client asks."""
    with tritonclient.grpc.InferenceServerClient(address) as client:
        assert client.is_server_live()
        client.get_model_metadata("double")
        x = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
        x.set_data_from_numpy(X["x"])
        client.infer("double", [x])


async def node(address: str) -> None:
    """What `@grpc/grpc-js` asks: answers, an error with metadata, a stream, and a watch that is left."""
    client = GrpcJs(address)
    try:
        for asked in (
            Asked(LIVE),
            Asked(INFER, [doubled(1.0)], metadata=(("key", "value"), ("trace-bin", b"\0\1\2"))),
            Asked(INFER, [request("nobody", X).SerializeToString()], timeout_s=5.0),
            Asked(STREAM_INFER, [doubled(number) for number in range(3)], Kind.BIDI, takes_turns=True),
            Asked(WATCH, kind=Kind.SERVER_STREAM, cancel_after=1),
            Asked(INFER, [doubled(2.0)]),
        ):
            await client.call(asked)
    finally:
        await client.close()


def main(kind: str, address: str) -> None:
    """Makes the calls."""
    if kind == "triton":
        triton(address)
        return
    if kind == "grpc-js":
        asyncio.run(node(address))
        return
    with Asker(address, **{"grpc.use_local_subchannel_pool": 1}) as asker:
        {
            "unary": unary,
            "stream": stream,
            "compressed": compressed,
            "cancelled": cancelled,
            "pieces": pieces,
            "heads": heads,
        }[kind](asker)


if __name__ == "__main__":
    main(*sys.argv[1:])
