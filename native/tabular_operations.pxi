# The operations. Each is IEEE arithmetic in the order written: results are those of NumPy, bit for bit.


cdef enum Code:
    IMPUTE_NUMBER = 1
    IMPUTE_INTEGER = 2
    IMPUTE_TEXT = 3
    TO_NUMBER = 4
    SUBTRACT = 5
    DIVIDE = 6
    MULTIPLY = 7
    ADD = 8
    CLIP = 9
    LOG = 10
    LOG1P = 11
    BUCKET = 12
    LOOKUP = 13
    HASH = 14
    DATE_PART = 15
    IS_MISSING = 16
    REFUSE_MISSING = 17

cdef enum Unknown:
    REFUSE = 0
    INDEX = 1
    MISSING = 2

cdef enum Part:
    YEAR = 0
    MONTH = 1
    DAY = 2
    WEEKDAY = 3
    HOUR = 4
    MINUTE = 5

cdef enum Broken:
    UNKNOWN_CATEGORY = 1
    MISSING_VALUE = 2

cdef struct Operation:
    int code
    double a
    double b
    int64_t n
    int64_t m
    int64_t k
    # BUCKET: `n` ascending edges. IMPUTE_TEXT: `n` bytes. Both are kept by the program.
    const void* data
    const vocabulary* table

cdef int64_t HOUR_US = 3600000000
cdef int64_t MINUTE_US = 60000000


cdef int state_after(int code, int state) noexcept nogil:
    """The state that an operation leaves, or -1 where it cannot follow `state`."""
    if code in (IS_MISSING, LOOKUP):
        return INTEGER
    if code == REFUSE_MISSING:
        return state
    if state == NUMBER:
        if code == BUCKET:
            return INTEGER
        return NUMBER if code in (IMPUTE_NUMBER, SUBTRACT, DIVIDE, MULTIPLY, ADD, CLIP, LOG, LOG1P) else -1
    if code == HASH:
        return INTEGER
    if state == TEXT:
        return TEXT if code == IMPUTE_TEXT else -1
    if code == TO_NUMBER:
        return NUMBER
    return INTEGER if code in (IMPUTE_INTEGER, DATE_PART) else -1


cdef inline bint gone(const Block* block, Py_ssize_t i) noexcept nogil:
    """Whether the row's value is missing."""
    if block.state == NUMBER:
        return isnan(block.numbers[i])
    return block.missing[i] != 0


cdef void perform(Block* block, const Operation* op) noexcept nogil:
    """Applies one operation; its state was checked when the program was made."""
    cdef Py_ssize_t i
    cdef Py_ssize_t rows = block.rows
    cdef double* x = block.numbers
    cdef double a = op.a
    cdef double b = op.b
    if op.code == SUBTRACT:
        for i in range(rows):
            x[i] = x[i] - a
    elif op.code == DIVIDE:
        for i in range(rows):
            x[i] = x[i] / a
    elif op.code == MULTIPLY:
        for i in range(rows):
            x[i] = x[i] * a
    elif op.code == ADD:
        for i in range(rows):
            x[i] = x[i] + a
    elif op.code == CLIP:
        for i in range(rows):
            # What is within stays as it is, a nought with a sign too; NaN is neither below nor above.
            x[i] = a if x[i] < a else x[i]
            x[i] = b if x[i] > b else x[i]
    elif op.code == LOG:
        for i in range(rows):
            x[i] = log(x[i])
    elif op.code == LOG1P:
        for i in range(rows):
            x[i] = log1p(x[i])
    elif op.code == IMPUTE_NUMBER:
        for i in range(rows):
            x[i] = a if isnan(x[i]) else x[i]
        # The mask of a NUMBER is not kept up, but what refuses missing values asks for NaN alone.
    elif op.code == IMPUTE_INTEGER:
        for i in range(rows):
            if block.missing[i]:
                block.integers[i] = op.n
                block.missing[i] = 0
    elif op.code == IMPUTE_TEXT:
        for i in range(rows):
            if block.missing[i]:
                block.texts[i] = <const uint8_t*>op.data
                block.lengths[i] = op.n
                block.missing[i] = 0
    elif op.code == TO_NUMBER:
        for i in range(rows):
            x[i] = NAN if block.missing[i] else <double>block.integers[i]
        block.state = NUMBER
    elif op.code == BUCKET:
        bucket(block, <const double*>op.data, op.n)
    elif op.code == LOOKUP:
        lookup(block, op)
    elif op.code == HASH:
        hash_block(block, op.n, <unsigned long long>op.m)
    elif op.code == DATE_PART:
        for i in range(rows):
            block.integers[i] = date_part(block.integers[i], <int>op.n)
    elif op.code == IS_MISSING:
        for i in range(rows):
            block.integers[i] = gone(block, i)
        memset(block.missing, 0, rows)
        block.state = INTEGER
    elif op.code == REFUSE_MISSING:
        for i in range(rows):
            if gone(block, i) and not block.broken[i]:
                block.broken[i] = MISSING_VALUE


