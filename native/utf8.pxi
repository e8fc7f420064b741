# UTF-8, checked before anything else looks at a text.

ctypedef const uint8_t* Place

# Where eight bytes are all ASCII, none of these bits is set.
cdef uint64_t HIGH_BITS = 0x8080808080808080


cdef bint is_utf8(Place p, Place end) noexcept nogil:
    """Whether the bytes are UTF-8 by the Unicode standard, table 3-7: no surrogates, nothing overlong."""
    cdef uint64_t eight
    cdef uint8_t lead, least, greatest
    cdef int more
    while p < end:
        if end - p >= 8:
            memcpy(&eight, p, 8)
            if not eight & HIGH_BITS:
                p += 8
                continue
        lead = p[0]
        p += 1
        if lead < 0x80:
            continue
        least = 0x80
        greatest = 0xBF
        if 0xC2 <= lead <= 0xDF:
            more = 1
        elif 0xE0 <= lead <= 0xEF:
            more = 2
            if lead == 0xE0:
                least = 0xA0
            elif lead == 0xED:
                greatest = 0x9F
        elif 0xF0 <= lead <= 0xF4:
            more = 3
            if lead == 0xF0:
                least = 0x90
            elif lead == 0xF4:
                greatest = 0x8F
        else:
            return False
        if more > end - p or p[0] < least or p[0] > greatest:
            return False
        p += 1
        more -= 1
        while more:
            if p[0] & 0xC0 != 0x80:
                return False
            p += 1
            more -= 1
    return True
