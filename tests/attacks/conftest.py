"""One server for all attacks: what one of them leaves behind, the next would meet."""

from collections.abc import Iterator

import pytest

from tests.attacks.siege import Siege
from tests.support import models
from tests.support.server import Server


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the http2 front and its default limits."""
    root = tmp_path_factory.mktemp("attacked")
    repository = root / "models"
    models.put(repository, "double", models.scaled())
    models.put(repository, "wide", models.widened(1_000_000))
    models.put(
        repository,
        "still",
        models.stall(),
        manifest="[serving]\ninstances = 1\nmax_queue_requests = 100000\n",
    )
    running = Server(repository, root / "log", front="http2").wait_ready()
    yield running
    running.stop()


@pytest.fixture
def siege(attacked: Server, request: pytest.FixtureRequest) -> Siege:
    """The server, watched under the test's name."""
    return Siege(attacked, request.node.name)
