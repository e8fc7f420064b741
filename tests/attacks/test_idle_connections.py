"""Connections that do nothing: what each of them costs, and that it is given back."""

import resource
import ssl
from collections.abc import Iterator

import psutil
import pytest

from tests.attacks.attacker import Attacker
from tests.attacks.siege import MB, Siege
from tests.support import models
from tests.support.certificates import Authority
from tests.support.server import Server
from tests.support.waiting import eventually

# Twice what was measured (docs/front.md), and less than three times: what is not given back would show in three rounds.
PLAIN_BYTES = 30_000
# Most of it is the loop's buffer of 256 KB for what it has to decrypt, of which more is touched with every round.
TLS_BYTES = 320_000

MANY = 10_000
DESCRIPTORS = MANY + 1_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("papers"), "authority")


@pytest.fixture(scope="module")
def descriptors() -> Iterator[int]:
    """How many this process may have, and a server that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = max(soft, min(hard, DESCRIPTORS))
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    yield allowed
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def roomy(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, descriptors: int
) -> Iterator[Server]:
    """A server of a test's own, with places for many, which asks none whether it is there."""
    root = tmp_path_factory.mktemp("roomy")
    models.put(root / "models", "double", models.scaled())
    running = Server(
        root / "models",
        root / "log",
        front="http2",
        **authority.issue("server").served(),
        max_connections=MANY + 100,
        keepalive_interval_s=0,
        idle_timeout_s=0,
    ).wait_ready()
    yield running
    running.stop()


@pytest.fixture
def siege(roomy: Server, request: pytest.FixtureRequest) -> Siege:
    """The server, watched under the test's name."""
    return Siege(roomy, request.node.name)


@pytest.mark.parametrize("count", [1_000, pytest.param(MANY, marks=pytest.mark.siege)])
def test_idle_connections(siege: Siege, roomy: Server, descriptors: int, count: int) -> None:
    hold_idle(siege, roomy, roomy.address, None, count, descriptors, PLAIN_BYTES)


@pytest.mark.parametrize("count", [500, pytest.param(MANY, marks=pytest.mark.siege)])
def test_idle_connections_with_tls(
    siege: Siege, roomy: Server, descriptors: int, authority: Authority, count: int
) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.set_alpn_protocols(["h2"])
    (address,) = roomy.running.grpc_tls_addresses
    hold_idle(siege, roomy, address, context, count, descriptors, TLS_BYTES)


def hold_idle(
    siege: Siege,
    server: Server,
    address: str,
    tls: ssl.SSLContext | None,
    count: int,
    descriptors: int,
    most_bytes: int,
) -> None:
    """Opens so many connections, sees what the server holds for them, and closes them; small numbers several times."""
    if descriptors < count + 500:
        pytest.skip(f"expected {count + 500} file descriptors, and the limit is {descriptors}")
    worker = psutil.Process(server.worker_pid())
    # What the first connections of all make the process load is not theirs.
    for _ in range(10):
        with Attacker(address, tls=tls) as attacker:
            assert attacker.settle()
    open_before, before = worker.num_fds(), worker.memory_info().rss
    held = []
    with siege.hold(growth_mb=20 + count * most_bytes // MB):
        for _ in range(1 if count == MANY else 3):
            idle = [Attacker(address, tls=tls) for _ in range(count)]
            assert all(attacker.settle() for attacker in idle)
            assert worker.num_fds() >= open_before + count
            held.append((worker.memory_info().rss - before) / count)
            for attacker in idle:
                attacker.close()
            eventually(lambda: worker.num_fds() < open_before + 20)
    print(f"{count} idle connections hold {', '.join(f'{each:,.0f}' for each in held)} bytes each")
    # The allocator keeps what was given back for those that come next.
    assert max(held) < most_bytes
