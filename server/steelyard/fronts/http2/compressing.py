"""A connection whose answers are compressed, where that is worth it and the peer understands it."""

from typing import TYPE_CHECKING, Any

from steelyard.errors import TooLarge
from steelyard.fronts.http2.calls import fault_of
from steelyard.fronts.http2.connection import Http2Connection
from steelyard.rpc.calls import ServerCall
from steelyard.rpc.compression import GZIP, deflate, is_accepted
from steelyard.rpc.metadata import Header

if TYPE_CHECKING:
    from steelyard.fronts.http2.front import Http2Front

# Shorter answers travel in one packet either way.
WORTH_BYTES = 1 << 10

# Longer ones are compressed on a thread: so many are half a millisecond of the loop.
INLINE_BYTES = 64 << 10


class Compressed:
    """The owner of a call that is answered as soon as its answer is compressed."""

    is_gone = False

    def gone(self) -> None:
        """The caller is gone."""
        self.is_gone = True


class CompressingConnection(Http2Connection):
    """Answers as Http2Connection does. What answers a call may be sent a moment after it was given."""

    def __init__(self, front: "Http2Front") -> None:
        super().__init__(front)
        self._answer_plainly = None

    def answer(self, call: ServerCall, body: bytes, trailing: list[Header]) -> None:
        if len(body) < WORTH_BYTES or not is_accepted(GZIP, call.accepts):
            super().answer(call, body, trailing)
        else:
            self._answer_compressed(call, body, trailing)

    def finish(self, call: ServerCall, body: bytes | None) -> None:
        if body is None or len(body) < WORTH_BYTES or not is_accepted(GZIP, call.accepts):
            super().finish(call, body)
        else:
            self._answer_compressed(call, body, [])

    async def send(self, call: ServerCall, body: bytes, compressed: bool = False, aside: int = 0) -> None:
        small: bytes | None = None
        if is_accepted(GZIP, call.accepts):
            self.rpc.announce_encoding(call, GZIP)
            if len(body) > INLINE_BYTES:
                small = await self._compress_of_stream(body, aside)
                aside = 0
            elif len(body) >= WORTH_BYTES:
                small = deflate(GZIP, body)
        if small is None:
            await super().send(call, body, aside=aside)
        else:
            await super().send(call, small, True, aside)

    async def _compress_of_stream(self, body: bytes, aside: int) -> bytes | None:
        missing = len(body) - aside
        has_room = not missing or self.rpc.has_room(missing)
        self.rpc.set_aside(missing if has_room else -aside)
        if not has_room:
            raise TooLarge(self.rpc.no_room(len(body)))
        return await self._compress(body)

    def _answer_compressed(self, call: ServerCall, body: bytes, trailing: list[Header]) -> None:
        if len(body) <= INLINE_BYTES:
            self._answer_now(call, deflate(GZIP, body), trailing)
        elif not self.rpc.has_room(len(body)):
            # Where it is refused, as it would be later.
            self.rpc.answer(call, body, trailing)
            self.call_ended()
        else:
            call.owner = owner = Compressed()
            self.rpc.set_aside(len(body))
            self.front.background(self._answer_later(call, owner, body, trailing))

    async def _answer_later(self, call: ServerCall, owner: Any, body: bytes, trailing: list[Header]) -> None:
        try:
            small = await self._compress(body)
        except Exception as error:
            if not owner.is_gone:
                self.fail(call, fault_of(call, error), trailing)
            return
        if owner.is_gone:
            return
        if small is None:
            self.rpc.answer(call, body, trailing)
            self.call_ended()
        else:
            self._answer_now(call, small, trailing)

    async def _compress(self, body: bytes) -> bytes | None:
        """As the front does; until then the answer, which was set aside, is counted as one that waits for the peer."""
        try:
            return await self.front.compress(body)
        finally:
            self.rpc.set_aside(-len(body))

    def _answer_now(self, call: ServerCall, small: bytes, trailing: list[Header]) -> None:
        self.rpc.answer_compressed(call, small, GZIP, trailing)
        self.call_ended()
