"""What the check of row independence found, kept in the data directory by content digest."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from steelyard.runtime.independence import Verdict


class Verdicts:
    """One small file a verdict, named by a digest over everything that the verdict depends on.

    A file that cannot be read or written costs a check, never a load.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

    def find(self, *conditions: str) -> Verdict | None:
        """The verdict found under exactly these conditions (digest, tolerance, runtime, session, check), or None."""
        if self._directory is None:
            return None
        try:
            kept = json.loads(self._path(conditions).read_text())
            if kept["conditions"] != list(conditions):
                return None
            return Verdict(bool(kept["independent"]), str(kept["reason"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, verdict: Verdict, *conditions: str) -> None:
        """Keeps a verdict for the next load under the same conditions."""
        if self._directory is None:
            return
        path = self._path(conditions)
        temporary = path.with_suffix(f".{os.getpid()}.{id(verdict)}")
        try:
            temporary.write_text(json.dumps({"conditions": list(conditions), **asdict(verdict)}))
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)

    def _path(self, conditions: tuple[str, ...]) -> Path:
        assert self._directory is not None
        return self._directory / f"{hashlib.sha256(chr(0).join(conditions).encode()).hexdigest()}.json"
