"""Connections that are told to go, for their age, for idleness or since the server stops: first that no new calls shall
come, a round trip later which was the last that was taken, and the end when none is open."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from steelyard.fronts.http2.front import NOTICE_S
from steelyard.fronts.http2.patience import Patience
from steelyard.fronts.tls import ServedTls, TlsFiles
from tests.attacks.attacker import Attacker, head, message
from tests.attacks.frames import PREFACE, SETTINGS, frame
from tests.attacks.slow import ECHO, WAIT, SlowFront, slow_front
from tests.support.certificates import Authority
from tests.support.waiting import eventually, until

ALL = (1 << 31) - 1
"""The last stream of a first GOAWAY: every call that is on its way is taken."""

AGE = Patience(age_s=50, idle_s=0, keepalive_s=0)
IDLE = Patience(idle_s=50, keepalive_s=0)


async def connected(slow: SlowFront, tls: ssl.SSLContext | None = None) -> Attacker:
    attacker = await asyncio.to_thread(Attacker, slow.address, tls=tls)
    assert await asyncio.to_thread(attacker.settle)
    return attacker


def ask(attacker: Attacker, path: bytes = ECHO) -> None:
    attacker.send(attacker.call(head(path), message(b"x"), end=True))


async def told(attacker: Attacker, goaways: int) -> None:
    """Reads until so many GOAWAY have come."""
    await asyncio.to_thread(eventually, lambda: attacker.settle() and len(attacker.last_streams) >= goaways)
    assert len(attacker.last_streams) == goaways


@pytest.fixture(params=[AGE, IDLE], ids=["age", "idle"])
async def slow(request: pytest.FixtureRequest) -> AsyncIterator[SlowFront]:
    async with slow_front(request.param) as found:
        yield found


async def test_with_no_call_open(slow: SlowFront) -> None:
    with await connected(slow) as attacker:
        await slow.pass_seconds(49)
        assert not attacker.last_streams
        await slow.pass_seconds(1)
        await told(attacker, 1)
        await slow.pass_seconds(1)
        await asyncio.to_thread(attacker.read_to_end)
        assert attacker.last_streams == [ALL, 0]
        assert attacker.goaway == 0
        await slow.count(0)


async def test_a_call_that_was_on_its_way(slow: SlowFront) -> None:
    with await connected(slow) as attacker:
        await slow.pass_seconds(50)
        await told(attacker, 1)
        ask(attacker)
        await asyncio.to_thread(attacker.wait_for_trailers, 1)
        await slow.pass_seconds(1)
        await asyncio.to_thread(attacker.read_to_end)
        assert attacker.last_streams == [ALL, 1]
        await slow.count(0)


async def test_a_call_that_was_on_its_way_and_takes_long(slow: SlowFront) -> None:
    with await connected(slow) as attacker:
        await slow.pass_seconds(50)
        await told(attacker, 1)
        ask(attacker, WAIT)
        assert await asyncio.to_thread(attacker.settle)
        await slow.pass_seconds(30)
        await told(attacker, 2)
        ask(attacker)
        assert await asyncio.to_thread(attacker.settle)
        assert (attacker.trailers, slow.begun) == (0, 1)
        slow.released.set()
        await asyncio.to_thread(attacker.wait_for_trailers, 1)
        await asyncio.to_thread(attacker.read_to_end)
        assert attacker.last_streams == [ALL, 1]
        assert slow.begun == 1


async def test_a_peer_that_never_stops_to_ask() -> None:
    async with slow_front(AGE) as slow:
        with await connected(slow) as attacker:
            await slow.pass_seconds(50)
            for _ in range(10):
                ask(attacker)
                await asyncio.to_thread(attacker.read_what_is_there)
                await slow.pass_seconds(1)
            await asyncio.to_thread(attacker.read_to_end)
            assert attacker.last_streams[0] == ALL
            assert attacker.trailers == slow.begun == (attacker.last_streams[-1] + 1) // 2
            await slow.count(0)


class Authorized:
    """Who issues the server's certificate, and believes it."""

    def __init__(self, directory: Path) -> None:
        authority = Authority(directory, "authority")
        pair = authority.issue("server")
        self.served = ServedTls(TlsFiles(pair.certificate, pair.key, None))
        self.context = ssl.create_default_context(cafile=str(authority.file))
        self.context.set_alpn_protocols(["h2"])


@pytest.fixture(params=["plain", "TLS"])
def tls(request: pytest.FixtureRequest, tmp_path: Path) -> Authorized | None:
    return Authorized(tmp_path) if request.param == "TLS" else None


async def test_at_a_stop_with_no_call_open(tls: Authorized | None) -> None:
    async with slow_front(Patience(), tls=tls and tls.served) as slow:
        with await connected(slow, tls and tls.context) as attacker:
            stopping = asyncio.ensure_future(slow.front.stop(30.0))
            await asyncio.to_thread(attacker.read_to_end)
            assert attacker.last_streams == [ALL, 0]
            # Over TLS both say goodbye.
            attacker.close()
            await stopping


