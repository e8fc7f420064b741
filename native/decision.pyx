"""Decision ids: UUIDv7 strings (RFC 9562, section 5.7) that only rise within a process.

The 12 bits of `rand_a` count within a millisecond, from a random start below 2048 (section 6.2, method 1);
where they run out, or the clock went back, the id is ahead of the clock. The 62 bits of `rand_b` come
from xoshiro256++ (Blackman and Vigna, 2018): unique, not secret. Any thread may call: the GIL is kept.
"""

cimport cython
from cpython.unicode cimport PyUnicode_1BYTE_DATA
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

import os


cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)


cdef enum:
    SEED_BYTES = 32
    # One call's ids are one list; the bound keeps a wrong count from taking the memory.
    MAX_IDS = 1 << 20
    COUNTER_START_MASK = 0x7FF
    COUNTER_END = 0x1000

cdef int64_t TIME_END = <int64_t>1 << 48

cdef char[512] HEX
cdef int _byte
for _byte in range(256):
    HEX[2 * _byte] = ord("0123456789abcdef"[_byte >> 4])
    HEX[2 * _byte + 1] = ord("0123456789abcdef"[_byte & 15])


cdef inline uint64_t _rotate(uint64_t x, int k) noexcept nogil:
    return (x << k) | (x >> (64 - k))


cdef inline void _hex(uint8_t *text, uint64_t value, int nbytes) noexcept nogil:
    cdef int i
    for i in range(nbytes):
        memcpy(text + 2 * i, &HEX[2 * ((value >> (8 * (nbytes - 1 - i))) & 0xFF)], 2)


@cython.final
cdef class IdSource:
    """Ids from one 32-byte seed: the same seed and the same calls give the same ids."""

    cdef uint64_t[4] _state
    cdef int64_t _last_ms
    cdef unsigned _counter

    def __cinit__(self, bytes seed):
        self._last_ms = -1
        self._seed(seed)

    cdef _seed(self, bytes seed):
        if len(seed) != SEED_BYTES or not any(seed):
            raise ValueError(f"a seed is {SEED_BYTES} bytes, not all zero; got {len(seed)} bytes")
        cdef int i
        for i in range(4):
            self._state[i] = int.from_bytes(seed[8 * i:8 * i + 8], "little")

    cdef uint64_t _next(self) noexcept nogil:
        cdef uint64_t *s = self._state
        cdef uint64_t result = _rotate(s[0] + s[3], 23) + s[0]
        cdef uint64_t t = s[1] << 17
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = _rotate(s[3], 45)
        return result

    def reseed(self, bytes seed):
        """Goes on from another seed; the ids go on rising."""
        self._seed(seed)

    def new_ids(self, Py_ssize_t n, int64_t unix_ms):
        """`n` new ids, each greater than all before; raises ValueError as the module's `new_ids` does."""
        if n < 0 or n > MAX_IDS:
            raise ValueError(f"ids are made 0..{MAX_IDS} at a time, got {n}")
        if unix_ms < 0 or unix_ms >= TIME_END:
            raise ValueError(f"a time in an id is 0..{TIME_END - 1} ms, got {unix_ms}")
        return [self._new_id(unix_ms) for _ in range(n)]

    cdef _new_id(self, int64_t unix_ms):
        cdef uint64_t random = self._next()
        cdef uint8_t *text
        if unix_ms > self._last_ms:
            self._last_ms = unix_ms
            self._counter = (random >> 53) & COUNTER_START_MASK
            random = self._next()
        else:
            self._counter += 1
            if self._counter >= COUNTER_END:
                if self._last_ms + 1 >= TIME_END:
                    raise OverflowError("the 48 bits of an id's time are used up")
                self._last_ms += 1
                self._counter = (random >> 53) & COUNTER_START_MASK
                random = self._next()
        value = PyUnicode_New(36, 127)
        text = <uint8_t *>PyUnicode_1BYTE_DATA(value)
        random = (random >> 2) | (<uint64_t>1 << 63)
        _hex(text, <uint64_t>self._last_ms >> 16, 4)
        text[8] = c"-"
        _hex(text + 9, <uint64_t>self._last_ms & 0xFFFF, 2)
        text[13] = c"-"
        _hex(text + 14, 0x7000 | self._counter, 2)
        text[18] = c"-"
        _hex(text + 19, random >> 48, 2)
        text[23] = c"-"
        _hex(text + 24, random, 6)
        return value


cdef IdSource _source = IdSource(os.urandom(SEED_BYTES))


def _reseed():
    _source.reseed(os.urandom(SEED_BYTES))


# A forked child would otherwise give the ids that its parent is about to give.
os.register_at_fork(after_in_child=_reseed)


def new_ids(Py_ssize_t n, int64_t unix_ms):
    """`n` new decision ids of this process for requests of this millisecond, each greater than all before."""
    return _source.new_ids(n, unix_ms)
