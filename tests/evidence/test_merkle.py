"""Trees and proofs: the known vectors, and what holds of every tree."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard._native import merkle as native
from steelyard.evidence.merkle import Records, consistency_path, inclusion_path, over
from steelyard.evidence.verifier import (
    EMPTY_ROOT,
    VerificationError,
    check_consistency,
    leaf_hash,
    node_hash,
    root_by_path,
    root_over,
)

# The leaves and roots that implementations of Certificate Transparency test with: the root over the first n leaves.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

needs_instructions = pytest.mark.skipif(
    not native.AVAILABLE, reason="the processor has no instructions for SHA-256"
)

leaves = st.lists(st.binary(max_size=20), min_size=1, max_size=300)


def mth(data: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, as it stands there."""
    if not data:
        return hashlib.sha256(b"").digest()
    if len(data) == 1:
        return hashlib.sha256(b"\0" + data[0]).digest()
    middle = 1
    while middle * 2 < len(data):
        middle *= 2
    return hashlib.sha256(b"\1" + mth(data[:middle]) + mth(data[middle:])).digest()


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_the_known_roots(size: int):
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    assert root_over(hashes).hex() == ROOTS[size]


def test_the_proofs_of_the_seven_leaves_of_the_rfc():
    # RFC 6962, section 2.1.3, names the nodes of the tree over seven leaves.
    a, b, c, d, e, f, j = (leaf_hash(leaf) for leaf in LEAVES[:7])
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, last = node_hash(g, h), node_hash(i, j)
    subtree = over([a, b, c, d, e, f, j])
    assert inclusion_path(0, 7, subtree) == [b, h, last]
    assert inclusion_path(3, 7, subtree) == [c, g, last]
    assert inclusion_path(4, 7, subtree) == [f, j, k]
    assert inclusion_path(6, 7, subtree) == [i, k]
    assert consistency_path(3, 7, subtree) == [c, d, g, last]
    assert consistency_path(4, 7, subtree) == [last]
    assert consistency_path(6, 7, subtree) == [i, j, k]


@given(leaves)
@settings(max_examples=60, deadline=None)
def test_the_root_is_the_definition(data: list[bytes]):
    assert root_over(map(leaf_hash, data)) == mth(data)


@given(leaves, st.data())
@settings(max_examples=150, deadline=None)
def test_every_leaf_is_proven_and_nothing_else(data: list[bytes], draw: st.DataObject):
    hashes = [leaf_hash(leaf) for leaf in data]
    size, root = len(data), mth(data)
    index = draw.draw(st.integers(0, size - 1))
    path = inclusion_path(index, size, over(hashes))
    assert root_by_path(hashes[index], index, size, path) == root
    assert root_by_path(leaf_hash(data[index] + b"x"), index, size, path) != root
    other = draw.draw(st.integers(0, size - 1))
    if hashes[other] != hashes[index]:
        assert not proves(hashes[index], other, size, path, root)
    if path:
        where = draw.draw(st.integers(0, len(path) - 1))
        flipped = [*path]
        flipped[where] = bytes([flipped[where][0] ^ 1]) + flipped[where][1:]
        assert not proves(hashes[index], index, size, flipped, root)
        assert not proves(hashes[index], index, size, path[:-1], root)
    assert not proves(hashes[index], index, size, [*path, EMPTY_ROOT], root)


@pytest.mark.parametrize("natively", [False, pytest.param(True, marks=needs_instructions)])
@given(data=st.lists(st.binary(max_size=300), max_size=70), draw=st.data())
@settings(max_examples=80, deadline=None)
def test_many_records_are_hashed_as_few(natively: bool, data: list[bytes], draw: st.DataObject):
    records = Records(data, natively)
    assert (records.count, records.root()) == (len(data), mth(data))
    if data:
        index = draw.draw(st.integers(0, len(data) - 1))
        assert root_by_path(leaf_hash(data[index]), index, len(data), records.path(index)) == mth(data)


@needs_instructions
def test_the_native_hash_at_every_length():
    data = bytes(range(256)) * 2
    for size in range(len(data)):
        assert native.leaf_hashes([data[:size]]) == leaf_hash(data[:size])
    with pytest.raises(TypeError, match="expected bytes, got str"):
        native.leaf_hashes(["x"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="expected hashes of 32 bytes, got 33"):
        native.root(bytes(33))


def proves(hashed: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    try:
        return root_by_path(hashed, index, size, path) == root
    except VerificationError:
        return False


@given(leaves, st.data())
@settings(max_examples=150, deadline=None)
def test_a_tree_begins_with_its_own_beginnings_and_with_no_other(data: list[bytes], draw: st.DataObject):
    hashes = [leaf_hash(leaf) for leaf in data]
    new = len(data)
    old = draw.draw(st.integers(0, new))
    path = consistency_path(old, new, over(hashes))
    old_root, new_root = mth(data[:old]), mth(data)
    check_consistency((old, old_root), (new, new_root), path)
    if old:
        other = mth([*data[: old - 1], data[old - 1] + b"x"])
        with pytest.raises(VerificationError):
            check_consistency((old, other), (new, new_root), path)
    if path:
        with pytest.raises(VerificationError):
            check_consistency((old, old_root), (new, new_root), path[:-1])
    with pytest.raises(VerificationError):
        check_consistency((old, old_root), (new, new_root), [*path, EMPTY_ROOT])
