"""The server of the demonstration: `steelyard serve`, in a process of its own."""

import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from steelyard.errors import Unavailable
from steelyard.supervisor.datadir import RunningServer, find_server

# Loading and the check of row independence take a second or two; a busy machine takes longer.
READY_TIMEOUT_S = 90.0
POLL_S = 0.05
# The server gives what is in flight half a minute, and nothing is.
STOP_TIMEOUT_S = 45.0
SHOWN_LOG_LINES = 12


class ServerProcess:
    """One `steelyard serve`, from its start until `stop`, or beyond this process where `stop` is never called."""

    def __init__(self, repository: Path, data: Path, log: Path) -> None:
        """Starts it on free ports of 127.0.0.1. Raises Unavailable where a server has `data` already."""
        running = find_server(data)
        if running is not None:
            raise Unavailable(
                f"the server of an earlier demo is still up, process {running.pid}; "
                f"stop it first: kill {running.pid}"
            )
        self._data = data
        self._log = log
        command = [
            *(sys.executable, "-m", "steelyard.cli.main", "serve", str(repository)),
            *("--data", str(data)),
            *("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"),
        ]
        with log.open("wb") as stream:
            # In a session of its own: Ctrl-C is for the demo, which stops the server in its turn, or keeps it.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The supervisor's process id: a SIGTERM to it stops the server."""
        return self._process.pid

    def wait_ready(self) -> RunningServer:
        """Returns where it answers, once it is ready. Raises Unavailable where it ends, or takes too long."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                raise Unavailable(f"the server ended with status {self._process.returncode}: {self._last_words()}")
            running = find_server(self._data)
            if running is not None and _ready(running.http_address):
                return running
            time.sleep(POLL_S)
        raise Unavailable(f"the server was not ready after {READY_TIMEOUT_S:.0f} s: {self._last_words()}")

    def stop(self) -> None:
        """Stops it and waits for its end."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        finally:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join([f"the end of {self._log}:", *lines[-SHOWN_LOG_LINES:]])


def _ready(http_address: str) -> bool:
    with contextlib.suppress(urllib.error.URLError, OSError):
        with urllib.request.urlopen(f"http://{http_address}/v2/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    return False
