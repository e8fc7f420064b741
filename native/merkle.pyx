"""RFC 6962 trees over many records: a sealed segment has some hundred thousand.

`steelyard.evidence.verifier` is the plain twin: `leaf_hash`, and `Tree`. Where `AVAILABLE` is false the processor lacks
the instructions that this needs, and nothing here may be called.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

import hashlib

cdef extern from "sha256.h":
    bint sha256_is_native() noexcept nogil
    void sha256_prefixed(uint8_t prefix, const uint8_t *data, size_t size, uint8_t *out) noexcept nogil
    int SHA256_SIZE

AVAILABLE = sha256_is_native()


cdef _check_available():
    if not AVAILABLE:
        raise RuntimeError("expected a processor with instructions for SHA-256")


def leaf_hashes(records):
    """The leaf hashes of records, bytes each, one behind the other. Raises TypeError for what is no bytes."""
    _check_available()
    cdef list held = list(records)
    cdef bytes hashes = PyBytes_FromStringAndSize(NULL, len(held) * SHA256_SIZE)
    cdef uint8_t *out = <uint8_t *>PyBytes_AS_STRING(hashes)
    for record in held:
        if not isinstance(record, bytes):
            raise TypeError(f"expected bytes, got {type(record).__name__}")
        sha256_prefixed(0, <const uint8_t *>PyBytes_AS_STRING(record), <size_t>PyBytes_GET_SIZE(record), out)
        out += SHA256_SIZE
    return hashes


def root(bytes hashes not None):
    """The Merkle tree hash over leaf hashes that stand one behind the other. Raises ValueError for half a hash."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(hashes)
    cdef const uint8_t *leaf = <const uint8_t *>PyBytes_AS_STRING(hashes)
    # Complete subtrees at the right edge, the largest first, at most 64: joined where two are of one size.
    cdef uint8_t edge[64 * 32]
    cdef Py_ssize_t depth = 0, number, ones
    _check_available()
    if size % SHA256_SIZE:
        raise ValueError(f"expected hashes of {SHA256_SIZE} bytes, got {size} bytes")
    if size == 0:
        return hashlib.sha256().digest()
    with nogil:
        for number in range(size // SHA256_SIZE):
            memcpy(edge + depth * SHA256_SIZE, leaf, SHA256_SIZE)
            leaf += SHA256_SIZE
            depth += 1
            ones = number
            while ones & 1:
                depth -= 1
                _join(edge + (depth - 1) * SHA256_SIZE)
                ones >>= 1
        while depth > 1:
            depth -= 1
            _join(edge + (depth - 1) * SHA256_SIZE)
    return edge[:32]


cdef void _join(uint8_t *pair) noexcept nogil:
    sha256_prefixed(1, pair, 2 * SHA256_SIZE, pair)
