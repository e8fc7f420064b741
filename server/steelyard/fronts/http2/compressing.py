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

    def answer(self, call: ServerCall, body: bytes, trailing: list[Header]) -> str | None:
        if len(body) < WORTH_BYTES or not is_accepted(GZIP, call.accepts):
            return super().answer(call, body, trailing)
        return self._answer_compressed(call, body, trailing)

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
        try:
            return await self.front.compress(body)
        finally:
            self.rpc.set_aside(-len(body))

    def _answer_compressed(self, call: ServerCall, body: bytes, trailing: list[Header]) -> str | None:
        problem: str | None = None
        if len(body) <= INLINE_BYTES:
            problem = self.rpc.answer_compressed(call, deflate(GZIP, body), GZIP, trailing)
        elif not self.rpc.has_room(len(body)):
            # Where it is refused, as it would be later.
            problem = self.rpc.answer(call, body, trailing)
        else:
            call.owner = owner = Compressed()
            # Until it is sent it is counted as one that waits for the peer.
            self.rpc.set_aside(len(body))
            self.front.background(self._answer_later(call, owner, body, trailing))
            return None
        self.call_ended()
        return problem

    async def _answer_later(self, call: ServerCall, owner: Any, body: bytes, trailing: list[Header]) -> None:
        """Sends what was counted as answered: what was set aside is enough for it."""
        aside = len(body)
        try:
            small = await self.front.compress(body)
        except Exception as error:
            self.rpc.set_aside(-aside)
            if not owner.is_gone:
                self.fail(call, fault_of(call, error), trailing)
            return
        if owner.is_gone:
            self.rpc.set_aside(-aside)
        elif small is None or len(small) > aside:
            self.rpc.answer_otherwise(call, body, trailing, aside)
            self.call_ended()
        else:
            self.rpc.answer_compressed(call, small, GZIP, trailing, aside)
            self.call_ended()
