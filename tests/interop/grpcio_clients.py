"""grpcio as a client: its threads, and its asyncio face."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio

from tests.interop.outcome import UNLIMITED, Asked, Kind, Outcome

OPTIONS = [
    ("grpc.max_receive_message_length", UNLIMITED),
    ("grpc.max_send_message_length", UNLIMITED),
    ("grpc.use_local_subchannel_pool", 1),
]

COMPRESSION = {
    "identity": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}


def method_of(channel: Any, asked: Asked) -> Any:
    """The channel's face of the method that is asked."""
    make = {
        Kind.UNARY: channel.unary_unary,
        Kind.SERVER_STREAM: channel.unary_stream,
        Kind.BIDI: channel.stream_stream,
    }[asked.kind]
    return make(asked.method)


def how_of(asked: Asked) -> dict[str, Any]:
    """The options of the call."""
    return {
        "timeout": asked.timeout_s,
        "metadata": asked.metadata,
        "compression": COMPRESSION[asked.encoding],
    }


class GrpcioSync:
    """grpcio's blocking face, on a thread."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=OPTIONS)

    async def call(self, asked: Asked) -> Outcome:
        return await asyncio.to_thread(self._call, asked)

    def _call(self, asked: Asked) -> Outcome:
        bodies: list[bytes] = []
        ended = threading.Event()
        turn = threading.Semaphore(1)

        def requests() -> Iterator[bytes]:
            for body in asked.bodies:
                if asked.takes_turns:
                    turn.acquire()
                yield body
            if asked.stays_open:
                ended.wait()

        method, how = method_of(self._channel, asked), how_of(asked)
        if asked.kind is Kind.UNARY:
            call = method.future(asked.bodies[0], **how)
            if asked.cancel_after == 0:
                call.cancel()
            with contextlib.suppress(grpc.RpcError, grpc.FutureCancelledError):
                bodies.append(call.result())
        else:
            call = method(asked.bodies[0] if asked.kind is Kind.SERVER_STREAM else requests(), **how)
            if asked.cancel_after == 0:
                call.cancel()
            with contextlib.suppress(grpc.RpcError):
                for body in call:
                    bodies.append(body)
                    turn.release()
                    if len(bodies) == asked.cancel_after:
                        call.cancel()
        ended.set()
        turn.release()
        trailing = dict(call.trailing_metadata() or ())
        return Outcome(call.code().value[0], call.details() or "", bodies, trailing)

    async def close(self) -> None:
        self._channel.close()


class GrpcioAio:
    """grpcio's asyncio face."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=OPTIONS)

    async def call(self, asked: Asked) -> Outcome:
        bodies: list[bytes] = []
        ended = asyncio.Event()
        turn = asyncio.Semaphore(1)

        async def requests() -> AsyncIterator[bytes]:
            for body in asked.bodies:
                if asked.takes_turns:
                    await turn.acquire()
                yield body
            if asked.stays_open:
                await ended.wait()

        method, how = method_of(self._channel, asked), how_of(asked)
        call = method(requests() if asked.kind is Kind.BIDI else asked.bodies[0], **how)
        if asked.cancel_after == 0:
            call.cancel()
        with contextlib.suppress(grpc.RpcError, asyncio.CancelledError):
            if asked.kind is Kind.UNARY:
                bodies.append(await call)
            else:
                async for body in call:
                    bodies.append(body)
                    turn.release()
                    if len(bodies) == asked.cancel_after:
                        call.cancel()
        ended.set()
        code = (await call.code()).value[0]
        trailing = dict(await call.trailing_metadata() or ())
        return Outcome(code, await call.details() or "", bodies, trailing)

    async def close(self) -> None:
        await self._channel.close()
