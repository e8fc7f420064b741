"""Mutated recordings of real connections into the rpc layer: python -m tests.rpc.fuzz [--seconds N] [--seed N].

What a client has sent goes to the native layer and to its plain twin, with the same acts of a front between its pieces.
Neither may raise anything, both must say the same, and nothing may be held when the connection is over. What a server
has answered goes to the client's side with the acts of a caller, and without, cut in two ways: each call ends once.
"""

import argparse
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from steelyard._native import rpc
from steelyard.rpc import codes
from steelyard.rpc.calls import Event, Happening, Method, ServerCall
from steelyard.rpc.client_calls import ClientCall, ClientEvent, ClientHappening
from steelyard.rpc.compression import TooMuch, inflate
from steelyard.rpc.framing import MESSAGE_OVERHEAD
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.rpc.plain import ledger as plain_ledger
from steelyard.rpc.plain import traffic as plain_traffic
from steelyard.rpc.server import ServerConnection
from steelyard.rpc.states import ClientState, ServerState
from tests.rpc.answered import CALLS, begin
from tests.rpc.client_peers import client

CORPUS = Path(__file__).parent / "corpus"
ANSWERS = Path(__file__).parent / "answers"
PREFACE_BYTES = 24

SERVICE = b"/inference.GRPCInferenceService/"
METHODS = {
    name: Method(name.decode(), streams_requests, streams_answers, None)
    for name, streams_requests, streams_answers in (
        (SERVICE + b"ModelInfer", False, False),
        (SERVICE + b"ModelMetadata", False, False),
        (SERVICE + b"ServerLive", False, False),
        (SERVICE + b"ModelStreamInfer", True, True),
        (b"/grpc.health.v1.Health/Check", False, False),
        (b"/grpc.health.v1.Health/Watch", False, True),
    )
}

LIMITS = Limits(max_message_bytes=4_000, max_streams=20, connection_bytes=20_000, send_bytes=8_000)

# What a read of a front is later than the one before.
READ_NS = 1_000_000

# Numbers at the edges of what fields of one to four bytes hold.
EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x3FFF, 0x4000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def recordings(directory: Path = CORPUS) -> list[bytes]:
    """The corpus, in order of its names."""
    return [path.read_bytes() for path in sorted(directory.iterdir()) if path.suffix != ".md"]


def frames(data: bytes) -> list[bytes]:
    """The preface, which a server has none of, and each frame behind it."""
    begin = PREFACE_BYTES if data.startswith(b"PRI") else 0
    found = [data[:begin]]
    while begin < len(data):
        end = begin + 9 + int.from_bytes(data[begin : begin + 3])
        found.append(data[begin:end])
        begin = end
    return found


