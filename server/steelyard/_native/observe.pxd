# What other extensions know of this one's classes.

from libc.stdint cimport int64_t


cdef class Ticket:
    cdef public object call
    cdef public object request
    cdef public object key
    cdef public int64_t rows
    cdef public int64_t received_ns
    cdef public int64_t decode_ns
    cdef public int64_t deadline_ns
    cdef public int64_t size_bytes
    cdef public int64_t priority
    cdef public int64_t length
    cdef public int state
