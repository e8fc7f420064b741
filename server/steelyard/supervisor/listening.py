"""Ports: found free before anything starts, and kept for the workers to share."""

import socket

from steelyard.config import Address
from steelyard.errors import ConfigError


def reserve(setting: str, address: Address) -> socket.socket:
    """A socket bound to `address`, never listening, that keeps the port for workers who bind it with SO_REUSEPORT.

    A first bind without that option finds out whether anyone else, a server of ours included, has the port: with it,
    two servers would share the port and each get some of the calls. Port 0 becomes a free one.
    Raises `ConfigError` where the address cannot be had.
    """
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            target = (target[0], probe.getsockname()[1], *target[2:])
        kept = socket.socket(family, kind, protocol)
        try:
            # Not SO_REUSEADDR as well: with it, while nobody listens, another server's first bind would succeed.
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            kept.bind(target)
        except OSError:
            kept.close()
            raise
    except OSError as error:
        raise ConfigError(f"{setting} {address}: cannot listen there: {error.strerror or error}") from None
    return kept


def bound_address(kept: socket.socket) -> Address:
    """The address that `reserve` got."""
    name = kept.getsockname()
    return Address(name[0], name[1])
