"""A server as its own process, started the way that people start it."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

from steelyard.supervisor.datadir import RunningServer, find_server
from tests.support.waiting import eventually


def command(repository: Path, settings: dict[str, Any]) -> list[str]:
    """The command line of a server with `settings` over its repository."""
    config = repository.parent / f"{repository.name}-{abs(hash(json.dumps(settings, sort_keys=True)))}.toml"
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
    return [
        sys.executable,
        "-P",
        "-m",
        "steelyard.cli.main",
        "serve",
        str(repository),
        "--config",
        str(config),
    ]


class Server:
    """A running server; the data directory stands beside the repository."""

    def __init__(self, repository: Path, log: Path, **settings: Any) -> None:
        self.repository = repository
        self.log = log
        self.data = Path(settings.pop("data", repository.parent / f"{repository.name}-data"))
        # A server that does not look would not be looked for: tests that want a folder watched say how often.
        given = {
            "grpc_address": "127.0.0.1:0",
            "http_address": "127.0.0.1:0",
            "poll_interval_s": 0,
            "log_format": "json",
            "data": str(self.data),
            **settings,
        }
        environment = {key: text for key, text in os.environ.items() if not key.startswith("STEELYARD_")}
        self._output: IO[bytes] = log.open("wb")
        self.process = subprocess.Popen(
            command(repository, given), stdout=self._output, stderr=self._output, env=environment
        )

    def wait_ready(self) -> "Server":
        """Waits until the server says that it is ready; raises with its log where it ends before."""
        eventually(self._ready_or_ended)
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.output()}")
        return self

    def _ready_or_ended(self) -> bool:
        return self.process.poll() is not None or (find_server(self.data) is not None and self.is_ready())

    @property
    def running(self) -> RunningServer:
        found = find_server(self.data)
        assert found is not None, self.output()
        return found

    @property
    def address(self) -> str:
        """Where gRPC is served."""
        return self.running.grpc_address

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the HTTP port."""
        try:
            with urllib.request.urlopen(f"http://{self.running.http_address}{path}", timeout=10) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def is_ready(self) -> bool:
        """Whether the HTTP port says that the server is ready now."""
        return self.get("/v2/health/ready")[0] == 200

    def output(self) -> str:
        """Everything that the server and its worker have written."""
        return self.log.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        found = []
        for line in self.output().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event.get("event") == name:
                found.append(event)
        return found

    def worker_pid(self) -> int:
        """The worker's process, as the supervisor last announced it."""
        # The log is written on a thread of its own, a moment after.
        return int(eventually(lambda: self.events("server.ready"))[-1]["worker"])

    def stop(self, within_s: float = 40.0) -> int:
        """Asks the server to stop and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._output.close()
