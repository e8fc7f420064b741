"""Batches: how large they are best, and the rows of many requests, copied once into one contiguous buffer."""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from array import array

include "batch_plan.pxi"

# Below this size a copy is cheaper than giving up and taking back the GIL (about 0.2 µs uncontended, but up to a
# switch interval when another thread wants it). At about 10 GB/s, 256 KiB are 25 µs.
cdef Py_ssize_t RELEASE_GIL_ABOVE_BYTES = 256 * 1024


cdef Py_ssize_t copy_into(char* target, Py_ssize_t remaining, object source) except -1:
    """Copies `source` to `target`; returns the bytes copied, raises ValueError where they are more than `remaining`."""
    cdef Py_buffer view
    cdef Py_ssize_t size
    if not PyObject_CheckBuffer(source):
        source = source.data
    PyObject_GetBuffer(source, &view, PyBUF_SIMPLE)
    size = view.len
    if size > remaining:
        PyBuffer_Release(&view)
        raise ValueError(f"the batch has room for {remaining} bytes more, a tensor has {size}")
    if size > RELEASE_GIL_ABOVE_BYTES:
        with nogil:
            memcpy(target, view.buf, size)
    elif size:
        memcpy(target, view.buf, size)
    PyBuffer_Release(&view)
    return size


def gather(target not None, list requests not None, Py_ssize_t index, Py_ssize_t expected_bytes):
    """Copies input `index` of every request, in order, to the front of `target`.

    target: a writable C-contiguous buffer of at least `expected_bytes` bytes.
    requests: objects whose `inputs[index]` gives its bytes by the buffer protocol, or has them as `data`.
    Raises ValueError where the bytes are not exactly `expected_bytes` (then `target` holds what came so far).
    """
    cdef Py_buffer view
    cdef Py_ssize_t offset = 0
    PyObject_GetBuffer(target, &view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
    try:
        if expected_bytes > view.len:
            raise ValueError(f"a batch of {expected_bytes} bytes does not fit a buffer of {view.len}")
        for request in requests:
            offset += copy_into(<char*> view.buf + offset, expected_bytes - offset, request.inputs[index])
    finally:
        PyBuffer_Release(&view)
    if offset != expected_bytes:
        raise ValueError(f"the batch expects {expected_bytes} bytes, its requests hold {offset}")
