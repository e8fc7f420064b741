"""Feedback that is to be no more: too old, or erased. The rest of the file is written anew and takes its place.

The old file keeps a name until all of it is overwritten, so that what a process that was killed has left of it is
overwritten by the next that has to do with the file. That is more than what is to be no more: what is kept may have to
be erased later, and no copy of it may be left by then.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.feedback import (
    DIRECTORY,
    FEEDBACK_FILE,
    LOCK_WITHIN_S,
    MAX_FILE_BYTES,
    FeedbackHeld,
    held,
    locked,
    read_line,
)
from steelyard.evidence.file_lock import lock_within
from steelyard.evidence.tiles import replace_file

MS_A_DAY = 86_400_000

# The file is written anew at most once an hour, however many lines become too old in it.
HOUR_MS = 3_600_000

# Some lines of the longest, and hundreds of usual ones.
_BEGINNING_BYTES = 1 << 16

# As `replace_file` calls what it has not given its name yet, and the name of what it has replaced.
_LEFT = (f"{FEEDBACK_FILE}.new", f"{FEEDBACK_FILE}.old")

_NOUGHTS = bytes(1 << 20)

_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def expire_feedback(data: Path, retention_days: float, now_unix_ms: int) -> int:
    """Removes what came more than so many days ago; gives how many lines, damaged ones among them.

    That is the file's beginning, up to the first line that is to be kept: lines are in the order in which they came,
    so one that has a time to come, of a wrong clock, keeps those behind it as long. Where another process has the
    file's lock, nothing is removed this time: who seals does not wait for it. Raises EvidenceError where the file
    cannot be read or written.
    """
    oldest_ms = int(now_unix_ms - retention_days * MS_A_DAY) // HOUR_MS * HOUR_MS
    try:
        with _opened(data, within_s=0.0) as file:
            return 0 if file is None else _expire(*file, oldest_ms)
    except FeedbackHeld:
        return 0


def _expire(path: Path, descriptor: int, oldest_ms: int) -> int:
    # Nearly always nothing is to be done, and the first line that is whole says so.
    first = filter(None, (read_line(line) for _, line in _lines(os.pread(descriptor, _BEGINNING_BYTES, 0))))
    if (one := next(first, None)) is not None and one.received_unix_ms >= oldest_ms:
        return 0
    whole = _content(path, descriptor)
    kept_from, passed, gone = 0, 0, 0
    for begin, line in _lines(whole):
        passed += 1
        if (one := read_line(line)) is None:
            continue
        if one.received_unix_ms >= oldest_ms:
            break
        # Damaged ones go with an older one that is behind them.
        kept_from, gone = begin + len(line), passed
    if gone:
        _replace(path, whole[kept_from:])
    return gone


def erase_feedback(data: Path, decisions: Collection[str]) -> list[str]:
    """Erases what was said of some decisions, by their ids, and damaged lines that name one; gives whose there was any.

    Raises EvidenceError where the file cannot be read or written.
    """
    wanted = {one.encode() for one in decisions}
    with _opened(data) as file:
        if file is None:
            return []
        path, descriptor = file
        whole = _content(path, descriptor)
        kept: list[bytes] = []
        found: set[bytes] = set()
        for _, line in _lines(whole):
            named = wanted.intersection(_ID.findall(line))
            one = read_line(line) if named else None
            if not named or (one is not None and one.decision_id.encode() not in named):
                kept.append(line)
                continue
            found |= named if one is None else {one.decision_id.encode()}
        if found:
            _replace(path, b"".join(kept))
        return sorted(one.decode() for one in found)


def decisions_with_feedback(data: Path) -> set[str]:
    """The ids of decisions of which anything was said, those among them that damaged lines name.

    Raises EvidenceError where the file cannot be read.
    """
    with _opened(data) as file:
        if file is None:
            return set()
        whole = _content(*file)
    return {one.decode() for one in _ID.findall(whole)}


@contextlib.contextmanager
def _opened(data: Path, within_s: float = LOCK_WITHIN_S) -> Iterator[tuple[Path, int] | None]:
    """The file and its descriptor, locked; None where nothing was said yet. What others have left is gone. Raises as
    `locked`, and EvidenceError."""
    path = data / DIRECTORY / FEEDBACK_FILE
    try:
        if not path.exists():
            yield None
            return
        with locked(path, os.O_RDWR, within_s=within_s) as descriptor:
            for name in _LEFT:
                _overwrite(path.with_name(name), descriptor, within_s)
            yield path, descriptor
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read or written: {error.strerror}") from None


def _replace(path: Path, content: bytes) -> None:
    """Puts another file in the place of this one, which is locked, and overwrites it. Raises OSError, EvidenceError."""
    old = path.with_name(_LEFT[1])
    old.hardlink_to(path)
    replace_file(path, content)
    _overwrite(old, None)


def _overwrite(left: Path, kept: int | None, within_s: float = 0.0) -> None:
    """Overwrites a file that was left, and removes it. Raises OSError, and FeedbackHeld where its lock is not to be had
    within so many seconds.

    kept: the file that stays, which is locked. Where both are the same, the name alone goes. None: the one that was
    left is locked.
    """
    try:
        descriptor = os.open(left, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        about = os.fstat(descriptor)
        if kept is None or not os.path.samestat(about, os.fstat(kept)):
            # Whoever has replaced it may still be at it.
            if kept is not None and not lock_within(descriptor, fcntl.LOCK_EX, within_s):
                raise held(left, within_s)
            at = 0
            while at < about.st_size:
                at += os.pwrite(descriptor, _NOUGHTS[: about.st_size - at], at)
            os.fsync(descriptor)
        left.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _content(path: Path, descriptor: int) -> bytes:
    if (size := os.fstat(descriptor).st_size) > MAX_FILE_BYTES:
        raise EvidenceError(f"{path}: expected at most {MAX_FILE_BYTES} bytes, it has {size}")
    return os.pread(descriptor, size, 0)


def _lines(whole: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each line begins, and the line; the last one may have been cut short."""
    begin = 0
    while begin < len(whole):
        end = whole.find(b"\n", begin) + 1 or len(whole)
        yield begin, whole[begin:end]
        begin = end
