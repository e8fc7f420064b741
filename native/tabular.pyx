"""Features of tabular rows: a compiled list of operations over columns, a block of rows at a time, without the GIL.

Each chain starts from one column and ends in one or more columns of the output. Its operations work in place on
a block of rows that stays in the first-level cache. In the state NUMBER a missing value is NaN, and nothing else
says so; in the states INTEGER and TEXT a mask says so.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.math cimport INFINITY, NAN, isinf, isnan, log, log1p
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

cdef extern from "vocabulary.h" nogil:
    ctypedef struct vocabulary:
        int64_t count
        int64_t* values
    unsigned long long xx_hash(const uint8_t* p, int64_t size, unsigned long long seed)
    int vocabulary_reserve(vocabulary* table, int64_t capacity, int64_t key_bytes)
    void vocabulary_clear(vocabulary* table)
    int vocabulary_add(vocabulary* table, const uint8_t* key, int64_t size, int64_t value)
    int64_t vocabulary_find(const vocabulary* table, const uint8_t* key, int64_t size)


include "utf8.pxi"
include "dates.pxi"
include "tabular_block.pxi"
include "tabular_operations.pxi"
include "tabular_store.pxi"
include "tabular_program.pxi"
include "tabular_texts.pxi"
include "tabular_numbers.pxi"
include "tabular_checks.pxi"
