# Calls, and the bytes that they hold.

cdef class Ledger:
    cdef readonly Ledger whole
    cdef readonly Py_ssize_t incoming
    cdef readonly Py_ssize_t working
    cdef readonly Py_ssize_t outgoing
    cdef readonly Py_ssize_t calls

    def __init__(self, Ledger whole=None):
        self.whole = whole

    @property
    def received(self):
        return self.incoming + self.working

    cpdef arrive(self, Py_ssize_t count):
        self.incoming += count
        if self.whole is not None:
            self.whole.incoming += count

    cpdef work(self, Py_ssize_t count):
        self.working += count
        if self.whole is not None:
            self.whole.working += count

    cpdef wait(self, Py_ssize_t count):
        self.outgoing += count
        if self.whole is not None:
            self.whole.outgoing += count

    cpdef open(self, Py_ssize_t count):
        self.calls += count
        if self.whole is not None:
            self.whole.calls += count


cdef bytes IDENTITY = b"identity"
cdef bytes NOTHING = b""


cdef class ServerCall:
    cdef readonly int stream_id
    cdef readonly object method
    cdef readonly bint streams_requests
    cdef readonly int64_t timeout_ns
    cdef readonly int64_t deadline_ns
    cdef readonly bytes encoding
    cdef readonly bytes accepts
    cdef readonly bytes traceparent
    cdef tuple _fields
    cdef public int state
    cdef public object body
    cdef public bint awaits_end
    cdef public bint compressed
    cdef public object unframer
    cdef public Py_ssize_t held
    cdef public Py_ssize_t head_bytes
    cdef public bint paused
    cdef public int touched
    cdef public int since
    cdef public object owner

    def metadata(self):
        return decode_metadata(self._fields)
