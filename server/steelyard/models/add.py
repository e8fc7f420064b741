"""Putting a version into a repository: described from its graph, and there all at once or not at all."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import tomli_w

from steelyard.errors import LoadFailed, ManifestError, RepositoryError
from steelyard.models.companions import check_external_files, companion_problem
from steelyard.models.golden import GoldenExample, write_golden
from steelyard.models.graph import NodeArg, describe
from steelyard.models.manifest import MODEL_MANIFEST, ModelManifest
from steelyard.models.names import MAX_VERSION, name_problem, parse_version
from steelyard.models.repository import GRAPH_FILE
from steelyard.models.spec import ModelSpec
from steelyard.models.version_manifest import (
    VERSION_MANIFEST,
    InputManifest,
    OutputManifest,
    VersionManifest,
)

_HEADER = b"# What each key means: docs/manifest.md\n\n"


def add_version(
    repository: Path,
    name: str,
    source: Path,
    *,
    version: int | None = None,
    given: VersionManifest | None = None,
    model: ModelManifest | None = None,
    golden: Sequence[GoldenExample] = (),
) -> Path:
    """Copies the ONNX file `source` into `repository` as a version of `name`; returns its directory.

    The number is `version`, or one above the highest that is there. External data that the file names is
    copied with it, and so are files of labels that `given` names, both from beside `source`. version.toml
    holds what the graph says, with `given` (which may not contradict it) on top; `model` becomes model.toml,
    and may be given only where there is none. The version comes with the examples `golden`, so that no server
    serves it without them. The repository is made if its parent is there.

    Everything is written and synced under a hidden name and then renamed, so a server that watches sees the
    version whole. Raises RepositoryError, ManifestError, and LoadFailed where the graph cannot be served.
    """
    if problem := name_problem(name):
        raise RepositoryError(problem)
    if version is not None and not 1 <= version <= MAX_VERSION:
        raise RepositoryError(f"expected a version from 1 to {MAX_VERSION}, got {version}")
    given = given or VersionManifest()
    companions = _companions(source, given)
    directory = repository / name
    try:
        if version is not None and os.path.lexists(directory / str(version)):
            raise RepositoryError(f"{directory / str(version)}: is there already")
        repository.mkdir(exist_ok=True)
        made = not directory.exists()
        directory.mkdir(exist_ok=True)
        staging = directory / f".adding-{secrets.token_hex(8)}"
        try:
            staging.mkdir()
            _copy(source, staging / GRAPH_FILE)
            for companion in companions:
                _copy(source.parent / companion, staging / companion)
            inputs, outputs = _tensors(staging / GRAPH_FILE, source)
            spec = describe(inputs, outputs, given, staging)
            _write(staging / VERSION_MANIFEST, _version_document(spec, given))
            for example in golden:
                write_golden(staging, example.name, example.request, example.expected, example.options)
            for path, _, _ in os.walk(staging):
                _sync_directory(Path(path))
            if model is not None:
                _write_model_manifest(directory / MODEL_MANIFEST, model, staging)
            return _publish(staging, directory, version)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            if made:
                with contextlib.suppress(OSError):  # not empty: the version is there
                    directory.rmdir()
    except OSError as exc:
        raise RepositoryError(f"cannot add {source} to {directory}: {exc}") from exc


def _companions(source: Path, given: VersionManifest) -> list[str]:
    """Paths, relative to the source's directory, of what must be copied beside the graph."""
    label_files = [tensor.labels for tensor in given.output if isinstance(tensor.labels, str)]
    for name in label_files:
        if problem := companion_problem(source.parent, name):
            raise ManifestError(f"{source}: its file of labels {problem}")
    return sorted({*check_external_files(source), *label_files})


def _tensors(graph: Path, source: Path) -> tuple[Sequence[NodeArg], Sequence[NodeArg]]:
    try:
        import onnxruntime
    except ImportError as exc:
        raise LoadFailed("ONNX Runtime is not installed: install steelyard[cpu] or steelyard[gpu]") from exc
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its errors share no base below Exception
        said = " ".join(str(exc).replace(str(graph), str(source)).split())
        raise LoadFailed(f"{source}: ONNX Runtime refuses the graph: {said}") from exc
    return session.get_inputs(), session.get_outputs()


def _version_document(spec: ModelSpec, given: VersionManifest) -> dict[str, object]:
    labels = {tensor.name: tensor.labels for tensor in given.output}
    # What callers send and get in the place of the model's tensors stands for them.
    inputs = given.callers_inputs or [
        InputManifest(name=t.name, datatype=t.datatype, shape=t.dims) for t in spec.inputs
    ]
    outputs = given.callers_outputs or [
        OutputManifest(name=t.name, datatype=t.datatype, shape=t.dims, labels=labels.get(t.name, ()))
        for t in spec.outputs
    ]
    manifest = VersionManifest(
        batched=spec.batched,
        input=tuple(inputs),
        output=tuple(outputs),
        model_tensors=given.model_tensors,
        lineage=given.lineage,
    )
    return manifest.model_dump(exclude_none=True, exclude_defaults=True)


def _write_model_manifest(path: Path, model: ModelManifest, staging: Path) -> None:
    """By a hard link, which fails where another was faster and never replaces what the owner wrote."""
    staged = staging.with_name(staging.name + ".toml")
    try:
        _write(staged, model.model_dump(exclude_none=True, exclude_defaults=True))
        os.link(staged, path)
    except FileExistsError:
        raise RepositoryError(f"{path}: is there already; edit it instead of giving another") from None
    finally:
        staged.unlink(missing_ok=True)


def _publish(staging: Path, directory: Path, version: int | None) -> Path:
    """Where others add at the same time, each takes the next number that is still free."""
    while True:
        target = directory / str(version if version is not None else _next_version(directory))
        try:
            if os.path.lexists(target):  # a rename would replace an empty directory
                raise FileExistsError
            staging.rename(target)
        except OSError as exc:
            if not isinstance(exc, FileExistsError) and exc.errno not in (errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            if version is not None:
                raise RepositoryError(f"{target}: is there already") from None
        else:
            _sync_directory(directory)
            return target


def _next_version(directory: Path) -> int:
    highest = max((parse_version(name) or 0 for name in os.listdir(directory)), default=0)
    if highest == MAX_VERSION:
        raise RepositoryError(f"{directory}: holds the highest version that can be; say which to add")
    return highest + 1


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())


def _write(path: Path, document: dict[str, object]) -> None:
    with path.open("wb") as stream:
        stream.write(_HEADER)
        tomli_w.dump(document, stream)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
