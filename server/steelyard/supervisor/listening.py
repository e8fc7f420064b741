"""Ports and Unix sockets: found free before anything starts, and kept for the workers."""

import contextlib
import hashlib
import os
import socket
import stat
from pathlib import Path
from typing import Any

from steelyard.addresses import Address, UnixAddress
from steelyard.errors import ConfigError

# Connections that wait to be accepted: those of a burst, and those that come while a worker is started again.
BACKLOG = 1024

# Whether a server lives behind a socket is known at once, on this machine.
_PROBE_TIMEOUT_S = 1.0


def _resolve(setting: str, address: Address) -> tuple[int, int, int, Any]:
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _refusal(setting, address, error) from None
    return family, kind, protocol, target


def _socket(family: int, kind: int, protocol: int) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    if family == socket.AF_INET6:
        # [::] and 0.0.0.0 can both be listed, whatever the system's default is.
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return opened


def _refusal(setting: str, address: Address | UnixAddress, error: OSError) -> ConfigError:
    return ConfigError(f"{setting} {address}: cannot listen there: {error.strerror or error}")


def _address_of(bound: socket.socket) -> Address:
    name = bound.getsockname()
    return Address(name[0], name[1])


def listen(setting: str, address: Address) -> tuple[socket.socket, Address]:
    """A listening socket that nobody shares, and where it listens. Raises `ConfigError` where there can be none."""
    family, kind, protocol, target = _resolve(setting, address)
    listener = _socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(BACKLOG)
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
        self._kept = _socket(family, kind, protocol)
        try:
            if target[1]:
                self._own(Address(target[0], target[1]))
                with _socket(family, kind, protocol) as probe:
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
        self._setting = setting

    def _own(self, address: Address) -> None:
        self._owner.bind(f"\0steelyard {address}")

    def listen(self) -> socket.socket:
        """One of the sockets that listen at the port, among which the kernel deals connections out.

        Raises `ConfigError`.
        """
        listener = _socket(self._kept.family, self._kept.type, self._kept.proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(self._kept.getsockname())
            listener.listen(BACKLOG)
            # Its connections inherit this, and then keep no later server from the port while they linger. Not before it
            # listens, when another server's bind would have succeeded.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        except OSError as error:
            listener.close()
            raise _refusal(self._setting, self.address, error) from None
        return listener

    def close(self) -> None:
        """Gives the port up."""
        self._kept.close()
        self._owner.close()


class UnixPath:
    """Keeps the path of a Unix socket for one server, and takes the socket away at the end.

    A socket's file outlives a server that was killed: what is there and answers nobody is replaced. As with ports, a
    name in the abstract namespace says which server has the path, also while none of its workers listens.
    """

    def __init__(self, setting: str, address: UnixAddress) -> None:
        """Takes the path. Raises `ConfigError` where it is another's, or cannot be had."""
        self.address = address
        self._owner = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._owner.bind(_abstract_name(address.path))
            _remove_stale(address.path)
        except OSError as error:
            self._owner.close()
            raise _refusal(setting, address, error) from None

    def close(self) -> None:
        """Takes the socket away and gives the path up."""
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.lstat(self.address.path).st_mode):
                self.address.path.unlink()
        self._owner.close()


def listen_unix(setting: str, kept: UnixPath, mode: int) -> socket.socket:
    """A listening socket at a path that is kept, with the permissions `mode`. Raises `ConfigError`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_mode(mode):
            listener.bind(str(kept.address.path))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _refusal(setting, kept.address, error) from None
    return listener


@contextlib.contextmanager
def socket_mode(mode: int) -> Any:
    """Within it a Unix socket that is bound has the permissions `mode` from the start, and not a moment later."""
    before = os.umask(0o777 ^ mode)
    try:
        yield
    finally:
        os.umask(before)


def _abstract_name(path: Path) -> str:
    """Short, since an abstract name may be no longer than a path, and the same for every way to write the path."""
    real = os.path.join(os.path.realpath(path.parent), path.name)
    return f"\0steelyard {hashlib.sha256(os.fsencode(real)).hexdigest()}"


def _remove_stale(path: Path) -> None:
    """Removes a socket that nobody listens on. Raises OSError for what is anything else."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError("something is there that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            # A backlog that is full, or a socket of another kind or user: it is in use.
            pass
    raise OSError("Address already in use")
