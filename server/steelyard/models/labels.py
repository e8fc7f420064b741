"""The names of an output's classes, from the manifest or from a file beside it."""

from pathlib import Path

from steelyard.errors import ManifestError
from steelyard.models.companions import companion_problem
from steelyard.models.version_manifest import VERSION_MANIFEST, OutputManifest, check_labels

# A million labels of sixteen characters; a larger file is a vocabulary or a mistake.
MAX_LABEL_FILE_BYTES = 16 << 20


def read_labels(output: OutputManifest, directory: Path) -> tuple[str, ...]:
    """The labels of `output`: from the manifest, or the lines of the file in `directory` that it names.

    Raises ManifestError where the file lies outside `directory`, cannot be read, is larger than
    MAX_LABEL_FILE_BYTES or no UTF-8, or holds labels that are too many or too long.
    """
    if not isinstance(output.labels, str):
        return output.labels
    where = f"{directory / VERSION_MANIFEST}: labels of output '{output.name}'"
    if problem := companion_problem(directory, output.labels):
        raise ManifestError(f"{where}: {problem}")
    path = directory / output.labels
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_LABEL_FILE_BYTES + 1)
    except OSError as exc:
        raise ManifestError(f"{where}: {path} cannot be read: {exc.strerror}") from exc
    if len(raw) > MAX_LABEL_FILE_BYTES:
        raise ManifestError(f"{where}: expected at most {MAX_LABEL_FILE_BYTES} bytes in {path}, got more")
    try:
        lines = raw.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
        check_labels(lines)
    except ValueError as exc:
        raise ManifestError(f"{where}: {path}: {exc}") from exc
    return tuple(lines) if raw else ()
