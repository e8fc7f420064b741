"""Messages out of the bytes of one direction of a call; the twin of the native one."""

from steelyard.rpc.framing import PREFIX, PREFIX_BYTES, bad_flag, too_large


class Unframer:
    """See the stub of the native one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = b""
        self._length = -1
        self._compressed = False

    @property
    def held(self) -> int:
        return len(self._bytes)

    @property
    def in_message(self) -> bool:
        return self._length >= 0 or self.held > 0

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        messages = []
        left = self._bytes + data
        while left:
            if self._length < 0:
                if len(left) < PREFIX_BYTES:
                    break
                flag, length = PREFIX.unpack_from(left)
                if flag > 1:
                    raise bad_flag(flag)
                if length > self._max_bytes:
                    raise too_large(length, self._max_bytes)
                self._length, self._compressed, left = length, bool(flag), left[PREFIX_BYTES:]
            if len(left) < self._length:
                break
            messages.append((left[: self._length], self._compressed))
            left = left[self._length :]
            self._length = -1
        self._bytes = left
        return messages

    def drop(self) -> None:
        self._bytes = b""
        self._length = -1
