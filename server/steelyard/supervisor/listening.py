"""Ports: found free before anything starts, and kept for the workers to share."""

import socket
from typing import Any

from steelyard.config import Address
from steelyard.errors import ConfigError


def _resolve(setting: str, address: Address) -> tuple[int, int, int, Any]:
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _refusal(setting, address, error) from None
    return family, kind, protocol, target


def _refusal(setting: str, address: Address, error: OSError) -> ConfigError:
    return ConfigError(f"{setting} {address}: cannot listen there: {error.strerror or error}")


def _address_of(bound: socket.socket) -> Address:
    name = bound.getsockname()
    return Address(name[0], name[1])


def listen(setting: str, address: Address) -> tuple[socket.socket, Address]:
    """A listening socket that nobody shares, and where it listens. Raises `ConfigError` where there can be none."""
    family, kind, protocol, target = _resolve(setting, address)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise _refusal(setting, address, error) from None
    return listener, _address_of(listener)


class ReservedPort:
    """Keeps a port for workers who bind it with SO_REUSEPORT: bound, never listening.

    That option alone would let two servers share a port and each get some of the calls. So a name in the abstract Unix
    namespace, which ends with its process, says which server has the port, and a bind without the option finds out
    whether anyone else listens there.
    """

    def __init__(self, setting: str, address: Address) -> None:
        """Takes the port; 0 becomes a free one. Raises `ConfigError` where it cannot be had."""
        family, kind, protocol, target = _resolve(setting, address)
        self._owner = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._kept = socket.socket(family, kind, protocol)
        try:
            if target[1]:
                self._own(Address(target[0], target[1]))
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(target)
            # Not SO_REUSEADDR as well: with it, while no worker listens yet, anyone's bind with it would succeed. And
            # port 0 needs no probe, since the system never chooses a port that others share.
            self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._kept.bind(target)
            self.address = _address_of(self._kept)
            if not target[1]:
                self._own(self.address)
        except OSError as error:
            self.close()
            raise _refusal(setting, address, error) from None

    def _own(self, address: Address) -> None:
        self._owner.bind(f"\0steelyard {address}")

    def close(self) -> None:
        """Gives the port up."""
        self._kept.close()
        self._owner.close()
