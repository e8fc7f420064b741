"""Tiles and bundles of entries as C2SP tlog-tiles has them, as files that can be served as they are."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.directories import sync_directory
from steelyard.evidence.merkle import HASH_BYTES, joined
from steelyard.evidence.verifier import TILE_WIDTH, VerificationError, read_entries, root_over, tile_name

# An entry's length is two bytes in a bundle.
MAX_ENTRY_BYTES = (1 << 16) - 1
# A full bundle of the largest entries.
MAX_BUNDLE_BYTES = TILE_WIDTH * (MAX_ENTRY_BYTES + 2)

# Levels of tiles over as many leaves as a size has bits: 256 ** 8.
_LEVELS = 8


class Tiles:
    """The files below `directory`, of which only those that a tree's size asks for are ever read.

    Whoever writes holds the log's lock; reading needs none, as nothing that a checkpoint stands for is changed.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, level: int | str, number: int, width: int = TILE_WIDTH) -> Path:
        """Where a tile is; level "entries": a bundle of entries."""
        return self.directory / "tile" / str(level) / tile_name(number, width)

    def hashes(self, level: int, number: int, width: int) -> list[bytes]:
        """The first `width` hashes of a tile. Raises EvidenceError where it is missing or too short."""
        path, content = self._read(level, number, width)
        if len(content) % HASH_BYTES or len(content) < width * HASH_BYTES:
            raise EvidenceError(f"{path}: expected {width} hashes, came {len(content)} bytes")
        return [content[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES)]

    def bundle(self, number: int, width: int) -> list[bytes]:
        """The first `width` entries of a bundle. Raises EvidenceError where it is missing or damaged."""
        path, content = self._read("entries", number, width)
        try:
            return read_entries(content, width)
        except VerificationError as error:
            raise EvidenceError(f"{path}: {error}") from None

    def entries(self, start: int, end: int, size: int) -> Iterator[bytes]:
        """The entries from index `start` up to, without, `end` of a tree of `size`, which was signed once.

        Of other sizes there are no partial bundles.
        """
        for number in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
            first = number * TILE_WIDTH
            whole = self.bundle(number, min(TILE_WIDTH, size - first))
            yield from whole[max(0, start - first) : end - first]

    def backwards(self, size: int) -> Iterator[bytes]:
        """The entries of a tree of `size`, the last first."""
        for number in reversed(range(-(-size // TILE_WIDTH))):
            yield from reversed(self.bundle(number, min(TILE_WIDTH, size - number * TILE_WIDTH)))

    def subtree(self, start: int, end: int, size: int) -> bytes:
        """The Merkle tree hash over leaves `start` to `end` of a tree of `size`, as the tiles say it."""

        def complete(start: int, end: int) -> bytes:
            height = (end - start).bit_length() - 1
            level, inside = divmod(height, 8)
            first = start >> 8 * level
            number, offset = divmod(first, TILE_WIDTH)
            width = min(TILE_WIDTH, (size >> 8 * level) - number * TILE_WIDTH)
            return root_over(self.hashes(level, number, width)[offset : offset + (1 << inside)])

        return joined(start, end, complete) if end > start else root_over(())

    def extend(self, size: int, entries: Sequence[bytes], hashes: Sequence[bytes]) -> None:
        """Writes what a tree of `size` needs to have `entries`, of leaf `hashes`, at its end; each file whole, synced.

        Files that a call that was cut short has left are written over: no checkpoint stands for them.
        Raises EvidenceError where the disk does not take them, or what is there cannot be read.
        """
        number, width = divmod(size, TILE_WIDTH)
        pending = [*(self.bundle(number, width) if width else ()), *entries]
        for offset in range(0, len(pending), TILE_WIDTH):
            part = pending[offset : offset + TILE_WIDTH]
            content = b"".join(len(entry).to_bytes(2, "big") + entry for entry in part)
            self._write("entries", number + offset // TILE_WIDTH, len(part), content)
        fresh: Sequence[bytes] = hashes
        for level in range(_LEVELS):
            number, width = divmod(size >> 8 * level, TILE_WIDTH)
            whole = [*(self.hashes(level, number, width) if width else ()), *fresh]
            above = []
            for offset in range(0, len(whole), TILE_WIDTH):
                tile = whole[offset : offset + TILE_WIDTH]
                self._write(level, number + offset // TILE_WIDTH, len(tile), b"".join(tile))
                if len(tile) == TILE_WIDTH:
                    above.append(root_over(tile))
            fresh = above
            if not fresh:
                break

    def sweep(self, before: int, after: int) -> None:
        """Removes the partial tiles of a tree of `before` leaves that are full in one of `after`, which is signed."""
        for level in ("entries", *range(_LEVELS)):
            shift = 0 if level == "entries" else 8 * int(level)
            number = (before >> shift) // TILE_WIDTH
            if (after >> shift) // TILE_WIDTH > number:
                partial = self.path(level, number)
                partial = partial.with_name(f"{partial.name}.p")
                if partial.is_dir():
                    for file in partial.iterdir():
                        file.unlink()
                    partial.rmdir()

    def _read(self, level: int | str, number: int, width: int) -> tuple[Path, bytes]:
        # A partial tile may have gone since the checkpoint that asks for it, as the full one is there.
        paths = [self.path(level, number, width)]
        if width < TILE_WIDTH:
            paths.append(self.path(level, number))
        most = MAX_BUNDLE_BYTES if level == "entries" else TILE_WIDTH * HASH_BYTES
        for path in paths:
            try:
                with path.open("rb") as file:
                    content = file.read(most + 1)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise EvidenceError(f"{path}: cannot be read: {error.strerror}") from None
            if len(content) > most:
                raise EvidenceError(f"{path}: expected at most {most} bytes")
            return path, content
        raise EvidenceError(f"{paths[0]}: missing")

    def _write(self, level: int | str, number: int, width: int, content: bytes) -> None:
        replace_file(self.path(level, number, width), content)


def replace_file(path: Path, content: bytes, mode: int = 0o600, writer: str = "") -> None:
    """Writes a file whole, and returns when it is on disk under its name.

    writer: tells those apart that may write it at the same time; empty where nobody else may.
    Raises EvidenceError where the disk does not take it.
    """
    temporary = path.with_name(f"{path.name}{writer}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            with os.fdopen(os.dup(file), "wb") as stream:
                stream.write(content)
            os.fsync(file)
        finally:
            os.close(file)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be written: {error.strerror}") from None
