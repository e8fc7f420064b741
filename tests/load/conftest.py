"""A server that answers fixed bytes, and one of ours with two models, each shared."""

from collections.abc import Iterator

import pytest

from tests.support import models
from tests.support.certificates import Authority
from tests.support.server import Server


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who issued the server's certificate."""
    return Authority(tmp_path_factory.mktemp("issued"), "issuer")


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Server]:
    """A server with the models `same` (FP32 [batch, 4]) and `embed` (INT64 ids [batch, length]), over TLS too."""
    root = tmp_path_factory.mktemp("loaded")
    repository = root / "models"
    repository.mkdir()
    models.put(repository, "same", models.identity())
    models.put(repository, "embed", models.embedding())
    served = authority.issue("server").served()
    server = Server(repository, root / "log", **served).wait_ready()
    yield server
    server.stop()
