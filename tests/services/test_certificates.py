"""Certificates that are replaced while a server runs: new handshakes take them, and nobody who is connected notices."""

import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import models
from tests.support.asking import TIMEOUT_S, live
from tests.support.certificates import Authority, Pair
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually

GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
PING = b"\0\0\x08\x06\0\0\0\0\0renewed?"
ANSWERED = b"\0\0\x08\x06\x01\0\0\0\0renewed?"


class Renewed:
    """A server whose files of TLS a test replaces, and who issues them."""

    def __init__(self, root: Path, front: str) -> None:
        self.authority, self.strangers = Authority(root, "authority"), Authority(root, "strangers")
        self.client, self.stranger = self.authority.issue("client"), self.strangers.issue("stranger")
        self._served = Pair(root / "served.pem", root / "served.key")
        self._clients = root / "clients.pem"
        self.replace(self.authority.issue("first"), self.authority)
        models.put(root / "models", "double", models.scaled())
        self.server = Server(
            root / "models",
            root / "log",
            front=front,
            **self._served.served(),
            tls_client_ca=str(self._clients),
        ).wait_ready()
        self.address = self.server.running.grpc_tls_addresses[0]

    def replace(self, pair: Pair, clients: Authority) -> None:
        """Writes over what is served."""
        shutil.copyfile(pair.certificate, self._served.certificate)
        shutil.copyfile(pair.key, self._served.key)
        shutil.copyfile(clients.file, self._clients)

    def spoil(self) -> None:
        """Leaves half of the certificate."""
        self._served.certificate.write_bytes(self._served.certificate.read_bytes()[:200])

    @contextmanager
    def connection(self, own: Pair) -> Iterator[ssl.SSLSocket]:
        """A handshake with the server; nothing was said yet."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.load_cert_chain(own.certificate, own.key)
        context.set_alpn_protocols(["h2"])
        host, port = self.address.rsplit(":", 1)
        with (
            socket.create_connection((host, int(port)), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            yield secured

    def shows(self, pair: Pair) -> bool:
        """Whether a handshake that begins now is shown this certificate."""
        with self.connection(self.client) as connection:
            return connection.getpeercert(True) == ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())

    def reads(self, outcome: str) -> float:
        """How often the files were read again with this outcome."""
        return metrics(self.server, outcome=outcome)["steelyard_tls_reads_total"]


@pytest.fixture(params=["http2", "grpcio"])
def renewed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Renewed]:
    found = Renewed(tmp_path, request.param)
    yield found
    found.server.stop()


def test_new_handshakes_take_new_files_and_connections_go_on(renewed: Renewed) -> None:
    second = renewed.authority.issue("second")
    with renewed.connection(renewed.client) as before:
        before.sendall(GREETING)
        assert before.recv(1)
        renewed.replace(second, renewed.strangers)
        eventually(lambda: renewed.reads("taken") == 1)
        assert renewed.shows(second)
        before.sendall(PING)
        came = b""
        while ANSWERED not in came:
            came += (piece := before.recv(1 << 16))
            assert piece
    assert live(renewed.address, renewed.authority.file, renewed.stranger)
    assert renewed.reads("refused") == 0


def test_files_that_cannot_be_used_change_nothing(renewed: Renewed) -> None:
    first, second = renewed.authority.issue("first"), renewed.authority.issue("second")
    renewed.replace(first, renewed.authority)
    eventually(lambda: renewed.reads("taken") == 1)
    renewed.spoil()
    eventually(lambda: renewed.reads("refused") == 1)
    assert renewed.shows(first)
    renewed.replace(Pair(second.certificate, first.key), renewed.authority)
    eventually(lambda: renewed.reads("refused") == 2)
    assert renewed.shows(first)
    assert live(renewed.address, renewed.authority.file, renewed.client)
    reasons = [event["reason"] for event in renewed.server.events("tls.refused")]
    assert "is not the key of this certificate" in reasons[-1]
    renewed.replace(second, renewed.authority)
    eventually(lambda: renewed.reads("taken") == 2)
    assert renewed.shows(second)
    assert live(renewed.address, renewed.authority.file, renewed.client)
