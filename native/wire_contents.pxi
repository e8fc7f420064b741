# Typed contents (InferTensorContents): checked and counted while the request is parsed, made into raw form
# once the tensor's datatype and shape are known to be right.

# Lists of InferTensorContents by field number.
cdef enum:
    CONTENTS_BOOL = 1
    CONTENTS_INT = 2
    CONTENTS_INT64 = 3
    CONTENTS_UINT = 4
    CONTENTS_UINT64 = 5
    CONTENTS_FP32 = 6
    CONTENTS_FP64 = 7
    CONTENTS_BYTES = 8
    CONTENTS_COUNT = 9

# The list of each datatype; 0 where there is none.
cdef int[DATATYPE_COUNT] contents_of
contents_of[:] = [
    0, CONTENTS_BOOL, CONTENTS_UINT, CONTENTS_UINT, CONTENTS_UINT, CONTENTS_UINT64,
    CONTENTS_INT, CONTENTS_INT, CONTENTS_INT, CONTENTS_INT64,
    0, CONTENTS_FP32, CONTENTS_FP64, CONTENTS_BYTES, 0,
]

cdef tuple contents_names = (
    "", "bool_contents", "int_contents", "int64_contents", "uint_contents", "uint64_contents",
    "fp32_contents", "fp64_contents", "bytes_contents",
)

# What the elements of int_contents and uint_contents may be, by datatype.
cdef int64_t[DATATYPE_COUNT] lowest
cdef int64_t[DATATYPE_COUNT] highest
lowest[:] = [0, 0, 0, 0, 0, 0, -0x80, -0x8000, -0x80000000, 0, 0, 0, 0, 0, 0]
highest[:] = [0, 0, 0xFF, 0xFFFF, 0xFFFFFFFF, 0, 0x7F, 0x7FFF, 0x7FFFFFFF, 0, 0, 0, 0, 0, 0]


@cython.final
@cython.no_gc
cdef class Contents:
    """The contents of one tensor, as they stand in the body."""

    # All occurrences one after the other, where there are more than one: parsing that merges them.
    cdef bytearray merged
    cdef const uint8_t* first
    cdef Py_ssize_t first_bytes
    cdef Py_ssize_t[CONTENTS_COUNT] counts
    # BYTES elements take these many bytes, without their lengths.
    cdef Py_ssize_t element_bytes

    cdef int add(self, const uint8_t* p, Py_ssize_t size, int depth_left) except RAISED:
        """Take an occurrence, checked."""
        if scan_contents(p, p + size, self, depth_left) != OK:
            return MALFORMED
        if self.first == NULL:
            self.first = p
            self.first_bytes = size
        elif size > 0:
            if self.merged is None:
                self.merged = bytearray()
                append_bytes(self.merged, self.first, self.first_bytes)
            append_bytes(self.merged, p, size)
        return OK


cdef int append_bytes(bytearray target, const uint8_t* p, Py_ssize_t size) except -1:
    cdef Py_ssize_t before = PyByteArray_GET_SIZE(target)
    PyByteArray_Resize(target, before + size)
    put_bytes(<uint8_t*>PyByteArray_AS_STRING(target) + before, p, size)
    return 0


cdef int scan_contents(const uint8_t* p, const uint8_t* end, Contents contents, int depth_left) noexcept:
    """Check an occurrence and count its elements."""
    cdef uint32_t tag, number
    cdef Py_ssize_t length
    cdef uint64_t value
    cdef const uint8_t* stop
    while p < end:
        if read_tag(&p, end, &tag) != OK:
            return MALFORMED
        number = tag >> 3
        if tag & 7 == WIRE_LENGTH and number < CONTENTS_COUNT:
            if read_length(&p, end, &length) != OK:
                return MALFORMED
            if number == CONTENTS_BYTES:
                contents.counts[CONTENTS_BYTES] += 1
                contents.element_bytes += length
                p += length
            elif number == CONTENTS_FP32:
                if length % 4:
                    return MALFORMED
                contents.counts[CONTENTS_FP32] += length // 4
                p += length
            elif number == CONTENTS_FP64:
                if length % 8:
                    return MALFORMED
                contents.counts[CONTENTS_FP64] += length // 8
                p += length
            else:
                stop = p + length
                while p < stop:
                    if read_varint(&p, stop, &value) != OK:
                        return MALFORMED
                    contents.counts[number] += 1
        elif tag & 7 == WIRE_VARINT and number <= CONTENTS_UINT64:
            if read_varint(&p, end, &value) != OK:
                return MALFORMED
            contents.counts[number] += 1
        elif tag == CONTENTS_FP32 << 3 | WIRE_FIXED32:
            if skip_bytes(&p, end, 4) != OK:
                return MALFORMED
            contents.counts[CONTENTS_FP32] += 1
        elif tag == CONTENTS_FP64 << 3 | WIRE_FIXED64:
            if skip_bytes(&p, end, 8) != OK:
                return MALFORMED
            contents.counts[CONTENTS_FP64] += 1
        elif skip_field(&p, end, tag, depth_left) != OK:
            return MALFORMED
    return OK


