"""The request path as far as requests go the usual way, many of them at a time; `serving.plain` is the twin.

What is out of the ordinary is left to others.
"""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from steelyard._native.observe cimport Ticket
from steelyard._native.wire cimport InferRequest

from ngh2.types import NeverIndexedHeader
from steelyard._native.wire import decode_request
from steelyard.rpc.happening import Happening

include "path_calls.pxi"
include "path_intake.pxi"
include "path_answers.pxi"
