# The head of a request: its header fields held against what gRPC over HTTP/2 asks.

cdef enum:
    # HTTP/2 counts each field so much over its name and value.
    FIELD_OVERHEAD = 32
    MAX_TIMEOUT_DIGITS = 8
    # `rpc.timeouts`: more is as good as none, and a deadline in nanoseconds has to fit.
    MAX_TIMEOUT_S = 2_000_000_000


cdef struct Head:
    PyObject* path
    PyObject* encoding
    PyObject* accepts
    PyObject* traceparent
    int64_t timeout_ns
    Py_ssize_t size


cdef inline bint _is(bytes value, const char* text, Py_ssize_t size) noexcept:
    return PyBytes_GET_SIZE(value) == size and memcmp(PyBytes_AS_STRING(value), text, size) == 0


cdef inline bint _begins(bytes value, const char* text, Py_ssize_t size) noexcept:
    return PyBytes_GET_SIZE(value) >= size and memcmp(PyBytes_AS_STRING(value), text, size) == 0


cdef inline int64_t _seconds_ns(int64_t count) noexcept:
    return min(count, <int64_t>MAX_TIMEOUT_S) * 1_000_000_000


cdef int64_t _timeout_ns(bytes value) noexcept:
    """Nanoseconds of a grpc-timeout; -1 where it is none."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(value)
    cdef int64_t count = 0
    cdef Py_ssize_t place
    if size < 2 or size - 1 > MAX_TIMEOUT_DIGITS:
        return -1
    for place in range(size - 1):
        if text[place] < c"0" or text[place] > c"9":
            return -1
        count = count * 10 + (text[place] - c"0")
    if text[size - 1] == c"n":
        return count
    if text[size - 1] == c"u":
        return count * 1_000
    if text[size - 1] == c"m":
        return count * 1_000_000
    if text[size - 1] == c"S":
        return _seconds_ns(count)
    if text[size - 1] == c"M":
        return _seconds_ns(count * 60)
    if text[size - 1] == c"H":
        return _seconds_ns(count * 3_600)
    return -1


cdef bint _scan(tuple fields, Py_ssize_t max_bytes, Head* head) except -1:
    """Fills `head` with references borrowed from `fields`; False where something is not as it should be."""
    cdef bint posted = False, typed = False, trailers = False
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t count = len(fields)
    cdef Py_ssize_t place
    cdef tuple field
    cdef bytes name, value
    head.path = head.encoding = head.accepts = head.traceparent = NULL
    head.timeout_ns = -1
    head.size = 0
    for place in range(count):
        field = <tuple>fields[place]
        name = <bytes>field[0]
        value = <bytes>field[1]
        size += PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + FIELD_OVERHEAD
        if PyBytes_AS_STRING(name)[0] == c":":
            if _is(name, b":path", 5):
                head.path = <PyObject*>value
            elif _is(name, b":method", 7):
                posted = _is(value, b"POST", 4)
        elif PyBytes_AS_STRING(name)[0] == c"t":
            if _is(name, b"te", 2):
                trailers = _is(value, b"trailers", 8)
            elif _is(name, b"traceparent", 11):
                head.traceparent = <PyObject*>value
        elif PyBytes_AS_STRING(name)[0] == c"c":
            if _is(name, b"content-type", 12):
                typed = _is(value, b"application/grpc", 16) or _begins(value, b"application/grpc+", 17) or (
                    _begins(value, b"application/grpc;", 17)
                )
        elif PyBytes_AS_STRING(name)[0] == c"g":
            if _is(name, b"grpc-timeout", 12):
                head.timeout_ns = _timeout_ns(value)
                if head.timeout_ns < 0:
                    return False
            elif _is(name, b"grpc-encoding", 13):
                if not (_is(value, b"identity", 8) or _is(value, b"gzip", 4) or _is(value, b"deflate", 7)):
                    return False
                head.encoding = <PyObject*>value
            elif _is(name, b"grpc-accept-encoding", 20):
                head.accepts = <PyObject*>value
    head.size = size
    return posted and typed and trailers and head.path != NULL and size <= max_bytes
