# White space and strings of JSON. A `Place` result is where reading goes on; NULL: not JSON.


cdef inline Place skip_space(Place p, Place end) noexcept nogil:
    while p < end and (p[0] == c" " or p[0] == c"\n" or p[0] == c"\t" or p[0] == c"\r"):
        p += 1
    return p


cdef inline Place string_end(Place p, Place end, bint* escaped) noexcept nogil:
    """From behind the opening quote to the closing one."""
    escaped[0] = False
    while p < end:
        if p[0] == c'"':
            return p
        if p[0] < 0x20:
            return NULL
        if p[0] == c"\\":
            escaped[0] = True
            p += 1
            if p >= end:
                return NULL
        p += 1
    return NULL


cdef int hex4(Place p, Place end, uint32_t* value) noexcept nogil:
    cdef int i
    cdef uint8_t digit
    if 4 > end - p:
        return -1
    value[0] = 0
    for i in range(4):
        digit = p[i]
        if c"0" <= digit <= c"9":
            digit -= c"0"
        elif c"a" <= digit <= c"f":
            digit -= c"a" - 10
        elif c"A" <= digit <= c"F":
            digit -= c"A" - 10
        else:
            return -1
        value[0] = value[0] << 4 | digit
    return 0


cdef Py_ssize_t put_utf8(uint8_t* out, uint32_t point) noexcept nogil:
    if point < 0x80:
        out[0] = point
        return 1
    if point < 0x800:
        out[0] = 0xC0 | point >> 6
        out[1] = 0x80 | (point & 0x3F)
        return 2
    if point < 0x10000:
        out[0] = 0xE0 | point >> 12
        out[1] = 0x80 | (point >> 6 & 0x3F)
        out[2] = 0x80 | (point & 0x3F)
        return 3
    out[0] = 0xF0 | point >> 18
    out[1] = 0x80 | (point >> 12 & 0x3F)
    out[2] = 0x80 | (point >> 6 & 0x3F)
    out[3] = 0x80 | (point & 0x3F)
    return 4


cdef Py_ssize_t unescape(Place p, Place end, uint8_t* out) noexcept nogil:
    """Writes the text between the quotes, at most `end - p` bytes; returns its size, or -1: not JSON."""
    cdef uint8_t* start = out
    cdef uint32_t point, low
    cdef uint8_t kind
    while p < end:
        if p[0] != c"\\":
            out[0] = p[0]
            out += 1
            p += 1
            continue
        # `string_end` saw that something follows the backslash.
        kind = p[1]
        p += 2
        if kind == c'"' or kind == c"\\" or kind == c"/":
            point = kind
        elif kind == c"b":
            point = 8
        elif kind == c"f":
            point = 12
        elif kind == c"n":
            point = 10
        elif kind == c"r":
            point = 13
        elif kind == c"t":
            point = 9
        elif kind == c"u":
            if hex4(p, end, &point) < 0:
                return -1
            p += 4
            if 0xD800 <= point < 0xE000:
                # Half of a pair alone is no text that UTF-8 can hold.
                if point >= 0xDC00 or 2 > end - p or p[0] != c"\\" or p[1] != c"u" or hex4(p + 2, end, &low) < 0:
                    return -1
                if not 0xDC00 <= low < 0xE000:
                    return -1
                point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00)
                p += 6
        else:
            return -1
        out += put_utf8(out, point)
    return out - start
