# Calls as the engine keeps them, and those of the http2 front that go the usual way.

cdef object REQUEST = Happening.REQUEST


cdef class EngineCall:
    cdef public int64_t deadline_ns
    cdef public bint cancelled
    cdef public object place
    cdef public object arm
    cdef public str decision_id

    def __cinit__(self, *args, **kwargs):
        self.decision_id = ""

    @property
    def traceparent(self):
        return b""


cdef class UnaryCall(EngineCall):
    cdef readonly object connection
    cdef readonly object rpc
    cdef object _answer

    def __init__(self, connection not None, rpc not None, answer=None):
        self.connection = connection
        self.rpc = rpc
        self.deadline_ns = rpc.deadline_ns
        self._answer = answer

    @property
    def peer(self):
        return self.connection.peer

    @property
    def traceparent(self):
        return self.rpc.traceparent

    def metadata(self):
        # Only a canary reads it, and one that starts must not refuse what was answered before.
        try:
            return self.rpc.metadata()
        except ValueError:
            return ()

    def answer(self, bytes body not None, str decision_id not None, tuple trailing not None):
        connection = self.connection
        return connection.answer(self.rpc, body, connection.front.trailing.fields(decision_id, trailing))

    def fail(self, error, str decision_id not None, tuple trailing not None):
        connection = self.connection
        try:
            connection.fail(self.rpc, error, connection.front.trailing.fields(decision_id, trailing))
        except Exception as fault:
            # Nothing else would end the call.
            connection.fault(fault)

    def gone(self):
        self.connection.gone(self)


def begin(list events not None, connection, answer, method, int64_t now_ns, list others not None):
    """Arrivals of the events that are plain requests of `method`, as the inbox takes them, and the bytes of their
    bodies in all; other events are put into `others`."""
    cdef list arrivals = []
    cdef Py_ssize_t size = 0
    cdef tuple event
    cdef UnaryCall call
    cdef bytes body
    for event in events:
        rpc = event[1]
        if event[0] is REQUEST and rpc.method is method and not event[3]:
            body = event[2]
            call = UnaryCall.__new__(UnaryCall)
            call.connection = connection
            call.rpc = rpc
            call.deadline_ns = rpc.deadline_ns
            call._answer = answer
            rpc.owner = call
            size += PyBytes_GET_SIZE(body)
            arrivals.append((call, body, now_ns))
        else:
            others.append(event)
    return arrivals, size
