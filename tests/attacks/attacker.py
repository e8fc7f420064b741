"""One connection of a peer that sends whatever it likes."""

import contextlib
import itertools
import socket
import ssl
import struct
from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.attacks.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    stream_ids,
    update,
)
from tests.support.heads import good_head

INFER = b"/inference.GRPCInferenceService/ModelInfer"
LIVE = b"/inference.GRPCInferenceService/ServerLive"

TIMEOUT_S = 30.0
MAX_WINDOW = (1 << 31) - 1


def head(path: bytes = INFER, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """The header fields of a good call, and `more` behind them."""
    return good_head(path, *more)


class Attacker:
    """A socket, the frames that came on it, and no rules. Ends itself quietly where the server has ended it."""

    def __init__(
        self,
        address: str,
        *,
        window: int = 65_535,
        greets: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """window: what the server may send on each stream."""
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), TIMEOUT_S)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")
        self._pings = itertools.count(1)
        self._ids = stream_ids()
        self._rest = b""
        self._owed = b""
        self.came: Counter[int] = Counter()
        """Frames by their type."""
        self.resets: Counter[int] = Counter()
        """RST_STREAM by their code."""
        self.data_bytes = 0
        """What came in DATA."""
        self.trailers = 0
        """Calls that the server has ended with a status."""
        self.windows: defaultdict[int, int] = defaultdict(lambda: 65_535)
        """What may be sent, by stream; 0 for all together."""
        self.raw = bytearray()
        """The first kilobyte that came."""
        self.goaway: int | None = None
        """The code of the last GOAWAY."""
        self.last_streams: list[int] = []
        """What each GOAWAY said of the calls that are still taken."""
        self.ended = False
        if greets:
            self.send(
                PREFACE
                + frame(SETTINGS, b"\0\4" + window.to_bytes(4))
                + (update(0, MAX_WINDOW - 65_535) if window > 65_535 else b"")
            )

    def __enter__(self) -> "Attacker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def vanish(self) -> None:
        """Ends the connection with a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def next_id(self) -> int:
        """A stream that was not begun."""
        return next(self._ids)

    def call(
        self,
        fields: Sequence[tuple[bytes, bytes]] | None = None,
        data: bytes | None = None,
        *,
        end: bool = False,
    ) -> bytes:
        """The frames of a call on a stream of its own; without `data`, its headers alone."""
        stream_id = self.next_id()
        last = END_STREAM if end else 0
        begun = frame(
            HEADERS,
            block(head() if fields is None else fields),
            flags=END_HEADERS | (last if data is None else 0),
            stream_id=stream_id,
        )
        return begun if data is None else begun + chunks(stream_id, data, last)

    def send(self, data: bytes) -> bool:
        """Sends whole frames; returns whether the connection was still there."""
        data, self._owed = self._owed + data, b""
        return self._write(data)

    def _write(self, data: bytes) -> bool:
        try:
            self._socket.sendall(data)
        except OSError:
            self.ended = True
        return not self.ended

    def upload(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Sends a call's data as fast as the server's windows allow, until it has sent all or the call was ended."""
        ended = self.resets.total() + self.came[HEADERS]
        view = memoryview(data)
        while view and not self.ended and self.resets.total() + self.came[HEADERS] == ended:
            room = min(self.windows[0], self.windows[stream_id], len(view))
            if room <= 0:
                self._listen()
                continue
            last = END_STREAM if end and room == len(view) else 0
            self.send(chunks(stream_id, bytes(view[:room]), last))
            self.windows[0] -= room
            self.windows[stream_id] -= room
            view = view[room:]
            self.read_what_is_there()

    def reset(self, stream_id: int) -> None:
        """Gives a call up."""
        self.send(frame(RST_STREAM, (8).to_bytes(4), stream_id=stream_id))

    def wait_for_trailers(self, count: int) -> None:
        """Reads until so many calls have ended with a status."""
        while self.trailers < count and not self.ended:
            self._listen()
        assert self.trailers == count

    def send_and_read(self, data: bytes, piece_bytes: int = 1 << 16) -> bool:
        """Sends bytes and reads meanwhile, as a good peer does."""
        for begin in range(0, len(data), piece_bytes):
            self._write(data[begin : begin + piece_bytes])
            self.read_what_is_there()
        return not self.ended

    def send_as_much_as_is_taken(self, data: bytes, patience_s: float = 0.5) -> bool:
        """Sends bytes and reads nothing; returns whether all of them were taken. A server that takes none for so long
        has stopped reading, which is its right."""
        self._socket.settimeout(patience_s)
        try:
            return self.send(data)
        finally:
            self.ended = False
            self._socket.settimeout(TIMEOUT_S)

    def read_what_is_there(self) -> None:
        """Takes what has come, without waiting for more."""
        self._socket.setblocking(False)
        try:
            while not self.ended:
                self._take(self._socket.recv(1 << 18))
        except BlockingIOError:
            pass
        except OSError:
            self.ended = True
        finally:
            self._socket.settimeout(TIMEOUT_S)

    def settle(self) -> bool:
        """Reads until the server has taken everything that was sent; returns whether the connection is still there."""
        mark = next(self._pings).to_bytes(8)
        self._mark, self._marked = mark, False
        self.send(frame(PING, mark))
        return self._read_until_marked()

    def read_to_end(self) -> None:
        """Reads until the server ends the connection."""
        self._mark, self._marked = b"", False
        assert not self._read_until_marked()

    def _read_until_marked(self) -> bool:
        # What came before the end of a connection may be lost with it, so a failed send is no reason not to read.
        self.ended = False
        with contextlib.suppress(ConnectionError):
            while not self.ended and not self._marked:
                self._listen()
            return not self.ended
        self.ended = True
        return False

    _mark = b""
    _marked = False

    def _listen(self) -> None:
        self._take(self._socket.recv(1 << 18))
        if self._owed:
            self.send(b"")

    def _take(self, data: bytes) -> None:
        if not data:
            self.ended = True
            return
        self.raw += data[: 1024 - len(self.raw)]
        data = self._rest + data
        begin = 0
        while len(data) - begin >= 9:
            length = int.from_bytes(data[begin : begin + 3])
            if len(data) - begin < 9 + length:
                break
            stream_id = int.from_bytes(data[begin + 5 : begin + 9])
            self._frame(data[begin + 3], data[begin + 4], stream_id, data[begin + 9 : begin + 9 + length])
            begin += 9 + length
        self._rest = data[begin:]

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self.came[kind] += 1
        if kind == PING and flags & ACK and payload == self._mark:
            self._marked = True
        elif kind == RST_STREAM:
            self.resets[int.from_bytes(payload)] += 1
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8])
            self.last_streams.append(int.from_bytes(payload[:4]))
        elif kind == HEADERS:
            self.trailers += flags & END_STREAM
        elif kind == DATA:
            self.data_bytes += len(payload)
        elif kind == WINDOW_UPDATE:
            self.windows[stream_id] += int.from_bytes(payload)
        elif kind == SETTINGS and not flags & ACK:
            entries = {payload[at + 1]: payload[at + 2 : at + 6] for at in range(0, len(payload), 6)}
            # Before this came no stream was used.
            self.windows = defaultdict(lambda: int.from_bytes(entries[4]), {0: self.windows[0]})
            self._owed += frame(SETTINGS, flags=ACK)


def message(body: bytes, compressed: bool = False) -> bytes:
    """A message behind its prefix."""
    return bytes((compressed,)) + len(body).to_bytes(4) + body


def chunks(stream_id: int, data: bytes, last_flags: int = 0, frame_bytes: int = 16_384) -> bytes:
    """DATA frames of a stream."""
    pieces = [data[begin : begin + frame_bytes] for begin in range(0, len(data), frame_bytes)] or [b""]
    return b"".join(
        frame(DATA, piece, flags=last_flags if number == len(pieces) else 0, stream_id=stream_id)
        for number, piece in enumerate(pieces, 1)
    )
