"""The files of captured payloads, `payloads/<model>/*.payloads` in the data directory: written, found, erased, expired.

A file has one writer, which only appends; whoever erases writes noughts over an entry and leaves its length. So both
may be at work at the same time, and a reader passes from head to head.
"""

import contextlib
import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from steelyard.clock import Clock
from steelyard.errors import EvidenceError
from steelyard.evidence.payload import HEAD_BYTES, Head, Payload, pack, pack_head, read_head, read_payload

PAYLOADS = "payloads"
SUFFIX = ".payloads"

# What is removed goes file by file, so a file is the grain of retention; and one is read in a fraction of a second.
MAX_FILE_BYTES = 16 << 20
MAX_FILE_AGE_MS = 3_600_000

# A file that is so old is written by nobody any more, whatever the clocks of two processes say.
_LEFT_MS = 2 * MAX_FILE_AGE_MS

# A file's time of change lags behind the ids in it by a tick; and where the clock was set back, which ids do not
# follow, by as much as that was.
_BEHIND_MS = 2 * 3_600_000

# A payload is written at once, but for a shadow's, which may have paused before it came to it.
_LATE_MS = 3_600_000

# What the origins of shadows' processes begin with.
SHADOW_ORIGIN = "shadow-"

# Descriptors, over all models of a process; a model beyond opens its file anew.
MAX_OPEN = 32

