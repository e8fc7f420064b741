"""What batches were learned to cost, kept in the data directory by content digest, device and threads."""

import contextlib
import hashlib
import json
import logging
import os
from pathlib import Path

from steelyard.observe.logs import log
from steelyard.scheduling.kept_costs import KeptCosts, read_kept, written

# Of the 64 shapes of a model each with 150 sizes; what is larger was not written here, and is not read.
MAX_FILE_BYTES = 1 << 20

# Files that stay: more than the versions that one server is built for. The ones that were written longest ago go.
MAX_FILES = 4096


class Costs:
    """One small file for everything that costs depend on, named by a digest over that.

    Where a file cannot be read or written, costs are learned again, and no load fails. Any thread may call these.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        if directory is not None:
            with contextlib.suppress(OSError):
                directory.mkdir(parents=True, exist_ok=True)

    def find(self, conditions: tuple[str, ...]) -> KeptCosts | None:
        """What was kept under exactly these conditions, or None. A file that is damaged or another's is logged."""
        if self._directory is None:
            return None
        path = self._path(conditions)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
            if len(content) > MAX_FILE_BYTES:
                raise ValueError(f"expected at most {MAX_FILE_BYTES} bytes")
            document = json.loads(content)
            if document["conditions"] != list(conditions):
                raise ValueError("it was kept for something else")
            return read_kept(document["costs"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log(
                "costs.ignored",
                level=logging.WARNING,
                file=path.name,
                reason=f"{type(error).__name__}: {error}",
            )
            return None

    def keep(self, conditions: tuple[str, ...], costs: KeptCosts) -> None:
        """Keeps costs for the next load under the same conditions."""
        if self._directory is None or not costs.curves:
            return
        path = self._path(conditions)
        temporary = path.with_suffix(f".{os.getpid()}.{id(costs)}")
        try:
            temporary.write_text(json.dumps({"conditions": list(conditions), "costs": written(costs)}))
            temporary.replace(path)
            self._bound()
        except OSError as error:
            log("costs.lost", level=logging.WARNING, file=path.name, reason=str(error))
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _bound(self) -> None:
        assert self._directory is not None
        with os.scandir(self._directory) as entries:
            files = [entry for entry in entries if entry.name.endswith(".json")]
        if len(files) > MAX_FILES:
            files.sort(key=lambda entry: entry.stat().st_mtime_ns)
            for entry in files[: len(files) - MAX_FILES]:
                os.unlink(entry.path)

    def _path(self, conditions: tuple[str, ...]) -> Path:
        assert self._directory is not None
        return self._directory / f"{hashlib.sha256(chr(0).join(conditions).encode()).hexdigest()}.json"
