"""Real files of many kinds, found on this machine: the same ones in the same order as long as it does not change."""

import os
import stat
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Every file that is asked about is held in memory, and few files of a system are larger.
MAX_FILE_BYTES = 2 << 20
# The search takes a second or so: one large tree of one kind must not use it up.
MAX_FILES_A_ROOT = 20_000
# Of one directory: the next one is likelier to hold another kind.
MAX_FILES_A_DIRECTORY = 16
# The commonest suffixes; beyond them, most are version numbers and other accidents of a name.
MAX_KINDS = 160


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file, read once, so that everybody is asked about the same bytes."""

    path: str
    content: bytes


def default_roots() -> list[Path]:
    """Where programs and what belongs to them lie on Debian and its kin, this interpreter's own among them."""
    candidates = [
        sys.prefix,
        f"{sys.base_prefix}/lib",
        "/etc",
        "/usr/bin",
        "/usr/lib",
        "/usr/share",
        "/usr/include",
        "/var/lib/dpkg",
    ]
    return [path for path in dict.fromkeys(map(Path, candidates)) if path.is_dir()]


def find_files(roots: Sequence[Path], exclude: Collection[str] = ()) -> Iterator[FoundFile]:
    """Yields files below `roots` that everybody may read, in rounds: one of each suffix, then a second of each.

    The commonest suffixes come first, and files of one suffix from all over the tree. Links are not followed.
    A file in `exclude` is passed over, and so is one that cannot be read, is empty or larger than MAX_FILE_BYTES.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    seen = set(exclude)
    for root in roots:
        for path in _walk(root):
            if path not in seen:
                seen.add(path)
                groups[os.path.splitext(path)[1].lower()].append(path)
    commonest = sorted(groups, key=lambda suffix: (-len(groups[suffix]), suffix))[:MAX_KINDS]
    kinds = [_spread(groups[suffix]) for suffix in commonest]
    position = 0
    while kinds:
        for paths in kinds:
            content = _read(paths[position])
            if content:
                yield FoundFile(paths[position], content)
        position += 1
        kinds = [paths for paths in kinds if position < len(paths)]


def _walk(root: Path) -> Iterator[str]:
    found = 0
    for directory, subdirectories, names in os.walk(root):
        subdirectories.sort()
        names.sort()
        for name in names[:MAX_FILES_A_DIRECTORY]:
            found += 1
            if found > MAX_FILES_A_ROOT:
                return
            path = os.path.join(directory, name)
            # Paths are shown to people: none may move a terminal's cursor, or have no form in UTF-8.
            if path.isprintable():
                yield path


def _spread(paths: Sequence[str]) -> list[str]:
    """The same paths, neighbours far apart: the first, the middle one, the middles of the halves, and so on."""
    step = 1 << len(paths).bit_length()
    order = list(paths[:1])
    while step > 1:
        order += paths[step // 2 :: step]
        step //= 2
    return order


def _read(path: str) -> bytes | None:
    """None unless it is a regular file that everybody may read: nothing private is sent, not even by root."""
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or not found.st_mode & stat.S_IROTH:
            return None
        if not 0 < found.st_size <= MAX_FILE_BYTES:
            return None
        with open(path, "rb") as stream:
            return stream.read(MAX_FILE_BYTES)
    except OSError:
        return None
