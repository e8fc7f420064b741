"""A run of `steelyard tune`, from the model's directory to what was found."""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from steelyard.client import ModelMetadata
from steelyard.client.failures import CallFailed
from steelyard.demo.progress import Advance, Progress
from steelyard.errors import ManifestError, ModelNotFound
from steelyard.models.digest import version_digest
from steelyard.models.manifest import ModelManifest, read_model_manifest
from steelyard.models.repository import ModelDir, scan
from steelyard.models.versions import wanted
from steelyard.toml import did_you_mean
from steelyard.tune.candidate import Candidate, current
from steelyard.tune.edit import editable
from steelyard.tune.load import Load
from steelyard.tune.requests import Inputs, Requests, given, golden, made_up
from steelyard.tune.sample import Sample
from steelyard.tune.search import Found, Wish, search
from steelyard.tune.stand import Stand

FIRST_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a run came to."""

    model: ModelDir
    version: int
    digest: str
    manifest: ModelManifest
    manifest_text: str
    """As it was read; empty where there is none."""
    base: Candidate
    threads: int
    source: str
    """Where the requests came from."""
    p99_ms: float
    found: Found
    seconds: float
    """What all of it took."""


Reader = Callable[[ModelMetadata], Sequence[Inputs]]


def tune(
    repository: Path,
    name: str,
    threads: int,
    p99_ms: float,
    seconds: float,
    read: Reader | None,
    source: str,
    progress: Progress,
    max_message_bytes: int,
    to_be_written: bool,
) -> Tuned:
    """Searches how the highest version that the policy of the model `name` serves is served best.

    threads: the budget. seconds: for measurements. read: the inputs that the caller gives, and `source` what they
    are; None: golden examples, else made-up ones. to_be_written: whether the choice is for model.toml.

    Raises ModelNotFound, ManifestError, LoadFailed where it cannot be served or asked, Unavailable where the server
    does not come up.
    """
    began_s = time.monotonic()
    model, version, manifest, text = _looked_up(repository, name)
    if to_be_written:
        _check_writable(model, text)
    base = current(manifest.serving, threads)
    path = next(one.path for one in model.versions if one.number == version)
    with tempfile.TemporaryDirectory(prefix="steelyard-tune-") as temporary:
        stand = Stand(Path(temporary), path, manifest, threads, max_message_bytes)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                progress.say("starting a server of its own")
                stand.bring([base])
                requests = _requests(stand, base, path, read, source, runner)
                batched = stand.metadata(base).properties.get("batched") == "true"
                preferred = max(manifest.serving.preferred_batch_sizes, default=0)
                wish = Wish(base, threads, batched, preferred, p99_ms, seconds)
                with progress.bar("measuring, s", round(seconds)) as advance:
                    judge = _Judge(stand, requests, runner, advance, round(seconds))
                    found = search(judge, wish, progress.say)
                    judge.close()
            finally:
                stand.stop()
    digest = version_digest(path)
    took_s = time.monotonic() - began_s
    return Tuned(
        model, version, digest, manifest, text, base, threads, requests.source, p99_ms, found, took_s
    )


def _looked_up(repository: Path, name: str) -> tuple[ModelDir, int, ModelManifest, str]:
    listing = scan(repository)
    model = listing.models.get(name)
    if model is None:
        problem = next((p.message for p in listing.problems if p.path.name == name), "")
        told = f": {problem}" if problem else did_you_mean(name, listing.models)
        raise ModelNotFound(f"{repository}: no model {name!r}{told}")
    manifest = read_model_manifest(model.manifest_path)
    numbers = wanted(manifest.serving.versions, [version.number for version in model.versions])
    if not numbers:
        raise ModelNotFound(
            f"model {name!r}: its version policy asks for none of the versions that are there"
        )
    try:
        text = model.manifest_path.read_text()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise ManifestError(f"{model.manifest_path}: cannot be read: {error.strerror}") from error
    return model, max(numbers), manifest, text


def _check_writable(model: ModelDir, text: str) -> None:
    """Raises what writing would raise, before minutes are spent on what to write."""
    if not editable(text):
        raise ManifestError(
            f"{model.manifest_path}: not written in a way that can be edited (dotted keys, inline tables): "
            "measure with --no-write, and set by hand what is found"
        )
    if not os.access(model.path, os.W_OK):
        raise ManifestError(f"{model.path}: cannot be written: measure with --no-write")


def _requests(
    stand: Stand,
    base: Candidate,
    version: Path,
    read: Reader | None,
    source: str,
    runner: asyncio.Runner,
) -> Requests:
    """What is sent, all of which the server answers. Raises LoadFailed where it does not."""
    metadata = stand.metadata(base)
    model = stand.name(base)

    async def refused(body: bytes) -> str:
        load = stand.load()
        try:
            await load.ask(body, FIRST_TIMEOUT_S)
        except CallFailed as failed:
            return failed.failure.message
        finally:
            await load.close()
        return ""

    if read is not None:
        requests = given(read(metadata), source)
    else:
        found = golden(version)
        if found is None:
            return made_up(metadata, model, lambda body: runner.run(refused(body)))
        requests = found
    for body in requests.bodies(model):
        if problem := runner.run(refused(body)):
            raise ManifestError(f"{requests.source}: the model does not take it: {problem}")
    return requests


class _Judge:
    """Measures by load on the stand, whose server is replaced where it has not all candidates."""

    def __init__(
        self,
        stand: Stand,
        requests: Requests,
        runner: asyncio.Runner,
        advance: Advance,
        seconds: int,
    ) -> None:
        self._stand = stand
        self._requests = requests
        self._runner = runner
        self._advance = advance
        self._load: Load | None = None
        self._bodies: dict[Candidate, list[bytes]] = {}
        self.spent_s = 0.0
        self._began_s = 0.0
        self._shown_s = 0
        self._seconds = seconds
        self._seed = 0

    def closed(
        self, candidates: Sequence[Candidate], in_flight: int, seconds: float
    ) -> dict[Candidate, Sample]:
        """See `search.Judge`."""
        load = self._ready(candidates)
        found = {}
        for one in candidates:
            found[one] = self._runner.run(load.closed(self._bodies[one], in_flight, seconds))
            self._tell()
        return found

    def opened(
        self, candidates: Sequence[Candidate], rate_per_s: float, seconds: float
    ) -> dict[Candidate, Sample]:
        """See `search.Judge`; all get the same moments."""
        load = self._ready(candidates)
        found = {}
        self._seed += 1
        for one in candidates:
            found[one] = self._runner.run(load.opened(self._bodies[one], rate_per_s, seconds, self._seed))
            self._tell()
        return found

    def close(self) -> None:
        """Ends the connection, and the bar."""
        if self._load is not None:
            self._runner.run(self._load.close())
        for _ in range(self._seconds - self._shown_s):
            self._advance()

    def _ready(self, candidates: Sequence[Candidate]) -> Load:
        if not self._stand.has(candidates):
            if self._load is not None:
                self._runner.run(self._load.close())
                self._load = None
            self._stand.bring(candidates)
        if self._load is None:
            self._load = self._runner.run(self._connected())
            self._bodies = {}
        for one in candidates:
            if one not in self._bodies:
                self._bodies[one] = self._requests.bodies(self._stand.name(one))
        self._began_s = time.monotonic()
        return self._load

    async def _connected(self) -> Load:
        return self._stand.load()

    def _tell(self) -> None:
        now_s = time.monotonic()
        self.spent_s += now_s - self._began_s
        self._began_s = now_s
        while self._shown_s < min(int(self.spent_s), self._seconds):
            self._shown_s += 1
            self._advance()
