# Where a peer's frames begin and end.

cdef enum:
    FRAME_HEAD_BYTES = 9
    PREFACE_BYTES = 24
    HEADERS_FRAME = 1
    PUSH_PROMISE_FRAME = 5
    CONTINUATION_FRAME = 9
    END_HEADERS_FLAG = 4


cdef class Frames:
    cdef public int epoch
    cdef public int open_since
    cdef Py_ssize_t _rest
    cdef Py_ssize_t _length
    cdef int _head_bytes
    cdef uint8_t _kind
    cdef bint _in_block

    def __init__(self):
        self.open_since = -1
        self._rest = PREFACE_BYTES

    def take(self, data):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        self._take(<const uint8_t*>view.buf, view.len)
        PyBuffer_Release(&view)

    cdef void _take(self, const uint8_t* text, Py_ssize_t count) noexcept:
        cdef Py_ssize_t place = 0, step
        cdef bint ended = False
        while place < count:
            if self._rest:
                step = min(self._rest, count - place)
                self._rest -= step
                place += step
            else:
                self._head(text[place])
                place += 1
                if self._head_bytes:
                    continue
            if not self._rest and not self._in_block:
                ended = True
        if not (self._rest or self._head_bytes or self._in_block):
            self.open_since = -1
        elif ended or self.open_since < 0:
            self.open_since = self.epoch

    cdef inline void _head(self, uint8_t byte) noexcept:
        """One byte more of a frame's head; behind its last, `_rest` is what the payload has."""
        cdef int place = self._head_bytes
        self._head_bytes = place + 1
        if place < 3:
            self._length = (self._length << 8) | byte
        elif place == 3:
            self._kind = byte
        elif place == 4:
            if self._kind == HEADERS_FRAME or self._kind == PUSH_PROMISE_FRAME or self._kind == CONTINUATION_FRAME:
                self._in_block = not byte & END_HEADERS_FLAG
        elif place == FRAME_HEAD_BYTES - 1:
            self._head_bytes = 0
            self._rest = self._length
            self._length = 0
