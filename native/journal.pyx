"""Records of decisions, written into the ring of a worker's segment, and taken from it.

One thread puts, one takes: `Ring`'s methods say which. What finds no room is counted, and told as a gap.
"""

cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from steelyard._native.observe cimport Ticket
from steelyard._native.wire cimport InferRequest


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef extern from "segment.h":
    const uint64_t SY_SEGMENT_BYTES, SY_RING_OFFSET, SY_RING_BYTES

    ctypedef struct sy_header:
        uint64_t ring_head, ring_tail
        uint64_t recorded, sampled_out, dropped, off, taken_along
        uint64_t written, written_bytes, synced, unwritten

    uint64_t sy_load(const uint64_t *word) nogil
    void sy_add(uint64_t *word, uint64_t value) nogil
    uint64_t sy_duration(int64_t from_ns, int64_t to_ns) nogil

cdef extern from "journal.h":
    enum:
        SY_RECORD_FORMAT, SY_RECORD_HEAD, SY_TRACE_BYTES, SY_MAX_TEXT, SY_MAX_REQUEST_ID, SY_MAX_MESSAGE
        SY_MAX_RECORD, SY_NO_REASON, SY_FLAG_TRACE, SY_FLAG_DEADLINE

    ctypedef struct sy_record:
        uint8_t format, outcome, code, reason, role, flags
        uint16_t position
        uint8_t *id
        uint64_t received_unix_ns, decode_ns, queue_ns, assemble_ns, execute_ns, encode_ns, total_ns
        int64_t deadline_left_ns
        uint64_t batch
        uint32_t batch_rows, batch_requests, rows, version
        float sample_rate
        uint16_t model_length, message_length
        uint8_t request_id_length, caller_length, key_length, signer_length
        uint8_t *digest

    ctypedef struct sy_ring:
        uint8_t *data
        uint64_t mask
        uint64_t *head
        uint64_t *tail

    int sy_ring_put(sy_ring *ring, const uint8_t *record, uint16_t size) nogil
    void sy_ring_copy_out(const sy_ring *ring, uint64_t at, uint8_t *to, size_t size) nogil
    uint64_t sy_ring_ready(const sy_ring *ring, uint64_t most, uint64_t *count) nogil
    void sy_ring_taken(sy_ring *ring, uint64_t size) nogil


cdef enum:
    ANSWERED = 0
    PRIMARY = 0
    DIGEST_BYTES = 32
    ID_CHARS = 36
    # 00-<32>-<16>-<2>
    TRACEPARENT_CHARS = 55


