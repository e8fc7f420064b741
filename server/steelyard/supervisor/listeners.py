"""The gRPC listeners of a server: taken by the supervisor, and handed to its workers."""

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from steelyard.addresses import Address, UnixAddress
from steelyard.config import Settings
from steelyard.fronts.tls import TlsFiles
from steelyard.supervisor.listening import ReservedPort, UnixPath, listen, listen_unix


@dataclass(frozen=True, slots=True)
class Handed:
    """One listener, as the worker is told of it."""

    address: str
    tls: bool
    fd: int
    """A socket that listens; -1: the worker shall listen at the address by itself."""

    def to_json(self) -> dict[str, Any]:
        """As it travels."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What `to_json` made."""
        return cls(**found)


class Listeners:
    """Takes every address of the settings, or none.

    For the http2 front they are sockets that listen already: a worker that comes back finds the connections that came
    meanwhile. Each worker has one of its own at each port, and the kernel deals connections out among them; at the path
    of a Unix socket there can be only one, which all of them accept from. The grpcio front listens by itself, so its
    ports and paths are only kept for it.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises `ConfigError` where an address cannot be had, or a file of TLS cannot be used."""
        self.plain: list[str] = []
        """Where gRPC is served without TLS, with the ports that the system chose."""
        self.tls: list[str] = []
        self._handed: list[list[Handed]] = []
        """By address, one for each worker."""
        self._settings = settings
        self._kept = contextlib.ExitStack()
        with contextlib.ExitStack() as unless_whole:
            unless_whole.callback(self._kept.close)
            if (files := tls_files(settings)) is not None:
                files.context()
            for address in settings.grpc_address:
                self._take("grpc_address", address, self.plain, False)
            for address in settings.grpc_tls_address:
                self._take("grpc_tls_address", address, self.tls, True)
            unless_whole.pop_all()

    def _take(self, setting: str, address: Address | UnixAddress, found: list[str], tls: bool) -> None:
        own = self._settings.front == "http2"
        workers = self._settings.workers
        listeners: list[socket.socket] = []
        if isinstance(address, UnixAddress):
            path = self._keep(UnixPath(setting, address))
            if own:
                mode = int(self._settings.grpc_socket_mode, 8)
                listeners = [self._keep(listen_unix(setting, path, mode))] * workers
        elif own and workers == 1:
            listener, address = listen(setting, address)
            listeners = [self._keep(listener)]
        else:
            port = self._keep(ReservedPort(setting, address))
            address = port.address
            if own:
                listeners = [self._keep(port.listen()) for _ in range(workers)]
        found.append(str(address))
        fds = [listener.fileno() for listener in listeners] or [-1] * workers
        self._handed.append([Handed(str(address), tls, fd) for fd in fds])

    def handed_to(self, worker: int) -> list[Handed]:
        """What a worker listens on."""
        return [by_worker[worker] for by_worker in self._handed]

    def _keep(self, closeable: Any) -> Any:
        self._kept.callback(closeable.close)
        return closeable

    def close(self) -> None:
        """Gives all of them up, and takes the files of Unix sockets away."""
        self._kept.close()


def tls_files(settings: Settings) -> TlsFiles | None:
    """The files that TLS is served with; None where it is not."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
