# From arrivals to the queue.

cdef enum:
    # `scheduling.ticket.PRIORITY_DEFAULT`
    PRIORITY_DEFAULT = 8

# `serving.admission.NO_DEADLINE_NS`
cdef int64_t NO_DEADLINE_NS = <int64_t>1 << 62


cdef class Intake:
    cdef object _others
    cdef dict _routes
    cdef object _suspects
    cdef object _now_ns
    # What the requests before this one were of, and wait for others of the same to be queued with.
    cdef object _version
    cdef object _bind
    cdef int64_t _default_timeout_ns
    cdef object _key
    cdef list _tickets
    cdef int64_t _rows
    cdef int64_t _due_ns

    def __init__(self, others, dict routes not None, suspects not None, now_ns):
        self._others = others
        self._routes = routes
        self._suspects = suspects
        self._now_ns = now_ns
        self._tickets = []
        self._due_ns = NO_DEADLINE_NS

    def take(self, list arrivals not None):
        cdef tuple arrival
        cdef int64_t started_ns = self._now_ns()
        # Something may have changed since the last time.
        self._version = None
        for arrival in arrivals:
            started_ns = self._take(arrival[0], arrival[1], arrival[2], started_ns)
        last = None
        if self._tickets:
            last = self._version, self._tickets, self._rows, self._key, self._due_ns
            self._tickets = []
            self._rows = 0
            self._due_ns = NO_DEADLINE_NS
        # A version that is unloaded must not live on here.
        self._version = self._bind = None
        return last

    cdef int64_t _take(self, object call, bytes body, int64_t received_ns, int64_t started_ns) except -1:
        cdef InferRequest request = None
        cdef Ticket ticket = None
        try:
            request = decode_request(body)
            ticket = self._ticket(call, request, received_ns, started_ns)
        except Exception:
            # Which it is, and whose fault, is found out where every case is looked at.
            pass
        if ticket is None:
            self._queue()
            self._version = None
            self._others.admit(call, body, received_ns, request)
            return self._now_ns()
        self._tickets.append(ticket)
        self._rows += ticket.rows
        if ticket.deadline_ns and ticket.deadline_ns < self._due_ns:
            self._due_ns = ticket.deadline_ns
        return started_ns + ticket.decode_ns

    cdef Ticket _ticket(self, object call, InferRequest request, int64_t received_ns, int64_t started_ns):
        """The request's place where it is one of the usual; else None."""
        cdef EngineCall own
        cdef Ticket ticket
        cdef tuple bound, key
        cdef int64_t rows, deadline_ns, decoded_ns
        if not isinstance(call, EngineCall) or request.given_parameters or request.asked_outputs:
            return None
        own = <EngineCall>call
        if own.cancelled or not self._is_of_version(request):
            return None
        bound = self._bind(request)
        if bound is None:
            return None
        rows = bound[0]
        key = bound[1]
        if not rows or (key and 0 in key):
            return None
        deadline_ns = own.deadline_ns
        if not deadline_ns and self._default_timeout_ns:
            deadline_ns = received_ns + self._default_timeout_ns
        if deadline_ns >= NO_DEADLINE_NS:
            deadline_ns = 0
        decoded_ns = self._now_ns()
        if deadline_ns and deadline_ns <= decoded_ns:
            return None
        if key != self._key:
            self._queue()
            self._key = key
        ticket = Ticket.__new__(Ticket)
        ticket.call = call
        ticket.request = request
        ticket.rows = rows
        ticket.key = key
        ticket.received_ns = received_ns
        ticket.decode_ns = decoded_ns - started_ns
        ticket.deadline_ns = deadline_ns
        ticket.priority = PRIORITY_DEFAULT
        ticket.size_bytes = request.held_bytes
        return ticket

    cdef bint _is_of_version(self, InferRequest request) except -1:
        """Whether the request is for a version whose requests all go the usual way, which is `_version` then."""
        cdef PyObject* routes = PyDict_GetItem(self._routes, request.model_name)
        cdef PyObject* found
        if routes == NULL:
            return False
        found = PyDict_GetItem(<dict>routes, request.model_version)
        if found == NULL:
            return False
        version = <object>found
        if version is self._version:
            return True
        if (
            version.canary is not None or version.pipeline is not None or version.ragged is not None
            or self._suspects
        ):
            return False
        self._queue()
        self._version = version
        self._bind = version.signature.bind
        self._default_timeout_ns = version.default_timeout_ns
        self._key = None
        return True

    cdef int _queue(self) except -1:
        """Queues what waits to be queued together."""
        if self._tickets:
            tickets, self._tickets = self._tickets, []
            self._rows = 0
            self._due_ns = NO_DEADLINE_NS
            self._others.queue_all(self._version, tickets, self._key)
        return 0
