# The calls of one connection, as far as they go the usual way.

cdef enum:
    # `rpc.states.ServerState`
    RECEIVING = 0
    RECEIVED = 1
    CLOSED = 5
    PREFIX_BYTES = 5
    # Bodies up to here are copied behind their prefix: one piece less for the library to hold.
    COPIED_BYTES = 16 << 10
    # An answer up to here may wait where no other does for its connection, however much waits for others.
    FREE_ANSWER_BYTES = 16 << 10
    # A connection with fewer open calls may always begin one, however many all have.
    FREE_CALLS = 16
    # As HTTP/2 counts a call's headers; what a good caller sends is less, and is not worth counting.
    FREE_HEAD_BYTES = 2 << 10

cdef object REQUEST = Happening.REQUEST
cdef list HEAD = [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-accept-encoding", ACCEPTED)]
cdef tuple OK_FIELD = (b"grpc-status", b"0")
cdef object DATA_RECEIVED = DataReceived
cdef object REQUEST_RECEIVED = RequestReceived
cdef object STREAM_CLOSED = StreamClosed


cdef bytes _framed(bytes body):
    """`body` behind its prefix."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef bytes framed = PyBytes_FromStringAndSize(NULL, size + PREFIX_BYTES)
    cdef uint8_t* target = <uint8_t*>PyBytes_AS_STRING(framed)
    target[0] = 0
    target[1] = (size >> 24) & 0xFF
    target[2] = (size >> 16) & 0xFF
    target[3] = (size >> 8) & 0xFF
    target[4] = size & 0xFF
    memcpy(target + PREFIX_BYTES, PyBytes_AS_STRING(body), size)
    return framed


cdef Py_ssize_t _whole(bytes data) noexcept:
    """The length of the one plain message that `data` is; -1 where it is not one."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data) - PREFIX_BYTES
    cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t told
    if size < 0 or text[0] != 0:
        return -1
    told = (<Py_ssize_t>text[1] << 24) | (<Py_ssize_t>text[2] << 16) | (<Py_ssize_t>text[3] << 8) | text[4]
    return size if told == size else -1


cdef class Traffic:
    cdef readonly dict calls
    cdef readonly Ledger ledger
    cdef readonly Ledger total
    cdef readonly Frames frames
    cdef public int epoch
    cdef public int64_t now_ns
    cdef public Py_ssize_t seen
    cdef readonly int last_stream_id
    cdef object _others
    cdef dict _methods
    cdef object _send_response
    cdef object _send_data
    cdef object _send_trailers
    cdef Py_ssize_t _max_message_bytes
    cdef Py_ssize_t _max_header_bytes
    cdef Py_ssize_t _send_bytes
    cdef Py_ssize_t _total_send_bytes
    cdef Py_ssize_t _max_calls

    def __init__(self, h2, others, dict methods, limits, totals, Ledger total):
        self.calls = {}
        self.ledger = Ledger(total)
        self.total = total
        self.frames = Frames()
        self._others = others
        self._methods = methods
        self._send_response = h2.send_response
        self._send_data = h2.send_data
        self._send_trailers = h2.send_trailers
        self._max_message_bytes = limits.max_message_bytes
        self._max_header_bytes = limits.max_header_bytes
        self._send_bytes = limits.send_bytes
        self._total_send_bytes = totals.send_bytes
        self._max_calls = totals.max_calls

    def take(self, list events, list found):
        cdef object event, kind
        cdef PyObject* known
        cdef ServerCall call
        for event in events:
            kind = type(event)
            if kind is DATA_RECEIVED:
                known = PyDict_GetItem(self.calls, event.stream_id)
                if known != NULL:
                    self._data(<ServerCall>known, event.data, event.end_stream, found)
            elif kind is REQUEST_RECEIVED:
                self._request(event, found)
            elif kind is STREAM_CLOSED:
                known = PyDict_GetItem(self.calls, event.stream_id)
                if known != NULL:
                    self._others.stream_closed(<ServerCall>known, found)
            else:
                self._others.other_event(event, found)

    def answer(self, ServerCall call not None, bytes body not None, list trailing not None):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
        cdef object stream_id
        if (
            call.state != RECEIVED or call.streams_requests or size > COPIED_BYTES or call.head_bytes
            or not self._has_room(size)
        ):
            return self._others.answer_otherwise(call, body, trailing)
        stream_id = call.stream_id
        try:
            self._send_response(stream_id, HEAD)
            self._send_data(stream_id, _framed(body))
            self._send_trailers(stream_id, [OK_FIELD, *trailing])
            self.ledger.wait(size)
        except NGH2Error:
            # What the peer sent last has closed it, or the session; the library tells of it later.
            pass
        call.state = CLOSED
        # It knows the call too: nobody but the collector would ever find the two.
        call.owner = None
        self.ledger.work(-call.held)
        call.held = 0
        PyDict_DelItem(self.calls, stream_id)
        self.ledger.open(-1)
        return None

    cdef bint _has_room(self, Py_ssize_t size):
        cdef Py_ssize_t waiting = self.ledger.outgoing
        cdef Py_ssize_t of_all = self.total.outgoing
        if waiting and waiting + size > self._send_bytes:
            return False
        return (
            of_all + size <= self._total_send_bytes or not of_all or (not waiting and size <= FREE_ANSWER_BYTES)
        )

    def has_room(self, Py_ssize_t size):
        return self._has_room(size)

    cdef int _request(self, object event, list found) except -1:
        cdef object stream_id = event.stream_id
        cdef tuple fields = event.headers
        cdef Head head
        cdef PyObject* method = NULL
        cdef Py_ssize_t head_bytes = 0
        cdef ServerCall call
        self.last_stream_id = stream_id
        self.seen += 1
        if _scan(fields, self._max_header_bytes, &head):
            method = PyDict_GetItem(self._methods, <object>head.path)
        if method == NULL:
            self._others.refuse(stream_id, fields, event.end_stream)
            return 0
        if self.total.calls >= self._max_calls and len(self.calls) >= FREE_CALLS:
            self._others.too_many(stream_id, event.end_stream)
            return 0
        if head.size > FREE_HEAD_BYTES:
            head_bytes = self._others.large_head(stream_id, fields, event.end_stream)
            if not head_bytes:
                return 0
        call = ServerCall.__new__(ServerCall)
        call.stream_id = stream_id
        call.method = <object>method
        call.streams_requests = call.method.streams_requests
        call.timeout_ns = head.timeout_ns
        call.deadline_ns = 0 if head.timeout_ns < 0 else self.now_ns + head.timeout_ns
        call.encoding = IDENTITY if head.encoding == NULL else <bytes>head.encoding
        call.accepts = NOTHING if head.accepts == NULL else <bytes>head.accepts
        call.traceparent = NOTHING if head.traceparent == NULL else <bytes>head.traceparent
        call._fields = fields
        call.head_bytes = head_bytes
        call.touched = call.since = self.epoch
        PyDict_SetItem(self.calls, stream_id, call)
        self.ledger.open(1)
        if call.streams_requests or event.end_stream:
            self._others.call_began(call, event.end_stream, found)
        return 0

    cdef int _data(self, ServerCall call, bytes data, bint ended, list found) except -1:
        cdef Py_ssize_t size
        cdef bytes body
        call.touched = self.epoch
        if not ended or call.state != RECEIVING or call.streams_requests or call.unframer is not None:
            self._others.data_received(call, data, ended, found)
            return 0
        size = _whole(data)
        if size < 0 or size > self._max_message_bytes:
            self._others.data_received(call, data, ended, found)
            return 0
        body = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + PREFIX_BYTES, size)
        call.state = RECEIVED
        call.held = size
        self.ledger.work(size)
        PyList_Append(found, (REQUEST, call, body, False))
        return 0
