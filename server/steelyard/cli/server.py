"""Which server a command talks to, and how: the one at an address, or the one that has a data directory."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from steelyard.addresses import Address, UnixAddress, parse_grpc_address
from steelyard.config import Settings
from steelyard.errors import ConfigError, Unavailable
from steelyard.supervisor.datadir import RunningServer, find_server

if TYPE_CHECKING:
    import ssl

F = TypeVar("F", bound=Callable[..., Any])

# Where a server that listens on every interface can be reached from its own machine.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Way:
    """How the options of a command say that the server is to be reached."""

    address: str | None
    tls: bool
    root_file: Path | None
    certificate_file: Path | None
    key_file: Path | None

    def context(self) -> "ssl.SSLContext | None":
        """What the client needs for TLS; None without. Raises ConfigError where files do not fit or cannot be read."""
        if not self.tls:
            return None
        from steelyard.client.target import tls_context

        return tls_context(self.root_file, self.certificate_file, self.key_file)


@dataclass(frozen=True, slots=True)
class Reached:
    """A server to ask."""

    address: str
    tls: "ssl.SSLContext | None"


def server_options(address: bool = True) -> Callable[[F], F]:
    """Options for how the server is reached, of which the command gets one argument, `way`.

    address: whether it may be another one than that of the data directory.
    """

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def gathered(
            *positional: Any,
            tls: bool,
            root_file: Path | None,
            certificate_file: Path | None,
            key_file: Path | None,
            address: str | None = None,
            **named: Any,
        ) -> Any:
            if not tls and (root_file or certificate_file or key_file):
                raise click.UsageError("--root-file, --certificate-file and --key-file: expected --tls too")
            way = Way(address, tls, root_file, certificate_file, key_file)
            return command(*positional, way=way, **named)

        file = click.Path(dir_okay=False, path_type=Path)
        options = [
            click.option("--tls", is_flag=True, help="Ask by TLS."),
            click.option(
                "--root-file",
                metavar="FILE",
                type=file,
                help="Certificates to check the server's against, PEM; not given: the system's.",
            ),
            click.option(
                "--certificate-file",
                metavar="FILE",
                type=file,
                help="Our own certificate, PEM, with --key-file.",
            ),
            click.option(
                "--key-file", metavar="FILE", type=file, help="The key of our own certificate, PEM."
            ),
        ]
        if address:
            options.insert(
                0,
                click.option(
                    "--address",
                    metavar="ADDRESS",
                    help="Ask this server, HOST:PORT or unix:/PATH, whatever its data directory.",
                ),
            )
        decorated: Any = gathered
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def running_server(settings: Settings, way: Way) -> Reached | None:
    """The server that has the data directory now, or None. Raises as `asked_at`."""
    server = find_server(settings.data)
    return None if server is None else asked_at(server, way)


def asked_at(server: RunningServer, way: Way) -> Reached:
    """Where to ask a running server. Raises Unavailable where it does not serve what `way` asks for."""
    about = f"the server (process {server.pid}) serves gRPC"
    if way.tls and not server.grpc_tls_addresses:
        raise Unavailable(f"{about} without TLS only, on {', '.join(server.grpc_addresses)}: leave out --tls")
    if not way.tls and not server.grpc_addresses:
        raise Unavailable(
            f"{about} with TLS only, on {', '.join(server.grpc_tls_addresses)}, "
            "and this command asks without: ask with --tls, or give the server a Unix socket for it too, such as "
            "--grpc-address unix:/run/steelyard.sock"
        )
    addresses = server.grpc_tls_addresses if way.tls else server.grpc_addresses
    return Reached(_dialled(addresses[0]), way.context())


def named_server(address: str, way: Way) -> Reached:
    """The server at `address`. Raises ConfigError where it is none, or no TLS can be spoken there."""
    dialled = _dialled(address)
    if way.tls and dialled.startswith("unix:"):
        raise ConfigError(
            f"--address {address}: expected no --tls, as no server speaks it over a Unix socket"
        )
    return Reached(dialled, way.context())


def server_of(way: Way, settings: Settings) -> Reached:
    """The server at --address where it is given, else the running one. Raises Unavailable where none is running."""
    if way.address is not None:
        return named_server(way.address, way)
    found = running_server(settings, way)
    if found is None:
        raise Unavailable(
            f"no server is running with the data directory {settings.data}: "
            "name the right one with --data, or a server with --address"
        )
    return found


def _dialled(text: str) -> str:
    """The address to connect to for one that a server listens on. Raises ConfigError where it is none."""
    try:
        address = parse_grpc_address(text)
    except ValueError as exc:
        raise ConfigError(f"--address {text}: {exc}") from None
    if isinstance(address, UnixAddress):
        return str(address)
    return str(Address(_LOOPBACK.get(address.host, address.host), address.port))
