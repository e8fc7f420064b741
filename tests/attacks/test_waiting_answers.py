"""Answers that wait: for their peers, or for a thread that compresses them first."""

import asyncio

import pytest

from steelyard.fronts.http2.patience import Patience
from steelyard.rpc.limits import Limits, TotalLimits
from tests.attacks.attacker import MAX_WINDOW, Attacker, head, message
from tests.attacks.frames import HEADERS
from tests.attacks.slow import MANY, WAIT, SlowFront, slow_front
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
