"""Footers of files that no entry of the ledger names: nobody vouches for them, so they are read in a process apart."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.apart import ReaderEnded, apart
from steelyard.evidence.sealed_file import Summary, read_summary

# Read by one process, a millisecond each: where the ledger was lost there are a hundred thousand.
FILES_AT_A_TIME = 256

# A second at idle priority; of one that has the reader go on for ever, the others do not wait long.
READ_WITHIN_S = 60.0

Stamp = tuple[int, int, int]
"""What changes where a file is another: inode, bytes, time of the last change in nanoseconds."""

Unread = Callable[[Path, str], None]
"""Told of a file whose footer cannot be read, or of a directory where none can be, and why."""


def read_apart(paths: Sequence[Path]) -> dict[Path, Summary | str]:
    """What each file's footer says, or why it cannot be read. One that ends its reader is told from the others.

    Raises EvidenceError where no process can read any.
    """
    if not paths:
        return {}
    try:
        found: list[Summary | str] = apart(
            "steelyard.evidence.footers:summaries", list(paths), within_s=READ_WITHIN_S
        )
    except ReaderEnded as error:
        if len(paths) == 1:
            return {paths[0]: f"{paths[0]}: {error}"}
        half = len(paths) // 2
        return read_apart(paths[:half]) | read_apart(paths[half:])
    return dict(zip(paths, found, strict=True))


def notes_apart(path: Path) -> int | None:
    """As `count_notes`; None also where the file ends its reader.

    Raises EvidenceError where no process can read any.
    """
    try:
        count: int | None = apart("steelyard.evidence.notes_file:count_notes", path, within_s=READ_WITHIN_S)
    except ReaderEnded:
        return None
    return count


def summaries(paths: Sequence[Path]) -> list[Summary | str]:
    """As `read_apart`, in this process, in the order of the paths."""
    found: list[Summary | str] = []
    for path in paths:
        try:
            found.append(read_summary(path))
        except EvidenceError as error:
            found.append(str(error))
    return found


class Footers:
    """Remembers what it has read as long as the files are there and the same; tells of a damaged one once."""

    def __init__(
        self, unread: Unread = lambda path, why: None, pause: Callable[[], None] = lambda: None
    ) -> None:
        """pause: called before each process."""
        self._unread = unread
        self._pause = pause
        self._known: dict[Path, dict[Path, tuple[Stamp, Summary | str]]] = {}

    def of(self, directory: Path, paths: Sequence[Path]) -> dict[Path, Summary]:
        """The summaries of those files of a directory whose footers can be read."""
        before = self._known.get(directory, {})
        stamps = {path: stamp for path in paths if (stamp := _stamp(path)) is not None}
        known = {
            path: before[path]
            for path, stamp in stamps.items()
            if path in before and before[path][0] == stamp
        }
        self._known[directory] = known
        new = [path for path in stamps if path not in known]
        for start in range(0, len(new), FILES_AT_A_TIME):
            self._pause()
            try:
                read = read_apart(new[start : start + FILES_AT_A_TIME])
            except EvidenceError as error:
                self._unread(directory, str(error))
                break
            for path, said in read.items():
                known[path] = stamps[path], said
                if isinstance(said, str):
                    self._unread(path, said)
        return {path: said for path, (_, said) in known.items() if isinstance(said, Summary)}


def _stamp(path: Path) -> Stamp | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