cdef int _digit(char c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"a" <= c <= c"f":
        return c - c"a" + 10
    if c"A" <= c <= c"F":
        return c - c"A" + 10
    return -1


cdef bint _unhex(const char* text, Py_ssize_t nbytes, uint8_t* out) noexcept nogil:
    cdef Py_ssize_t i
    cdef int high, low
    for i in range(nbytes):
        high = _digit(text[2 * i])
        low = _digit(text[2 * i + 1])
        if high < 0 or low < 0:
            return False
        out[i] = <uint8_t>(high << 4 | low)
    return True


cdef bint _id_of(str text, uint8_t* out) except -1:
    cdef Py_ssize_t size = 0
    cdef const char* chars = PyUnicode_AsUTF8AndSize(text, &size)
    if size != ID_CHARS or not (
        _unhex(chars, 4, out) and _unhex(chars + 9, 2, out + 4) and _unhex(chars + 14, 2, out + 6)
        and _unhex(chars + 19, 2, out + 8) and _unhex(chars + 24, 6, out + 10)
    ):
        raise ValueError(f"expected a decision id, came {text!r}")
    return True


cdef Py_ssize_t _cut(const char* text, Py_ssize_t size, Py_ssize_t most) noexcept nogil:
    """As many bytes of `text` as fit and are whole characters."""
    if size <= most:
        return size
    while most > 0 and (<uint8_t>text[most] & 0xC0) == 0x80:
        most -= 1
    return most


@cython.final
cdef class Subject:
    """What all records of one version have in common. See `evidence.record.Decision` for the fields."""

    cdef bytes _model
    cdef bytes _signer
    cdef uint8_t[32] _digest
    cdef uint32_t _version
    cdef float _rate
    cdef uint64_t _below

    def __init__(self, str model not None, int64_t version, bytes digest not None, str signer not None, double rate):
        if PyBytes_GET_SIZE(digest) != DIGEST_BYTES:
            raise ValueError(f"expected a digest of {DIGEST_BYTES} bytes, came {len(digest)}")
        if not 0 <= rate <= 1:
            raise ValueError(f"expected a rate from 0 to 1, came {rate}")
        self._model = model.encode("utf-8", "replace")[:SY_MAX_TEXT].decode("utf-8", "ignore").encode()
        self._signer = signer.encode("utf-8", "replace")[:SY_MAX_TEXT].decode("utf-8", "ignore").encode()
        memcpy(self._digest, PyBytes_AS_STRING(digest), DIGEST_BYTES)
        self._version = <uint32_t>version
        self._rate = <float>rate
        # What is random in an id are its last 62 bits.
        self._below = UINT64_MAX if rate >= 1 else <uint64_t>(rate * <double>(<uint64_t>1 << 62))


cdef bint _is_sampled(Subject subject, const uint8_t* decision_id) noexcept:
    cdef uint64_t bits = 0
    cdef int i
    for i in range(8, 16):
        bits = bits << 8 | decision_id[i]
    return subject._below == UINT64_MAX or (bits & ((<uint64_t>1 << 62) - 1)) < subject._below


cdef class Ring:
    """The ring in a segment's memory. It goes on with what an earlier process left in it."""

    cdef Py_buffer _view
    cdef bint _held
    cdef sy_header* _counts
    cdef sy_ring _ring
    cdef uint8_t[2560] _record
    cdef uint64_t _gap
    cdef int64_t _gap_from_ns
    cdef int64_t _gap_to_ns

    def __cinit__(self, memory not None):
        PyObject_GetBuffer(memory, &self._view, PyBUF_WRITABLE)
        self._held = True
        if self._view.len < <Py_ssize_t>SY_SEGMENT_BYTES:
            raise ValueError(f"a segment has {SY_SEGMENT_BYTES} bytes, came {self._view.len}")
        self._counts = <sy_header*>self._view.buf
        self._ring.data = <uint8_t*>self._view.buf + SY_RING_OFFSET
        self._ring.mask = SY_RING_BYTES - 1
        self._ring.head = &self._counts.ring_head
        self._ring.tail = &self._counts.ring_tail
        if self._ring.head[0] - self._ring.tail[0] > SY_RING_BYTES:
            raise ValueError("the ring of the segment is damaged")

    def __dealloc__(self):
        if self._held:
            PyBuffer_Release(&self._view)

    # Of the thread that puts.

    def batch(
        self, Subject subject not None, list tickets not None, list decision_ids not None, int role,
        int64_t unix_offset_ns, int64_t taken_ns, int64_t assembled_ns, int64_t executed_ns, int64_t encoded_ns,
        int64_t number, int64_t rows, flags_of=None,
    ):
        """Records the answered requests of a batch; tickets have their calls and requests still."""
        cdef sy_record* head = <sy_record*>self._record
        cdef Py_ssize_t place, count = len(tickets)
        cdef Ticket ticket
        if len(decision_ids) != count:
            raise ValueError(f"expected {count} decision ids, came {len(decision_ids)}")
        memset(self._record, 0, SY_RECORD_HEAD)
        head.format = SY_RECORD_FORMAT
        head.outcome = ANSWERED
        head.reason = SY_NO_REASON
        head.role = <uint8_t>role
        head.assemble_ns = sy_duration(taken_ns, assembled_ns)
        head.execute_ns = sy_duration(assembled_ns, executed_ns)
        head.encode_ns = sy_duration(executed_ns, encoded_ns)
        head.batch = <uint64_t>number
        head.batch_rows = <uint32_t>rows
        head.batch_requests = <uint32_t>count
        self._about(head, subject)
        for place in range(count):
            ticket = <Ticket?>tickets[place]
            _id_of(<str?>decision_ids[place], head.id)
            request = ticket.request
            call = ticket.call
            head.flags = 0 if flags_of is None else <uint8_t>flags_of(request)
            if role == PRIMARY and not head.flags and not _is_sampled(subject, head.id):
                sy_add(&self._counts.sampled_out, 1)
                continue
            # A canary's and what is flagged is always recorded: each stands for itself alone.
            head.sample_rate = subject._rate if role == PRIMARY and not head.flags else 1
            head.position = <uint16_t>min(place, 0xFFFF)
            head.received_unix_ns = <uint64_t>(ticket.received_ns + unix_offset_ns)
            head.decode_ns = sy_duration(0, ticket.decode_ns)
            head.queue_ns = sy_duration(ticket.received_ns + ticket.decode_ns, taken_ns)
            head.total_ns = sy_duration(ticket.received_ns, encoded_ns)
            head.rows = <uint32_t>ticket.rows
            head.deadline_left_ns = 0
            if ticket.deadline_ns:
                head.flags |= SY_FLAG_DEADLINE
                head.deadline_left_ns = ticket.deadline_ns - encoded_ns
            self._put(head, subject._model, subject._signer, request, call, None, ticket.received_ns + unix_offset_ns)

    def one(
        self, Subject subject, str model not None, str decision_id not None, int outcome, int code, int reason,
        int role, int64_t received_unix_ns, int64_t total_ns, int64_t decode_ns, int64_t queue_ns,
        int64_t deadline_left_ns, bint has_deadline, int64_t rows, call, request, str message not None,
    ):
        """Records one request that was not answered; subject: None where no version was found."""
        cdef sy_record* head = <sy_record*>self._record
        cdef bytes name = b""
        memset(self._record, 0, SY_RECORD_HEAD)
        _id_of(decision_id, head.id)
        head.format = SY_RECORD_FORMAT
        head.outcome = <uint8_t>outcome
        head.code = <uint8_t>code
        head.reason = <uint8_t>reason
        head.role = <uint8_t>role
        head.received_unix_ns = <uint64_t>received_unix_ns
        head.decode_ns = sy_duration(0, decode_ns)
        head.queue_ns = sy_duration(0, queue_ns)
        head.total_ns = sy_duration(0, total_ns)
        head.rows = <uint32_t>rows
        head.sample_rate = 1
        if has_deadline:
            head.flags = SY_FLAG_DEADLINE
            head.deadline_left_ns = deadline_left_ns
        if subject is not None:
            self._about(head, subject)
            head.sample_rate = 1
            self._put(head, subject._model, subject._signer, request, call, message, received_unix_ns)
        else:
            name = model.encode("utf-8", "replace")[:SY_MAX_TEXT].decode("utf-8", "ignore").encode()
            self._put(head, name, b"", request, call, message, received_unix_ns)

    cdef int _about(self, sy_record* head, Subject subject) except -1:
        head.version = subject._version
        head.sample_rate = subject._rate
        memcpy(head.digest, subject._digest, DIGEST_BYTES)
        return 0

    cdef int _put(
        self, sy_record* head, bytes model, bytes signer, object request, object call, str message, int64_t at_unix_ns
    ) except -1:
        """Puts texts behind the head that stands in `_record`, and all of it into the ring."""
        cdef Py_ssize_t at = SY_RECORD_HEAD, size = 0
        cdef const char* text
        cdef uint8_t* record = self._record
        cdef object given = None
        cdef bytes trace
        if call is not None:
            trace = call.traceparent
            if (
                PyBytes_GET_SIZE(trace) == TRACEPARENT_CHARS
                and _unhex(PyBytes_AS_STRING(trace) + 3, SY_TRACE_BYTES, record + at)
            ):
                head.flags |= SY_FLAG_TRACE
                at += SY_TRACE_BYTES
        head.model_length = <uint16_t>PyBytes_GET_SIZE(model)
        memcpy(record + at, PyBytes_AS_STRING(model), <size_t>head.model_length)
        at += head.model_length
        head.request_id_length = head.caller_length = head.key_length = 0
        head.message_length = 0
        if request is not None and type(request) is not InferRequest:
            request = request.request
        if request is not None:
            text = PyUnicode_AsUTF8AndSize((<InferRequest?>request).id, &size)
            size = _cut(text, size, SY_MAX_REQUEST_ID)
            head.request_id_length = <uint8_t>size
            memcpy(record + at, text, <size_t>size)
            at += size
            if (<InferRequest>request).given_parameters is not None:
                given = (<InferRequest>request).given_parameters.get("steelyard_key")
        if call is not None:
            text = PyUnicode_AsUTF8AndSize(<str?>call.peer, &size)
            size = _cut(text, size, SY_MAX_TEXT)
            head.caller_length = <uint8_t>size
            memcpy(record + at, text, <size_t>size)
            at += size
        if type(given) is str:
            text = PyUnicode_AsUTF8AndSize(given, &size)
            size = _cut(text, size, SY_MAX_TEXT)
            head.key_length = <uint8_t>size
            memcpy(record + at, text, <size_t>size)
            at += size
        head.signer_length = <uint8_t>PyBytes_GET_SIZE(signer)
        memcpy(record + at, PyBytes_AS_STRING(signer), <size_t>head.signer_length)
        at += head.signer_length
        if message is not None:
            text = PyUnicode_AsUTF8AndSize(message, &size)
            size = _cut(text, size, SY_MAX_MESSAGE)
            head.message_length = <uint16_t>size
            memcpy(record + at, text, <size_t>size)
            at += size
        if sy_ring_put(&self._ring, record, <uint16_t>at):
            sy_add(&self._counts.recorded, 1)
        else:
            self._missed(at_unix_ns)
        return 0

    cdef void _missed(self, int64_t at_unix_ns) noexcept:
        sy_add(&self._counts.dropped, 1)
        if not self._gap:
            self._gap_from_ns = at_unix_ns
        self._gap += 1
        self._gap_to_ns = at_unix_ns

    def left_out(self, int64_t requests):
        """Counts decisions of a version that records none."""
        sy_add(&self._counts.off, <uint64_t>requests)

    def took_along(self, int64_t requests):
        """Counts requests that a process which died had, and that are counted nowhere else; of who settles it."""
        sy_add(&self._counts.taken_along, <uint64_t>requests)

    def take_gap(self):
        """What found no room since this was last asked: how many, and when the first and the last came; else None."""
        if not self._gap:
            return None
        gap = self._gap, self._gap_from_ns, self._gap_to_ns
        self._gap = 0
        return gap

    @property
    def head(self):
        """Bytes ever put."""
        return self._ring.head[0]

    @property
    def room(self):
        """Bytes that are free."""
        return SY_RING_BYTES - (self._ring.head[0] - sy_load(self._ring.tail))

    # Of the thread that takes.

    @property
    def tail(self):
        """Bytes ever taken."""
        return self._ring.tail[0]

    def peek(self, int64_t most):
        """The records in front, each behind its length, of at most so many bytes; and how many they are."""
        cdef uint64_t count = 0
        cdef uint64_t size = sy_ring_ready(&self._ring, <uint64_t>most, &count)
        cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        sy_ring_copy_out(&self._ring, self._ring.tail[0], <uint8_t*>PyBytes_AS_STRING(out), size)
        return out, count

    def taken(self, int64_t size, int64_t records, bint written):
        """What `peek` gave is in the file, or the file would not take it."""
        sy_ring_taken(&self._ring, <uint64_t>size)
        if written:
            sy_add(&self._counts.written, <uint64_t>records)
            sy_add(&self._counts.written_bytes, <uint64_t>size)
        else:
            sy_add(&self._counts.unwritten, <uint64_t>records)

    def synced(self, int64_t records):
        """So many more are on disk."""
        sy_add(&self._counts.synced, <uint64_t>records)
