# Numbers of JSON, exactly rounded.


cdef enum:
    # Longer literals are refused: no double needs more than 17 digits, nor one written exactly more than 767.
    MAX_NUMBER_CHARS = 1024

cdef double[23] POWERS_OF_TEN
cdef int _power
for _power in range(23):
    POWERS_OF_TEN[_power] = 10.0 ** _power

# Whole numbers above it are not all doubles, so a double above it may not be what was written.
cdef double MAX_EXACT = 9007199254740992.0

cdef struct Number:
    Place start
    Place end
    bint whole
    # Whole numbers within int64; `fits` says whether this is one.
    bint fits
    int64_t integer
    double real


cdef Place read_number(Place p, Place end, Number* number) noexcept nogil:
    """A number of RFC 8259, section 6. `real` is the nearest double: infinite where it is too large, NaN never."""
    cdef bint negative = p[0] == c"-"
    cdef uint64_t mantissa = 0
    cdef int digits = 0
    cdef int64_t scale = 0
    cdef int64_t exponent = 0
    cdef bint exponent_negative = False
    number.start = p
    number.whole = True
    if negative:
        p += 1
    if not is_digit(p, end):
        return NULL
    if p[0] == c"0":
        p += 1
        if is_digit(p, end):
            return NULL
    while is_digit(p, end):
        # The first digit is not zero: leading zeros were refused.
        if digits < 19:
            mantissa = mantissa * 10 + (p[0] - c"0")
        digits += digits < 1 << 20
        p += 1
    if p < end and p[0] == c".":
        number.whole = False
        p += 1
        if not is_digit(p, end):
            return NULL
        while is_digit(p, end):
            if digits < 19:
                mantissa = mantissa * 10 + (p[0] - c"0")
                scale -= 1
            digits += (mantissa != 0) & (digits < 1 << 20)
            p += 1
    if p < end and (p[0] == c"e" or p[0] == c"E"):
        number.whole = False
        p += 1
        if p < end and (p[0] == c"+" or p[0] == c"-"):
            exponent_negative = p[0] == c"-"
            p += 1
        if not is_digit(p, end):
            return NULL
        while is_digit(p, end):
            if exponent < 100000:
                exponent = exponent * 10 + (p[0] - c"0")
            p += 1
        scale += -exponent if exponent_negative else exponent
    number.end = p
    number.fits = number.whole and digits <= 19 and mantissa <= <uint64_t>INT64_MAX + negative
    if number.fits:
        number.integer = <int64_t>(0 - mantissa if negative else mantissa)
    if digits <= 19 and mantissa <= <uint64_t>MAX_EXACT and -22 <= scale <= 22:
        # Both are exact doubles, so one operation rounds once (Clinger, 1990).
        number.real = <double>mantissa
        if scale < 0:
            number.real /= POWERS_OF_TEN[-scale]
        else:
            number.real *= POWERS_OF_TEN[scale]
        if negative:
            number.real = -number.real
    else:
        number.real = slow_double(number.start, p - number.start)
    return p


cdef double slow_double(Place start, Py_ssize_t size) noexcept nogil:
    cdef char[MAX_NUMBER_CHARS + 1] text
    if size > MAX_NUMBER_CHARS:
        # Refused by its length, whatever it is.
        return 0.0
    memcpy(text, start, size)
    text[size] = 0
    return read_double(text)
