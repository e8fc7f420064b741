"""The files of one version: a bounded walk over its directory, links followed."""

import os
import stat
from typing import NamedTuple

from steelyard.errors import RepositoryError

# A version is a model, its external data, a few tables and golden examples. A link that leads to its own
# parent is stopped at 16 levels; one that leads to the file system's root, or many that lead to their
# parents, at 10,000 entries, which is some tens of milliseconds.
MAX_DEPTH = 16
MAX_ENTRIES = 10_000


class TreeFile(NamedTuple):
    """A regular file, or a link to one."""

    relative: str
    """POSIX path below the directory."""
    size: int
    mtime_ns: int
    inode: int


def walk(directory: str, *, skip: frozenset[str] = frozenset()) -> list[TreeFile]:
    """Every file below `directory`, sorted by path, but those in the directories `skip` at the top.

    A file that vanishes meanwhile is left out. Raises RepositoryError for what is neither file nor directory,
    for a link that leads nowhere, for more than MAX_DEPTH levels or MAX_ENTRIES entries, and for what cannot
    be read.
    """
    found: list[TreeFile] = []
    met = 0
    pending = [(directory, "", 1)]
    while pending:
        path, prefix, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise RepositoryError(f"{path}: expected at most {MAX_DEPTH} levels of directories, got more")
        entries = read_directory(path)
        met += len(entries)
        if met > MAX_ENTRIES:
            raise RepositoryError(f"{directory}: expected at most {MAX_ENTRIES} files in it, got more")
        for entry in entries:
            status = _status(entry)
            if status is None:
                continue
            if stat.S_ISREG(status.st_mode):
                found.append(TreeFile(prefix + entry.name, status.st_size, status.st_mtime_ns, status.st_ino))
            elif not stat.S_ISDIR(status.st_mode):
                raise RepositoryError(f"{entry.path}: expected a file or a directory, got something else")
            elif prefix or entry.name not in skip:
                pending.append((entry.path, f"{prefix}{entry.name}/", depth + 1))
    found.sort()
    return found


def read_directory(path: str) -> list[os.DirEntry[str]]:
    """The entries of the directory at `path`, in no order. Raises RepositoryError."""
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as exc:
        raise RepositoryError(f"{path}: cannot be read: {exc.strerror}") from exc


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Of what `entry` is or leads to; None if it vanished."""
    try:
        return entry.stat()
    except FileNotFoundError:
        if entry.is_symlink():
            raise RepositoryError(f"{entry.path}: is a link that leads nowhere") from None
        return None
    except OSError as exc:
        raise RepositoryError(f"{entry.path}: cannot be read: {exc.strerror}") from exc
