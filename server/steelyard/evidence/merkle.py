"""Proofs in trees of RFC 6962: that a leaf is in a tree, and that a tree begins with an earlier one.

How trees are hashed, and how proofs are checked, is in `verifier`, which goes to auditors as one file.
"""

from collections.abc import Callable, Sequence

from steelyard.evidence.verifier import node_hash, root_over

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