_NAME = re.compile(r"(\d{13})-([a-z0-9-]+)-(\d+)\.payloads", re.ASCII)
_NOUGHTS = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an entry stands."""

    path: Path
    offset: int
    head: Head

    @property
    def decision_id(self) -> str:
        """Of which decision it is."""
        return self.head.decision_id

    def read(self) -> Payload:
        """The payload. Raises EvidenceError where it was erased, is damaged or can no longer be read."""
        if self.head.erased:
            raise EvidenceError(f"the payload of decision {self.head.decision_id} was erased")
        return read_payload(self.head, self.content())

    def content(self) -> bytes:
        """What is behind the head, as far as it is there. Raises EvidenceError where it can no longer be read."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset + HEAD_BYTES)
                return file.read(self.head.content_bytes)
        except OSError as error:
            raise EvidenceError(f"{self.path}: cannot be read: {error.strerror}") from None

    def erase(self) -> None:
        """Overwrites what is behind the head, and returns when that is on disk. Raises EvidenceError."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                at, left = self.offset + HEAD_BYTES, self.head.content_bytes
                while left:
                    written = os.pwrite(descriptor, _NOUGHTS[:left], at)
                    at, left = at + written, left - written
                # Last: what says that it is erased is.
                os.pwrite(descriptor, pack_head(replace(self.head, erased=True, checksum=0)), self.offset)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise EvidenceError(f"{self.path}: cannot be erased: {error.strerror}") from None


@dataclass(slots=True)
class _Open:
    descriptor: int
    path: Path
    began_ms: int
    size: int = 0


class PayloadWriter:
    """Appends payloads to files of its own; used by one thread. `origin`: the process, as it stands in files' names."""

    def __init__(self, data: Path, origin: str, clock: Clock) -> None:
        self._directory = data / PAYLOADS
        self._origin = origin
        self._clock = clock
        self._files: OrderedDict[str, _Open] = OrderedDict()
        self._number = 0

    def append(self, payload: Payload) -> tuple[str, int]:
        """Writes a payload; gives the file, from the directory of payloads on, and the offset in it.

        Raises OSError where the disk does not take it; then nothing of it is in the file.
        """
        entry = pack(payload)
        file = self._file(payload.model)
        offset = file.size
        written = 0
        try:
            while written < len(entry):
                written += os.pwrite(file.descriptor, memoryview(entry)[written:], offset + written)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file.descriptor, offset)
            self._close(payload.model)
            raise
        file.size += len(entry)
        return f"{payload.model}/{file.path.name}", offset

    def close(self) -> None:
        """Lets go of its files."""
        for model in list(self._files):
            self._close(model)

    def _file(self, model: str) -> _Open:
        now_ms = self._clock.unix_ns() // 1_000_000
        file = self._files.get(model)
        if file is not None:
            if file.size < MAX_FILE_BYTES and 0 <= now_ms - file.began_ms < MAX_FILE_AGE_MS:
                self._files.move_to_end(model)
                return file
            self._close(model)
        while len(self._files) >= MAX_OPEN:
            self._close(next(iter(self._files)))
        directory = self._directory / model
        # Each by itself: the mode is not that of parents that are made on the way.
        self._directory.mkdir(mode=0o700, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        self._number += 1
        path = directory / f"{now_ms:013d}-{self._origin}-{self._number}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        file = self._files[model] = _Open(descriptor, path, now_ms)
        return file

    def _close(self, model: str) -> None:
        with contextlib.suppress(OSError):
            os.close(self._files.pop(model).descriptor)


def entries(path: Path) -> Iterator[Entry]:
    """The entries of a file, erased ones too; ends at one that is not whole, as its writer may be at it.

    Raises EvidenceError for a file that cannot be read, or a head that is damaged.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            offset = 0
            while size - offset >= HEAD_BYTES:
                file.seek(offset)
                raw = file.read(HEAD_BYTES)
                # What a machine that lost its power had not written yet.
                if not any(raw):
                    return
                try:
                    head = read_head(raw)
                except EvidenceError as error:
                    raise EvidenceError(f"{path}: byte {offset}: {error}") from None
                if head.content_bytes > size - offset - HEAD_BYTES:
                    return
                yield Entry(path, offset, head)
                offset += HEAD_BYTES + head.content_bytes
    except FileNotFoundError:
        raise
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None


def all_entries(
    data: Path,
    since_ms: int = 0,
    model: str = "",
    damage: list[str] | None = None,
    until_ms: int | None = None,
) -> Iterator[Entry]:
    """The entries of a model, or of all where none is named, of decisions from `since_ms` on; file by file.

    until_ms: files that were begun long after it are passed over.

    damage: takes what is wrong with files, whose whole entries are given; None: it raises EvidenceError. A file that
    retention removes meanwhile is passed over.
    """
    for path in _files(data / PAYLOADS, model):
        if until_ms is not None and _began_ms(path) > until_ms + _LATE_MS:
            continue
        try:
            if path.stat().st_mtime_ns // 1_000_000 < since_ms - _BEHIND_MS:
                continue
            for entry in entries(path):
                if moment_ms(entry.head.decision_id) >= since_ms:
                    yield entry
        except FileNotFoundError:
            continue
        except EvidenceError as error:
            if damage is None:
                raise
            damage.append(str(error))


def is_of_a_shadow(path: Path) -> bool:
    """Whether a shadow's process wrote a file: the journal has no notes of what is in it."""
    named = _NAME.fullmatch(path.name)
    return named is not None and named[2].startswith(SHADOW_ORIGIN)


def moment_ms(decision_id: str) -> int:
    """When a decision id was made, Unix milliseconds: the first 48 bits of a UUIDv7."""
    return int(decision_id[:8] + decision_id[9:13], 16)


def find(data: Path, wanted: str) -> Entry:
    """The entry of a decision, by its id or by the id of its request; the last one of several.

    Raises EvidenceError where nothing is kept of it.
    """
    return find_all(data, wanted)[-1]


def find_all(data: Path, wanted: str) -> list[Entry]:
    """The entries of a decision or of all requests of an id, at least one. Raises EvidenceError where there is none.

    A decision has several where more than one process kept it, as a worker and a shadow do.
    """
    known_ms = _moment_or_none(wanted)
    found: list[Entry] = []
    damage: list[str] = []
    for entry in all_entries(data, known_ms or 0, damage=damage, until_ms=known_ms):
        if entry.head.decision_id == wanted:
            found.append(entry)
        elif known_ms is None and not entry.head.erased:
            try:
                if entry.read().request_id == wanted:
                    found.append(entry)
            except EvidenceError as error:
                damage.append(str(error))
    if not found:
        but = f"; damaged: {'; '.join(damage[:8])}" if damage else ""
        raise EvidenceError(
            f"no payload of decision {wanted[:128]!r} is kept in {data / PAYLOADS}: [evidence.capture] in model.toml "
            f"says of which requests one is{but}"
        )
    return found


def expire(data: Path, model: str, oldest_ms: int, most_bytes: int, now_ms: int) -> int:
    """Removes files whose last decision is older than `oldest_ms`, and the oldest ones while all have more than
    `most_bytes`; gives how many. A file that may still be written stays."""
    files = []
    for path in _files(data / PAYLOADS, model):
        with contextlib.suppress(FileNotFoundError):
            files.append((path, path.stat()))
    total = sum(about.st_size for _, about in files)
    removed = 0
    for path, about in files:
        began_ms = _began_ms(path)
        is_left = about.st_size >= MAX_FILE_BYTES or now_ms - began_ms > _LEFT_MS
        is_old = about.st_mtime_ns // 1_000_000 < oldest_ms
        if is_left and (is_old or total > most_bytes):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                removed += 1
            total -= about.st_size
    return removed


def _files(directory: Path, model: str) -> list[Path]:
    """By the time at which they were begun."""
    try:
        models = [directory / model] if model else sorted(one for one in directory.iterdir() if one.is_dir())
        found = [
            path for one in models if one.is_dir() for path in one.iterdir() if _NAME.fullmatch(path.name)
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise EvidenceError(f"{directory}: cannot be read: {error.strerror}") from None
    return sorted(found, key=lambda path: (_began_ms(path), path.name))


def _began_ms(path: Path) -> int:
    return int(path.name[:13])


def payload_files(data: Path) -> list[Path]:
    """All files of payloads. Raises EvidenceError where they cannot be listed."""
    return _files(data / PAYLOADS, "")


def is_decision_id(wanted: str) -> bool:
    """Whether it has the form of a decision's id; else it is what a caller named a request."""
    return re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", wanted) is not None


def _moment_or_none(wanted: str) -> int | None:
    return moment_ms(wanted) if is_decision_id(wanted) else None
