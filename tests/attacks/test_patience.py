"""Peers that take their time, on a front whose seconds the tests let pass."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from steelyard.fronts.http2.patience import Patience
from steelyard.rpc.limits import Limits
from tests.attacks.attacker import MAX_WINDOW, Attacker, head, message
from tests.attacks.frames import ACK, DATA, HEADERS, PING, PREFACE, PRIORITY, block, frame
from tests.attacks.slow import ECHO, MANY, WAIT, SlowFront, slow_front
from tests.support.waiting import until

# Far from each other, so that what ends a connection is what the test is about.
PATIENCE = Patience(
    handshake_s=10, stalled_frame_s=20, stalled_body_s=40, stalled_write_s=60, idle_s=200, keepalive_s=0
)


@pytest.fixture
async def slow() -> AsyncIterator[SlowFront]:
    async with slow_front(PATIENCE) as found:
        yield found


async def connected(slow: SlowFront, **how: object) -> Attacker:
    attacker = await asyncio.to_thread(Attacker, slow.address, **how)  # type: ignore[arg-type]
    await slow.count(1)
    return attacker


async def in_a_thread(does: Callable[[], object]) -> object:
    return await asyncio.to_thread(does)


@pytest.mark.parametrize("said", [b"", PREFACE[:10]], ids=["nothing", "half"])
async def test_a_preface_that_does_not_come(slow: SlowFront, said: bytes) -> None:
    with await connected(slow, greets=False) as attacker:
        attacker.send(said)
        await slow.pass_seconds(6)
        assert len(slow.front.connections) == 1
        await slow.pass_seconds(4)
        await slow.count(0)


@pytest.mark.parametrize(
    "begun",
    [
        frame(HEADERS, block(head(ECHO)), stream_id=3),
        frame(HEADERS, block(head(ECHO)), stream_id=3)[:40],
        frame(DATA, bytes(1_000), stream_id=1)[:100],
    ],
    ids=["a block without its end", "half a frame of headers", "half a frame of data"],
)
async def test_a_frame_that_does_not_end(slow: SlowFront, begun: bytes) -> None:
    with await connected(slow) as attacker:
        attacker.send(attacker.call(head(MANY)))
        assert await in_a_thread(attacker.settle)
        attacker.send(begun)
        await until(lambda: slow.stuck() == 1)
        await slow.pass_seconds(13)
        assert len(slow.front.connections) == 1
        await slow.pass_seconds(7)
        await slow.count(0)
        await in_a_thread(attacker.read_to_end)
        assert attacker.goaway is not None


async def test_whole_frames_of_which_nothing_is_told_are_not_stalled(slow: SlowFront) -> None:
    with await connected(slow) as attacker:
        assert await in_a_thread(attacker.settle)
        await slow.pass_seconds(1)
        (connection,) = slow.front.connections
        attacker.send(frame(PRIORITY, bytes(5), stream_id=9))
        await until(lambda: connection.heard_epoch == slow.front.epoch)
        await slow.pass_seconds(30)
        assert await in_a_thread(attacker.settle)


async def test_a_frame_that_begins_behind_a_call_and_does_not_end(slow: SlowFront) -> None:
    with await connected(slow) as attacker:
        assert await in_a_thread(attacker.settle)
        # In one piece, as what comes in another is seen by itself.
        attacker.send(attacker.call(head(ECHO), message(b""), end=True) + frame(PING, bytes(8))[:12])
        await in_a_thread(lambda: attacker.wait_for_trailers(1))
        await slow.pass_seconds(13)
        assert len(slow.front.connections) == 1
        await slow.pass_seconds(7)
        await slow.count(0)
        await in_a_thread(attacker.read_to_end)
        assert attacker.goaway is not None


async def test_a_body_that_does_not_end_ends_its_call_alone(slow: SlowFront) -> None:
    with await connected(slow) as attacker:
        assert await in_a_thread(attacker.settle)
        attacker.send(attacker.call(head(ECHO), message(bytes(100))[:50]))
        attacker.send(attacker.call(head(MANY), message(bytes(100))[:50]))
        attacker.send(attacker.call(head(ECHO), message(b"whole, and not ended")))
        attacker.send(attacker.call(head(MANY), message(b"may say more, or not")))
        assert await in_a_thread(attacker.settle)
        await slow.pass_seconds(34)
        assert await in_a_thread(attacker.settle)
        assert attacker.trailers == 0
        await slow.pass_seconds(40)
        assert await in_a_thread(attacker.settle)
        assert (attacker.trailers, len(slow.front.connections)) == (3, 1)


async def test_a_body_that_goes_on_in_small_pieces_is_not_stalled(slow: SlowFront) -> None:
    with await connected(slow) as attacker:
        assert await in_a_thread(attacker.settle)
        attacker.send(attacker.call(head(ECHO), message(bytes(10))[:8]))
        for _ in range(7):
            attacker.send(frame(DATA, b"x", stream_id=1))
            assert await in_a_thread(attacker.settle)
            await slow.pass_seconds(30)
        assert await in_a_thread(attacker.settle)
        assert len(slow.front.connections) == 1


async def test_a_body_that_trickles_has_an_end() -> None:
    async with slow_front(Patience(stalled_body_s=40, whole_body_s=100, idle_s=0, keepalive_s=0)) as slow:
        with await connected(slow) as attacker:
            assert await in_a_thread(attacker.settle)
            attacker.send(attacker.call(head(ECHO), message(bytes(100))[:8]))
            attacker.send(attacker.call(head(MANY), message(bytes(100))[:8]))
            # Many messages that end are not one that does not, though one is always on its way.
            attacker.send(attacker.call(head(MANY), message(b"x")[:3]))
            for seconds in (30, 30, 30, 20):
                for stream_id in (1, 3):
                    attacker.send(frame(DATA, b"x", stream_id=stream_id))
                attacker.send(frame(DATA, (message(b"x") * 2)[3:9], stream_id=5))
                assert await in_a_thread(attacker.settle)
                assert attacker.trailers == 0
                await slow.pass_seconds(seconds)
            assert await in_a_thread(attacker.settle)
            assert (attacker.trailers, attacker.resets.total()) == (2, 2)
            assert slow.front.held.received < 1_000


async def test_answers_that_join_those_that_wait_are_nothing_that_was_taken(slow: SlowFront) -> None:
    with await connected(slow, window=0) as attacker:
        assert await in_a_thread(attacker.settle)
        for _ in range(7):
            assert len(slow.front.connections) == 1
            attacker.send(attacker.call(head(ECHO), message(bytes(1_000)), end=True))
            assert await in_a_thread(attacker.settle)
            await slow.pass_seconds(9)
        await slow.count(0)
        assert slow.front.held.outgoing == 0


@pytest.mark.parametrize("size", [20_000, 8 << 20], ids=["less than a buffer", "more"])
async def test_an_answer_that_is_not_taken(slow: SlowFront, size: int) -> None:
    with await connected(slow, window=0 if size < 1 << 20 else MAX_WINDOW) as attacker:
        assert await in_a_thread(attacker.settle)
        attacker.send(attacker.call(head(ECHO)))
        await in_a_thread(lambda: attacker.upload(1, message(bytes(size)), end=True))
        await until(lambda: slow.front.held.outgoing > 0)
        await slow.pass_seconds(50)
        assert len(slow.front.connections) == 1
        await slow.pass_seconds(15)
        await slow.count(0)
        assert slow.front.held.outgoing == 0


async def test_an_idle_connection_is_told_to_go(slow: SlowFront) -> None:
    with await connected(slow) as attacker:
        assert await in_a_thread(attacker.settle)
        await slow.pass_seconds(150)
        assert await in_a_thread(attacker.settle)
        await slow.pass_seconds(60)
        await in_a_thread(attacker.read_to_end)
        assert attacker.goaway == 0
        await slow.count(0)


async def test_a_connection_that_works_is_not_idle(slow: SlowFront) -> None:
    with await connected(slow) as attacker:
        attacker.send(attacker.call(head(WAIT), message(b""), end=True))
        assert await in_a_thread(attacker.settle)
        await slow.pass_seconds(1_000)
        slow.released.set()
        await in_a_thread(lambda: attacker.wait_for_trailers(1))


async def test_an_old_connection_is_told_to_go_whatever_it_does() -> None:
    async with slow_front(Patience(age_s=50, idle_s=0, keepalive_s=0)) as slow:
        with await connected(slow) as attacker:
            attacker.send(attacker.call(head(WAIT), message(b""), end=True))
            assert await in_a_thread(attacker.settle)
            await slow.pass_seconds(40)
            assert await in_a_thread(attacker.settle)
            assert attacker.goaway is None
            await slow.pass_seconds(20)
            slow.released.set()
            await in_a_thread(lambda: attacker.wait_for_trailers(1))
            await in_a_thread(attacker.read_to_end)
            assert attacker.goaway == 0


async def test_a_peer_that_has_lost_its_power() -> None:
    async with slow_front(Patience(idle_s=0, keepalive_s=60, keepalive_timeout_s=20)) as slow:
        with await connected(slow) as attacker:
            assert await in_a_thread(attacker.settle)
            await slow.pass_seconds(70)
            assert len(slow.front.connections) == 1
            attacker.send(frame(PING, bytes(8), flags=ACK))
            await in_a_thread(attacker.settle)
            await slow.pass_seconds(70)
            assert len(slow.front.connections) == 1
            await slow.pass_seconds(15)
            await slow.count(0)


async def test_a_connection_that_is_not_read_is_not_late() -> None:
    limits = Limits(connection_bytes=1_000_000)
    async with slow_front(Patience(idle_s=0, keepalive_s=60, keepalive_timeout_s=20), limits) as slow:
        with await connected(slow, window=MAX_WINDOW) as attacker:
            assert await in_a_thread(attacker.settle)
            attacker.send(attacker.call(head(WAIT), message(bytes(600_000)), end=True))
            await until(lambda: bool(slow.front.paused))
            attacker.send(attacker.call(head(ECHO), message(bytes(100))[:50]))
            await slow.pass_seconds(300)
            assert len(slow.front.connections) == 1
            slow.released.set()
            await in_a_thread(lambda: attacker.wait_for_trailers(1))
            assert await in_a_thread(attacker.settle)


async def test_two_uploads_of_half_of_what_a_connection_may_hold_both_end() -> None:
    async with slow_front(PATIENCE, Limits(connection_bytes=1_000_000)) as slow:
        with await connected(slow, window=MAX_WINDOW) as attacker:
            assert await in_a_thread(attacker.settle)
            slow.released.set()
            for _ in range(2):
                attacker.send(attacker.call(head(WAIT), message(bytes(450_000))))
            assert await in_a_thread(attacker.settle)
            # A client may say that it sends no more in a frame of its own.
            for stream_id in (1, 3):
                attacker.send(frame(DATA, flags=1, stream_id=stream_id))
            await in_a_thread(lambda: attacker.wait_for_trailers(2))
