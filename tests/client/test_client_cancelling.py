"""Calls that are given up at any moment, and what is held for them afterwards, at either side: nothing."""

import asyncio
import gc
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from steelyard import AsyncClient, Client
from steelyard.client.aio_calls import AsyncCall
from steelyard.client.aio_channel import AsyncChannel
from steelyard.client.backoff import Backoff
from steelyard.client.failures import CallFailed
from steelyard.client.target import parse_target
from steelyard.client.wiring import Wiring
from steelyard.errors import Unavailable
from steelyard.fronts.http2.patience import Patience
from steelyard.rpc import codes
from steelyard.rpc.limits import Limits
from tests.attacks.slow import ECHO, MANY, WAIT, SlowFront, slow_front
from tests.client.asking import TIMEOUT_S
from tests.support.waiting import until

ECHO_PATH, MANY_PATH, WAIT_PATH = ECHO.decode(), MANY.decode(), WAIT.decode()


def channel_to(address: str) -> AsyncChannel:
    return AsyncChannel(parse_target(address), Wiring(Limits()), None, Backoff(lambda: 0.5))


@asynccontextmanager
async def connected(slow: SlowFront) -> AsyncIterator[AsyncChannel]:
    """A channel that has been used."""
    channel = channel_to(slow.address)
    try:
        assert await channel.unary(ECHO_PATH, b"first", TIMEOUT_S).answer() == b"first"
        yield channel
    finally:
        await channel.close()


async def nothing_is_held(channel: AsyncChannel, slow: SlowFront) -> None:
    """Waits until neither side has a call, and sees that nothing else is left of any."""
    connection = channel._connection
    assert connection is not None
    await until(lambda: not connection.rpc.calls and not any(one.rpc.calls for one in slow.front.connections))
    assert not connection.senders
    assert not [call for call in channel.waiting if not call.over]
    assert channel._connections == {connection}
    # Everything that was queued has left or was thrown away.
    await until(lambda: connection.rpc.may_start(connection.rpc.limits.send_bytes))
    await until(lambda: slow.front.held.outgoing == 0)
    assert (slow.front.held.incoming, slow.front.held.working) == (0, 0)
    assert await channel.unary(ECHO_PATH, b"next", TIMEOUT_S).answer() == b"next"
    assert not channel.waiting
    # A reference that a loop's exception holds is in a circle.
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, AsyncCall)]


