"""grpclib as a client: gRPC in pure Python, on another HTTP/2 library than any server here."""

import asyncio
from typing import Any

from grpclib.client import Channel
from grpclib.config import Configuration
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError

from tests.interop.outcome import Asked, Kind, Outcome

CARDINALITY = {
    Kind.UNARY: Cardinality.UNARY_UNARY,
    Kind.SERVER_STREAM: Cardinality.UNARY_STREAM,
    Kind.BIDI: Cardinality.STREAM_STREAM,
}


class Raw(CodecBase):
    """Bytes as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class Grpclib:
    """One channel of grpclib's. It knows no compression."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._channel = Channel(host, int(port), codec=Raw(), config=Configuration())

    async def call(self, asked: Asked) -> Outcome:
        bodies: list[bytes] = []
        turn = asyncio.Semaphore(1)
        stream = self._channel.request(
            asked.method,
            CARDINALITY[asked.kind],
            bytes,
            bytes,
            timeout=asked.timeout_s,
            metadata=list(asked.metadata),
        )
        code, message = Status.OK, ""
        try:
            async with stream:
                await stream.send_request()
                sending = asyncio.ensure_future(self._send(stream, asked, turn))
                try:
                    while len(bodies) != asked.cancel_after:
                        body = await stream.recv_message()
                        if body is None:
                            break
                        bodies.append(body)
                        turn.release()
                    else:
                        await stream.cancel()
                        return Outcome(Status.CANCELLED.value, "", bodies)
                finally:
                    sending.cancel()
        except GRPCError as error:
            code, message = error.status, error.message or ""
        except TimeoutError:
            code = Status.DEADLINE_EXCEEDED
        except StreamTerminatedError as error:
            code, message = Status.UNKNOWN, str(error)
        return Outcome(code.value, message, bodies, dict(stream.trailing_metadata or {}))

    async def _send(self, stream: Any, asked: Asked, turn: asyncio.Semaphore) -> None:
        for body in asked.bodies:
            if asked.takes_turns:
                await turn.acquire()
            await stream.send_message(body)
        if asked.kind is Kind.BIDI and not asked.stays_open:
            await stream.end()

    async def close(self) -> None:
        self._channel.close()
