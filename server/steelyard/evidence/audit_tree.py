"""Verifies the log's files: every tile and every entry against the root that was signed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steelyard.errors import EvidenceError
from steelyard.evidence.fault import Fault
from steelyard.evidence.tiles import Tiles
from steelyard.evidence.tlog import CHECKPOINT_FILE, LogReader
from steelyard.evidence.verifier import TILE_WIDTH, Checkpoint, Tree, leaf_hash, root_over


class _Side:
    """The tree as one kind of file says it: the entries, or the tiles of leaf hashes."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.tops: list[bytes] = []
        """The roots of full tiles."""

    def add(self, hashes: list[bytes]) -> None:
        for hashed in hashes:
            self.tree.add(hashed)
        if len(hashes) == TILE_WIDTH:
            self.tops.append(root_over(hashes))


@dataclass(frozen=True, slots=True)
class CheckedEntries:
    """The entries that are as they were signed, with their indexes."""

    entries: Iterator[tuple[int, bytes]]
    is_all: bool


def check_tree(log: LogReader, checkpoint: Checkpoint, faults: list[Fault]) -> CheckedEntries:
    """Verifies all files of the log, adds to `faults` what is wrong, and gives the entries that can be relied on.

    The entries and the tiles say the same twice. Which of the two was changed is seen by which one makes the root.
    """
    tiles, size = log.tiles, checkpoint.size
    by_entries, by_tiles = _Side(), _Side()
    unlike: dict[int, list[int]] = {}
    broken: list[Fault] = []
    for number in range(-(-size // TILE_WIDTH)):
        width = min(TILE_WIDTH, size - number * TILE_WIDTH)
        entries = [leaf_hash(entry) for entry in _bundle(tiles, number, width, broken)]
        stored = _hashes(tiles, 0, number, width, broken)
        by_entries.add(entries)
        by_tiles.add(stored)
        if entries and stored and entries != stored:
            unlike[number] = [at for at in range(width) if entries[at] != stored[at]]
    faults += broken
    entries_are_good = (by_entries.tree.size, by_entries.tree.root()) == (size, checkpoint.root)
    tiles_are_good = (by_tiles.tree.size, by_tiles.tree.root()) == (size, checkpoint.root)
    for number, changed in unlike.items():
        faults.append(_changed(tiles, size, number, changed, entries_are_good, tiles_are_good))
    if entries_are_good or tiles_are_good:
        _check_upper(tiles, by_entries.tops if entries_are_good else by_tiles.tops, faults)
    elif not broken:
        faults.append(
            Fault(
                str(log.directory / CHECKPOINT_FILE),
                f"its root {checkpoint.root.hex()} is that of other entries: those here make "
                f"{by_entries.tree.root().hex()}" + ("" if unlike else ", as the tiles do"),
            )
        )
    _check_older(tiles, size, faults)
    return CheckedEntries(_good(tiles, size, {} if entries_are_good else unlike), entries_are_good)


def _good(tiles: Tiles, size: int, unlike: dict[int, list[int]]) -> Iterator[tuple[int, bytes]]:
    for number in range(-(-size // TILE_WIDTH)):
        width = min(TILE_WIDTH, size - number * TILE_WIDTH)
        changed = frozenset(unlike.get(number, ()))
        for at, entry in enumerate(_bundle(tiles, number, width, [])):
            if at not in changed:
                yield number * TILE_WIDTH + at, entry


def _bundle(tiles: Tiles, number: int, width: int, faults: list[Fault]) -> list[bytes]:
    try:
        return tiles.bundle(number, width)
    except EvidenceError as error:
        faults.append(_fault(error))
        return []


def _hashes(tiles: Tiles, level: int, number: int, width: int, faults: list[Fault]) -> list[bytes]:
    try:
        return tiles.hashes(level, number, width)
    except EvidenceError as error:
        faults.append(_fault(error))
        return []


def _fault(error: EvidenceError) -> Fault:
    where, _, what = str(error).partition(": ")
    return Fault(where, what)


def _changed(
    tiles: Tiles, size: int, number: int, changed: list[int], entries_are_good: bool, tiles_are_good: bool
) -> Fault:
    width = min(TILE_WIDTH, size - number * TILE_WIDTH)
    bundle, tile = str(tiles.path("entries", number, width)), str(tiles.path(0, number, width))
    first = changed[0]
    index = number * TILE_WIDTH + first
    further = f", and {len(changed) - 1} after it" if len(changed) > 1 else ""
    if entries_are_good:
        return Fault(tile, f"hash {first} was changed{further}: entry {index} of the log is as it was signed")
    if tiles_are_good:
        return Fault(bundle, f"entry {first} of it, {index} of the log, was changed{further}")
    return Fault(
        bundle, f"entry {first} of it, {index} of the log, or its hash in {tile} was changed{further}"
    )


def _check_upper(tiles: Tiles, tops: list[bytes], faults: list[Fault]) -> None:
    """Compares the tiles above the leaves with what they are made of."""
    level = 1
    while tops:
        above = []
        for number in range(-(-len(tops) // TILE_WIDTH)):
            wanted = tops[number * TILE_WIDTH : (number + 1) * TILE_WIDTH]
            stored = _hashes(tiles, level, number, len(wanted), faults)
            if stored and stored != wanted:
                at = next(
                    at for at, pair in enumerate(zip(stored, wanted, strict=True)) if pair[0] != pair[1]
                )
                faults.append(Fault(str(tiles.path(level, number, len(wanted))), f"hash {at} was changed"))
            if len(wanted) == TILE_WIDTH:
                above.append(root_over(wanted))
        tops, level = above, level + 1


def _check_older(tiles: Tiles, size: int, faults: list[Fault]) -> None:
    """Compares partial tiles of earlier checkpoints, which are kept until the tile is full, with the last one."""
    levels: list[int | str] = ["entries", *range(8)]
    faulty = {fault.where for fault in faults}
    for level in levels:
        number, width = divmod(size if level == "entries" else size >> 8 * int(level), TILE_WIDTH)
        newest = tiles.path(level, number, max(width, 1))
        if not width or str(newest) in faulty or not newest.exists():
            continue
        whole = newest.read_bytes()
        faults += [
            Fault(str(older), f"is not the beginning of {newest.name}")
            for older in sorted(newest.parent.iterdir())
            if older.name.isdigit() and int(older.name) < width and not _begins(whole, older)
        ]


def _begins(whole: bytes, path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return whole.startswith(content) and len(content) < len(whole)
