# Cells of columns held against the data contract: each gets the first rule that it breaks.


cdef enum CellRule:
    # `operations.CellRule`; 0 is a cell that breaks none.
    CELL_MISSING = 1
    CELL_BELOW = 2
    CELL_ABOVE = 3
    CELL_SIZE = 4
    CELL_UNKNOWN = 5
    CELL_HOLE = 6

cdef struct Check:
    int state
    # What a missing cell breaks: CELL_MISSING, CELL_HOLE or 0.
    int missing
    bint bounded
    double least
    double greatest
    int64_t least_whole
    int64_t greatest_whole
    int64_t max_bytes
    const vocabulary* words


@cython.final
cdef class Checks:
    """Compiled checks of some columns. Twin: `steelyard.pipelines.plain.checks.Checks`."""

    cdef Check* checks
    cdef int* states
    cdef Py_ssize_t count
    cdef list kept

    def __cinit__(self, list checks not None):
        cdef Py_ssize_t i
        cdef Check* added
        cdef Vocabulary words
        self.kept = []
        self.checks = <Check*>calloc(len(checks) + 1, sizeof(Check))
        self.states = <int*>calloc(len(checks) + 1, sizeof(int))
        if self.checks == NULL or self.states == NULL:
            raise MemoryError
        for i in range(len(checks)):
            check = checks[i]
            added = &self.checks[i]
            added.state = check.state
            if added.state not in (NUMBER, INTEGER, TEXT):
                raise ValueError(f"check {i}: no state {check.state}")
            self.states[i] = added.state
            added.missing = CELL_MISSING if check.refuses_missing else CELL_HOLE if check.fills_missing else 0
            added.max_bytes = INT64_MAX if check.max_bytes is None else check.max_bytes
            added.bounded = check.least is not None or check.greatest is not None
            if added.bounded and added.state == TEXT:
                raise ValueError(f"check {i}: texts have no range")
            if added.state == INTEGER:
                added.least_whole = INT64_MIN if check.least is None else check.least
                added.greatest_whole = INT64_MAX if check.greatest is None else check.greatest
            else:
                added.least = -INFINITY if check.least is None else check.least
                added.greatest = INFINITY if check.greatest is None else check.greatest
            if check.words is not None:
                words = check.words
                added.words = &words.table
                self.kept.append(words)
        self.count = len(checks)

    def __dealloc__(self):
        free(self.checks)
        free(self.states)

    def run(self, list sources not None, Py_ssize_t rows, broken):
        """Writes into `broken` the rule that each cell breaks, 0 where it breaks none; how many break one.

        sources: for each checked column (values, missing), or of text (starts, missing, lengths, data), C-contiguous
        buffers. broken: a writable C-contiguous buffer of [columns, rows] bytes. Raises ValueError where a buffer is
        too small, or a text lies outside its data.
        """
        cdef Py_buffer target
        cdef Py_buffer* views
        cdef Source* columns
        cdef Py_ssize_t i
        cdef Py_ssize_t held = 0
        cdef int64_t found = 0
        if len(sources) != self.count:
            raise ValueError(f"expected {self.count} columns, came {len(sources)}")
        if rows < 0:
            raise ValueError(f"no {rows} rows")
        columns = <Source*>calloc(self.count + 1, sizeof(Source))
        views = <Py_buffer*>calloc(4 * self.count + 1, sizeof(Py_buffer))
        target.buf = NULL
        try:
            if columns == NULL or views == NULL:
                raise MemoryError
            for i in range(self.count):
                open_source(<tuple?>sources[i], self.states[i], &columns[i], views, &held, rows)
            PyObject_GetBuffer(broken, &target, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
            if self.count and rows > target.len // self.count:
                raise ValueError(f"{rows} rows of {self.count} columns do not fit {target.len} bytes")
            if rows > RELEASE_GIL_ABOVE_WORK // (8 * (self.count + 1)):
                with nogil:
                    found = self.check_all(columns, rows, <uint8_t*>target.buf)
            else:
                found = self.check_all(columns, rows, <uint8_t*>target.buf)
            if found < 0:
                raise ValueError("a text lies outside its data")
            return found
        finally:
            for i in range(held):
                PyBuffer_Release(&views[i])
            if target.buf != NULL:
                PyBuffer_Release(&target)
            free(views)
            free(columns)

    cdef int64_t check_all(self, const Source* columns, Py_ssize_t rows, uint8_t* broken) noexcept nogil:
        cdef Py_ssize_t c, row
        cdef int64_t found = 0
        cdef int rule
        for c in range(self.count):
            for row in range(rows):
                rule = check_cell(&self.checks[c], &columns[c], row)
                if rule < 0:
                    return -1
                broken[c * rows + row] = <uint8_t>rule
                found += rule != 0
        return found


cdef inline int check_cell(const Check* check, const Source* column, Py_ssize_t row) noexcept nogil:
    """The first rule that a cell breaks, 0 for none; -1 where a text lies outside its data."""
    cdef double number
    cdef int64_t whole, size
    if column.missing[row]:
        return check.missing
    if check.state == NUMBER:
        number = (<const double*>column.values)[row]
        if number < check.least:
            return CELL_BELOW
        if number > check.greatest:
            return CELL_ABOVE
        # Nought has two forms, and categories are of the one without a sign.
        number += 0.0
        if check.words != NULL and vocabulary_find(check.words, <const uint8_t*>&number, 8) < 0:
            return CELL_UNKNOWN
        return 0
    whole = (<const int64_t*>column.values)[row]
    if check.state == INTEGER:
        if whole < check.least_whole:
            return CELL_BELOW
        if whole > check.greatest_whole:
            return CELL_ABOVE
        if check.words != NULL and vocabulary_find(check.words, <const uint8_t*>&whole, 8) < 0:
            return CELL_UNKNOWN
        return 0
    size = column.lengths[row]
    if size < 0 or whole < 0 or size > column.data_bytes or whole > column.data_bytes - size:
        return -1
    if size > check.max_bytes:
        return CELL_SIZE
    if check.words != NULL and vocabulary_find(check.words, column.data + whole, size) < 0:
        return CELL_UNKNOWN
    return 0


def split_elements_of(data, starts, lengths):
    """Where the elements of a BYTES tensor's raw form begin and how long they are, of whatever bytes."""
    missing = bytearray(len(starts))
    cdef TextBuffers buffers = TextBuffers(data, starts, lengths, missing, None, True)
    if split_elements(&buffers.texts):
        raise ValueError(f"expected {buffers.texts.rows} elements, each behind its length")