cdef struct Range:
    int64_t low
    int64_t high
    # The first value outside, where `index` is not -1.
    Py_ssize_t index
    int64_t value


cdef inline uint8_t* put_number(
    uint8_t* out, uint64_t value, int datatype, Py_ssize_t index, Range* allowed
) noexcept nogil:
    """Append one element in its own width, as protobuf cuts it to the type of its list."""
    cdef int64_t number
    if datatype == DATATYPE_BOOL:
        out[0] = value != 0
        return out + 1
    if datatype == DATATYPE_INT64 or datatype == DATATYPE_UINT64:
        memcpy(out, &value, 8)
        return out + 8
    if contents_of[datatype] == CONTENTS_INT:
        number = <int32_t><uint32_t>value
    else:
        number = <uint32_t>value
    if (number < allowed.low or number > allowed.high) and allowed.index == -1:
        allowed.index = index
        allowed.value = number
    value = <uint64_t>number
    # The machine is little-endian, so the low bytes stand first.
    memcpy(out, &value, item_bytes[datatype])
    return out + item_bytes[datatype]


cdef void convert_contents(
    const uint8_t* p, const uint8_t* end, int datatype, uint8_t* out, Range* allowed
) noexcept nogil:
    """Write the raw form of contents that scan_contents took and that hold no list but that of `datatype`."""
    cdef uint32_t tag
    cdef uint32_t little
    cdef int number = contents_of[datatype]
    cdef Py_ssize_t length
    cdef Py_ssize_t index = 0
    cdef uint64_t value
    cdef const uint8_t* stop
    while p < end:
        if read_tag(&p, end, &tag) != OK:
            return
        if tag >> 3 != <uint32_t>number:
            if skip_field(&p, end, tag, MAX_DEPTH) != OK:
                return
        elif tag & 7 == WIRE_LENGTH:
            if read_length(&p, end, &length) != OK:
                return
            if number == CONTENTS_BYTES:
                little = <uint32_t>length
                memcpy(out, &little, 4)
                out = put_bytes(out + 4, p, length)
                p += length
            elif number == CONTENTS_FP32 or number == CONTENTS_FP64:
                out = put_bytes(out, p, length)
                p += length
            else:
                stop = p + length
                while p < stop:
                    if read_varint(&p, stop, &value) != OK:
                        return
                    out = put_number(out, value, datatype, index, allowed)
                    index += 1
        elif tag & 7 == WIRE_VARINT and number <= CONTENTS_UINT64:
            if read_varint(&p, end, &value) != OK:
                return
            out = put_number(out, value, datatype, index, allowed)
            index += 1
        elif tag & 7 == WIRE_FIXED32 and number == CONTENTS_FP32:
            out = put_bytes(out, p, 4)
            p += 4
        elif tag & 7 == WIRE_FIXED64 and number == CONTENTS_FP64:
            out = put_bytes(out, p, 8)
            p += 8
        elif skip_field(&p, end, tag, MAX_DEPTH) != OK:
            return


cdef const uint8_t* only_chunk(Contents contents, int number, Py_ssize_t size) noexcept:
    """Where a list of floats stands in the body as one packed piece, or NULL."""
    cdef const uint8_t* p = contents.first
    cdef const uint8_t* end = p + contents.first_bytes
    cdef uint32_t tag
    cdef Py_ssize_t length
    if contents.merged is not None or read_tag(&p, end, &tag) != OK:
        return NULL
    if tag != <uint32_t>(number << 3 | WIRE_LENGTH) or read_length(&p, end, &length) != OK:
        return NULL
    return p if length == size else NULL
