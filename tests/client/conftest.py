"""One server for the tests of the client."""

from collections.abc import Iterator

import pytest

from tests.client.served import Server, filled_server


@pytest.fixture(scope="session", params=["http2", "grpcio"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server over the models of `served.fill`, of either front; nothing may be changed in its repository."""
    yield from filled_server(tmp_path_factory.mktemp("repository"), "--front", request.param)
