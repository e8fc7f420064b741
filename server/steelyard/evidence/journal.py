"""The journal of one worker: a thread that moves records from the ring into files, and has them synced.

A file is `<data>/journal/worker-N/<unix_ns>.log`, locked by its writer for as long as it is written. It is closed, with
a last frame that says so, when it is large or old; another process seals it then.
"""

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from steelyard._native.journal import Ring
from steelyard.clock import Clock
from steelyard.errors import EvidenceError
from steelyard.evidence.frames import Gap, Kind, frame, json_frame, notes_frame

FORMAT = 1

# Taken from the ring at a time: some thousand records, and a fraction of a millisecond of a disk's time.
CHUNK_BYTES = 1 << 18

# At most what a power failure takes of a best-effort journal, whose answers do not wait.
SYNC_INTERVAL_S = 1.0

# How often the ring is looked at: at full speed it takes ten times as long to fill.
LOOK_INTERVAL_S = 0.05

# Notes wait in memory until they are written, a kilobyte each at most.
MAX_NOTES = 4096

# JSON makes at most six bytes of a character: so many notes of that length are a frame that is still read.
MAX_NOTE_CHARS = 8192
NOTES_A_FRAME = 64


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an operator should know of a journal."""

    kind: Literal["refused", "over", "notes_lost"]
    """The files take no more; they take records again; notes were thrown away."""
    directory: Path
    lost: int
    """Records, or notes."""
    reason: str


class Journal:
    """Writes what is put into `ring`, on a thread of its own, until `close`.

    commit_interval_s: how long a commit waits for others to share it. On that thread `on_synced` is called after each
    commit with the ring's position up to which records are on disk, and with the error where the file takes no more;
    `told` when something happens that an operator should know.
    """

    def __init__(
        self,
        directory: Path,
        worker: int,
        ring: Ring,
        clock: Clock,
        segment_bytes: int,
        segment_age_s: float,
        commit_interval_s: float,
        on_synced: Callable[[int, OSError | None], None],
        told: Callable[[Trouble], None],
    ) -> None:
        """Raises EvidenceError where no file can be begun."""
        self._directory = directory
        self._worker = worker
        self._ring = ring
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._segment_age_s = segment_age_s
        self._commit_interval_s = commit_interval_s
        self._on_synced = on_synced
        self._told = told
        self._notes: deque[dict[str, Any]] = deque()
        self._notes_lost = 0
        self._wanted = threading.Event()
        self._commit_wanted = False
        self._closing = False
        self._gaps_to_tell: list[Gap] = []
        self._refusing = False
        self._fd = -1
        self._file_bytes = 0
        self._records = self._gaps = self._unsynced = 0
        self._began_s = self._synced_s = 0.0
        try:
            self._begin()
        except OSError as error:
            raise EvidenceError(f"{directory}: the journal cannot be written: {error.strerror}") from None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # Of the thread that puts into the ring; `note` of any.

    def commit(self) -> None:
        """Has what is in the ring written and synced soon, and `on_synced` called."""
        self._commit_wanted = True
        self._wanted.set()

    def note(self, note: dict[str, Any]) -> bool:
        """Writes what became known of a decision; False, and it is told as trouble, where too many wait or it is too
        long."""
        if len(self._notes) >= MAX_NOTES or len(str(note)) > MAX_NOTE_CHARS:
            self._notes_lost += 1
            return False
        self._notes.append(note)
        return True

    def close(self, within_s: float = 5.0) -> None:
        """Writes what is left and closes the file; a disk that does not answer is left behind after `within_s`."""
        self._closing = True
        self._wanted.set()
        self._thread.join(within_s)

    # Of the thread that writes.

    def _run(self) -> None:
        while True:
            if self._wanted.wait(LOOK_INTERVAL_S) and self._commit_interval_s and not self._closing:
                time.sleep(self._commit_interval_s)
            self._wanted.clear()
            closing, commit = self._closing, self._commit_wanted
            self._commit_wanted = False
            try:
                self._write_all(commit or closing)
                if closing:
                    self._end()
            except (
                Exception
            ) as error:  # whatever it is, answers that wait must hear of it, and the thread goes on
                self._refused(
                    error if isinstance(error, OSError) else OSError(errno.EIO, f"a fault: {error!r}"[:500])
                )
            if closing:
                return

    def _write_all(self, commit: bool) -> None:
        ring = self._ring
        if self._fd < 0:
            self._begin()
        while True:
            chunk, count = ring.peek(CHUNK_BYTES)
            if not count:
                break
            self._append(frame(Kind.RECORDS, chunk))
            ring.taken(len(chunk), count, True)
            self._records += count
            self._unsynced += count
        if gap := ring.take_gap():
            self._gaps_to_tell.append(Gap(*gap, "the ring was full"))
        while self._gaps_to_tell:
            self._gap(self._gaps_to_tell[0])
            self._gaps_to_tell.pop(0)
        self._write_notes()
        now_s = time.monotonic()
        if commit or (self._unsynced and now_s - self._synced_s > SYNC_INTERVAL_S):
            position = ring.tail
            self._sync()
            self._synced_s = now_s
            self._on_synced(position, None)
        if self._refusing:
            self._told(Trouble("over", self._directory, 0, ""))
            self._refusing = False
        has_any = self._records or self._gaps
        if self._file_bytes >= self._segment_bytes or (
            has_any and now_s - self._began_s > self._segment_age_s
        ):
            self._end()

    def _write_notes(self) -> None:
        notes = self._notes
        # Others append meanwhile; what is written is what was there.
        for _ in range(-(-len(notes) // NOTES_A_FRAME)):
            some = [notes[place] for place in range(min(len(notes), NOTES_A_FRAME))]
            self._append(notes_frame(some))
            for _ in some:
                notes.popleft()
        if self._notes_lost:
            lost, self._notes_lost = self._notes_lost, 0
            self._told(Trouble("notes_lost", self._directory, lost, "too many waited, or were too long"))

    def _sync(self) -> None:
        """Raises OSError, and has given the file up: what a disk has once refused to take, it says nothing of later."""
        try:
            os.fdatasync(self._fd)
        except OSError:
            self._give_up()
            raise
        self._ring.synced(self._unsynced)
        self._unsynced = 0

    def _give_up(self) -> None:
        """Leaves the file without an end, for the next start to close; another is begun."""
        fd, self._fd = self._fd, -1
        self._unsynced = 0
        with contextlib.suppress(OSError):
            os.close(fd)

    def _gap(self, gap: Gap) -> None:
        self._append(json_frame(Kind.GAP, asdict(gap)))
        self._gaps += gap.count

    def _append(self, data: bytes) -> None:
        """Raises OSError, and nothing of `data` is in the file then."""
        view = memoryview(data)
        at = self._file_bytes
        try:
            while view:
                written = os.pwrite(self._fd, view, at)
                view, at = view[written:], at + written
        except OSError:
            try:
                os.ftruncate(self._fd, self._file_bytes)
            except OSError:
                self._give_up()
            raise
        self._file_bytes = at

    def _begin(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        unix_ns = self._clock.unix_ns()
        while True:
            path = self._directory / f"{unix_ns:020d}.log"
            if not path.exists():
                break
            unix_ns += 1
        begin = {"format": FORMAT, "worker": self._worker, "pid": os.getpid(), "unix_ns": unix_ns}
        head = json_frame(Kind.BEGIN, begin)
        # It appears under its name when it is locked and has begun: one that is not locked, nobody writes to.
        new = path.with_suffix(f".{os.getpid()}")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.pwrite(fd, head, 0) != len(head):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.rename(new, path)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):
                new.unlink()
            raise
        self._fd = fd
        self._file_bytes = len(head)
        self._records = self._gaps = 0
        self._began_s = time.monotonic()

    def _end(self) -> None:
        if self._fd < 0:
            return
        end = {"records": self._records, "gaps": self._gaps, "unix_ns": self._clock.unix_ns()}
        self._append(json_frame(Kind.END, end))
        self._sync()
        self._give_up()

    def _refused(self, error: OSError) -> None:
        """The file takes no more: what waits is lost, and told as a gap when there is room again."""
        ring = self._ring
        lost = 0
        while True:
            chunk, count = ring.peek(CHUNK_BYTES)
            if not count:
                break
            ring.taken(len(chunk), count, False)
            lost += count
        now_ns = self._clock.unix_ns()
        why = f"the journal could not be written: {error.strerror}"
        if gap := ring.take_gap():
            self._gaps_to_tell.append(Gap(*gap, "the ring was full"))
        if lost and self._gaps_to_tell and self._gaps_to_tell[-1].why == why:
            before = self._gaps_to_tell.pop()
            self._gaps_to_tell.append(Gap(before.count + lost, before.from_unix_ns, now_ns, why))
        elif lost:
            self._gaps_to_tell.append(Gap(lost, now_ns, now_ns, why))
        if not self._refusing:
            self._told(Trouble("refused", self._directory, lost, error.strerror or repr(error)))
        self._refusing = True
        self._on_synced(-1, error)
