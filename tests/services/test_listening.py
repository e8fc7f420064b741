"""Where a server listens: several addresses, IPv6, Unix sockets, TLS with and without clients' certificates."""

import os
import signal
import socket
import ssl
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from steelyard.addresses import parse_address
from steelyard.cli.main import main
from steelyard.supervisor.listening import listen
from tests.services.operator import Operator
from tests.support import models
from tests.support.asking import TIMEOUT_S, Asker, live, request
from tests.support.certificates import Authority, Pair
from tests.support.server import Server
from tests.support.shadows import hand_over, patiently
from tests.support.waiting import eventually

Start = Callable[..., Server]
FRONTS = ("http2", "grpcio")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"


@dataclass(frozen=True)
class Papers:
    """Who is who: the server's certificate, a client's, and those of somebody else."""

    directory: Path
    authority: Authority
    server: Pair
    client: Pair
    strangers: Authority
    stranger: Pair

    def tls(self) -> dict[str, str]:
        """The settings of a server with TLS."""
        return self.server.served()


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    directory = tmp_path_factory.mktemp("papers")
    authority, strangers = Authority(directory, "authority"), Authority(directory, "strangers")
    return Papers(
        directory,
        authority,
        authority.issue("server"),
        authority.issue("client"),
        strangers,
        strangers.issue("stranger"),
    )


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def _repository(root: Path) -> Path:
    repository = root / "models"
    repository.mkdir()
    models.put(repository, "double", models.scaled())
    return repository


@pytest.fixture(scope="module", params=FRONTS)
def everywhere(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, papers: Papers, short: Path
) -> Iterator[Server]:
    """A server that listens in every way at once. Not to be harmed."""
    root = tmp_path_factory.mktemp("everywhere")
    plain = ["127.0.0.1:0", "[::1]:0", f"unix:{short / request.param}.sock"]
    addresses = {**papers.tls(), "grpc_tls_address": ["127.0.0.1:0", "[::1]:0"]}
    server = Server(
        _repository(root), root / "log", front=request.param, **{"grpc_address": plain, **addresses}
    )
    yield server.wait_ready()
    server.stop()


@pytest.fixture(scope="module", params=FRONTS)
def closed_circle(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, papers: Papers
) -> Iterator[Server]:
    """A server with TLS alone, for clients with a certificate. Not to be harmed."""
    root = tmp_path_factory.mktemp("circle")
    asked = {**papers.tls(), "tls_client_ca": str(papers.authority.file)}
    server = Server(_repository(root), root / "log", front=request.param, grpc_address=[], **asked)
    yield server.wait_ready()
    server.stop()


def refused(address: str, roots: Path | None = None, own: Pair | None = None) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        live(address, roots, own)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def spoken(address: str, context: ssl.SSLContext) -> bytes:
    """The first bytes of a server's after HTTP/2's preface over TLS; empty where it closes instead."""
    host, port = address.rsplit(":", 1)
    with (
        socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as secured,
    ):
        try:
            secured.sendall(PREFACE)
            return secured.recv(9)
        except (ConnectionError, ssl.SSLError):
            return b""


def test_every_listener_answers(everywhere: Server, papers: Papers) -> None:
    running = everywhere.running
    plain, tls = running.grpc_addresses, running.grpc_tls_addresses
    assert running.grpc_address == plain[0]
    assert [address.rpartition(":")[0] for address in plain] == ["127.0.0.1", "[::1]", "unix"]
    assert [address.rpartition(":")[0] for address in tls] == ["127.0.0.1", "[::1]"]
    for address in plain:
        with Asker(address) as own:
            assert own.infer("double", {"x": np.ones((1, 4), np.float32)})["y"].shape == (1, 4)
    for address in tls:
        assert live(address, papers.authority.file)


def test_a_unix_socket_is_its_owners_alone(everywhere: Server) -> None:
    path = Path(everywhere.running.grpc_addresses[2].removeprefix("unix:"))
    found = path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600


def test_a_client_with_other_roots_trusts_no_such_server(everywhere: Server, papers: Papers) -> None:
    refused(everywhere.running.grpc_tls_addresses[0], papers.strangers.file)


def test_tls_is_spoken_where_it_is_asked_for_alone(everywhere: Server, papers: Papers) -> None:
    refused(everywhere.running.grpc_tls_addresses[0])
    refused(everywhere.running.grpc_address, papers.authority.file)
    assert live(everywhere.running.grpc_address)