cdef void bucket(Block* block, const double* edges, int64_t count) noexcept nogil:
    """How many edges are at most the value: `numpy.searchsorted(edges, x, side="right")`."""
    cdef Py_ssize_t i
    cdef int64_t low, high, middle
    cdef double x
    for i in range(block.rows):
        x = block.numbers[i]
        block.missing[i] = isnan(x)
        low = 0
        high = count
        while low < high:
            middle = (low + high) >> 1
            if edges[middle] <= x:
                low = middle + 1
            else:
                high = middle
        block.integers[i] = low
    block.state = INTEGER


cdef void lookup(Block* block, const Operation* op) noexcept nogil:
    """Numbers of categories.

    `n` and `m`: what an unknown one becomes; `k`: a missing one's number, or INT64_MIN: it stays missing.
    """
    cdef Py_ssize_t i
    cdef int64_t entry
    cdef double x
    for i in range(block.rows):
        if block.state == NUMBER:
            # Minus zero and zero are one category.
            x = block.numbers[i] + 0.0
            block.missing[i] = isnan(x)
            memcpy(&block.integers[i], &x, sizeof(double))
        if block.missing[i]:
            if op.k != INT64_MIN:
                block.integers[i] = op.k
                block.missing[i] = 0
            continue
        if block.state == TEXT:
            entry = vocabulary_find(op.table, block.texts[i], block.lengths[i])
        else:
            entry = vocabulary_find(op.table, <const uint8_t*>&block.integers[i], sizeof(int64_t))
        if entry >= 0:
            block.integers[i] = op.table.values[entry]
        elif op.n == INDEX:
            block.integers[i] = op.m
        else:
            block.missing[i] = 1
            if op.n == REFUSE and not block.broken[i]:
                block.broken[i] = UNKNOWN_CATEGORY
    block.state = INTEGER


cdef void hash_block(Block* block, int64_t buckets, unsigned long long seed) noexcept nogil:
    """XXH64 of the text, or of the eight bytes of the integer, modulo `buckets`."""
    cdef Py_ssize_t i
    cdef unsigned long long hashed
    for i in range(block.rows):
        if block.missing[i]:
            continue
        if block.state == TEXT:
            hashed = xx_hash(block.texts[i], block.lengths[i], seed)
        else:
            hashed = xx_hash(<const uint8_t*>&block.integers[i], sizeof(int64_t), seed)
        block.integers[i] = <int64_t>(hashed % <unsigned long long>buckets)
    block.state = INTEGER


cdef inline int64_t floor_divide(int64_t a, int64_t b) noexcept nogil:
    cdef int64_t quotient = a / b
    return quotient - 1 if a % b < 0 else quotient


cdef int64_t date_part(int64_t us, int part) noexcept nogil:
    """A part of a UTC time in microseconds from 1970, in the proleptic Gregorian calendar; Monday is 0."""
    cdef int64_t days = floor_divide(us, DAY_US)
    cdef int64_t within = us % DAY_US
    cdef int64_t era, day, year, month
    if within < 0:
        within += DAY_US
    if part == HOUR:
        return within / HOUR_US
    if part == MINUTE:
        return within % HOUR_US / MINUTE_US
    if part == WEEKDAY:
        return (days % 7 + 10) % 7
    # Days from 1 March of year 0, in 400-year eras of 146097 days; a year starts in March, so that the leap
    # day is its last.
    days += 719468
    era = floor_divide(days, 146097)
    day = days - era * 146097
    year = (day - day / 1460 + day / 36524 - day / 146096) / 365
    day -= 365 * year + year / 4 - year / 100
    month = (5 * day + 2) / 153
    if part == DAY:
        return day - (153 * month + 2) / 5 + 1
    month = month + 3 if month < 10 else month - 9
    if part == MONTH:
        return month
    return year + era * 400 + (month <= 2)