async def test_at_a_stop_a_call_that_was_on_its_way(tls: Authorized | None) -> None:
    async with slow_front(Patience(), tls=tls and tls.served) as slow:
        with await connected(slow, tls and tls.context) as attacker:
            ask(attacker, WAIT)
            assert await asyncio.to_thread(attacker.settle)
            stopping = asyncio.ensure_future(slow.front.stop(30.0))
            await until(lambda: all(one.leaving_epoch >= 0 for one in slow.front.connections))
            ask(attacker)
            await asyncio.to_thread(attacker.wait_for_trailers, 1)
            await told(attacker, 2)
            assert attacker.last_streams == [ALL, 3]
            ask(attacker)
            assert await asyncio.to_thread(attacker.settle)
            assert not stopping.done()
            slow.released.set()
            await asyncio.to_thread(attacker.wait_for_trailers, 2)
            await asyncio.to_thread(attacker.read_to_end)
            assert slow.begun == 2
            attacker.close()
            await stopping


async def test_at_a_stop_what_is_no_connection_yet() -> None:
    async with slow_front(Patience()) as slow:
        with await connected(slow) as kept, ExitStack() as stack:
            ask(kept, WAIT)
            assert await asyncio.to_thread(kept.settle)
            host, port = slow.address.split(":")
            # Accepted by the loop, or by the system alone, when the front stops in the same pass.
            late = [stack.enter_context(socket.create_connection((host, int(port)), 10.0)) for _ in range(20)]
            stopping = asyncio.ensure_future(slow.front.stop(30.0))
            for connection in late:
                connection.sendall(PREFACE + frame(SETTINGS))
            await until(lambda: all(one.has_left for one in slow.front.connections))
            # Whichever of them were taken were told to go; the others were ended without a word.
            await asyncio.to_thread(lambda: [read_to_end(connection) for connection in late])
            assert not stopping.done()
            slow.released.set()
            await asyncio.to_thread(kept.read_to_end)
            await asyncio.wait_for(stopping, 10 + NOTICE_S)


async def test_at_a_stop_a_connection_that_has_only_just_come() -> None:
    async with slow_front(Patience()) as slow:
        with await connected(slow) as kept:
            ask(kept, WAIT)
            assert await asyncio.to_thread(kept.settle)
            stopping = asyncio.ensure_future(slow.front.stop(30.0))
            await until(lambda: all(one.leaving_epoch >= 0 for one in slow.front.connections))
            ours, theirs = socket.socketpair()
            with ours:
                theirs.setblocking(False)
                loop = asyncio.get_running_loop()
                # As the loop's own servers do with what they had accepted before.
                await loop.connect_accepted_socket(lambda: slow.front._connection(slow.front), theirs)
                ours.settimeout(10.0)
                assert await asyncio.to_thread(read_to_end, ours) == b""
            assert len(slow.front.connections) == 1
            slow.released.set()
            await asyncio.to_thread(kept.read_to_end)
            await stopping


async def test_at_a_stop_half_a_handshake(tmp_path: Path) -> None:
    authorized = Authorized(tmp_path)
    async with slow_front(Patience(handshake_s=1000), tls=authorized.served) as slow:
        with await connected(slow, authorized.context) as kept:
            ask(kept, WAIT)
            assert await asyncio.to_thread(kept.settle)
            host, port = slow.address.split(":")
            with socket.create_connection((host, int(port)), 10.0) as half:
                half.sendall(b"\x16\x03\x01")
                await until(lambda: bool(slow.front._reserved))
                stopping = asyncio.ensure_future(slow.front.stop(30.0))
                assert await asyncio.to_thread(read_to_end, half) == b""
            assert not stopping.done()
            slow.released.set()
            await asyncio.to_thread(kept.read_to_end)
            kept.close()
            await stopping


async def test_handing_over_with_half_a_handshake_under_way(tmp_path: Path) -> None:
    authorized = Authorized(tmp_path)
    async with slow_front(Patience(handshake_s=1000), tls=authorized.served) as slow:
        with await connected(slow, authorized.context) as kept:
            host, port = slow.address.split(":")
            with socket.create_connection((host, int(port)), 10.0) as half:
                half.sendall(b"\x16\x03\x01")
                await until(lambda: bool(slow.front._reserved))
                leaving = asyncio.ensure_future(slow.front.hand_over(30.0))
                # Who is connected does not wait for it.
                await told(kept, 1)
                ask(kept)
                await asyncio.to_thread(kept.wait_for_trailers, 1)
                assert not leaving.done()
            await asyncio.to_thread(kept.read_to_end)
            assert kept.last_streams == [ALL, 1]
            kept.close()
            await leaving


def read_to_end(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    found = b""
    try:
        while data := connection.recv(1 << 16):
            found += data
    except ConnectionError:
        pass
    return found
