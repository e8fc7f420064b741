"""Open Inference Protocol messages, straight between bytes and tensors; `wire.plain` is the twin."""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer, PyBUF_SIMPLE
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_FromDouble
from cpython.list cimport PyList_Append, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.memoryview cimport PyMemoryView_GET_BUFFER
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport INT64_MAX, UINT32_MAX, int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcmp, memcpy

cdef extern from "Python.h":
    PyObject* PyUnicode_DecodeUTF8(const char* data, Py_ssize_t size, const char* errors)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    void* PyUnicode_DATA(PyObject* text)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject* text)
    bint PyUnicode_IS_COMPACT_ASCII(PyObject* text)
    bint PyErr_ExceptionMatches(object kind)
    void PyErr_Clear()

# Parsing gives one of these; anything that raises gives RAISED, and no error is set with the others.
cdef enum:
    OK = 0
    MALFORMED = -1
    RAISED = -2

include "wire_protobuf.pxi"
include "wire_names.pxi"
include "wire_messages.pxi"
include "wire_contents.pxi"
include "wire_parse.pxi"
include "wire_validate.pxi"
include "wire_answer.pxi"
include "wire_signature.pxi"
include "wire_general.pxi"
include "wire_encode.pxi"


def decode_request(bytes body not None):
    """Decode a serialized ModelInferRequest; the tensors are views into `body` wherever its form allows it.

    Raises InvalidRequest for bytes that are no such message and for whatever breaks a rule of the protocol,
    and Unsupported for tensors in shared memory.
    """
    cdef InferRequest request = InferRequest.__new__(InferRequest)
    cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(body)
    cdef Parse parse
    begin(request, &parse, MAX_DEPTH)
    request.body = body
    request.body_bytes = PyBytes_GET_SIZE(body)
    request.held_bytes = request.body_bytes
    if parse_message(request, body, start, start + request.body_bytes, &parse) == MALFORMED:
        raise refusals().malformed(request.body_bytes)
    validate(request, body, &parse)
    return request
