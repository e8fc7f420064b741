"""Messages out of the bytes of one direction of a call, refused as soon as their length is known."""

from steelyard.rpc import codes
from steelyard.rpc.framing import PREFIX, PREFIX_BYTES, FramingError

# A piece of fewer bytes is copied to the one before it: each piece costs some two hundred bytes beside its own, and a
# peer may send them one byte long.
SMALL_PIECE_BYTES = 2048

Message = tuple[bytes, bool]
"""The body, and whether it is compressed."""


class Unframer:
    """Holds the bytes of the message that is coming; nothing is reserved for what was only announced."""

    __slots__ = ("_compressed", "_held", "_max_bytes", "_missing", "_parts")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes | bytearray | memoryview] = []
        self._held = 0
        self._missing = -1
        """Bytes that the body lacks, or -1 while the prefix is not whole."""
        self._compressed = False

    @property
    def held(self) -> int:
        """Bytes of a message that is not complete."""
        return self._held

    @property
    def in_message(self) -> bool:
        """Whether a message has begun that is not complete; of its prefix alone nothing is held."""
        return self._missing >= 0 or self._held > 0

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. Raises FramingError."""
        messages: list[Message] = []
        view = memoryview(data)
        while view:
            if self._missing < 0:
                view = self._feed_prefix(view)
                if self._missing < 0:
                    break
            if take := view[: self._missing]:
                self._hold(take)
                self._missing -= len(take)
                view = view[len(take) :]
            if not self._missing:
                messages.append((b"".join(self._parts), self._compressed))
                self._clear()
        return messages

    def drop(self) -> None:
        """Forgets what came of a message."""
        self._clear()

    def _hold(self, piece: memoryview) -> None:
        parts = self._parts
        if len(piece) >= SMALL_PIECE_BYTES or len(piece) == self._missing:
            parts.append(piece)
        elif parts and type(parts[-1]) is bytearray:
            parts[-1] += piece
        else:
            parts.append(bytearray(piece))
        self._held += len(piece)

    def _clear(self) -> None:
        self._parts = []
        self._held = 0
        self._missing = -1

    def _feed_prefix(self, view: memoryview) -> memoryview:
        have = b"".join(self._parts)
        take = view[: PREFIX_BYTES - len(have)]
        have += take
        view = view[len(take) :]
        if len(have) < PREFIX_BYTES:
            self._parts = [have]
            self._held = len(have)
            return view
        flag, length = PREFIX.unpack(have)
        if flag > 1:
            raise FramingError(codes.INTERNAL, f"a message begins with 0 or 1, this one with {flag}")
        if length > self._max_bytes:
            raise FramingError(
                codes.RESOURCE_EXHAUSTED,
                f"the message has {length} bytes, and the limit is {self._max_bytes} (max_message_bytes)",
            )
        self._parts = []
        self._held = 0
        self._compressed = bool(flag)
        self._missing = length
        return view
