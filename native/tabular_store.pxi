# The end of a chain: its block becomes columns of the output.


cdef enum OutputType:
    FP32 = 0
    FP64 = 1
    INT64 = 2

ctypedef fused Element:
    float
    double
    int64_t


cdef void store(
    const Block* block, Element* out, Py_ssize_t row_elements, Py_ssize_t one_hot
) noexcept nogil:
    """Writes one column, or sets one of `one_hot` columns that hold zeros; `out` is the first of the block's."""
    cdef Py_ssize_t i
    cdef int64_t index
    if one_hot:
        for i in range(block.rows):
            index = block.integers[i]
            if not block.missing[i] and 0 <= index < one_hot:
                out[i * row_elements + index] = 1
    elif block.state == NUMBER:
        for i in range(block.rows):
            out[i * row_elements] = <Element>block.numbers[i]
    elif Element is int64_t:
        for i in range(block.rows):
            out[i * row_elements] = 0 if block.missing[i] else block.integers[i]
    else:
        for i in range(block.rows):
            # By way of float64, as an array of integers becomes one of float64 before it is cast.
            out[i * row_elements] = <Element>NAN if block.missing[i] else <Element><double>block.integers[i]


cdef void store_as(
    const Block* block, char* out, int output_type, Py_ssize_t row_elements, Py_ssize_t offset, Py_ssize_t one_hot
) noexcept nogil:
    """`out` is where the block's first row begins."""
    if output_type == FP32:
        store[float](block, <float*>out + offset, row_elements, one_hot)
    elif output_type == FP64:
        store[double](block, <double*>out + offset, row_elements, one_hot)
    else:
        store[int64_t](block, <int64_t*>out + offset, row_elements, one_hot)


cdef Py_ssize_t item_bytes(int output_type) noexcept nogil:
    return 4 if output_type == FP32 else 8