def mutated(chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A recording with frames moved, doubled, lost and taken from others, and then some of its bytes changed."""
    parts = frames(chance.choice(corpus))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(1, len(parts) + 1)
        other = chance.choice(frames(chance.choice(corpus))[1:])
        match chance.randrange(5):
            case 0:
                parts.insert(at, other)
            case 1:
                parts[at:at] = [chance.choice(parts)] * chance.randrange(1, 30)
            case 2:
                del parts[at : at + chance.randrange(3)]
            case 3:
                parts.insert(at, frame_of_chance(chance))
            case _:
                moved = parts.pop(chance.randrange(len(parts)))
                parts.insert(min(at, len(parts)), moved)
        parts = parts or [b""]
    data = bytearray(b"".join(parts))
    for _ in range(chance.choice([0, 0, 1, 1, 2, 8])):
        if not data:
            break
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                size = chance.choice([1, 2, 3, 4])
                data[at : at + size] = (chance.choice(EDGES) & (256**size - 1)).to_bytes(size)
            case 2:
                del data[at : at + chance.randrange(1, 20)]
            case _:
                data[at:at] = chance.randbytes(chance.randrange(1, 20))
    return bytes(data[: chance.choice([len(data), len(data), chance.randrange(len(data) + 1)])])


def frame_of_chance(chance: random.Random) -> bytes:
    """A whole frame of any kind, with a payload that may be of its length."""
    payload = chance.randbytes(chance.choice([0, 1, 4, 5, 6, 8, 17, 100]))
    stream_id = chance.choice([0, 1, 1, 3, 5, 2, 0x7FFFFFFF])
    kind, flags = chance.randrange(11), chance.choice([0, 1, 4, 5, 8, 0x20])
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream_id.to_bytes(4) + payload


class Front:
    """A front that does to its calls whatever chance says, and sees that it is told what it should be."""

    def __init__(self, plain: bool, seed: int) -> None:
        self._chance = random.Random(seed)
        self.total: Any = plain_ledger.Ledger() if plain else rpc.Ledger()
        traffic: Any = plain_traffic.Traffic if plain else rpc.Traffic
        self.server = ServerConnection(METHODS, LIMITS, TotalLimits(), self.total, traffic)
        self.said: list[object] = []
        """What was told and what was sent, for a comparison."""
        self._live: dict[int, ServerCall] = {}
        self._unread: dict[int, list[bytes]] = {}
        self._over: set[int] = set()

    def take(self, data: bytes) -> None:
        """The whole life of a connection over which this comes."""
        begin = now_ns = 0
        while begin < len(data):
            size = self._chance.choice([1, 5, 9, 30, 200, 3_000])
            now_ns += READ_NS
            self._hear(self.server.receive(data[begin : begin + size], now_ns))
            begin += size
            for _ in range(self._chance.randrange(3)):
                self._act()
        for call in list(self._live.values()):
            self.server.fail(call, codes.UNAVAILABLE, "over", [])
            self._end(call)
        self._send()
        self._hear(self.server.lost())
        assert not self._live
        assert not self.server.calls
        for ledger in (self.server.ledger, self.total):
            assert (ledger.incoming, ledger.working, ledger.outgoing) == (0, 0, 0)

    def _hear(self, events: list[Event]) -> None:
        for happening, call, body, compressed in events:
            stream_id = call.stream_id
            self.said.append((happening, stream_id, body, compressed))
            assert stream_id not in self._over, f"{happening.name} of a call that is over"
            if happening in (Happening.REQUEST, Happening.OPENED):
                assert stream_id not in self._live
                self._live[stream_id] = call
                self._unread[stream_id] = []
                self.said.append((call.timeout_ns, call.deadline_ns, call.encoding, call.accepts))
                with contextlib.suppress(ValueError):
                    self.said.append(call.metadata())
            else:
                assert self._live[stream_id] is call
                if happening is Happening.MESSAGE:
                    self._unread[stream_id].append(body)
                elif happening is Happening.GONE:
                    self._end(call)

    def _act(self) -> None:
        chance, server = self._chance, self.server
        what = chance.randrange(8)
        if what == 0 or not self._live:
            self._send()
            return
        call = self._live[chance.choice(sorted(self._live))]
        body = bytes(chance.choice([0, 3, 300, 9_000]))
        unread = self._unread[call.stream_id]
        if what <= 2 and call.state in (ServerState.RECEIVING, ServerState.RECEIVED):
            server.answer(call, body, [(b"key", b"value")])
            self._end(call)
        elif what == 3:
            server.fail(call, codes.INTERNAL, "fehlt: ü%", [])
            self._end(call)
        elif what == 4:
            server.reset(call, codes.CANCEL)
            self._end(call)
        elif what == 5 and call.method.streams_answers and server.may_send(call):
            server.send_message(call, body)
        elif what == 6 and unread:
            server.consumed(call, unread.pop(0))
        elif what == 7:
            server.ping()

    def _send(self) -> None:
        while data := self.server.data_to_send():
            self.said.append(data)
        self._hear(self.server.news())
        self.said.append(self.server.closed)

    def _end(self, call: ServerCall) -> None:
        del self._live[call.stream_id]
        self._over.add(call.stream_id)


class Caller:
    """A client's channel that does to its calls whatever chance says, and sees that each of them ends once."""

    def __init__(self, seed: int, acts: bool) -> None:
        """acts: whether it does anything but to begin what was begun when the answers were recorded."""
        self._chance = random.Random(seed)
        self._acts = acts
        self.client = client(LIMITS)
        self.told: dict[int, list[object]] = {}
        """What was told of each call, for a comparison."""
        self._live: dict[int, ClientCall] = {}
        self._unread: dict[int, list[bytes]] = {}
        self._begun = 0

    def take(self, data: bytes, sizes: Sequence[int]) -> None:
        """The whole life of a connection over which this comes, in pieces of these sizes."""
        for asking in CALLS:
            self._began(begin(self.client, asking))
        self._send()
        at = 0
        while at < len(data):
            size = self._chance.choice(sizes)
            self._hear(self.client.receive(data[at : at + size]))
            at += size
            # What is sent in between decides which of the server's errors are still looked at.
            for _ in range(self._chance.randrange(3) if self._acts else 0):
                self._act()
        self._send()
        self._hear(self.client.lost("over"))
        assert not self._live
        assert not self.client.calls
        assert not self.client.may_start(0)
        assert not self.client.data_to_send()

    def _began(self, call: ClientCall) -> None:
        self._live[call.stream_id] = call
        self._unread[call.stream_id] = []
        self.told[call.stream_id] = []

    def _hear(self, events: list[ClientEvent]) -> None:
        for happening, call, body, compressed in events:
            assert self._live[call.stream_id] is call, f"{happening.name} of a call that is over"
            told, unread = self.told[call.stream_id], self._unread[call.stream_id]
            assert len(body) <= LIMITS.max_message_bytes
            assert call.streams_answers or happening is ClientHappening.ENDED
            assert (ClientHappening.HEADERS in told) == (happening is ClientHappening.MESSAGE) or (
                happening is ClientHappening.ENDED
            )
            told.append(happening)
            with contextlib.suppress(ValueError):
                told.append(call.metadata())
            if compressed:
                with contextlib.suppress(ValueError, TooMuch):
                    assert (
                        len(inflate(call.encoding, body, LIMITS.max_message_bytes))
                        <= LIMITS.max_message_bytes
                    )
            if happening is ClientHappening.ENDED:
                assert 0 <= call.code <= codes.MAX_CODE
                assert call.streams_answers or call.code != codes.OK or call.body is not None
                told += [call.code, body, call.never_ran]
                with contextlib.suppress(ValueError):
                    told.append(call.trailing_metadata())
                self._end(call)
            elif happening is ClientHappening.MESSAGE:
                unread.append(body)
                told.append(body)
        for stream_id, call in self._live.items() if events else ():
            assert call.held == sum(len(one) + MESSAGE_OVERHEAD for one in self._unread[stream_id])

    def _act(self) -> None:
        chance, client = self._chance, self.client
        what = chance.randrange(7)
        if what == 0 and client.may_start(10) and len(self.told) < 40:
            self._began(begin(client, chance.choice(CALLS)))
        if what <= 1 or not self._live:
            self._send()
            return
        call = self._live[chance.choice(sorted(self._live))]
        unread = self._unread[call.stream_id]
        sending = call.state in (ClientState.SENDING, ClientState.SENDING_ANSWERED)
        if what == 2 and sending and client.may_send(call):
            client.send(call, bytes(chance.choice([0, 300, 4_000])), last=chance.random() < 0.3)
        elif what == 3 and sending:
            client.end(call)
        elif what == 4:
            client.cancel(call)
            self._end(call)
        elif what == 5 and unread:
            client.consumed(call, unread.pop(0))
        elif what == 6:
            client.ping()

    def _send(self) -> None:
        while self.client.data_to_send():
            pass
        self._hear(self.client.news())

    def _end(self, call: ClientCall) -> None:
        del self._live[call.stream_id]


def serve(number: int, data: bytes) -> None:
    """What a client sends goes to the server's side."""
    native, plain = Front(False, number), Front(True, number)
    native.take(data)
    plain.take(data)
    assert native.said == plain.said


def ask(number: int, data: bytes) -> None:
    """What a server sends goes to the client's side."""
    Caller(number, acts=True).take(data, [1, 5, 9, 30, 200, 3_000])
    whole, pieces = Caller(number, acts=False), Caller(number, acts=False)
    whole.take(data, [len(data)])
    pieces.take(data, [1, 9, 50, 500])
    assert whole.told == pieces.told


SIDES: dict[str, tuple[Callable[[int, bytes], None], Path]] = {
    "server": (serve, CORPUS),
    "client": (ask, ANSWERS),
}


def fuzz(seed: int, seconds: float = 0.0, count: int = 0, sides: Sequence[str] = tuple(SIDES)) -> int:
    """Tries inputs of every seed from this on until the time is up or there were so many; returns the number of seeds.
    A failure names its input."""
    tried = [(side, take, recordings(corpus)) for side, (take, corpus) in SIDES.items() if side in sides]
    end = time.monotonic() + seconds
    for number in itertools.count(seed):
        if (count and number - seed >= count) or (not count and time.monotonic() > end):
            break
        for side, take, corpus in tried:
            data = mutated(random.Random(number), corpus)
            try:
                take(number, data)
            except Exception as failure:
                raise AssertionError(f"seed {number}, {side}: {data!r}") from failure
    return number - seed


def main() -> None:
    """Fuzzes for some time."""
    parser = argparse.ArgumentParser(prog="python -m tests.rpc.fuzz")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 40))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    print(f"{fuzz(given.seed, given.seconds)} inputs for either side, and none found a fault")


if __name__ == "__main__":
    main()
