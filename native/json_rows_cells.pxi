# Cells: a value into its column, or what is wrong with it.


cdef enum:
    # Breaches are all named up to so many; from there on, the first of each row.
    MAX_BREACHES = 16384

# In step with `steelyard.pipelines.tabular.columns.Kind`.
cdef enum Kind:
    NUMBER = 0
    INTEGER = 1
    BOOLEAN = 2
    TEXT = 3
    DATE = 4

# In step with `steelyard.pipelines.tabular.problems.JSON_RULES`.
cdef enum Rule:
    NOT_UTF8 = 0
    NOT_AN_OBJECT = 1
    UNKNOWN_KEY = 2
    DUPLICATE_KEY = 3
    MISSING_KEY = 4
    WRONG_TYPE = 5
    OUT_OF_RANGE = 6
    NOT_WHOLE = 7
    NOT_A_DATE = 8

cdef struct Breach:
    int64_t row
    int64_t column
    int64_t rule
    # What came, in the tensor's raw form.
    int64_t start
    int64_t size

cdef struct Reading:
    Place data
    Place end
    Py_ssize_t rows
    Py_ssize_t row
    # [columns, rows] each; lengths only of text.
    int64_t* values
    int64_t* lengths
    uint8_t* missing
    uint8_t* arena
    Py_ssize_t arena_used
    # The row, from 1, in which a column was last met.
    int64_t* met
    Breach* breaches
    Py_ssize_t breach_count
    Py_ssize_t breach_room
    Py_ssize_t row_breaches
    bint out_of_memory


cdef inline void breach(Reading* r, int64_t column, int rule, Place start, Place end) noexcept nogil:
    cdef Py_ssize_t room
    cdef Breach* items
    if r.breach_count >= MAX_BREACHES and r.row_breaches:
        return
    if r.breach_count == r.breach_room:
        room = 2 * r.breach_room + 64
        items = <Breach*>realloc(r.breaches, room * sizeof(Breach))
        if items == NULL:
            r.out_of_memory = True
            return
        r.breaches = items
        r.breach_room = room
    r.breaches[r.breach_count] = Breach(
        row=r.row, column=column, rule=rule, start=start - r.data, size=end - start
    )
    r.breach_count += 1
    r.row_breaches += 1


cdef inline void set_missing(Reading* r, Py_ssize_t column) noexcept nogil:
    cdef Py_ssize_t cell = column * r.rows + r.row
    r.missing[cell] = 1
    r.values[cell] = 0
    r.lengths[cell] = 0


cdef Place read_cell(Reading* r, Py_ssize_t column, uint8_t kind, Place p, Place end) noexcept nogil:
    """The value at `p` into its cell."""
    cdef Py_ssize_t cell = column * r.rows + r.row
    cdef Place behind
    cdef Place close
    cdef Py_ssize_t size
    cdef uint8_t* text
    cdef bint escaped
    cdef Number number
    cdef int broken = -1
    if p >= end:
        return NULL
    if p[0] == c'"' and (kind == TEXT or kind == DATE):
        close = string_end(p + 1, end, &escaped)
        if close == NULL:
            return NULL
        text = r.arena + r.arena_used
        if escaped:
            size = unescape(p + 1, close, text)
            if size < 0:
                return NULL
        else:
            size = close - p - 1
            memcpy(text, p + 1, size)
        behind = close + 1
        if kind == TEXT:
            r.values[cell] = r.arena_used
            r.lengths[cell] = size
            r.arena_used += size
        elif not read_date(text, text + size, &r.values[cell]):
            broken = NOT_A_DATE
    elif (p[0] == c"-" or c"0" <= p[0] <= c"9") and (kind == NUMBER or kind == INTEGER or kind == DATE):
        behind = read_number(p, end, &number)
        if behind == NULL:
            return NULL
        broken = put_number(&number, kind, &r.values[cell])
    elif kind == BOOLEAN and (p[0] == c"t" or p[0] == c"f"):
        r.values[cell] = p[0] == c"t"
        behind = skip_word(p, end, "true", 4) if p[0] == c"t" else skip_word(p, end, "false", 5)
        if behind == NULL:
            return NULL
    elif p[0] == c"n":
        return skip_word(p, end, "null", 4)
    else:
        behind = skip_value(p, end, r.arena + r.arena_used, 1)
        if behind == NULL:
            return NULL
        broken = WRONG_TYPE
    if broken >= 0:
        r.values[cell] = 0
        breach(r, column, broken, p, behind)
    else:
        r.missing[cell] = 0
    return behind


cdef int put_number(const Number* number, uint8_t kind, int64_t* cell) noexcept nogil:
    """Writes a number as its kind wants it; returns the rule that it breaks, or -1."""
    if isinf(number.real) or number.end - number.start > MAX_NUMBER_CHARS:
        return OUT_OF_RANGE
    if kind == NUMBER:
        memcpy(cell, &number.real, sizeof(double))
        return -1
    if not number.whole:
        if number.real != floor(number.real):
            return NOT_WHOLE
        if not -MAX_EXACT <= number.real <= MAX_EXACT:
            return OUT_OF_RANGE
        cell[0] = <int64_t>number.real
    elif number.fits:
        cell[0] = number.integer
    else:
        return OUT_OF_RANGE
    if kind == DATE and not MIN_DATE_US <= cell[0] <= MAX_DATE_US:
        return OUT_OF_RANGE
    return -1
