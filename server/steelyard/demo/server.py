"""The server of the demonstration and of `steelyard tune`: `steelyard serve`, in a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from steelyard.config import ENVIRONMENT_PREFIX
from steelyard.errors import Unavailable
from steelyard.supervisor.datadir import RunningServer, find_server

# Loading and the check of row independence take a second or two; a busy machine takes longer.
READY_TIMEOUT_S = 90.0
POLL_S = 0.05
# The server gives what is in flight half a minute, and nothing is.
STOP_TIMEOUT_S = 45.0
SHOWN_LOG_LINES = 12


def refuse_second(data: Path) -> None:
    """Raises Unavailable where a server has the data directory already: its figures would be mixed with ours."""
    running = find_server(data)
    if running is not None:
        raise Unavailable(
            f"the server of an earlier demo is still up, process {running.pid}; stop it first: kill {running.pid}"
        )


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Keeps SIGINT and SIGTERM until the end of the block, and then lets the first that came have its effect.

    One that came while a process is being started would otherwise leave it behind, started and unknown. They are not
    blocked, since the new process would inherit that.
    """
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


class ServerProcess:
    """One `steelyard serve`, from its start until `stop`, or beyond this process where `stop` is never called."""

    def __init__(self, repository: Path, data: Path, log: Path, options: Sequence[str] = ()) -> None:
        """Starts it on free ports of 127.0.0.1, with further `options`; what it logs goes to `log`."""
        self._data = data
        self._log = log
        command = [
            *(sys.executable, "-m", "steelyard.cli.main", "serve", str(repository)),
            *("--data", str(data)),
            *("--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0"),
            *options,
        ]
        # What the caller's own servers are set to is not for this one.
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(ENVIRONMENT_PREFIX)
        }
        with log.open("wb") as stream:
            # In a session of its own: Ctrl-C is for the caller, which stops the server in its turn, or keeps it.
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_ready(self) -> RunningServer:
        """Returns where it answers, once it is ready. Raises Unavailable where it ends, or takes too long."""
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                raise Unavailable(
                    f"the server ended with status {self._process.returncode}: {self._last_words()}"
                )
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
    try:
        with urllib.request.urlopen(f"http://{http_address}/v2/health/ready", timeout=5):
            return True
    except OSError:  # also what a status of 503 is
        return False
