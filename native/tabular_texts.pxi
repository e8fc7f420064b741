# Texts as columns: where each begins, whether it is UTF-8, which of them mean a missing value, dates in them.


cdef struct Texts:
    Py_ssize_t rows
    int64_t* starts
    int64_t* lengths
    uint8_t* missing
    int64_t* dates
    const uint8_t* data
    Py_ssize_t data_bytes


cdef class TextBuffers:
    """The buffers of a column of text while a function works on it: lengths checked once, and given back."""

    cdef Py_buffer[5] views
    cdef int held
    cdef Texts texts

    def __cinit__(self, data, starts, lengths, missing, dates, bint writes):
        cdef int i
        """`starts` and `lengths` are written where `writes`; `missing` and `dates` (or None) always."""
        cdef int written = PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS
        cdef int pair = written if writes else PyBUF_SIMPLE
        self.take(missing, written)
        self.take(data, PyBUF_SIMPLE)
        self.take(starts, pair)
        self.take(lengths, pair)
        if dates is not None:
            self.take(dates, written)
        self.texts.rows = self.views[0].len
        for i in range(2, self.held):
            if self.texts.rows != self.views[i].len // 8 or <size_t>self.views[i].buf & 7:
                raise ValueError(f"expected {self.texts.rows} rows of 8 aligned bytes, came {self.views[i].len} bytes")
        self.texts.missing = <uint8_t*>self.views[0].buf
        self.texts.data = <const uint8_t*>self.views[1].buf
        self.texts.data_bytes = self.views[1].len
        self.texts.starts = <int64_t*>self.views[2].buf
        self.texts.lengths = <int64_t*>self.views[3].buf
        if dates is not None:
            self.texts.dates = <int64_t*>self.views[4].buf

    cdef int take(self, source, int flags) except -1:
        PyObject_GetBuffer(source, &self.views[self.held], flags)
        self.held += 1
        return 0

    cdef bint is_large(self) noexcept:
        """Whether the work is worth giving up the GIL: about 25 µs."""
        return self.texts.rows > 2000 or self.texts.data_bytes > 65536

    def __dealloc__(self):
        cdef int i
        for i in range(self.held):
            PyBuffer_Release(&self.views[i])


cdef inline bint lies_inside(const Texts* t, Py_ssize_t row) noexcept nogil:
    cdef int64_t size = t.lengths[row]
    return 0 <= size <= t.data_bytes and 0 <= t.starts[row] <= t.data_bytes - size


cdef int split_elements(Texts* t) noexcept nogil:
    """Where the elements of a BYTES tensor begin; -1 where they are not as many as rows."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t row
    cdef uint32_t size
    for row in range(t.rows):
        if 4 > t.data_bytes - at:
            return -1
        memcpy(&size, t.data + at, 4)
        at += 4
        if size > t.data_bytes - at:
            return -1
        t.starts[row] = at
        t.lengths[row] = size
        at += size
    return 0 if at == t.data_bytes else -1


cdef int find_wrong_texts(Texts* t) noexcept nogil:
    """Marks as missing, with 2, what is not UTF-8; -1 where a text lies outside the data."""
    cdef Py_ssize_t row
    for row in range(t.rows):
        if t.missing[row]:
            continue
        if not lies_inside(t, row):
            return -1
        if not is_utf8(t.data + t.starts[row], t.data + t.starts[row] + t.lengths[row]):
            t.missing[row] = 2
    return 0


cdef int find_dates(Texts* t) noexcept nogil:
    """Dates of the texts; marks as missing, with 2, what is none."""
    cdef Py_ssize_t row
    for row in range(t.rows):
        if t.missing[row]:
            continue
        if not lies_inside(t, row):
            return -1
        if not read_date(t.data + t.starts[row], t.data + t.starts[row] + t.lengths[row], &t.dates[row]):
            t.missing[row] = 2
            t.dates[row] = 0
    return 0


cdef int split_and_check(Texts* t) noexcept nogil:
    cdef int failed = split_elements(t)
    return failed if failed else find_wrong_texts(t)


cdef int find_words(Texts* t, const vocabulary* words) noexcept nogil:
    """Marks as missing what is one of the words."""
    cdef Py_ssize_t row
    for row in range(t.rows):
        if t.missing[row]:
            continue
        if not lies_inside(t, row):
            return -1
        if vocabulary_find(words, t.data + t.starts[row], t.lengths[row]) >= 0:
            t.missing[row] = 1
    return 0


cdef list settle(Texts* t):
    """The rows that were marked with 2, which become plainly missing."""
    cdef Py_ssize_t row
    cdef list wrong = []
    for row in range(t.rows):
        if t.missing[row] == 2:
            t.missing[row] = 1
            wrong.append(row)
    return wrong


def split_texts(data, starts, lengths, missing):
    """Where the elements of a BYTES tensor's raw form begin; returns the rows that are not UTF-8."""
    cdef TextBuffers buffers = TextBuffers(data, starts, lengths, missing, None, True)
    cdef int failed
    memset(buffers.texts.missing, 0, buffers.texts.rows)
    if buffers.is_large():
        with nogil:
            failed = split_and_check(&buffers.texts)
    else:
        failed = split_and_check(&buffers.texts)
    if failed:
        raise ValueError(f"expected {buffers.texts.rows} elements, each behind its length")
    return settle(&buffers.texts)


def check_texts(data, starts, lengths, missing):
    """The rows that are not UTF-8, of those that are not missing; they become so."""
    cdef TextBuffers buffers = TextBuffers(data, starts, lengths, missing, None, False)
    cdef int failed
    if buffers.is_large():
        with nogil:
            failed = find_wrong_texts(&buffers.texts)
    else:
        failed = find_wrong_texts(&buffers.texts)
    if failed:
        raise ValueError("a text lies outside its data")
    return settle(&buffers.texts)


def read_dates(data, starts, lengths, missing, dates):
    """Writes the dates that texts hold, microseconds from 1970; returns the rows that hold none."""
    cdef TextBuffers buffers = TextBuffers(data, starts, lengths, missing, dates, False)
    cdef int failed
    if buffers.is_large():
        with nogil:
            failed = find_dates(&buffers.texts)
    else:
        failed = find_dates(&buffers.texts)
    if failed:
        raise ValueError("a text lies outside its data")
    return settle(&buffers.texts)


def mark_missing(data, starts, lengths, missing, Vocabulary words not None):
    """Sets `missing` where a text is one of `words`."""
    cdef TextBuffers buffers = TextBuffers(data, starts, lengths, missing, None, False)
    cdef int failed
    if buffers.is_large():
        with nogil:
            failed = find_words(&buffers.texts, &words.table)
    else:
        failed = find_words(&buffers.texts, &words.table)
    if failed:
        raise ValueError("a text lies outside its data")
