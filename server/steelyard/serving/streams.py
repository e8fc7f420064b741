"""ModelStreamInfer: many requests on one stream, each answered when it is done, an error as a message of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from steelyard.errors import SteelyardError
from steelyard.models.names import MAX_NAME_BYTES
from steelyard.serving.call import Metadata
from steelyard.serving.engine import Engine
from steelyard.serving.methods import Context, Methods
from steelyard.wire import stream_error, wrap_stream_response
from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.status import message_of
from steelyard.wire.types import MAX_ID_BYTES

# Requests of one stream that may be in the server; the next is read when one of them has been answered. It is what
# fills a few of the largest usual batches, and 64 MiB messages times this are held by the queue's bounds anyway.
MAX_IN_FLIGHT = 256


class StreamedCall:
    """One request of a stream, as the engine sees it."""

    __slots__ = ("_body", "_stream", "cancelled", "deadline_ns", "peer", "place")

    def __init__(self, stream: "Stream", context: Context, body: bytes) -> None:
        self._stream = stream
        self._body = body
        self.peer = context.peer
        self.deadline_ns = context.deadline_ns
        self.cancelled = False
        self.place: Any = None

    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        return ()

    def answer(self, body: bytes, trailing: Metadata) -> None:
        self._stream.ended(self, wrap_stream_response(body))

    def fail(self, error: SteelyardError, trailing: Metadata) -> None:
        # Answers come in any order, so the caller has to be told which request an error is about. The body is read
        # once more for that, because a request may be refused before it was understood.
        try:
            about = pb.ModelInferRequest.FromString(self._body)
        except DecodeError:
            about = pb.ModelInferRequest()
        self._stream.ended(
            self,
            stream_error(
                message_of(error),
                about.model_name[:MAX_NAME_BYTES],
                about.model_version[:MAX_NAME_BYTES],
                about.id[:MAX_ID_BYTES],
            ),
        )


class Stream:
    """The requests of one stream that are in the server, and the answers that wait for the caller to read them."""

    def __init__(self, engine: Engine, context: Context) -> None:
        self._engine = engine
        self._context = context
        self._calls: set[StreamedCall] = set()
        # At most MAX_IN_FLIGHT answers: a request is read only when there is room for its answer.
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._reading = True

    async def read(self, bodies: AsyncIterator[bytes]) -> None:
        """Hands every request to the engine until the caller has sent the last."""
        try:
            async for body in bodies:
                await self._room.acquire()
                call = StreamedCall(self, self._context, body)
                self._calls.add(call)
                self._engine.submit(call, body)
        finally:
            self._reading = False
            self._end_if_done()

    async def answers(self) -> AsyncIterator[bytes]:
        """Answers in the order in which they were done."""
        while (answer := await self._answers.get()) is not None:
            yield answer
            self._room.release()

    def ended(self, call: StreamedCall, answer: bytes) -> None:
        """Takes the answer of one of the stream's calls."""
        self._calls.discard(call)
        self._answers.put_nowait(answer)
        self._end_if_done()

    def cancel(self) -> None:
        """The caller is gone."""
        for call in self._calls:
            self._engine.cancel(call)
        self._calls.clear()

    def _end_if_done(self) -> None:
        if not self._reading and not self._calls:
            self._answers.put_nowait(None)


def register(methods: Methods, engine: Engine) -> None:
    """Puts the handler into the table."""

    async def stream_infer(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        stream = Stream(engine, context)
        reader = asyncio.ensure_future(stream.read(bodies))
        try:
            async for answer in stream.answers():
                yield answer
            await reader
        finally:
            reader.cancel()
            stream.cancel()

    methods.bidi_stream["/inference.GRPCInferenceService/ModelStreamInfer"] = stream_infer
