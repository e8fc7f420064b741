"""What waits: answers for their peers, and messages for a thread that compresses or inflates them."""

import asyncio
import threading
from typing import Any

import psutil
import pytest

from steelyard.fronts.http2 import front
from steelyard.fronts.http2.patience import Patience
from steelyard.rpc.limits import Limits, TotalLimits
from tests.attacks.attacker import INFER, MAX_WINDOW, Attacker, head, message
from tests.attacks.frames import HEADERS
from tests.attacks.siege import MB
from tests.attacks.slow import ECHO, MANY, WAIT, SlowFront, slow_front
from tests.support.waiting import until

SIZE = 300_000
GZIP = (b"grpc-accept-encoding", b"gzip")
ROOM = [
    (Limits(send_bytes=1_000_000), TotalLimits()),
    (Limits(), TotalLimits(send_bytes=1_000_000)),
]


async def ask(slow: SlowFront, attacker: Attacker, path: bytes, calls: int, end: bool) -> None:
    """Sends calls with messages of SIZE, and waits until the front has them."""
    for _ in range(calls):
        begun = attacker.call(head(path, GZIP))
        stream_id = int.from_bytes(begun[5:9])
        await asyncio.to_thread(attacker.send, begun)
        await asyncio.to_thread(attacker.upload, stream_id, message(bytes(SIZE)), end=end)
    assert await asyncio.to_thread(attacker.settle)


@pytest.mark.parametrize(("limits", "totals"), ROOM, ids=["of one connection", "of all"])
async def test_answers_that_wait_to_be_compressed_are_counted(limits: Limits, totals: TotalLimits) -> None:
    async with slow_front(Patience(), limits, totals, compress=True) as slow:
        with await asyncio.to_thread(Attacker, slow.address, window=MAX_WINDOW) as attacker:
            await ask(slow, attacker, WAIT, calls=8, end=True)
            slow.released.set()
            await asyncio.to_thread(attacker.wait_for_trailers, 8)
            # Three are answered, with headers before and behind, and those that find no room have a status alone.
            assert attacker.came[HEADERS] == 3 * 2 + 5
            assert slow.front.held.outgoing == 0


async def test_answers_that_wait_to_be_compressed_when_their_peer_goes() -> None:
    async with slow_front(Patience(), compress=True) as slow:
        with await asyncio.to_thread(Attacker, slow.address) as attacker:
            await ask(slow, attacker, WAIT, calls=8, end=True)
            slow.released.set()
            await until(lambda: slow.front.held.outgoing > 0, every_s=0)
        await slow.count(0)
        await until(lambda: slow.front.held.outgoing == 0)


@pytest.mark.parametrize(("limits", "totals"), ROOM, ids=["of one connection", "of all"])
async def test_streams_whose_answers_nobody_takes(limits: Limits, totals: TotalLimits) -> None:
    async with slow_front(Patience(), limits, totals) as slow:
        with await asyncio.to_thread(Attacker, slow.address, window=0) as attacker:
            await ask(slow, attacker, MANY, calls=8, end=False)
            await asyncio.to_thread(attacker.wait_for_trailers, 5)
            assert slow.front.held.outgoing <= 1_000_000
        await until(lambda: slow.front.held.outgoing == 0)


async def test_messages_of_cancelled_calls_hold_nothing_while_threads_are_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = threading.Event()

    def inflate(encoding: bytes, body: bytes, max_bytes: int) -> bytes:
        free.wait()
        return body

    monkeypatch.setattr(front, "inflate", inflate)
    large = message(bytes(8 * MB), compressed=True)
    async with slow_front(Patience()) as slow:

        def upload(attacker: Attacker, body: bytes) -> int:
            begun = attacker.call(head(ECHO, (b"grpc-encoding", b"gzip")))
            stream_id = int.from_bytes(begun[5:9])
            attacker.send(begun)
            attacker.upload(stream_id, body, end=True)
            assert attacker.settle()
            return stream_id

        def attack() -> int:
            with Attacker(slow.address) as attacker:
                assert attacker.settle()
                for _ in range(2 * front.INFLATING_THREADS):
                    upload(attacker, message(b"busy", compressed=True))
                before = process.memory_info().rss
                for _ in range(60):
                    attacker.reset(upload(attacker, large))
                assert attacker.settle()
                return process.memory_info().rss - before

        process = psutil.Process()
        try:
            # 480 MB came.
            assert await asyncio.to_thread(attack) < 240 * MB
        finally:
            free.set()
        await until(lambda: slow.front.held.received == 0)


class Deaf:
    """An engine that nothing gets to."""

    def expect(self, call: Any) -> int:
        return 0

    def submit_expected(self, call: Any, body: bytes, received_ns: int) -> None:
        raise AssertionError("nothing was inflated")

    def refuse(self, call: Any, error: Any, received_ns: int) -> None:
        call.fail(error, "", ())

    def cancel(self, call: Any) -> None:
        pass


@pytest.mark.parametrize("path", [INFER, ECHO, MANY])
async def test_a_fault_in_inflating_ends_its_call(path: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async with slow_front(Patience(), engine=Deaf()) as slow:
        with await asyncio.to_thread(Attacker, slow.address) as attacker:
            monkeypatch.setattr(front, "inflate", broken)
            fields = head(path, (b"grpc-encoding", b"gzip"))
            attacker.send(attacker.call(fields, message(b"x", compressed=True), end=True))
            await asyncio.to_thread(attacker.wait_for_trailers, 1)
            assert slow.front.held.received == 0


@pytest.mark.parametrize("path", [ECHO, MANY])
async def test_a_fault_in_compressing_ends_its_call(path: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async with slow_front(Patience(), compress=True) as slow:
        with await asyncio.to_thread(Attacker, slow.address, window=MAX_WINDOW) as attacker:
            monkeypatch.setattr(front, "deflate", broken)
            await ask(slow, attacker, path, calls=1, end=True)
            await asyncio.to_thread(attacker.wait_for_trailers, 1)
            assert (slow.front.held.outgoing, slow.front.held.received) == (0, 0)


def broken(*_: object) -> bytes:
    raise RuntimeError("broken")
