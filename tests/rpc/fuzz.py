"""Mutated recordings of real connections into the rpc layer: python -m tests.rpc.fuzz [--seconds N] [--seed N].

Each input goes to the native layer and to its plain twin, with the same acts of a front between its pieces. Neither may
raise anything, both must say the same, and nothing may be held when the connection is over.
"""

import argparse
import contextlib
import itertools
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from steelyard._native import rpc
from steelyard.rpc import codes
from steelyard.rpc.calls import Event, Happening, Method, ServerCall
from steelyard.rpc.limits import Limits, TotalLimits
from steelyard.rpc.plain import ledger as plain_ledger
from steelyard.rpc.plain import traffic as plain_traffic
from steelyard.rpc.server import ServerConnection
from steelyard.rpc.states import ServerState

CORPUS = Path(__file__).parent / "corpus"
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

# Numbers at the edges of what fields of one to four bytes hold.
EDGES = [0, 1, 0x7F, 0x80, 0xFF, 0x3FFF, 0x4000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def recordings() -> list[bytes]:
    """The corpus, in order of its names."""
    return [path.read_bytes() for path in sorted(CORPUS.iterdir()) if path.suffix != ".md"]


def frames(data: bytes) -> list[bytes]:
    """The preface, and each frame behind it."""
    found, begin = [data[:PREFACE_BYTES]], PREFACE_BYTES
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
        begin = 0
        while begin < len(data):
            size = self._chance.choice([1, 5, 9, 30, 200, 3_000])
            self._hear(self.server.receive(data[begin : begin + size]))
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


def fuzz(seed: int, seconds: float = 0.0, count: int = 0) -> int:
    """Tries inputs until the time is up or there were so many; returns their number. A failure names its input."""
    corpus = recordings()
    end = time.monotonic() + seconds
    for number in seeds(seed):
        if (count and number - seed >= count) or (not count and time.monotonic() > end):
            return number - seed
        chance = random.Random(number)
        data = mutated(chance, corpus)
        try:
            native, plain = Front(False, number), Front(True, number)
            native.take(data)
            plain.take(data)
            assert native.said == plain.said
        except Exception as failure:
            raise AssertionError(f"seed {number}: {data!r}") from failure
    raise AssertionError("seeds do not end")


def seeds(first: int) -> Iterator[int]:
    """One for every input."""
    return itertools.count(first)


def main() -> None:
    """Fuzzes for some time."""
    parser = argparse.ArgumentParser(prog="python -m tests.rpc.fuzz")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 40))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    print(f"{fuzz(given.seed, given.seconds)} inputs, and none found a fault")


if __name__ == "__main__":
    main()
