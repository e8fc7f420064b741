"""Calls that end before they have begun: by a deadline that is over, or a reset in the read that began them."""

import asyncio
import gc
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import psutil
import pytest
import uvloop

from steelyard.fronts.http2.calls import HandledCall
from steelyard.fronts.http2.patience import Patience
from steelyard.rpc import codes
from steelyard.rpc.client_calls import ClientCall, ClientHappening
from tests.attacks.attacker import Attacker, chunks, head, message
from tests.attacks.frames import END_HEADERS, HEADERS, RST_STREAM, block, frame, remembered
from tests.attacks.slow import ECHO, MANY, WAIT, slow_front
from tests.rpc.client_peers import client

NEVER = (b"grpc-timeout", b"99999999S")
LARGE = 3_900
MB = 1 << 20

RUNS: list[Callable[[Coroutine[Any, Any, None]], None]] = [uvloop.run, asyncio.run]


def statuses(address: str, path: bytes, count: int, timeout_ns: int) -> list[int]:
    """The codes of so many calls at once."""
    host, _, port = address.rpartition(":")
    connection, ended = client(), list[ClientCall]()
    with socket.create_connection((host, int(port)), 30.0) as connected:
        while not connection.ready:
            connected.sendall(connection.data_to_send())
            connection.receive(connected.recv(1 << 16))
        calls = [
            connection.start(path.decode(), timeout_ns, streams_answers=path == MANY) for _ in range(count)
        ]
        for call in calls:
            connection.send(call, b"x", last=True)
        while len(ended) < count:
            while data := connection.data_to_send():
                connected.sendall(data)
            for happening, call, _, _ in connection.receive(connected.recv(1 << 16)):
                if happening is ClientHappening.ENDED:
                    ended.append(call)
    return [call.code for call in calls]


@pytest.mark.parametrize("run", RUNS, ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("path", [ECHO, WAIT, MANY], ids=["at once", "later", "stream"])
def test_a_deadline_that_is_over_before_the_first_step(run: Any, path: bytes) -> None:
    async def expire() -> None:
        async with slow_front(Patience()) as slow:
            assert (
                await asyncio.to_thread(statuses, slow.address, path, 100, 1)
                == [codes.DEADLINE_EXCEEDED] * 100
            )
            assert slow.begun == 0
            assert await asyncio.to_thread(statuses, slow.address, ECHO, 1, 30_000_000_000) == [codes.OK]
            await slow.count(0)

    run(expire())
    assert not handled()


def handled() -> list[HandledCall]:
    """The calls that anything still knows."""
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, HandledCall)]


@pytest.mark.parametrize("run", RUNS, ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("path", [ECHO, MANY], ids=["unary", "stream"])
def test_calls_that_are_reset_in_the_read_that_began_them(run: Any, path: bytes) -> None:
    async def reset() -> None:
        async with slow_front(Patience()) as slow:
            with await asyncio.to_thread(Attacker, slow.address) as attacker:
                # What one read brings is held at once, and the allocator keeps it.
                await asyncio.to_thread(begin_and_reset, attacker, path)
                before = psutil.Process().memory_info().rss
                await asyncio.to_thread(begin_and_reset, attacker, path)
                assert not any(one.rpc.calls for one in slow.front.connections)
                assert slow.begun <= 2
                assert not handled()
                # Each has 28 KB of headers: 126 MB in all.
                assert psutil.Process().memory_info().rss - before < 40 * MB
                assert asyncio.all_tasks() <= {asyncio.current_task(), slow.front._sweeping}
                assert await asyncio.to_thread(attacker.settle)
            await slow.count(0)

    run(reset())


def begin_and_reset(attacker: Attacker, path: bytes) -> None:
    """Begins 4,500 calls with large headers and a far deadline, each of which is reset in the bytes that begin it."""
    fields = block(head(path, NEVER))
    first = attacker.next_id()
    attacker.send(
        frame(HEADERS, fields + remembered(b"x", b"y" * LARGE), flags=END_HEADERS, stream_id=first)
        + chunks(first, message(b""), 1)
    )
    assert attacker.settle()
    for _ in range(9):
        said = b""
        for _ in range(500):
            stream_id = attacker.next_id()
            said += frame(HEADERS, fields + b"\xbe" * 7, flags=END_HEADERS, stream_id=stream_id)
            said += chunks(stream_id, message(b""), 1)
            said += frame(RST_STREAM, (8).to_bytes(4), stream_id=stream_id)
        attacker.send_and_read(said)
        assert attacker.settle()
