"""ModelStreamInfer: many requests on one stream, each answered when it is done, an error as a message of its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from steelyard._native.path import EngineCall
from steelyard.errors import InvalidRequest, SteelyardError, TooLarge
from steelyard.models.names import MAX_NAME_BYTES
from steelyard.serving.call import Metadata
from steelyard.serving.engine import Engine
from steelyard.serving.methods import Context, Methods
from steelyard.wire import decode_request, encode_response, stream_error, wrap_stream_response
from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.status import message_of, stream_parameters_of
from steelyard.wire.types import MAX_ID_BYTES

# Requests of one stream that may be in the server, or answered and not read: what fills a few of the largest usual
# batches. The next request is read when there is room for its answer.
MAX_IN_FLIGHT = 256

# The same before the first answer has shown how large they are: a few of the largest may come at once.
FIRST_IN_FLIGHT = 8

# How fast the expected size of an answer falls after a large one.
EXPECTED_KEPT = 0.9


class StreamedCall(EngineCall):
    """One request of a stream, as the engine sees it."""

    __slots__ = ("_body", "_stream", "expected_bytes", "peer")

    def __init__(self, stream: "Stream", context: Context, body: bytes, expected_bytes: int) -> None:
        """expected_bytes: set aside for the answer."""
        self._stream = stream
        self.expected_bytes = expected_bytes
        self._body = body
        self.peer = context.peer
        self.deadline_ns = context.deadline_ns

    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        return ()

    def answer(self, body: bytes, decision_id: str, trailing: Metadata) -> str | None:
        answer = wrap_stream_response(body)
        self._stream.expect(len(answer))
        problem = self._stream.refuses(self, len(answer))
        self._stream.ended(self, self._error(TooLarge(problem), decision_id) if problem else answer)
        return problem or None

    def fail(self, error: SteelyardError, decision_id: str, trailing: Metadata) -> None:
        answer = self._error(error, decision_id)
        self._stream.expect(len(answer))
        self._stream.ended(self, answer)

    def _error(self, error: SteelyardError, decision_id: str) -> bytes:
        parameters = stream_parameters_of(error, decision_id)
        about = encode_response(*names_of(self._body), parameters, ())
        return stream_error(message_of(error), about)


def names_of(body: bytes) -> tuple[str, str, str]:
    """Model, version and id of a request, each empty where it cannot be understood.

    Answers come in any order, so a caller has to be told which request an error is about, and a request may be refused
    before it was understood: then protobuf may still read it.
    """
    try:
        request: Any = decode_request(body)
    except InvalidRequest:
        try:
            request = pb.ModelInferRequest.FromString(body)
        except DecodeError:
            return "", "", ""
    return (
        request.model_name[:MAX_NAME_BYTES],
        request.model_version[:MAX_NAME_BYTES],
        request.id[:MAX_ID_BYTES],
    )


class Stream:
    """The requests of one stream that are in the server, and the answers that wait for the caller to read them.

    A caller who sends and does not read gets no further than `MAX_IN_FLIGHT` requests, nor than `max_bytes` of answers
    that wait and of those to come, each of which is taken to be as large as the last ones were. Both are set aside
    among the answers of its connection and of all, so that many streams wait for each other; a stream for which
    nothing waits may always have one request more. An answer that is larger than expected, and finds no room, becomes
    an error.
    """

    def __init__(self, engine: Engine, context: Context, max_bytes: int) -> None:
        self._engine = engine
        self._context = context
        self._max_bytes = max_bytes
        self._calls: set[StreamedCall] = set()
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._unread = 0
        self._unread_bytes = 0
        self._expected_bytes: float = 0
        self._changed = asyncio.Event()
        self._reading = True
        self._aside = 0
        self._waiting_bytes = 0
        self._over = False

    async def read(self, bodies: AsyncIterator[bytes]) -> None:
        """Hands every request to the engine until the caller has sent the last."""
        try:
            async for body in bodies:
                if not self._has_room():
                    await self._wait_for_room(len(body))
                expected = int(self._expected_bytes)
                # Without room the only request of a stream goes on, and nothing is set aside for it.
                call = StreamedCall(
                    self, self._context, body, expected if self._context.has_room(expected) else 0
                )
                self._calls.add(call)
                self._set_aside(call.expected_bytes)
                self._engine.submit(call, body)
        finally:
            self._reading = False
            self._end_if_done()

    async def answers(self) -> AsyncIterator[bytes]:
        """Answers in the order in which they were done."""
        while (answer := await self._answers.get()) is not None:
            # It is the front's from here on, as it was counted.
            self._aside -= len(answer)
            self._waiting_bytes -= len(answer)
            yield answer
            self._unread -= 1
            self._unread_bytes -= len(answer)
            self._changed.set()

    def expect(self, size: int) -> None:
        """An answer of so many bytes was made; the next are expected to be like it."""
        first = not self._expected_bytes
        self._expected_bytes = max(size, EXPECTED_KEPT * self._expected_bytes)
        if first:
            for call in self._calls:
                if self._context.has_room(size):
                    call.expected_bytes = size
                    self._set_aside(size)

    def refuses(self, call: StreamedCall, size: int) -> str:
        """Why an answer of so many bytes cannot wait; empty where it can."""
        # What was expected is set aside already.
        more = size - call.expected_bytes
        return "" if more <= 0 or self._context.has_room(more) else self._context.no_room(size)

    def ended(self, call: StreamedCall, answer: bytes) -> None:
        """Takes the answer of one of the stream's calls."""
        if self._over:
            return
        self._calls.discard(call)
        self._set_aside(len(answer) - call.expected_bytes)
        self._unread += 1
        self._unread_bytes += len(answer)
        self._waiting_bytes += len(answer)
        self._changed.set()
        self._answers.put_nowait(answer)
        self._end_if_done()

    def cancel(self) -> None:
        """The caller is gone."""
        for call in self._calls:
            self._engine.cancel(call)
        self._calls.clear()
        self._set_aside(-self._aside)
        self._over = True

    def _set_aside(self, count: int) -> None:
        self._aside += count
        self._context.set_aside(count)

    async def _wait_for_room(self, size: int) -> None:
        """Keeps a request of `size` bytes until an answer was taken. Raises TooLarge where it cannot be kept."""
        self._context.keep(size)
        try:
            while not self._has_room():
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._context.keep(-size)

    def _has_room(self) -> bool:
        """Whether one more request may be read: always where nothing is held."""
        inside = len(self._calls)
        if not inside and not self._unread:
            return True
        limit = MAX_IN_FLIGHT if self._expected_bytes else FIRST_IN_FLIGHT
        expected = self._unread_bytes + (inside + 1) * self._expected_bytes
        return (
            inside + self._unread < limit
            and expected <= self._max_bytes
            and self._context.has_room(int((inside + 1) * self._expected_bytes) - self._reserved())
        )

    def _reserved(self) -> int:
        # All that is set aside but for what waits.
        return self._aside - self._waiting_bytes

    def _end_if_done(self) -> None:
        if not self._reading and not self._calls:
            self._answers.put_nowait(None)


def register(methods: Methods, engine: Engine, max_bytes: int) -> None:
    """Puts the handler into the table; `max_bytes` of answers may wait for the caller of each stream."""

    async def stream_infer(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        stream = Stream(engine, context, max_bytes)
        reader = asyncio.ensure_future(stream.read(bodies))
        try:
            async for answer in stream.answers():
                yield answer
            await reader
        finally:
            reader.cancel()
            stream.cancel()

    methods.bidi_stream["/inference.GRPCInferenceService/ModelStreamInfer"] = stream_infer
