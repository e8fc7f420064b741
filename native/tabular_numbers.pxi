# Columns of floats, as they come in a tensor.


def copy_floats(data, values, missing):
    """float32 or float64 elements as float64, and which of them are NaN; whether one is infinite.

    data: a buffer of [rows] elements, at any address; values: float64 [rows]; missing: a byte a row. The GIL is
    kept: a row takes a nanosecond.
    """
    cdef Py_buffer[3] views
    cdef Py_ssize_t held = 0
    cdef Py_ssize_t i, rows
    cdef double* out
    cdef uint8_t* gone
    cdef float narrow
    cdef double wide
    cdef bint single
    cdef bint infinite = False
    try:
        PyObject_GetBuffer(data, &views[0], PyBUF_SIMPLE)
        held = 1
        PyObject_GetBuffer(values, &views[1], PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
        held = 2
        PyObject_GetBuffer(missing, &views[2], PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
        held = 3
        rows = views[2].len
        if rows != views[1].len // 8 or <size_t>views[1].buf & 7:
            raise ValueError(f"expected {rows} aligned float64, came {views[1].len} bytes")
        single = rows == views[0].len // 4 and rows * 4 == views[0].len and rows > 0
        if not single and rows * 8 != views[0].len:
            raise ValueError(f"expected {rows} float32 or float64, came {views[0].len} bytes")
        out = <double*>views[1].buf
        gone = <uint8_t*>views[2].buf
        for i in range(rows):
            if single:
                memcpy(&narrow, <const char*>views[0].buf + 4 * i, 4)
                wide = narrow
            else:
                memcpy(&wide, <const char*>views[0].buf + 8 * i, 8)
            out[i] = wide
            gone[i] = isnan(wide)
            infinite |= isinf(wide)
        return infinite
    finally:
        for i in range(held):
            PyBuffer_Release(&views[i])
