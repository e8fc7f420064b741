"""What batches were learned to cost, kept in the data directory by content digest, device and threads."""

import contextlib
import hashlib
import json
import logging
import os
from pathlib import Path

from steelyard.observe.logs import log
from steelyard.scheduling.kept_costs import KeptCosts, merged, read_kept, written

# Of the 64 shapes of a model each with 150 sizes; what is larger was not written here, and is not read.
MAX_FILE_BYTES = 1 << 20

# Files of each worker that stay: more than the versions that one server is built for. The ones that were written
# longest ago go.
MAX_FILES = 4096

# A part that is so much older than what was just written is that of a process that died while it wrote.
PART_LEFT_NS = 600 * 1_000_000_000


class Costs:
    """One small file for everything that costs depend on, named by a digest over that; of each worker its own.

    So each file has one writer, nothing is locked, and a worker that dies while it writes loses what it had learned
    since the last time, and nobody else's. What is found is what all of them have learned.

    Where a file cannot be read or written, costs are learned again, and no load fails. Any thread may call these.
    """

    def __init__(self, directory: Path | None, worker: int = 0, workers: int = 1) -> None:
        """worker: whose file is written, of so many `workers` whose files are read."""
        self._directory = directory
        self._worker = worker
        self._workers = workers
        if directory is not None:
            with contextlib.suppress(OSError):
                directory.mkdir(parents=True, exist_ok=True)

    def find(self, conditions: tuple[str, ...]) -> KeptCosts | None:
        """What was kept under exactly these conditions, or None. A file that is damaged or another's is logged."""
        if self._directory is None:
            return None
        # Its own first: where nothing else decides, what the worker itself has met does.
        others = (worker for worker in range(self._workers) if worker != self._worker)
        kept = [self._read(conditions, self._path(conditions, worker)) for worker in (self._worker, *others)]
        found = [costs for costs in kept if costs is not None and costs.curves]
        return merged(found) if found else None

    def _read(self, conditions: tuple[str, ...], path: Path) -> KeptCosts | None:
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
        path = self._path(conditions, self._worker)
        temporary = path.with_suffix(f".{os.getpid()}.{id(costs)}.part")
        try:
            temporary.write_text(json.dumps({"conditions": list(conditions), "costs": written(costs)}))
            temporary.replace(path)
            self._bound(path.stat().st_mtime_ns)
        except OSError as error:
            log("costs.lost", level=logging.WARNING, file=path.name, reason=str(error))
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _bound(self, now_ns: int) -> None:
        """Removes what is too much and what nobody will finish; other workers may be doing the same."""
        assert self._directory is not None
        with os.scandir(self._directory) as entries:
            found = list(entries)
        files = [entry for entry in found if entry.name.endswith(".json")]
        with contextlib.suppress(FileNotFoundError):
            for entry in found:
                if entry.name.endswith(".part") and entry.stat().st_mtime_ns < now_ns - PART_LEFT_NS:
                    os.unlink(entry.path)
            most = MAX_FILES * self._workers
            if len(files) > most:
                files.sort(key=lambda entry: entry.stat().st_mtime_ns)
                for entry in files[: len(files) - most]:
                    os.unlink(entry.path)

    def _path(self, conditions: tuple[str, ...], worker: int) -> Path:
        assert self._directory is not None
        digest = hashlib.sha256(chr(0).join(conditions).encode()).hexdigest()
        return self._directory / f"{digest}.{worker}.json"
