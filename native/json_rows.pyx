"""Flat JSON objects, one a row, straight into columns, without the GIL.

What a row breaks is reported, and its cells are then missing; a row that is no JSON object at all breaks one
rule and nothing else. Strings are copied, unescaped, into one arena that is as large as the rows: no text is
longer than its escaped form.
"""

cimport cython
from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport floor, isinf
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset


cdef extern from "vocabulary.h" nogil:
    ctypedef struct vocabulary:
        int64_t count
        int64_t* values
    int vocabulary_reserve(vocabulary* table, int64_t capacity, int64_t key_bytes)
    void vocabulary_clear(vocabulary* table)
    int vocabulary_add(vocabulary* table, const uint8_t* key, int64_t size, int64_t value)
    int64_t vocabulary_find(const vocabulary* table, const uint8_t* key, int64_t size)
    int64_t vocabulary_size(const vocabulary* table, int64_t entry)
    int vocabulary_is(const vocabulary* table, int64_t entry, const uint8_t* key, int64_t size)


cdef extern from *:
    """
    #include <locale.h>
    #include <stdlib.h>
    static locale_t c_numbers;
    static int open_c_numbers(void) { return (c_numbers = newlocale(LC_ALL_MASK, "C", (locale_t)0)) ? 0 : -1; }
    static double read_double(const char *text) { return strtod_l(text, NULL, c_numbers); }
    """
    int open_c_numbers()
    double read_double(const char* text) nogil


if open_c_numbers() < 0:
    raise MemoryError


include "utf8.pxi"
include "dates.pxi"
include "json_rows_text.pxi"
include "json_rows_numbers.pxi"
include "json_rows_values.pxi"
include "json_rows_cells.pxi"
include "json_rows_reader.pxi"
