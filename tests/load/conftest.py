"""A server that answers fixed bytes, and one of ours with two models, each shared."""

from collections.abc import Iterator

import pytest

from tests.support import models
from tests.support.server import Server


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the models `same` (FP32 [batch, 4]) and `embed` (INT64 ids [batch, length])."""
    root = tmp_path_factory.mktemp("loaded")
    repository = root / "models"
    repository.mkdir()
    models.put(repository, "same", models.identity())
    models.put(repository, "embed", models.embedding())
    server = Server(repository, root / "log").wait_ready()
    yield server
    server.stop()
