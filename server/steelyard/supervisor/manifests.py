"""Looking at models' manifests: which of them are others than at the last look."""

from collections.abc import Iterable
from pathlib import Path

from steelyard.errors import ManifestError, RepositoryError
from steelyard.models.manifest import MODEL_MANIFEST, ModelManifest, read_model_manifest

Seen = tuple[int, int, int]
"""Of a file: when it was changed last, in nanoseconds, its size and its inode."""

NOT_THERE: Seen = (0, 0, 0)


class Manifests:
    """One look costs a call of the system for each model; `look` may run on any one thread."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._seen: dict[str, Seen] = {}

    def look(self, models: Iterable[str]) -> dict[str, ModelManifest]:
        """The manifests that have changed, by model. One that cannot be read is left out until it is changed again: its
        load says why."""
        found = {}
        for model in models:
            directory = self._repository / model
            path = directory / MODEL_MANIFEST
            try:
                status = path.stat()
                seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            except OSError:
                # A model that is gone has not changed who owns it.
                if not directory.is_dir():
                    continue
                seen = NOT_THERE
            if self._seen.get(model) == seen:
                continue
            self._seen[model] = seen
            try:
                found[model] = read_model_manifest(path)
            except (ManifestError, RepositoryError):
                continue
        return found

    def forget(self, model: str) -> None:
        """Has the next look find the manifest anew."""
        self._seen.pop(model, None)
