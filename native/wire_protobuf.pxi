# The protobuf wire format: variable-length integers, tags, lengths, and what is skipped. Every read of the
# body is behind a comparison of a size with what remains, which cannot overflow.

cdef enum:
    WIRE_VARINT = 0
    WIRE_FIXED64 = 1
    WIRE_LENGTH = 2
    WIRE_GROUP = 3
    WIRE_GROUP_END = 4
    WIRE_FIXED32 = 5

# Messages and unknown groups may be nested so deep, as protobuf's own parsers have it: a stack bound.
cdef enum:
    MAX_DEPTH = 100

cdef enum:
    MAX_VARINT_BYTES = 10

# Protobuf messages are at most this long; parsers refuse what is longer.
cdef int64_t MAX_MESSAGE_BYTES = 0x7FFFFFFF


cdef inline int read_varint(const uint8_t** at, const uint8_t* end, uint64_t* value) noexcept nogil:
    """At most ten bytes; bits over the 64th are dropped."""
    cdef const uint8_t* p = at[0]
    cdef uint64_t result
    cdef uint8_t byte
    cdef int shift = 0
    if 1 > end - p:
        return MALFORMED
    result = p[0]
    p += 1
    if result >= 0x80:
        result &= 0x7F
        byte = 0x80
        while byte >= 0x80:
            shift += 7
            if 1 > end - p or shift > 63:
                return MALFORMED
            byte = p[0]
            result |= <uint64_t>(byte & 0x7F) << shift
            p += 1
    value[0] = result
    at[0] = p
    return OK


cdef inline int read_tag(const uint8_t** at, const uint8_t* end, uint32_t* tag) noexcept nogil:
    """Field number times eight, plus the wire type: at most five bytes, at most 32 bits, and no field 0."""
    cdef const uint8_t* start = at[0]
    cdef uint64_t value
    if read_varint(at, end, &value) != OK:
        return MALFORMED
    if at[0] - start > 5 or value > UINT32_MAX or value < 8:
        return MALFORMED
    tag[0] = <uint32_t>value
    return OK


cdef inline int read_length(const uint8_t** at, const uint8_t* end, Py_ssize_t* length) noexcept nogil:
    """A length that what remains can hold."""
    cdef uint64_t value
    if read_varint(at, end, &value) != OK:
        return MALFORMED
    if value > <uint64_t>(end - at[0]):
        return MALFORMED
    length[0] = <Py_ssize_t>value
    return OK


cdef inline int skip_bytes(const uint8_t** at, const uint8_t* end, Py_ssize_t size) noexcept nogil:
    if size > end - at[0]:
        return MALFORMED
    at[0] += size
    return OK


cdef inline int skip_scalar(const uint8_t** at, const uint8_t* end, uint32_t tag) noexcept nogil:
    """Skip a field that is no group."""
    cdef uint64_t value
    cdef Py_ssize_t length
    cdef uint32_t kind = tag & 7
    if kind == WIRE_VARINT:
        return read_varint(at, end, &value)
    if kind == WIRE_FIXED64:
        return skip_bytes(at, end, 8)
    if kind == WIRE_FIXED32:
        return skip_bytes(at, end, 4)
    if kind == WIRE_LENGTH:
        if read_length(at, end, &length) != OK:
            return MALFORMED
        at[0] += length
        return OK
    return MALFORMED


cdef int skip_group(const uint8_t** at, const uint8_t* end, uint32_t number, int depth_left) noexcept nogil:
    """Skip to the end of a group whose start tag was read; the groups within have to be closed in order."""
    cdef uint32_t[MAX_DEPTH] opened
    cdef int count = 1
    cdef uint32_t tag
    if depth_left < 1:
        return MALFORMED
    opened[0] = number
    while count > 0:
        if read_tag(at, end, &tag) != OK:
            return MALFORMED
        if tag & 7 == WIRE_GROUP:
            if count >= depth_left:
                return MALFORMED
            opened[count] = tag >> 3
            count += 1
        elif tag & 7 == WIRE_GROUP_END:
            count -= 1
            if opened[count] != tag >> 3:
                return MALFORMED
        elif skip_scalar(at, end, tag) != OK:
            return MALFORMED
    return OK


cdef int skip_field(const uint8_t** at, const uint8_t* end, uint32_t tag, int depth_left) noexcept nogil:
    """Skip a field that is unknown, or known with another wire type."""
    if tag & 7 == WIRE_GROUP:
        return skip_group(at, end, tag >> 3, depth_left)
    return skip_scalar(at, end, tag)


cdef inline uint8_t* put_varint(uint8_t* p, uint64_t value) noexcept nogil:
    while value >= 0x80:
        p[0] = <uint8_t>(value | 0x80)
        p += 1
        value >>= 7
    p[0] = <uint8_t>value
    return p + 1


cdef inline Py_ssize_t varint_bytes(uint64_t value) noexcept nogil:
    cdef Py_ssize_t size = 1
    while value >= 0x80:
        value >>= 7
        size += 1
    return size


cdef inline uint8_t* put_bytes(uint8_t* p, const void* data, Py_ssize_t size) noexcept nogil:
    if size > 0:
        memcpy(p, data, size)
    return p + size
