"""Where a peer's frames begin and end; the twin of the native one."""

HEAD_BYTES = 9
PREFACE_BYTES = 24

# HEADERS, PUSH_PROMISE and CONTINUATION, which may leave a block of headers open.
BLOCK_KINDS = (1, 5, 9)
END_HEADERS = 4


class Frames:
    """See the stub of the native one."""

    def __init__(self) -> None:
        self.epoch = 0
        self.open_since = -1
        self._rest = PREFACE_BYTES
        self._head = b""
        self._in_block = False

    def take(self, data: bytes | memoryview) -> None:
        ended = False
        while data:
            if self._rest:
                step = min(self._rest, len(data))
                self._rest -= step
                data = data[step:]
            else:
                missing = HEAD_BYTES - len(self._head)
                self._head += bytes(data[:missing])
                data = data[missing:]
                if len(self._head) < HEAD_BYTES:
                    break
                self._rest = int.from_bytes(self._head[:3])
                if self._head[3] in BLOCK_KINDS:
                    self._in_block = not self._head[4] & END_HEADERS
                self._head = b""
            if not self._rest and not self._in_block:
                ended = True
        if not (self._rest or self._head or self._in_block):
            self.open_since = -1
        elif ended or self.open_since < 0:
            self.open_since = self.epoch