async def cancelled(tasks: list[asyncio.Task[bytes]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_while_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel = channel_to(f"127.0.0.1:{listener.getsockname()[1]}")
        tasks = [asyncio.ensure_future(channel.unary(ECHO_PATH, bytes(1000)).answer()) for _ in range(20)]
        kept = asyncio.ensure_future(channel.unary(ECHO_PATH, b"kept", TIMEOUT_S).answer())
        await asyncio.sleep(0)
        await cancelled(tasks)
        async with slow_front(Patience()) as slow:
            slow.address = f"127.0.0.1:{listener.getsockname()[1]}"
            await slow.front.start([(listener.dup(), None)])
            assert await kept == b"kept"
            assert slow.begun == 1
            del tasks, kept
            await nothing_is_held(channel, slow)
            await channel.close()


async def test_while_others_have_all_places() -> None:
    async with slow_front(Patience(), Limits(max_streams=2)) as slow, connected(slow) as channel:
        held = [
            asyncio.ensure_future(channel.unary(WAIT_PATH, b"held", TIMEOUT_S).answer()) for _ in range(2)
        ]
        tasks = [asyncio.ensure_future(channel.unary(ECHO_PATH, bytes(100_000)).answer()) for _ in range(20)]
        streams = [channel.stream(MANY_PATH) for _ in range(5)]
        sending = [asyncio.ensure_future(stream.send(b"x")) for stream in streams]
        await asyncio.sleep(0)
        assert len(channel.waiting) == 25
        await cancelled(tasks)
        for stream in streams:
            stream.cancel()
        assert await asyncio.gather(*sending) == [False] * 5
        slow.released.set()
        assert await asyncio.gather(*held) == [b"held"] * 2
        assert slow.begun == 3
        del tasks, held, streams, stream, sending
        await nothing_is_held(channel, slow)


async def test_a_deadline_while_others_have_all_places() -> None:
    async with slow_front(Patience(), Limits(max_streams=1)) as slow, connected(slow) as channel:
        held = asyncio.ensure_future(channel.unary(WAIT_PATH, b"held", TIMEOUT_S).answer())
        await asyncio.sleep(0)
        with pytest.raises(CallFailed, match="deadline"):
            await channel.unary(ECHO_PATH, b"x", 0.01).answer()
        slow.released.set()
        assert await held == b"held"
        del held
        await nothing_is_held(channel, slow)


async def test_in_the_pass_in_which_the_answer_comes() -> None:
    async with slow_front(Patience()) as slow, connected(slow) as channel:
        for _ in range(50):
            call = channel.unary(ECHO_PATH, b"x", TIMEOUT_S)
            task = asyncio.ensure_future(call.answer())
            call.answered.add_done_callback(lambda _, task=task: task.cancel())  # type: ignore[misc]
            await asyncio.wait([task])
        del call, task
        await nothing_is_held(channel, slow)


@pytest.mark.parametrize("seed", range(4))
async def test_at_any_moment(seed: int) -> None:
    chance = random.Random(seed)

    async def ask(channel: AsyncChannel) -> None:
        body = bytes(chance.choice([0, 10, 40_000, 400_000]))
        timeout_s = chance.choice([None, TIMEOUT_S, 0.002])
        if chance.random() < 0.6:
            assert await channel.unary(ECHO_PATH, body, timeout_s).answer() == body
            return
        call = channel.stream(MANY_PATH, timeout_s)
        try:
            for _ in range(chance.randrange(4)):
                await call.send(body)
            if chance.random() < 0.5:
                await call.end()
            if chance.random() < 0.8:
                await anext(call, None)
        finally:
            call.cancel()

    async def give_up(channel: AsyncChannel) -> None:
        task = asyncio.ensure_future(ask(channel))
        for _ in range(chance.choice([0, 1, 2, 3, 5, 8, 20, 60])):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError, CallFailed):
            await task

    limits = Limits(max_streams=10, send_bytes=4 << 20)
    async with slow_front(Patience(), limits) as slow, connected(slow) as channel:
        for _ in range(25):
            await asyncio.gather(*(give_up(channel) for _ in range(20)))
        await nothing_is_held(channel, slow)


async def test_closing_at_any_moment() -> None:
    async with slow_front(Patience()) as slow:
        for passes in range(30):
            channel = channel_to(slow.address)
            calls = [channel.unary(ECHO_PATH, b"x", TIMEOUT_S) for _ in range(3)]
            stream = channel.stream(MANY_PATH)
            for _ in range(passes):
                await asyncio.sleep(0)
            await channel.close()
            for call in calls:
                with suppress(CallFailed):
                    await call.answer()
            assert not await stream.send(b"x")
            await stream.end()
            assert not channel.waiting
            assert not channel._connections
        await slow.count(0)


async def test_nothing_is_asked_of_a_channel_that_is_closed() -> None:
    async with slow_front(Patience()) as slow:
        async with connected(slow) as channel:
            pass
        with pytest.raises(CallFailed) as caught:
            await channel.unary(ECHO_PATH, b"").answer()
        assert caught.value.failure.code == codes.CANCELLED
        stream = channel.stream(MANY_PATH)
        assert not await stream.send(b"x")
        await stream.end()
        with pytest.raises(CallFailed):
            await anext(stream)
        await channel.close()
        await slow.count(0)


async def test_nothing_is_asked_of_a_client_that_is_closed() -> None:
    async with AsyncClient("127.0.0.1:1") as client:
        pass
    with pytest.raises(Unavailable, match="closed"):
        await client.index()
    with pytest.raises(Unavailable, match="closed"):
        await anext(client.stream_infer([]))
    await client.close()
    with Client("127.0.0.1:1") as blocking:
        pass
    with pytest.raises(Unavailable, match="closed"):
        blocking.index()
    with pytest.raises(Unavailable, match="closed"):
        next(blocking.stream_infer([]))
    blocking.close()
