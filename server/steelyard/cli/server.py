"""Which server a command talks to: the one at an address, or the one that has a data directory."""

from steelyard.addresses import Address, UnixAddress, parse_grpc_address
from steelyard.config import Settings
from steelyard.errors import ConfigError, Unavailable
from steelyard.supervisor.datadir import RunningServer, find_server

# Where a server that listens on every interface can be reached from its own machine.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def dialled(text: str) -> str:
    """The address to connect to for one that a server listens on. Raises ConfigError where it is none."""
    try:
        address = parse_grpc_address(text)
    except ValueError as exc:
        raise ConfigError(f"--address {text}: {exc}") from None
    if isinstance(address, UnixAddress):
        return str(address)
    return str(Address(_LOOPBACK.get(address.host, address.host), address.port))


def running_server(settings: Settings) -> str | None:
    """The gRPC address of the server that has the data directory now, or None. Raises Unavailable as `asked_at`."""
    server = find_server(settings.data)
    return None if server is None else asked_at(server)


def asked_at(server: RunningServer) -> str:
    """The address to ask a running server at. Raises Unavailable where it serves nothing without TLS."""
    if not server.grpc_addresses:
        raise Unavailable(
            f"the server (process {server.pid}) serves gRPC with TLS only, on {', '.join(server.grpc_tls_addresses)}, "
            "and this command asks without: give the server a Unix socket for it too, such as "
            "--grpc-address unix:/run/steelyard.sock"
        )
    return dialled(server.grpc_addresses[0])


def server_address(address: str | None, settings: Settings) -> str:
    """`address` where it is given, else the running server's. Raises Unavailable where none is running."""
    if address is not None:
        return dialled(address)
    found = running_server(settings)
    if found is None:
        raise Unavailable(
            f"no server is running with the data directory {settings.data}: "
            "name the right one with --data, or a server with --address"
        )
    return found
