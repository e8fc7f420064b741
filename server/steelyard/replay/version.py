"""A version that requests are replayed on: loaded in this process, apart from any server."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from steelyard.errors import EvidenceError, SteelyardError
from steelyard.models.digest import version_digest
from steelyard.models.manifest import MODEL_MANIFEST, BatchTolerance, ModelManifest, read_model_manifest
from steelyard.models.repository import VersionDir, scan
from steelyard.models.spec import ModelSpec
from steelyard.pipelines.plan import Pipeline
from steelyard.runtime.session import execution_error
from steelyard.serving.loading import Environment, load_version
from steelyard.serving.takes import Takes
from steelyard.serving.verdicts import Verdicts
from steelyard.serving.walk import Walk, walk
from steelyard.wire import decode_request
from steelyard.wire.status import Status, message_of, status_of


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a request: the way that it went, and the error that ended it, if one did."""

    walked: Walk
    status: int = 0
    """gRPC's status code; 0 for an answer."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class ReplayVersion:
    """A version that was loaded; threads may share it, each run is by itself."""

    name: str
    """"version 3", or the directory of a candidate."""
    path: Path
    digest: str
    spec: ModelSpec
    session: ort.InferenceSession
    pipeline: Pipeline | None
    takes: Takes
    tolerance: BatchTolerance

    def run(self, body: bytes) -> Came:
        """Runs a serialized ModelInferRequest. Raises nothing: errors are what came of it."""
        walked = Walk()
        try:
            request: Any = decode_request(body)
            walk(request, self.takes, self.session, self.spec, self.pipeline, walked)
        except SteelyardError as error:
            return Came(walked, int(status_of(error)), message_of(error))
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            blamed, reason = execution_error(error)
            return Came(walked, int(Status.INVALID_ARGUMENT if blamed else Status.INTERNAL), reason)
        if not walked.fits:
            return Came(walked, int(Status.INVALID_ARGUMENT), "the version does not take such a request")
        return Came(walked)


def load(model: str, path: Path, name: str, manifest: ModelManifest, threads: int) -> ReplayVersion:
    """The version in the directory `path`. Raises a `SteelyardError` that says why it cannot be run."""
    # One request at a time needs no check of its rows; golden examples say nothing of this request.
    serving = manifest.serving.model_copy(
        update={
            "batching": False,
            "warmup": 0,
            "golden": manifest.serving.golden.model_copy(update={"at_load": "report"}),
        }
    )
    quiet = manifest.model_copy(update={"serving": serving})
    loaded = load_version(model, path, quiet, Environment(threads, "dev", Verdicts(None)))
    takes = Takes(loaded.spec, loaded.pipeline, loaded.version_manifest.model_tensors)
    return ReplayVersion(
        name,
        path,
        loaded.digest,
        loaded.spec,
        loaded.session,
        loaded.pipeline,
        takes,
        serving.batch_tolerance,
    )


class Versions:
    """Finds the versions of a repository by their content."""

    def __init__(self, repository: Path, threads: int) -> None:
        """threads: of one run. Raises RepositoryError."""
        self._repository = repository
        self._threads = threads
        self._models = scan(repository).models
        self._digests: dict[Path, str] = {}

    def by_number(self, model: str, number: int) -> ReplayVersion:
        """The version as it lies there now. Raises EvidenceError where it is not."""
        for version in self._versions(model):
            if version.number == number:
                return self._load(model, version)
        raise EvidenceError(f"model {model!r}: no version {number} in {self._repository}")

    def by_content(self, model: str, number: int, digest: str) -> ReplayVersion:
        """The version of this content, whatever its number is now. Raises EvidenceError where there is none."""
        return self._load(model, self.find(model, number, digest))

    def find(self, model: str, number: int, digest: str) -> VersionDir:
        """Where the version of this content lies, not loaded. Raises as `by_content`."""
        found = sorted(self._versions(model), key=lambda version: version.number != number)
        for version in found:
            if self._digest(version.path) == digest:
                return version
        raise EvidenceError(
            f"model {model!r}: no version in {self._repository} has the content {digest or 'that is not known'}, "
            f"which version {number} had then: name another with --version or --candidate"
        )

    def at(self, model: str, path: Path) -> ReplayVersion:
        """A candidate in any directory. Raises a `SteelyardError` where it cannot be loaded."""
        manifest = read_model_manifest(self._repository / model / MODEL_MANIFEST)
        return load(model, path, str(path), manifest, self._threads)

    def _versions(self, model: str) -> tuple[VersionDir, ...]:
        if model not in self._models:
            raise EvidenceError(f"model {model!r}: not in {self._repository}")
        return tuple(self._models[model].versions)

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = version_digest(path)
        return self._digests[path]

    def _load(self, model: str, version: VersionDir) -> ReplayVersion:
        manifest = read_model_manifest(self._models[model].manifest_path)
        return load(model, version.path, f"version {version.number}", manifest, self._threads)
