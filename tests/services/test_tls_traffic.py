"""What goes over TLS, as much of it as goes without: large messages, streams, slow readers, many calls, and a stop."""

import asyncio
import itertools
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from steelyard.client import AsyncClient, Client, Request, tls_context
from tests.attacks.attacker import LIVE, MAX_WINDOW, Attacker, chunks, head, message
from tests.attacks.frames import END_STREAM
from tests.support import models
from tests.support.asking import TIMEOUT_S, Asker, arrays, request
from tests.support.certificates import Authority
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually

LARGE = np.random.default_rng(7).random((1, 5 << 20), np.float32)
"""20 MiB that no two places of have the same."""

WIDE = 1_000_000
ONES = np.ones((1, 4), np.float32)


class Secured:
    """A server that speaks TLS beside a port that does not, and who issued its certificate."""

    def __init__(self, root: Path) -> None:
        self.authority = Authority(root, "authority")
        repository = root / "models"
        models.put(repository, "double", models.scaled())
        models.put(repository, "same", models.identity("FP32", ("batch", "width")))
        models.put(repository, "wide", models.widened(WIDE))
        models.put(repository, "stall", models.stall(), manifest="[serving]\ninstances = 1\n")
        self.server = Server(
            repository,
            root / "log",
            front="http2",
            **self.authority.issue("server").served(),
        ).wait_ready()
        self.address = self.server.running.grpc_tls_addresses[0]

    def context(self) -> ssl.SSLContext:
        """Of our own clients."""
        return tls_context(self.authority.file)

    def asker(self) -> Asker:
        """grpcio's."""
        return Asker(self.address, self.authority.file)

    def attacker(self, window: int = 65_535) -> Attacker:
        """One that sends what it likes, over TLS as everybody has it."""
        return Attacker(self.address, window=window, tls=self.context())


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Not to be harmed."""
    found = Secured(tmp_path_factory.mktemp("secured"))
    yield found
    found.server.stop()


def test_large_messages_with_grpcio(secured: Secured) -> None:
    with secured.asker() as ask:
        for _ in range(3):
            assert np.array_equal(ask.infer("same", {"x": LARGE})["y"], LARGE)


def test_large_messages_with_the_blocking_client(secured: Secured) -> None:
    with Client(secured.address, timeout_s=TIMEOUT_S, tls=secured.context()) as client:
        for _ in range(3):
            assert np.array_equal(client.infer("same", {"x": LARGE})["y"], LARGE)


async def test_large_messages_at_once_with_the_asyncio_client(secured: Secured) -> None:
    async with AsyncClient(secured.address, timeout_s=TIMEOUT_S, tls=secured.context()) as client:
        # Three that share one connection, and small ones between them.
        large = [client.infer("same", {"x": LARGE + number}) for number in range(3)]
        small = [client.infer("double", {"x": ONES * number}) for number in range(30)]
        found = await asyncio.gather(*large, *small)
    for number, result in enumerate(found[:3]):
        assert np.array_equal(result["y"], LARGE + number)
    assert [result["y"][0, 0] for result in found[3:]] == [2 * number for number in range(30)]


def test_streams(secured: Secured) -> None:
    rows = [np.full((1, width), number, np.float32) for number, width in enumerate([4, 300_000, 1] * 20)]
    with secured.asker() as ask:
        answers = list(ask.stream(request("same", {"x": row}, id=str(n)) for n, row in enumerate(rows)))
    assert not any(answer.error_message for answer in answers)
    found = {int(answer.infer_response.id): arrays(answer.infer_response)["y"] for answer in answers}
    assert all(np.array_equal(found[number], row) for number, row in enumerate(rows))
    with Client(secured.address, timeout_s=TIMEOUT_S, tls=secured.context()) as client:
        told = list(client.stream_infer(Request(model="same", inputs={"x": row}) for row in rows))
    assert len(told) == len(rows)
    for answer in told:
        assert answer.result is not None
        assert np.array_equal(answer.result["y"], rows[int(answer.request_id)])


async def test_many_calls_at_once(secured: Secured) -> None:
    clients = [AsyncClient(secured.address, timeout_s=TIMEOUT_S, tls=secured.context()) for _ in range(4)]
    asked = [
        client.infer("double", {"x": ONES * n}) for client, n in zip(itertools.cycle(clients), range(2000))
    ]
    found = await asyncio.gather(*asked)
    assert [result["y"][0, 0] for result in found] == [2 * number for number in range(2000)]
    for client in clients:
        await client.close()


@pytest.mark.parametrize("window", [MAX_WINDOW, 65_535], ids=["open windows", "closed windows"])
def test_a_reader_that_pauses(secured: Secured, window: int) -> None:
    asked = message(request("wide", {"x": np.ones((1, 1), np.float32)}).SerializeToString())
    before = metrics(secured.server, model="wide").get("steelyard_requests_total", 0)
    with secured.asker() as other, secured.attacker(window) as slow:
        assert slow.settle()
        slow.send(b"".join(slow.call(data=asked, end=True) for _ in range(10)))
        # All of them are made, and most of them wait at the server; others are answered meanwhile.
        eventually(lambda: metrics(secured.server, model="wide")["steelyard_requests_total"] == before + 10)
        for _ in range(20):
            assert other.infer("double", {"x": ONES})["y"][0, 0] == 2
        if window == MAX_WINDOW:
            slow.wait_for_trailers(10)
            assert 40 * WIDE < slow.data_bytes < 40 * WIDE + 10_000
        assert slow.settle()
        assert slow.trailers == (10 if window == MAX_WINDOW else 0)


def test_half_handshakes_hold_nobody_up(secured: Secured) -> None:
    host, _, port = secured.address.rpartition(":")
    with ExitStack() as stack:
        half = [stack.enter_context(socket.create_connection((host, int(port)), 10.0)) for _ in range(50)]
        for number, connection in enumerate(half):
            # The begin of a record that does not come.
            connection.sendall(b"\x16\x03\x01\x02\x00"[: number % 5 + 1])
        for _ in range(10):
            with secured.asker() as ask:
                assert ask.infer("double", {"x": ONES})["y"][0, 0] == 2
        for connection in half:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)


def test_a_stop_lets_calls_end_and_says_so(tmp_path: Path) -> None:
    secured = Secured(tmp_path)
    server = secured.server
    asked = message(request("stall", {"turns": np.array([1_000_000], np.int64)}).SerializeToString())
    with secured.attacker() as attacker, secured.attacker() as idle:
        assert attacker.settle()
        attacker.send(attacker.call(data=asked, end=True))
        attacker.send(attacker.call(head(LIVE), message(b"")[:3]))
        # Both have come: one is worked on, and the other waits for its message.
        assert attacker.settle()
        assert idle.settle()
        server.process.send_signal(signal.SIGTERM)
        idle.read_to_end()
        idle.close()
        eventually(lambda: attacker.settle() and len(attacker.last_streams) == 2)
        attacker.send(chunks(3, message(b"")[3:], END_STREAM))
        attacker.wait_for_trailers(2)
        attacker.read_to_end()
        attacker.close()
        assert idle.last_streams == [MAX_WINDOW, 0]
        assert attacker.last_streams == [MAX_WINDOW, 3]
        assert (idle.goaway, attacker.goaway) == (0, 0)
    assert server.stop() == 0
    assert "Traceback" not in server.output()
