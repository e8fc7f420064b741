"""A server with each front, and clients of libraries that were written elsewhere."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.grpc_js_client import GrpcJs
from tests.interop.grpcio_clients import GrpcioAio, GrpcioSync
from tests.interop.grpclib_client import Grpclib
from tests.interop.outcome import Client
from tests.support import models
from tests.support.server import Server

CLIENTS = {"grpcio": GrpcioSync, "grpcio-aio": GrpcioAio, "grpclib": Grpclib, "grpc-js": GrpcJs}


@pytest.fixture(scope="session", params=["http2", "grpcio"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with messages of up to 64 MiB."""
    root = tmp_path_factory.mktemp(f"interop-{request.param}")
    repository = root / "models"
    repository.mkdir()
    models.put(repository, "double", models.scaled())
    models.put(repository, "same_uint8", models.identity("UINT8"))
    models.put(repository, "stall", models.stall(), manifest="[serving]\ninstances = 1\n")
    running = Server(repository, root / "log", front=request.param).wait_ready()
    yield running
    running.stop()


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.extra] if name == "grpc-js" else []) for name in CLIENTS]
)
async def client(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Client]:
    """A client of each library, connected to the server."""
    client = CLIENTS[request.param](server.address)
    yield client
    await client.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own, with the model `double`, and ends them after it."""
    servers: list[Server] = []

    def start(**settings: object) -> Server:
        repository = tmp_path / f"models-{len(servers)}"
        repository.mkdir()
        models.put(repository, "double", models.scaled())
        models.put(repository, "same_uint8", models.identity("UINT8"))
        server = Server(repository, tmp_path / f"log-{len(servers)}", **settings)
        servers.append(server)
        return server.wait_ready()

    yield start
    for server in servers:
        server.stop()
