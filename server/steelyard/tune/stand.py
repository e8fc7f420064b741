"""A server in a process of its own that has one version of a model as several candidates at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from steelyard.client import Client, ModelMetadata
from steelyard.demo.server import ServerProcess, signals_held_back
from steelyard.errors import LoadFailed
from steelyard.models.manifest import MODEL_MANIFEST, ModelManifest
from steelyard.tune.candidate import Candidate
from steelyard.tune.edit import Changes, changes
from steelyard.tune.load import Load

ASK_TIMEOUT_S = 30.0


class Stand:
    """Candidates are models of one repository, each a link to the version and a model.toml of its own: so they can be
    asked in turn, and what disturbs the machine meets all of them."""

    def __init__(
        self, directory: Path, version: Path, manifest: ModelManifest, threads: int, max_message_bytes: int
    ) -> None:
        """
        directory: where the repository and the server's data are made.
        version: the directory of the version.
        threads: the server's budget.
        max_message_bytes: of a request and of an answer.
        """
        self._directory = directory
        self._version = version.resolve()
        self._document = manifest.model_dump(exclude_none=True, exclude_defaults=True)
        self._max_message_bytes = max_message_bytes
        self._options = (
            *("--threads", str(threads), "--load-threads", "1", "--poll-interval-s", "0"),
            *("--max-message-bytes", str(max_message_bytes)),
        )
        self._rounds = 0
        self._names: dict[Candidate, str] = {}
        self._server: ServerProcess | None = None
        self.address = ""

    def name(self, candidate: Candidate) -> str:
        """What the candidate's model is called."""
        return self._names[candidate]

    def has(self, candidates: Sequence[Candidate]) -> bool:
        """Whether the server has all of them."""
        return self._server is not None and all(one in self._names for one in candidates)

    def bring(self, candidates: Sequence[Candidate]) -> None:
        """Starts a server that has these, in the place of the one before.

        Raises LoadFailed where one cannot be served, Unavailable where the server does not come up.
        """
        self.stop()
        self._rounds += 1
        repository = self._directory / f"models{self._rounds}"
        data = self._directory / "data"
        self._names = {one: f"candidate{place}" for place, one in enumerate(candidates)}
        for candidate, name in self._names.items():
            directory = repository / name
            directory.mkdir(parents=True)
            (directory / self._version.name).symlink_to(self._version, target_is_directory=True)
            document = _served(self._document, int(self._version.name), changes(candidate))
            (directory / MODEL_MANIFEST).write_text(tomli_w.dumps(document))
        with signals_held_back():
            self._server = ServerProcess(
                repository,
                data,
                self._directory / "server.log",
                self._options,
            )
        self.address = self._server.wait_ready().grpc_address
        with Client(self.address, timeout_s=ASK_TIMEOUT_S) as client:
            for state in client.index():
                if state.state != "READY":
                    raise LoadFailed(f"the version cannot be served: {state.reason or state.state}")

    def metadata(self, candidate: Candidate) -> ModelMetadata:
        """What the server says of a candidate."""
        with Client(self.address, timeout_s=ASK_TIMEOUT_S) as client:
            return client.metadata(self.name(candidate))

    def load(self) -> Load:
        """Load on the server, on the loop that is running."""
        return Load(self.address, self._max_message_bytes)

    def stop(self) -> None:
        """Stops the server, where there is one."""
        if self._server is not None:
            self._server.stop()
            self._server = None


def _served(document: Mapping[str, Any], version: int, changed: Changes) -> dict[str, Any]:
    """The model.toml of a candidate: its own, without what would run beside the load or stand in its way."""
    serving = {**document.get("serving", {}), "versions": {"list": [version]}}
    serving["golden"] = {**serving.get("golden", {}), "interval_s": 0.0}
    made: dict[str, Any] = {"serving": serving}
    for (*tables, key), value in changed.items():
        table = made
        for name in tables:
            table[name] = dict(table.get(name, {}))
            table = table[name]
        table[key] = value
    return made
