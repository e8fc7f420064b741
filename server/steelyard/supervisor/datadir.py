"""The data directory: one server's at a time, and where commands find that server."""

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from steelyard.errors import ConfigError

LOCK_FILE = "lock"
SERVER_FILE = "server.json"

# A command that looks for the server holds the lock, shared, for some microseconds.
LOCK_TRIES = 4
LOCK_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where the server of a data directory answers."""

    pid: int
    grpc_address: str
    """The first of `grpc_addresses`, or where there are none, of `grpc_tls_addresses`."""
    grpc_addresses: list[str]
    """Where it answers without TLS."""
    grpc_tls_addresses: list[str]
    http_address: str
    repository: str


class DataDirectory:
    """Holds the lock on a data directory for as long as it lives."""

    def __init__(self, path: Path) -> None:
        """Makes the directory where it is missing, and locks it.

        Raises `ConfigError` where another server has it, or it cannot be written.
        """
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"data {path}: cannot be written: {error.strerror}") from None
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                time.sleep(LOCK_PAUSE_S)
        os.close(self._lock)
        owner = find_server(path)
        who = f" (process {owner.pid}, gRPC on {owner.grpc_address})" if owner else ""
        raise ConfigError(f"data {path}: another server has this data directory{who}")

    def announce(self, server: RunningServer) -> None:
        """Writes down where the server answers."""
        temporary = self.path / f"{SERVER_FILE}.new"
        temporary.write_text(json.dumps(asdict(server)))
        temporary.replace(self.path / SERVER_FILE)

    def close(self) -> None:
        """Takes the announcement back and gives up the lock."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / SERVER_FILE).unlink()
        os.close(self._lock)


def find_server(path: Path) -> RunningServer | None:
    """The server that has the data directory now, or None where none is running."""
    try:
        lock = os.open(path / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        try:
            return RunningServer(**json.loads((path / SERVER_FILE).read_text()))
        except (OSError, ValueError, TypeError):
            return None
    finally:
        os.close(lock)
    return None
