"""The transparency log: entries in a Merkle tree whose root is signed, so that none is changed or left out unseen."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steelyard.clock import Clock
from steelyard.errors import EvidenceError
from steelyard.evidence.checkpoint import cosigned, signed
from steelyard.evidence.entry import Entry, EventEntry, read_entry
from steelyard.evidence.keys import LOG_KEY, PrivateKey, load_key, make_key, public_path, read_public
from steelyard.evidence.merkle import consistency_path, inclusion_path
from steelyard.evidence.tiles import MAX_ENTRY_BYTES, Tiles, replace_file
from steelyard.evidence.verifier import (
    COSIGNATURE,
    ED25519,
    EMPTY_ROOT,
    MAX_NOTE_BYTES,
    TILE_WIDTH,
    Checkpoint,
    Key,
    VerificationError,
    leaf_hash,
    open_checkpoint,
)

TLOG_DIRECTORY = "tlog"
CHECKPOINT_FILE = "checkpoint"
_LOCK_FILE = "lock"


class LogReader:
    """A log in a data directory, as anybody can read it who knows its verifier key."""

    def __init__(self, data: Path, key: Key) -> None:
        self.directory = data / TLOG_DIRECTORY
        self.key = key
        self.tiles = Tiles(self.directory)

    def note(self) -> bytes:
        """The checkpoint's file. Raises EvidenceError where there is none."""
        path = self.directory / CHECKPOINT_FILE
        try:
            with path.open("rb") as file:
                return file.read(MAX_NOTE_BYTES + 1)
        except FileNotFoundError:
            raise EvidenceError(f"{path}: the log's checkpoint is missing") from None
        except OSError as error:
            raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None

    def checkpoint(self) -> Checkpoint:
        """The last one that was signed. Raises EvidenceError where it is not the log's."""
        note = self.note()
        try:
            return open_checkpoint(note, self.key)
        except VerificationError as error:
            raise EvidenceError(f"{self.directory / CHECKPOINT_FILE}: {error}") from None

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[Entry]:
        """The entries from index `start` up to, without, `end`; None: all."""
        size = self.checkpoint().size
        return map(read_entry, self.tiles.entries(start, size if end is None else end, size))

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that the entry at `index` is in the tree of `size`."""
        return inclusion_path(index, size, lambda start, end: self.tiles.subtree(start, end, size))

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree of `new` entries begins with that of `old`."""
        return consistency_path(old, new, lambda start, end: self.tiles.subtree(start, end, new))

    def last_event(self) -> EventEntry | None:
        """The last event that is in the log."""
        for packed in self.tiles.backwards(self.checkpoint().size):
            entry = read_entry(packed)
            if isinstance(entry, EventEntry):
                return entry
        return None


@dataclass(frozen=True, slots=True)
class KeyPaths:
    """Where the keys are."""

    log: Path
    witness: Path | None = None


def key_paths(data: Path, log: Path | None, witness: Path | None) -> KeyPaths:
    """Where the keys of a data directory are, where the settings say `log` and `witness`."""
    return KeyPaths(log or data / LOG_KEY, witness)


def log_origin(data: Path, log: Path | None) -> str:
    """The name of a data directory's log, where the settings say that its key is at `log`. Raises EvidenceError where
    its verifier key cannot be read."""
    return read_public(public_path(key_paths(data, log, None).log)).name


def open_reader(data: Path, keys: KeyPaths) -> LogReader:
    """The log in a data directory, by the verifier key that lies there. Raises EvidenceError where there is no log."""
    if not (data / TLOG_DIRECTORY).is_dir():
        raise EvidenceError(f"{data / TLOG_DIRECTORY}: no transparency log is there")
    return LogReader(data, read_public(public_path(keys.log)))


class TransparencyLog(LogReader):
    """The log with the key that signs it. Several processes may append: each holds the file lock while it does.

    What the log holds is what its checkpoint says. A checkpoint is replaced when all that it stands for is on disk, so
    an append that was killed anywhere has either happened or has not.
    """

    def __init__(self, data: Path, keys: KeyPaths, clock: Clock) -> None:
        """Opens the log, or makes it, and its key, where neither is there.

        Raises EvidenceError where the key of a log that has been begun is missing, a key is not its owner's alone, the
        checkpoint is not signed by the key, or the disk does not take what is made.
        """
        self._clock = clock
        directory = data / TLOG_DIRECTORY
        if not os.path.lexists(keys.log):
            if (directory / CHECKPOINT_FILE).exists() or (directory / "tile").exists():
                raise EvidenceError(
                    f"{keys.log}: the key is missing that signs the log in {directory}: bring it back, or move the log "
                    "away to begin another one"
                )
            make_key(keys.log, ED25519)
        self._log: PrivateKey = load_key(keys.log, ED25519)
        self._witness = None if keys.witness is None else load_key(keys.witness, COSIGNATURE)
        super().__init__(data, self._log.key)
        if not public_path(keys.log).exists():
            replace_file(public_path(keys.log), f"{self.key}\n".encode(), 0o644)
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise EvidenceError(f"{directory}: cannot be made: {error.strerror}") from None
        with self._locked():
            if not (directory / CHECKPOINT_FILE).exists():
                if (directory / "tile").exists():
                    raise EvidenceError(f"{directory / CHECKPOINT_FILE}: missing, and the log has entries")
                self._sign(Checkpoint(self.key.name, 0, EMPTY_ROOT))
            self.checkpoint()

    def append(self, entries: Sequence[Entry]) -> Checkpoint:
        """Puts entries at the end, all or none, and returns when a signed checkpoint of them is on disk.

        Raises EvidenceError where the disk does not take them.
        """
        packed = [entry.pack() for entry in entries]
        for one in packed:
            if len(one) > MAX_ENTRY_BYTES:
                raise EvidenceError(f"expected entries of at most {MAX_ENTRY_BYTES} bytes, came {len(one)}")
        with self._locked():
            before = self.checkpoint()
            if not packed:
                return before
            self._check_edge(before)
            self.tiles.extend(before.size, packed, [leaf_hash(one) for one in packed])
            size = before.size + len(packed)
            after = Checkpoint(before.origin, size, self.tiles.subtree(0, size, size))
            self._sign(after)
            self.tiles.sweep(before.size, size)
            return after

    def _check_edge(self, checkpoint: Checkpoint) -> None:
        """Raises EvidenceError where what is to be built on is not what was signed: no damaged tile must be signed."""
        size = checkpoint.size
        if self.tiles.subtree(0, size, size) != checkpoint.root:
            raise EvidenceError(
                f"{self.directory}: the tiles are not those that the checkpoint was signed over"
            )
        number, width = divmod(size, TILE_WIDTH)
        if not width:
            return
        hashes = [leaf_hash(entry) for entry in self.tiles.bundle(number, width)]
        if hashes != self.tiles.hashes(0, number, width):
            bundle = self.tiles.path("entries", number, width)
            raise EvidenceError(f"{bundle}: the entries are not those that the checkpoint was signed over")

    def _sign(self, checkpoint: Checkpoint) -> None:
        note = signed(checkpoint, self._log)
        if self._witness is not None:
            note = cosigned(note, self._witness, self._clock.unix_ns() // 1_000_000_000)
        replace_file(self.directory / CHECKPOINT_FILE, note)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = os.open(self.directory / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EvidenceError(f"{self.directory}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
