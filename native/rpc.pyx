"""The calls of a connection that go the usual way, from the library's events and back; `rpc.plain` is the twin.

What is out of the ordinary is left to others.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_DelItem, PyDict_GetItem, PyDict_SetItem
from cpython.list cimport PyList_Append
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp, memcpy

from ngh2.events import DataReceived, RequestReceived, StreamClosed
from ngh2.exceptions import NGH2Error
from steelyard.rpc.compression import ACCEPTED
from steelyard.rpc.framing import bad_flag, too_large
from steelyard.rpc.happening import Happening
from steelyard.rpc.metadata import decode_metadata

include "rpc_head.pxi"
include "rpc_frames.pxi"
include "rpc_calls.pxi"
include "rpc_traffic.pxi"
include "rpc_unframing.pxi"
