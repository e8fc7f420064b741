# The reader: rows of objects into columns.


cdef enum:
    MAX_COLUMNS = 65536
    # Reading took 1.5 ns a byte, so about 25 µs; below it, waiting to get the GIL back is dearer than keeping it.
    RELEASE_GIL_ABOVE_BYTES = 16384


@cython.final
cdef class RowReader:
    """Reads rows of named columns. Twin: `steelyard.pipelines.plain.json_rows.RowReader`."""

    cdef Py_ssize_t columns
    cdef uint8_t* kinds
    cdef uint8_t* required
    # Whether a name stands in JSON as it is: it is UTF-8, and nothing in it is escaped.
    cdef uint8_t* plain
    cdef vocabulary names

    def __cinit__(self, list names not None, list kinds not None, list required not None):
        cdef Py_ssize_t i
        cdef bytes name
        self.columns = len(names)
        if self.columns > MAX_COLUMNS or len(kinds) != self.columns or len(required) != self.columns:
            raise ValueError(f"expected at most {MAX_COLUMNS} columns, each with a kind and whether it is required")
        self.kinds = <uint8_t*>calloc(self.columns + 1, 1)
        self.required = <uint8_t*>calloc(self.columns + 1, 1)
        self.plain = <uint8_t*>calloc(self.columns + 1, 1)
        if self.kinds == NULL or self.required == NULL or self.plain == NULL:
            raise MemoryError
        if vocabulary_reserve(&self.names, self.columns, sum(map(len, names))) < 0:
            raise MemoryError
        for i in range(self.columns):
            name = names[i]
            if kinds[i] not in (NUMBER, INTEGER, BOOLEAN, TEXT, DATE):
                raise ValueError(f"no kind {kinds[i]}")
            self.kinds[i] = kinds[i]
            self.required[i] = bool(required[i])
            self.plain[i] = all(byte >= 0x20 and byte not in b'"\\' for byte in name)
            if vocabulary_add(&self.names, <const uint8_t*><const char*>name, len(name), i) < 0:
                raise ValueError(f"column {name!r:.80} is listed twice")

    def __dealloc__(self):
        free(self.kinds)
        free(self.required)
        free(self.plain)
        vocabulary_clear(&self.names)

    def read(self, data, Py_ssize_t rows, values, lengths, missing, arena):
        """Reads the raw form of a BYTES tensor of `rows` elements, each an object.

        values, lengths: int64 [columns, rows] (doubles by their bits; of a text where in `arena` it starts);
        missing: bytes [columns, rows]; arena: as many bytes as `data`. All are written whole. Returns
        what rows break: (row, column or -1, rule, start, size), the last two saying where in `data` it stands.
        Raises ValueError where a buffer is too small or `data` is not of so many elements.
        """
        cdef Py_buffer[5] views
        cdef Reading r
        cdef Py_ssize_t held = 0
        cdef Py_ssize_t cells = 0
        cdef Py_ssize_t i
        cdef int done = 0
        memset(&r, 0, sizeof(Reading))
        if rows < 0 or (self.columns and rows > (INT64_MAX // 8) // self.columns):
            raise ValueError(f"no {rows} rows")
        cells = rows * self.columns
        try:
            PyObject_GetBuffer(data, &views[0], PyBUF_SIMPLE)
            held = 1
            for target in (values, lengths, missing, arena):
                PyObject_GetBuffer(target, &views[held], PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
                held += 1
            if (
                cells > views[1].len // 8 or cells > views[2].len // 8 or cells > views[3].len
                or views[0].len > views[4].len
            ):
                raise ValueError(f"expected room for {rows} rows of {self.columns} columns")
            r.data = <Place>views[0].buf
            r.end = r.data + views[0].len
            r.rows = rows
            r.values = <int64_t*>views[1].buf
            r.lengths = <int64_t*>views[2].buf
            r.missing = <uint8_t*>views[3].buf
            r.arena = <uint8_t*>views[4].buf
            r.met = <int64_t*>calloc(self.columns + 1, sizeof(int64_t))
            if r.met == NULL:
                raise MemoryError
            if views[0].len > RELEASE_GIL_ABOVE_BYTES:
                with nogil:
                    done = self.read_rows(&r)
            else:
                done = self.read_rows(&r)
            if r.out_of_memory:
                raise MemoryError
            if done < 0:
                raise ValueError(f"expected {rows} elements, each behind its length")
            return [
                (r.breaches[i].row, r.breaches[i].column, r.breaches[i].rule, r.breaches[i].start, r.breaches[i].size)
                for i in range(r.breach_count)
            ]
        finally:
            for i in range(held):
                PyBuffer_Release(&views[i])
            free(r.met)
            free(r.breaches)

    cdef int read_rows(self, Reading* r) noexcept nogil:
        cdef Place p = r.data
        cdef uint32_t size
        cdef Py_ssize_t c, kept, kept_arena
        memset(r.missing, 1, r.rows * self.columns)
        memset(r.values, 0, r.rows * self.columns * sizeof(int64_t))
        memset(r.lengths, 0, r.rows * self.columns * sizeof(int64_t))
        for r.row in range(r.rows):
            if 4 > r.end - p:
                return -1
            memcpy(&size, p, 4)
            p += 4
            if size > r.end - p:
                return -1
            kept = r.breach_count
            kept_arena = r.arena_used
            r.row_breaches = 0
            if not is_utf8(p, p + size):
                breach(r, -1, NOT_UTF8, p, p + size)
            elif not self.read_row(r, p, p + size):
                # Whatever was said of a part of it before, this row is nothing.
                r.breach_count = kept
                r.arena_used = kept_arena
                r.row_breaches = 0
                for c in range(self.columns):
                    r.missing[c * r.rows + r.row] = 1
                    r.values[c * r.rows + r.row] = 0
                    r.lengths[c * r.rows + r.row] = 0
                breach(r, -1, NOT_AN_OBJECT, p, p + size)
            p += size
        return 0 if p == r.end else -1

    cdef bint read_row(self, Reading* r, Place p, Place end) noexcept nogil:
        """Whether the element is one JSON object."""
        cdef Py_ssize_t column
        cdef Py_ssize_t expected = 0
        cdef Place key, close, start
        cdef Py_ssize_t size
        cdef uint8_t* scratch
        cdef bint escaped
        cdef bint unknown = False
        cdef Place row = p
        p = skip_space(p, end)
        if p >= end or p[0] != c"{":
            return False
        p = skip_space(p + 1, end)
        if p < end and p[0] == c"}":
            p += 1
        else:
            while True:
                if p >= end or p[0] != c'"':
                    return False
                key = p + 1
                column = expected
                close = self.expected_end(column, key, end)
                if close == NULL:
                    column = -1
                    close = string_end(key, end, &escaped)
                if close == NULL:
                    return False
                # What follows the arena's used part is scratch: it has room for every string still unread.
                scratch = r.arena + r.arena_used
                if column < 0 and escaped:
                    size = unescape(key, close, scratch)
                    if size < 0:
                        return False
                    column = vocabulary_find(&self.names, scratch, size)
                elif column < 0:
                    column = vocabulary_find(&self.names, key, close - key)
                p = skip_space(close + 1, end)
                if p >= end or p[0] != c":":
                    return False
                start = skip_space(p + 1, end)
                if column < 0:
                    p = skip_value(start, end, scratch, 1)
                    if p == NULL:
                        return False
                    if not unknown:
                        unknown = True
                        breach(r, -1, UNKNOWN_KEY, key - 1, close + 1)
                elif r.met[column] == r.row + 1:
                    p = skip_value(start, end, scratch, 1)
                    if p == NULL:
                        return False
                    set_missing(r, column)
                    breach(r, column, DUPLICATE_KEY, start, p)
                else:
                    r.met[column] = r.row + 1
                    expected = column + 1
                    p = read_cell(r, column, self.kinds[column], start, end)
                    if p == NULL:
                        return False
                p = skip_space(p, end)
                if p >= end:
                    return False
                if p[0] == c"}":
                    p += 1
                    break
                if p[0] != c",":
                    return False
                p = skip_space(p + 1, end)
        if skip_space(p, end) != end:
            return False
        for column in range(self.columns):
            if r.met[column] != r.row + 1 and self.required[column]:
                breach(r, column, MISSING_KEY, row, end)
        return True

    cdef inline Place expected_end(self, Py_ssize_t column, Place key, Place end) noexcept nogil:
        """The closing quote where the key is the name of `column`: rows tend to name columns in one order."""
        cdef Py_ssize_t size
        if column >= self.columns or not self.plain[column]:
            return NULL
        size = vocabulary_size(&self.names, column)
        if size >= end - key or key[size] != c'"' or not vocabulary_is(&self.names, column, key, size):
            return NULL
        return key + size
