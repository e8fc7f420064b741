"""Connections whose TLS is never agreed on: they have places among the others, and not for long."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.attacks.siege import Siege
from tests.support import models
from tests.support.asking import live
from tests.support.certificates import Authority
from tests.support.server import Server
from tests.support.waiting import eventually

PLACES = 40
HANDSHAKE_S = 3


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("papers"), "authority")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Server]:
    """A server with and without TLS, few places, and little patience with handshakes."""
    root = tmp_path_factory.mktemp("guarded")
    models.put(root / "models", "double", models.scaled())
    running = Server(
        root / "models",
        root / "log",
        front="http2",
        **authority.issue("server").served(),
        max_connections=PLACES,
        handshake_timeout_s=HANDSHAKE_S,
    ).wait_ready()
    yield running
    running.stop()


@pytest.fixture
def siege(guarded: Server, request: pytest.FixtureRequest) -> Siege:
    """The server, watched by a caller without TLS."""
    return Siege(guarded, request.node.name)


def hello() -> bytes:
    """The first words of a client that speaks TLS."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    said = ssl.MemoryBIO()
    begun = context.wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        begun.do_handshake()
    return said.read()


HELLO = hello()
SAID = {"nothing": b"", "half a greeting": HELLO[:100], "a greeting and no answer": HELLO}


def connect(server: Server) -> socket.socket:
    host, _, port = server.running.grpc_tls_addresses[0].rpartition(":")
    return socket.create_connection((host, int(port)), 30.0)


def is_open(connection: socket.socket) -> bool:
    """Whether the server has not ended it, having waited a moment where it says nothing."""
    connection.settimeout(0.2)
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return True
    except ConnectionError:
        pass
    return False


def answers(server: Server, authority: Authority) -> bool:
    """Whether a good client with TLS is answered."""
    return live(server.running.grpc_tls_addresses[0], authority.file)


@pytest.mark.parametrize("said", SAID.values(), ids=SAID.keys())
def test_half_handshakes_have_places_and_lose_them(
    siege: Siege, guarded: Server, authority: Authority, said: bytes
) -> None:
    with siege.hold(growth_mb=50), ExitStack() as stack:
        begun = [stack.enter_context(connect(guarded)) for _ in range(PLACES + 10)]
        for connection in begun:
            connection.sendall(said)
        # One place is the watcher's; the places of others before this may not be free yet.
        assert not any(is_open(connection) for connection in begun[-10:])
        assert eventually(lambda: answers(guarded, authority))
        assert not any(is_open(connection) for connection in begun)


def test_handshakes_that_fail_give_their_places_back_at_once(
    siege: Siege, guarded: Server, authority: Authority
) -> None:
    with siege.hold(growth_mb=50):
        for _ in range(5 * PLACES):
            with connect(guarded) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
                while connection.recv(1 << 16):
                    pass
        assert answers(guarded, authority)


def test_handshakes_that_are_left_give_their_places_back_at_once(
    siege: Siege, guarded: Server, authority: Authority
) -> None:
    with siege.hold(growth_mb=50):
        for _ in range(5 * PLACES):
            with connect(guarded) as connection:
                connection.sendall(HELLO)
                assert connection.recv(1 << 16)
        assert eventually(lambda: answers(guarded, authority), within_s=HANDSHAKE_S / 2)
    assert "Traceback" not in guarded.output()
