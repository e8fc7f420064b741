"""What a rollout has counted so far, in a file beside the event log: what is lost with it is counted anew."""

import json
import logging
from pathlib import Path
from typing import Any

from steelyard.observe.logs import log

# A shadow's counts over a thousand outputs; a longer file is none of ours.
MAX_BYTES = 64 << 20


class Checkpoints:
    """One file a rollout, in a directory of its own, written whole and renamed into place."""

    def __init__(self, data: Path) -> None:
        self._directory = data / "rollouts"

    def write(self, number: int, state: object) -> None:
        """Keeps `state`, JSON; a disk that does not take it costs what was counted since, and a line in the log."""
        path = self._path(number)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            temporary = path.with_suffix(".new")
            temporary.write_text(json.dumps(state, allow_nan=False))
            temporary.replace(path)
        except OSError as error:
            log("checkpoint.failed", level=logging.ERROR, path=str(path), reason=error.strerror)

    def read(self, number: int) -> Any:
        """What was kept, None where there is nothing that can be read."""
        path = self._path(number)
        try:
            if path.stat().st_size <= MAX_BYTES:
                return json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            pass
        log("checkpoint.unreadable", level=logging.ERROR, path=str(path))
        return None

    def forget(self, number: int) -> None:
        """Removes what was kept."""
        self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.json"
