# Strings of a message: datatypes by number, and a bounded cache of the names that come again with every
# request.

# Numbers are those of the protocol's own enum (inference.DataType); 0 is none of them.
cdef enum:
    DATATYPE_UNKNOWN = 0
    DATATYPE_BOOL = 1
    DATATYPE_UINT8 = 2
    DATATYPE_UINT16 = 3
    DATATYPE_UINT32 = 4
    DATATYPE_UINT64 = 5
    DATATYPE_INT8 = 6
    DATATYPE_INT16 = 7
    DATATYPE_INT32 = 8
    DATATYPE_INT64 = 9
    DATATYPE_FP16 = 10
    DATATYPE_FP32 = 11
    DATATYPE_FP64 = 12
    DATATYPE_BYTES = 13
    DATATYPE_BF16 = 14
    DATATYPE_COUNT = 15

cdef tuple datatype_names = (
    "", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "BYTES", "BF16",
)

# Bytes of an element; BYTES elements have no fixed size.
cdef Py_ssize_t[DATATYPE_COUNT] item_bytes
item_bytes[:] = [0, 1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8, 0, 2]


cdef inline int datatype_number(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    cdef const char* text = <const char*>p
    if size == 4:
        if memcmp(text, b"FP32", 4) == 0:
            return DATATYPE_FP32
        if memcmp(text, b"BOOL", 4) == 0:
            return DATATYPE_BOOL
        if memcmp(text, b"INT8", 4) == 0:
            return DATATYPE_INT8
        if memcmp(text, b"FP16", 4) == 0:
            return DATATYPE_FP16
        if memcmp(text, b"FP64", 4) == 0:
            return DATATYPE_FP64
        if memcmp(text, b"BF16", 4) == 0:
            return DATATYPE_BF16
    elif size == 5:
        if memcmp(text, b"INT32", 5) == 0:
            return DATATYPE_INT32
        if memcmp(text, b"INT64", 5) == 0:
            return DATATYPE_INT64
        if memcmp(text, b"BYTES", 5) == 0:
            return DATATYPE_BYTES
        if memcmp(text, b"UINT8", 5) == 0:
            return DATATYPE_UINT8
        if memcmp(text, b"INT16", 5) == 0:
            return DATATYPE_INT16
    elif size == 6:
        if memcmp(text, b"UINT16", 6) == 0:
            return DATATYPE_UINT16
        if memcmp(text, b"UINT32", 6) == 0:
            return DATATYPE_UINT32
        if memcmp(text, b"UINT64", 6) == 0:
            return DATATYPE_UINT64
    return DATATYPE_UNKNOWN


cdef inline int datatype_of(str name) except -1:
    cdef Py_ssize_t size
    cdef const char* text = PyUnicode_AsUTF8AndSize(name, &size)
    return datatype_number(<const uint8_t*>text, size)


cdef str read_text(const uint8_t* p, Py_ssize_t size):
    """A new string, or None where the bytes are no UTF-8."""
    cdef PyObject* text
    cdef str result
    if size == 0:
        return ""
    text = PyUnicode_DecodeUTF8(<const char*>p, size, NULL)
    if text == NULL:
        if not PyErr_ExceptionMatches(UnicodeDecodeError):
            PyErr_Clear()
            raise MemoryError
        PyErr_Clear()
        return None
    result = <str>text
    Py_XDECREF(text)
    return result


# Direct-mapped: a name goes where its hash says, and the one that was there is forgotten. Names come from
# outside, so both figures are bounds on memory: 256 strings of at most 64 characters.
cdef enum:
    NAME_SLOTS = 256
    MAX_KEPT_NAME_BYTES = 64

ctypedef PyObject* KeptName

cdef KeptName[NAME_SLOTS] kept_names


cdef inline uint32_t name_slot(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    """Mixes the first and the last eight bytes: names of one model mostly differ there."""
    cdef uint64_t head = 0
    cdef uint64_t tail = 0
    cdef Py_ssize_t width = size if size < 8 else 8
    memcpy(&head, p, width)
    memcpy(&tail, p + size - width, width)
    head = (head ^ (tail * <uint64_t>0x9E3779B97F4A7C15) ^ <uint64_t>size) * <uint64_t>0xD6E8FEB86659FD93
    return <uint32_t>(head >> 56)


cdef str read_name(const uint8_t* p, Py_ssize_t size):
    """As read_text; a name that was met lately comes as the same object, and compares by pointer."""
    cdef PyObject* kept
    cdef uint32_t slot
    cdef str name
    if size == 0 or size > MAX_KEPT_NAME_BYTES:
        return read_text(p, size)
    slot = name_slot(p, size)
    kept = kept_names[slot]
    if kept != NULL and PyUnicode_GET_LENGTH(kept) == size and memcmp(PyUnicode_DATA(kept), p, size) == 0:
        return <str>kept
    name = read_text(p, size)
    if name is not None:
        keep_name(name, slot)
    return name


cdef inline void keep_name(str name, uint32_t slot) noexcept:
    cdef PyObject* before = kept_names[slot]
    if PyUnicode_IS_COMPACT_ASCII(<PyObject*>name):
        Py_INCREF(name)
        kept_names[slot] = <PyObject*>name
        Py_XDECREF(before)


cdef str remember_name(str name):
    """The kept object of a name that a model declares, so that requests arrive with the very same one."""
    cdef Py_ssize_t size
    cdef const char* text = PyUnicode_AsUTF8AndSize(name, &size)
    return read_name(<const uint8_t*>text, size)
