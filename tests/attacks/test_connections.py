"""Connections without number, and calls that are begun to be given up."""

import asyncio
import gc
import resource
import socket
import ssl
import weakref
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
import uvloop

from steelyard.fronts.http2.patience import Patience
from steelyard.fronts.tls import ServedTls, TlsFiles
from tests.attacks.attacker import Attacker, head, message
from tests.attacks.siege import Siege
from tests.attacks.slow import ECHO, slow_front
from tests.support.asking import SERVICE, Asker, request
from tests.support.certificates import Authority
from tests.support.server import Server
from tests.support.waiting import eventually, until

TURNS = np.array([20_000], np.int64)


@pytest.mark.parametrize("count", [25, 50, 100, 200])
def test_a_client_that_cancels_many_calls_at_once_beside_its_own(siege: Siege, count: int) -> None:
    slow = request("still", {"turns": TURNS}).SerializeToString()
    with siege.hold(growth_mb=50), Asker(siege.address) as asker:
        infer = asker.channel.unary_unary(f"{SERVICE}ModelInfer")
        for _ in range(3):
            kept = [infer.future(slow, timeout=30.0) for _ in range(20)]
            for call in [infer.future(slow, timeout=30.0) for _ in range(count)]:
                call.cancel()
            assert [call.code() for call in kept] == [grpc.StatusCode.OK] * 20


def test_connections_over_the_limit_are_closed_and_no_others(siege: Siege) -> None:
    held = 4_000
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < held + 1_000:
        pytest.skip(f"expected {held + 1_000} file descriptors, and the limit is {soft}")
    with siege.hold(growth_mb=300):
        idle = [Attacker(siege.address) for _ in range(held + 100)]
        assert all(attacker.settle() for attacker in idle[:100])
        # The limit is 4,000, and one of them is a good caller's; another's may not have been forgotten yet.
        lived = sum(attacker.settle() for attacker in idle[-200:])
        assert 90 <= lived < 100
        for attacker in idle:
            attacker.close()
    with Asker(siege.address) as asker:
        eventually(lambda: asker.infer("double", {"x": np.ones((1, 4), np.float32)}))


def test_connections_that_come_and_go(siege: Siege) -> None:
    with siege.hold(growth_mb=50):
        for number in range(500):
            with Attacker(siege.address, greets=number % 2 == 0) as attacker:
                if number % 4 == 0:
                    attacker.send(attacker.call(data=message(b"x")[: number % 6]))
                if number % 3 == 0:
                    attacker.vanish()


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
def test_a_connection_that_is_over_is_gone_at_once(secured: bool, tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    pair = authority.issue("server")
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["h2"])
    served = ServedTls(TlsFiles(pair.certificate, pair.key, None)) if secured else None

    async def is_gone() -> None:
        async with slow_front(Patience(), tls=served) as slow:
            attacker = await asyncio.to_thread(Attacker, slow.address, tls=context if secured else None)
            with attacker:
                attacker.send(attacker.call(head(ECHO), message(b"x"), end=True))
                await asyncio.to_thread(attacker.wait_for_trailers, 1)
                gone = [weakref.ref(each.rpc) for each in slow.front.connections]
            await until(lambda: [each() for each in gone] == [None])

    # What waits for the collector is still there when a flood of connections comes. The loop is the servers'.
    gc.disable()
    try:
        uvloop.run(is_gone())
    finally:
        gc.enable()


def test_no_file_descriptors_left(siege: Siege, attacked: Server) -> None:
    worker = psutil.Process(attacked.worker_pid())
    with siege.hold(growth_mb=50):
        with Asker(siege.address) as asker:
            asker.infer("double", {"x": np.ones((1, 4), np.float32)})
            before = worker.rlimit(psutil.RLIMIT_NOFILE)
            worker.rlimit(psutil.RLIMIT_NOFILE, (worker.num_fds() + 10, before[1]))
            try:
                waiting = [socket.create_connection(siege.address.rsplit(":", 1), 10.0) for _ in range(60)]
                # Who is connected is answered; the others wait, or are turned away.
                for _ in range(20):
                    asker.infer("double", {"x": np.ones((1, 4), np.float32)})
                for one in waiting:
                    one.close()
            finally:
                worker.rlimit(psutil.RLIMIT_NOFILE, before)
        with Asker(siege.address) as later:
            eventually(lambda: later.infer("double", {"x": np.ones((1, 4), np.float32)}))


def test_streams_that_are_begun_and_left(siege: Siege) -> None:
    with siege.hold(growth_mb=150):
        attackers = [Attacker(siege.address) for _ in range(20)]
        for attacker in attackers:
            fields = head(f"{SERVICE}ModelStreamInfer".encode())
            attacker.send_and_read(b"".join(attacker.call(fields) for _ in range(256)))
            assert attacker.settle()
        for attacker in attackers:
            attacker.close()
