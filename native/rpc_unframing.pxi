# Messages out of the bytes of one direction of a call.

cdef extern from "Python.h":
    PyObject* _new_bytes "PyBytes_FromStringAndSize" (const char* text, Py_ssize_t size) except NULL
    int _PyBytes_Resize(PyObject** text, Py_ssize_t size) except -1
    void Py_CLEAR(PyObject* object)

cdef enum:
    # A message whose end is not there yet has room for twice as much as came of it, never more than was announced. Of a
    # large block what is not written to is not backed by memory, and it grows without being copied.
    MORE_ROOM = 2


cdef class Unframer:
    cdef Py_ssize_t _max_bytes
    # Of the body; -1 while the prefix is not whole.
    cdef Py_ssize_t _length
    # Bytes of the body, or of the prefix.
    cdef readonly Py_ssize_t held
    cdef uint8_t[PREFIX_BYTES] _prefix
    cdef bint _compressed
    # The body, and how many bytes it has room for; nobody else knows of it until it is whole.
    cdef PyObject* _body
    cdef Py_ssize_t _room

    def __init__(self, Py_ssize_t max_bytes):
        self._max_bytes = max_bytes
        self._length = -1

    def __dealloc__(self):
        Py_CLEAR(self._body)

    @property
    def in_message(self):
        return self._length >= 0 or self.held > 0

    def feed(self, bytes data not None):
        cdef const uint8_t* text = <const uint8_t*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t left = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t size
        cdef list messages = []
        while left:
            if self._length < 0:
                size = min(PREFIX_BYTES - self.held, left)
                memcpy(self._prefix + self.held, text, size)
                self.held += size
                text += size
                left -= size
                if self.held < PREFIX_BYTES:
                    break
                self._begin()
            size = min(self._length - self.held, left)
            if size:
                self._make_room(self.held + size)
                memcpy(PyBytes_AS_STRING(<object>self._body) + self.held, text, size)
                self.held += size
                text += size
                left -= size
            if self.held == self._length:
                messages.append((self._whole(), self._compressed))
        return messages

    def drop(self):
        self._clear()

    cdef int _begin(self) except -1:
        """The prefix is whole."""
        cdef Py_ssize_t length = 0
        cdef int place
        if self._prefix[0] > 1:
            raise bad_flag(self._prefix[0])
        for place in range(1, PREFIX_BYTES):
            length = length << 8 | self._prefix[place]
        if length > self._max_bytes:
            raise too_large(length, self._max_bytes)
        self._compressed = self._prefix[0] == 1
        self._length = length
        self.held = 0
        return 0

    cdef int _make_room(self, Py_ssize_t size) except -1:
        """Room for `size` bytes of the body, no more than its length."""
        cdef Py_ssize_t room
        if size <= self._room:
            return 0
        room = min(max(size, self._room * MORE_ROOM), self._length)
        if self._body == NULL:
            self._body = _new_bytes(NULL, room)
        else:
            try:
                _PyBytes_Resize(&self._body, room)
            except MemoryError:
                self._clear()
                raise
        self._room = room
        return 0

    cdef bytes _whole(self):
        cdef bytes body
        if not self._length:
            body = b""
        else:
            body = <bytes><object>self._body
        self._clear()
        return body

    cdef void _clear(self) noexcept:
        Py_CLEAR(self._body)
        self._body = NULL
        self._room = self.held = 0
        self._length = -1
