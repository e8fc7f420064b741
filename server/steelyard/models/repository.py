"""A model repository as it stands on disk: models, their versions, and what is wrong with the rest."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import RepositoryError
from steelyard.models.manifest import MODEL_MANIFEST
from steelyard.models.names import name_problem, parse_version
from steelyard.models.root import read_root
from steelyard.models.tree import TreeFile, read_directory, walk

GRAPH_FILE = "model.onnx"

# A bound on what one listing holds in memory, about a kilobyte a model: far above what one machine can serve.
MAX_MODELS = 100_000

Fingerprint = tuple[TreeFile, ...]
"""Paths, sizes, times and inodes: changes when files are written or replaced, and costs no reading."""


@dataclass(frozen=True, slots=True)
class VersionDir:
    """A directory `<model>/<number>` that holds a model.onnx."""

    number: int
    location: str
    """The path, as text: to make a Path of it costs as much as to look at the directory."""
    fingerprint: Fingerprint

    @property
    def path(self) -> Path:
        return Path(self.location)


@dataclass(frozen=True, slots=True)
class ModelDir:
    """A directory with at least one version."""

    name: str
    location: str
    """The path, as text."""
    versions: tuple[VersionDir, ...]
    """Lowest number first."""
    manifest_fingerprint: Fingerprint | None
    """None where there is no model.toml."""

    @property
    def path(self) -> Path:
        return Path(self.location)

    @property
    def manifest_path(self) -> Path:
        """Where model.toml is or would be."""
        return Path(self.location, MODEL_MANIFEST)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that cannot be served, and why; what is no UTF-8 in a path stands escaped."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What one scan found."""

    models: Mapping[str, ModelDir]
    """By name, in the order of names."""
    problems: tuple[Problem, ...]


def scan(root: Path) -> Listing:
    """What is in the repository at `root` now.

    Ignored: what is hidden, files, and directories in a model whose name is no version. Links to directories
    are followed, as operators place versions by them. Costs two directory reads and two stats a version, and
    opens no file.

    Raises RepositoryError where `root` is not there, is no directory, or cannot be read. Anything wrong below
    it is a problem in the listing, and hides only the model or the version that it is in.
    """
    models: dict[str, ModelDir] = {}
    problems: list[Problem] = []
    for entry in sorted(read_root(root), key=_name):
        try:
            if not _is_directory(entry):
                continue
            if problem := name_problem(entry.name):
                raise RepositoryError(problem)
            if len(models) == MAX_MODELS:
                raise RepositoryError(f"expected at most {MAX_MODELS} models in a repository, got more")
            model = _scan_model(entry, problems)
        except RepositoryError as exc:
            problems.append(_problem(entry, exc))
        else:
            models[entry.name] = model
    return Listing(models, tuple(problems))


def _scan_model(model: os.DirEntry[str], problems: list[Problem]) -> ModelDir:
    versions: list[VersionDir] = []
    manifest: Fingerprint | None = None
    met_broken = False
    for entry in read_directory(model.path):
        if entry.name == MODEL_MANIFEST:
            manifest = _stat_manifest(entry)
        elif (number := parse_version(entry.name)) is not None:
            try:
                if not _is_directory(entry):
                    continue
                versions.append(VersionDir(number, entry.path, _scan_version(entry.path)))
            except RepositoryError as exc:
                met_broken = True
                problems.append(_problem(entry, exc))
    if not versions:
        what = "no version that can be served" if met_broken else f"no version, expected 1/{GRAPH_FILE}"
        raise RepositoryError(f"{model.path}: {what}")
    versions.sort(key=lambda version: version.number)
    return ModelDir(model.name, model.path, tuple(versions), manifest)


def _scan_version(path: str) -> Fingerprint:
    files = tuple(walk(path))
    if not any(file.relative == GRAPH_FILE for file in files):
        raise RepositoryError(f"{path}: no {GRAPH_FILE}")
    return files


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        if entry.is_dir():
            return True
    except OSError as exc:
        raise RepositoryError(f"{entry.path}: cannot be read: {exc.strerror}") from exc
    if entry.is_symlink() and not os.path.exists(entry.path):
        raise RepositoryError(f"{entry.path}: is a link that leads nowhere")
    return False


def _stat_manifest(entry: os.DirEntry[str]) -> Fingerprint:
    """Of whatever lies under the manifest's name: what is wrong with it is said by who reads it."""
    try:
        status = entry.stat()
    except OSError:
        return (TreeFile(MODEL_MANIFEST, -1, 0, 0),)
    return (TreeFile(MODEL_MANIFEST, status.st_size, status.st_mtime_ns, status.st_ino),)


def _problem(entry: os.DirEntry[str], error: RepositoryError) -> Problem:
    return Problem(Path(_escaped_utf8(entry.path)), _escaped_utf8(str(error)))


def _escaped_utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name
