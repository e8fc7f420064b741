"""The files of one version: a bounded walk over its directory, links followed."""

import os
import stat
from typing import NamedTuple

from steelyard.errors import RepositoryError

# A version is a model, its external data, a few tables and golden examples. These stop a link that leads to
# its own parent, or to the file system's root, from being walked for hours: the first at 16 levels, the
# second at 10,000 files.
MAX_DEPTH = 16
MAX_FILES = 10_000


class TreeFile(NamedTuple):
    """A regular file, or a link to one."""

    relative: str
    """POSIX path below the directory."""
    size: int
    mtime_ns: int
    inode: int


def walk(directory: str, *, skip: frozenset[str] = frozenset()) -> list[TreeFile]:
    """Every file below `directory`, sorted by path; names in `skip` are left out at the top level.

    A file that vanishes meanwhile is left out. Raises RepositoryError for what is neither file nor directory,
    for a link that leads nowhere, for more than MAX_DEPTH levels or MAX_FILES files, and for what cannot be
    read.
    """
    found: list[TreeFile] = []
    _walk(directory, "", 1, skip, found)
    found.sort()
    return found


def _walk(directory: str, prefix: str, depth: int, skip: frozenset[str], found: list[TreeFile]) -> None:
    if depth > MAX_DEPTH:
        raise RepositoryError(f"{directory}: expected at most {MAX_DEPTH} levels of directories, got more")
    try:
        entries = os.scandir(directory)
    except OSError as exc:
        raise RepositoryError(f"{directory}: cannot be read: {exc.strerror}") from exc
    with entries:
        for entry in entries:
            if entry.name in skip:
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                if entry.is_symlink():
                    raise RepositoryError(f"{entry.path}: is a link that leads nowhere") from None
                continue
            except OSError as exc:
                raise RepositoryError(f"{entry.path}: cannot be read: {exc.strerror}") from exc
            if stat.S_ISREG(status.st_mode):
                if len(found) == MAX_FILES:
                    raise RepositoryError(
                        f"{directory}: expected at most {MAX_FILES} files in a version, got more"
                    )
                found.append(TreeFile(prefix + entry.name, status.st_size, status.st_mtime_ns, status.st_ino))
            elif stat.S_ISDIR(status.st_mode):
                _walk(entry.path, f"{prefix}{entry.name}/", depth + 1, frozenset(), found)
            else:
                raise RepositoryError(f"{entry.path}: expected a file or a directory, got something else")
