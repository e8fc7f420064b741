# Dates of ISO 8601, in the proleptic Gregorian calendar.

cdef int64_t DAY_US = 86400000000
# 0001-01-01 and the last microsecond of 9999.
cdef int64_t MIN_DATE_US = -62135596800000000
cdef int64_t MAX_DATE_US = 253402300799999999


cdef inline bint is_digit(Place p, Place end) noexcept nogil:
    return p < end and c"0" <= p[0] <= c"9"


cdef int two_digits(Place p, Place end) noexcept nogil:
    """The number that two digits make, or -1."""
    if 2 > end - p or not is_digit(p, end) or not is_digit(p + 1, end):
        return -1
    return (p[0] - c"0") * 10 + (p[1] - c"0")


cdef int64_t days_from_1970(int64_t year, int month, int day) noexcept nogil:
    """Days of the proleptic Gregorian calendar. Years start in March here, so that the leap day is the last."""
    cdef int64_t era_year
    if month <= 2:
        year -= 1
    month = month - 3 if month > 2 else month + 9
    era_year = year % 400
    return year / 400 * 146097 + era_year * 365 + era_year / 4 - era_year / 100 + (153 * month + 2) / 5 + day - 719469


cdef int days_of_month(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef bint read_date(Place p, Place end, int64_t* us) noexcept nogil:
    """YYYY-MM-DD, and with T or a space HH:MM, :SS, .fraction and Z or ±HH:MM; without these it is UTC.

    A fraction is cut to microseconds. Whether all of the text is such a date, from year 1 to 9999.
    """
    cdef int century = two_digits(p, end)
    cdef int year, month, day, hour, minute, second, offset_hour, offset_minute, fraction_digits
    cdef int64_t fraction
    cdef bint west
    if century < 0 or 10 > end - p or p[4] != c"-" or p[7] != c"-":
        return False
    year = two_digits(p + 2, end)
    month = two_digits(p + 5, end)
    day = two_digits(p + 8, end)
    if year < 0 or not 1 <= month <= 12 or day < 1:
        return False
    year += century * 100
    if year < 1 or day > days_of_month(year, month):
        return False
    us[0] = days_from_1970(year, month, day) * DAY_US
    p += 10
    if p == end:
        return True
    if (p[0] != c"T" and p[0] != c" ") or 6 > end - p or p[3] != c":":
        return False
    hour = two_digits(p + 1, end)
    minute = two_digits(p + 4, end)
    if not 0 <= hour <= 23 or not 0 <= minute <= 59:
        return False
    us[0] += (hour * 60 + minute) * <int64_t>60000000
    p += 6
    if p < end and p[0] == c":":
        second = two_digits(p + 1, end)
        if not 0 <= second <= 59:
            return False
        us[0] += second * <int64_t>1000000
        p += 3
        if p < end and p[0] == c".":
            p += 1
            fraction = 0
            fraction_digits = 0
            while is_digit(p, end):
                if fraction_digits < 6:
                    fraction = fraction * 10 + (p[0] - c"0")
                fraction_digits += 1
                p += 1
                if fraction_digits > 9:
                    return False
            if fraction_digits == 0:
                return False
            while fraction_digits < 6:
                fraction *= 10
                fraction_digits += 1
            us[0] += fraction
    if p < end and p[0] == c"Z":
        p += 1
    elif p < end and (p[0] == c"+" or p[0] == c"-"):
        west = p[0] == c"-"
        offset_hour = two_digits(p + 1, end)
        offset_minute = two_digits(p + 4, end) if 6 <= end - p and p[3] == c":" else -1
        if not 0 <= offset_hour <= 23 or not 0 <= offset_minute <= 59:
            return False
        p += 6
        us[0] += (offset_hour * 60 + offset_minute) * <int64_t>(60000000 if west else -60000000)
    return p == end and MIN_DATE_US <= us[0] <= MAX_DATE_US