def test_no_certificate_is_asked_of_clients_unless_told(everywhere: Server, papers: Papers) -> None:
    assert live(everywhere.running.grpc_tls_addresses[0], papers.authority.file, papers.stranger)


@pytest.mark.parametrize("protocols", [["h2"], ["h2", "http/1.1"], ["http/1.1"], []])
def test_alpn(everywhere: Server, papers: Papers, protocols: list[str]) -> None:
    context = ssl.create_default_context(cafile=str(papers.authority.file))
    if protocols:
        context.set_alpn_protocols(protocols)
    address = everywhere.running.grpc_tls_addresses[0]
    try:
        said = spoken(address, context)
    except (ssl.SSLError, ConnectionError):
        said = b""
    # A server speaks first of its SETTINGS, frame type 4; one that was not asked for h2 says nothing.
    assert said[3:4] == (b"\x04" if "h2" in protocols else b"")


def test_no_tls_older_than_1_2(everywhere: Server, papers: Papers) -> None:
    context = ssl.create_default_context(cafile=str(papers.authority.file))
    context.set_alpn_protocols(["h2"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert spoken(everywhere.running.grpc_tls_addresses[0], context)[3:4] == b"\x04"
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLS"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        spoken(everywhere.running.grpc_tls_addresses[0], context)


def test_mutual_tls(closed_circle: Server, papers: Papers) -> None:
    (address,) = closed_circle.running.grpc_tls_addresses
    assert closed_circle.address == address
    assert live(address, papers.authority.file, papers.client)
    refused(address, papers.authority.file)
    refused(address, papers.authority.file, papers.stranger)
    over = papers.authority.issue("over", days=-1)
    refused(address, papers.authority.file, over)
    assert live(address, papers.authority.file, papers.client)
    assert "Traceback" not in closed_circle.output()


def by_tls(papers: Papers, own: Pair | None = None) -> list[str]:
    """The options of a command that asks by TLS."""
    options = ["--tls", "--root-file", str(papers.authority.file)]
    if own is not None:
        options += ["--certificate-file", str(own.certificate), "--key-file", str(own.key)]
    return options


INFER = ["infer", "double", "--input", "x=[[1, 2, 3, 4]]"]


def test_commands_reach_every_listener(
    everywhere: Server, papers: Papers, capsys: pytest.CaptureFixture[str]
) -> None:
    running = everywhere.running
    ways = [(address, []) for address in running.grpc_addresses]
    ways += [(address, by_tls(papers)) for address in running.grpc_tls_addresses]
    assert len(ways) == 5
    for address, how in ways:
        assert main(["models", "--address", address, *how]) == 0
        assert f"Server at {address}" in capsys.readouterr().out
        assert main([*INFER, "--address", address, *how]) == 0
    assert main(["models", "--data", str(everywhere.data), *by_tls(papers)]) == 0
    assert f"Server at {running.grpc_tls_addresses[0]}" in capsys.readouterr().out


def test_commands_with_a_certificate_of_their_own(
    closed_circle: Server, papers: Papers, capsys: pytest.CaptureFixture[str]
) -> None:
    for where in (["--data", str(closed_circle.data)], ["--address", closed_circle.address]):
        assert main([*INFER, *where, *by_tls(papers, papers.client)]) == 0
        for own in (None, papers.stranger):
            assert main([*INFER, *where, *by_tls(papers, own)]) == 1
            assert "failed to connect" in capsys.readouterr().err
    example = ["golden", "record", "double", "--name", "one", "--input", "x=[[1, 2, 3, 4]]"]
    assert main([*example, "--data", str(closed_circle.data), *by_tls(papers, papers.client)]) == 0


@pytest.mark.parametrize(
    ("how", "why"),
    [
        (["--root-file", "ca.pem"], "expected --tls too"),
        (["--address", "unix:/run/s", "--tls"], "expected no --tls"),
        (["--address", "localhost:1", "--tls", "--root-file", "/does/not/exist"], "/does/not/exist"),
        (["--address", "localhost:1", "--tls", "--key-file", "k"], "expected both or none"),
        (["--address", "nowhere"], "--address nowhere: expected HOST:PORT"),
    ],
)
def test_commands_refuse_a_way_that_cannot_be(
    how: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["models"], INFER):
        assert main([*command, *how]) == 2
        assert why in capsys.readouterr().err


def test_a_shadow_of_a_server_by_every_listener(
    start: Start, everywhere: Server, papers: Papers, tmp_path: Path
) -> None:
    server = start(_repository(tmp_path)).wait_ready()
    running = everywhere.running
    root = str(papers.authority.file)
    ways = [(address, {}) for address in running.grpc_addresses]
    ways += [(running.grpc_tls_addresses[0], {"tls": True, "root_file": root})]
    with Operator(server.data) as operator, Asker(server.address) as asker:

        def ask(count: int) -> None:
            for _ in range(count):
                asker.infer("double", {"x": np.ones((1, 4), np.float32)})

        for address, how in ways:
            operator.start_remote_shadow("double", address, **how)
        for address, _ in ways:

            def status(address: str = address) -> Any:
                shadows = operator.trials("double")["shadows"]
                return next(one for one in shadows if one["name"] == address)

            hand_over(3, ask, status)
            found = patiently(lambda status=status: status()["pairs"]["agreed"] >= 3 and status())
            assert found["pairs"]["agreed"] == found["pairs"]["pairs"]


def test_commands_say_what_to_do_where_there_is_tls_alone(
    closed_circle: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--data", str(closed_circle.data)]) == 1
    said = capsys.readouterr().err
    for part in (closed_circle.address, "TLS only", "ask with --tls", "--grpc-address unix:"):
        assert part in said


def test_commands_find_a_server_that_has_a_unix_socket_alone(
    start: Start, tmp_path: Path, short: Path, front: str, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"unix:{short}/alone-{front}.sock"
    asked = {"front": front, "grpc_address": address, "grpc_socket_mode": "0660"}
    server = start(_repository(tmp_path), **asked).wait_ready()
    path = short / f"alone-{front}.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    data = ["--data", str(server.data)]
    assert main(["models", *data]) == 0
    assert f"Server at {address}" in capsys.readouterr().out
    assert main(["infer", "double", "--input", "x=[[1, 2, 3, 4]]", *data]) == 0
    assert main(["infer", "double", "--input", "x=[[1, 2, 3, 4]]", "--address", address]) == 0
    assert server.stop() == 0
    assert not path.exists()


def ended(server: Server) -> str:
    """The output of a server that must not start."""
    status = eventually(lambda: server.process.poll() is not None and (server.process.returncode,))
    assert status[0] == 2, server.output()
    assert "Traceback" not in server.output()
    return server.output()


@pytest.mark.parametrize("setting", ["grpc_address", "grpc_tls_address"])
def test_one_port_in_use_of_several(
    start: Start, tmp_path: Path, short: Path, papers: Papers, front: str, setting: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        mine = short / f"{front}-{setting}.sock"
        listed = {"grpc_address": [f"unix:{mine}"], "grpc_tls_address": ["127.0.0.1:0"]}
        listed[setting].append(address)
        output = ended(start(_repository(tmp_path), front=front, **{**papers.tls(), **listed}))
    for part in (setting, address, "in use"):
        assert part in output
    assert not mine.exists()


def test_the_socket_of_a_dead_server_is_replaced_and_that_of_a_live_one_is_not(
    start: Start, tmp_path: Path, short: Path, front: str
) -> None:
    path = short / f"kept-{front}.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    asked = {"front": front, "grpc_address": f"unix:{path}"}
    repository = _repository(tmp_path)
    first = start(repository, **asked).wait_ready()
    assert live(f"unix:{path}")
    output = ended(start(repository, data=str(tmp_path / "other"), **asked))
    for part in ("grpc_address", f"unix:{path}", "in use"):
        assert part in output
    assert live(f"unix:{path}")
    # A worker that is left alone would still take its socket away.
    worker = first.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    first.process.kill()
    first.process.wait()
    os.kill(worker, signal.SIGKILL)
    assert path.exists()
    start(repository, **asked).wait_ready()
    assert live(f"unix:{path}")


def test_a_socket_of_another_program_is_left_alone(start: Start, tmp_path: Path, short: Path) -> None:
    path = short / "foreign.sock"
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(path))
        foreign.listen()
        assert "in use" in ended(start(_repository(tmp_path), front="http2", grpc_address=f"unix:{path}"))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_file_that_is_no_socket_is_left_alone(start: Start, tmp_path: Path, short: Path) -> None:
    path = short / "notes"
    path.write_text("mine")
    output = ended(start(_repository(tmp_path), grpc_address=f"unix:{path}"))
    assert "no socket" in output
    assert path.read_text() == "mine"


def _without_key(papers: Papers, tmp_path: Path) -> dict[str, str]:
    return {**papers.tls(), "tls_key": str(tmp_path / "none.key")}


def _another_key(papers: Papers, tmp_path: Path) -> dict[str, str]:
    return {**papers.tls(), "tls_key": str(papers.client.key)}


def _no_pem(papers: Papers, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "no.pem").write_bytes(os.urandom(2000))
    return {**papers.tls(), "tls_certificate": str(tmp_path / "no.pem")}


def _no_authority(papers: Papers, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "no.pem").write_bytes(b"\xff nothing")
    return {**papers.tls(), "tls_client_ca": str(tmp_path / "no.pem")}


def _directory(papers: Papers, tmp_path: Path) -> dict[str, str]:
    return {**papers.tls(), "tls_certificate": str(tmp_path)}


def _locked_key(papers: Papers, tmp_path: Path) -> dict[str, str]:
    pair = papers.authority.issue("locked", password=b"secret")
    return {**papers.tls(), "tls_certificate": str(pair.certificate), "tls_key": str(pair.key)}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (_without_key, "none.key: cannot be read: No such file"),
        (_another_key, "is not the key of this certificate"),
        (_no_pem, "cannot be used"),
        (_no_authority, "expected certificates in PEM"),
        (_directory, "cannot be read: Is a directory"),
        (_locked_key, "is encrypted"),
    ],
)
def test_files_that_cannot_be_used(
    start: Start,
    tmp_path: Path,
    papers: Papers,
    front: str,
    settings: Callable[[Papers, Path], dict[str, str]],
    expected: str,
) -> None:
    output = ended(start(_repository(tmp_path), front=front, **settings(papers, tmp_path)))
    assert expected in output
    assert "tls_" in output


def test_half_a_handshake_is_closed_in_time(start: Start, tmp_path: Path, papers: Papers) -> None:
    server = start(_repository(tmp_path), front="http2", handshake_timeout_s=1, **papers.tls()).wait_ready()
    (address,) = server.running.grpc_tls_addresses
    host, port = address.rsplit(":", 1)
    hello, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(papers.authority.file))
    halfway = context.wrap_bio(hello, out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        halfway.do_handshake()
    greeting = out.read()
    for sent in (b"", greeting[:50], greeting):
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
            connection.sendall(sent)
            # What the server has to say of the handshake, and then its end.
            while connection.recv(65_536):
                pass
    assert live(address, papers.authority.file)


def test_a_worker_that_comes_back_finds_who_came_meanwhile(
    start: Start, tmp_path: Path, papers: Papers, short: Path
) -> None:
    plain = ["127.0.0.1:0", "[::1]:0", f"unix:{short}/back.sock"]
    repository = _repository(tmp_path)
    asked = {**papers.tls(), "grpc_address": plain}
    server = start(repository, front="http2", **asked).wait_ready()
    running = server.running
    # Without its repository no worker comes back.
    away = repository.rename(repository.with_name("away"))
    os.kill(server.worker_pid(), signal.SIGKILL)
    eventually(lambda: server.events("worker.died"))
    waiting = []
    for address in running.grpc_addresses:
        kind, where = (
            (socket.AF_UNIX, address.removeprefix("unix:"))
            if address.startswith("unix:")
            else (socket.AF_INET6 if "[" in address else socket.AF_INET, _target(address))
        )
        connection = socket.socket(kind)
        connection.settimeout(TIMEOUT_S)
        connection.connect(where)
        connection.sendall(PREFACE)
        waiting.append(connection)
    away.rename(repository)
    for connection in waiting:
        with connection:
            assert connection.recv(9)[3:4] == b"\x04"
    eventually(server.is_ready)
    assert server.running == running
    for address in running.grpc_addresses:
        with Asker(address) as own:
            assert own.call("ModelInfer", request("double", {"x": np.ones((1, 4), np.float32)}))
    assert live(running.grpc_tls_addresses[0], papers.authority.file)


def _target(address: str) -> tuple[str, int]:
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def test_every_interface_of_both_kinds_may_be_listed() -> None:
    six, address = listen("grpc_address", parse_address("[::]:0"))
    with six:
        four, again = listen("grpc_address", parse_address(f"0.0.0.0:{address.port}"))
        four.close()
    assert (address.host, again.host) == ("::", "0.0.0.0")
    assert address.port == again.port
