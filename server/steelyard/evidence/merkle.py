"""Proofs in trees of RFC 6962: that a leaf is in a tree, and that a tree begins with an earlier one.

How trees are hashed, and how proofs are checked, is in `verifier`, which goes to auditors as one file.
"""

from collections.abc import Callable, Iterable, Sequence

from steelyard._native import merkle as native
from steelyard.evidence.verifier import leaf_hash, node_hash, root_over

HASH_BYTES = 32

Subtree = Callable[[int, int], bytes]
"""The Merkle tree hash over leaves from one index up to, without, another."""


def split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2: how many leaves the left subtree has."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_path(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The hashes from the leaf at `index` to the root of a tree of `size` (RFC 6962, section 2.1.1)."""
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    return path[::-1]


def consistency_path(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """The hashes that show that the tree of `new` leaves begins with that of `old` (RFC 6962, section 2.1.2)."""
    path: list[bytes] = []
    if not 0 < old < new:
        return path
    start, end, is_old_root = 0, new, True
    while old != end:
        middle = start + split(end - start)
        if old <= middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start, is_old_root = middle, False
    if not is_old_root:
        path.append(subtree(start, end))
    return path[::-1]


def over(hashes: Sequence[bytes]) -> Subtree:
    """Subtrees over leaf hashes that are held in memory."""
    return lambda start, end: root_over(hashes[start:end])


def joined(start: int, end: int, complete: Subtree) -> bytes:
    """The hash over any subtree, of those over complete ones: aligned, and a power of two wide."""
    size = end - start
    if size & (size - 1) == 0:
        return complete(start, end)
    middle = start + split(size)
    return node_hash(complete(start, middle), joined(middle, end, complete))


class Records:
    """The tree over many records, whose leaf hashes it holds: 32 bytes each.

    Natively where the processor hashes by itself, which takes a third of what hashlib does.
    """

    def __init__(self, records: Iterable[bytes], natively: bool = native.AVAILABLE) -> None:
        self._natively = natively
        self._hashes = native.leaf_hashes(records) if natively else b"".join(map(leaf_hash, records))
        self.count = len(self._hashes) // HASH_BYTES

    def root(self) -> bytes:
        """The Merkle tree hash over all of them."""
        return self._subtree(0, self.count)

    def path(self, index: int) -> list[bytes]:
        """The hashes from the record at `index` to the root."""
        return inclusion_path(index, self.count, self._subtree)

    def _subtree(self, start: int, end: int) -> bytes:
        part = self._hashes[start * HASH_BYTES : end * HASH_BYTES]
        if self._natively:
            return native.root(part)
        return root_over(part[at : at + HASH_BYTES] for at in range(0, len(part), HASH_BYTES))
