"""Files that a version refers to: inside its directory, under its digest, and there."""

from pathlib import Path, PurePosixPath

from steelyard.errors import LoadFailed
from steelyard.models.digest import GOLDEN_DIRECTORY, SIGNATURE_SUFFIX
from steelyard.models.onnx_file import external_files
from steelyard.models.repository import GRAPH_FILE
from steelyard.models.version_manifest import VERSION_MANIFEST


def companion_problem(directory: Path, name: str) -> str | None:
    """Why the version in `directory` cannot refer to the file `name`, or None if it can.

    What lies elsewhere, or is left out of the digest, could change without the version's digest changing.
    """
    path = PurePosixPath(name)
    if "\0" in name or path.is_absolute() or ".." in path.parts:
        return f"{name!r} does not lie in the version's directory"
    if path.name.endswith(SIGNATURE_SUFFIX) or path.parts[:1] == (GOLDEN_DIRECTORY,):
        return f"{name!r} has a name that the version's digest leaves out"
    if path in (PurePosixPath(GRAPH_FILE), PurePosixPath(VERSION_MANIFEST)):
        return f"{name!r} is a name that every version has for itself"
    try:
        return None if (directory / path).is_file() else f"{name!r} is not there"
    except OSError as exc:
        return f"{name!r} cannot be read: {exc.strerror}"


def check_external_files(graph: Path) -> tuple[str, ...]:
    """The external data that the ONNX file `graph` names, relative to its directory, all of it good.

    Raises LoadFailed for what cannot belong to a version, and for a file that is no ONNX protobuf.
    """
    names = external_files(graph)
    for name in names:
        if problem := companion_problem(graph.parent, name):
            raise LoadFailed(f"{graph}: its external data {problem}")
    return names
