# A value of any kind, checked and passed over.


cdef enum:
    # A row is flat, so what is nested is wrong anyway; only how deep it may be before it is no row at all.
    MAX_DEPTH = 32


cdef inline Place skip_word(Place p, Place end, const char* word, Py_ssize_t size) noexcept nogil:
    if size > end - p or memcmp(p, word, size) != 0:
        return NULL
    return p + size


cdef inline Place skip_string(Place p, Place end, uint8_t* scratch) noexcept nogil:
    """From the opening quote; `scratch` has room for the text."""
    cdef bint escaped
    cdef Place close = string_end(p + 1, end, &escaped)
    if close == NULL or (escaped and unescape(p + 1, close, scratch) < 0):
        return NULL
    return close + 1


cdef Place skip_value(Place p, Place end, uint8_t* scratch, int depth) noexcept nogil:
    """Behind the value at `p`, or NULL where it is not JSON or too deep."""
    cdef Number number
    cdef uint8_t close
    if p >= end:
        return NULL
    if p[0] == c'"':
        return skip_string(p, end, scratch)
    if p[0] == c"t":
        return skip_word(p, end, "true", 4)
    if p[0] == c"f":
        return skip_word(p, end, "false", 5)
    if p[0] == c"n":
        return skip_word(p, end, "null", 4)
    if p[0] != c"{" and p[0] != c"[":
        return read_number(p, end, &number)
    if depth >= MAX_DEPTH:
        return NULL
    close = c"}" if p[0] == c"{" else c"]"
    p = skip_space(p + 1, end)
    if p < end and p[0] == close:
        return p + 1
    while True:
        if close == c"}":
            if p >= end or p[0] != c'"':
                return NULL
            p = skip_string(p, end, scratch)
            if p == NULL:
                return NULL
            p = skip_space(p, end)
            if p >= end or p[0] != c":":
                return NULL
            p = skip_space(p + 1, end)
        p = skip_value(p, end, scratch, depth + 1)
        if p == NULL:
            return NULL
        p = skip_space(p, end)
        if p >= end:
            return NULL
        if p[0] == close:
            return p + 1
        if p[0] != c",":
            return NULL
        p = skip_space(p + 1, end)
