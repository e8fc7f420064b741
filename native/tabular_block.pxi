# A block of rows on its way from a column to the output, and where it is read from.


cdef enum:
    # Rows of a block: its scratch (33 bytes a row) and a hundred float32 features of it stay in 128 KiB.
    BLOCK = 128
    # Slots of a table are numbered with 32 bits.
    MAX_CATEGORIES = 1 << 30

ctypedef const uint8_t* Text

cdef enum State:
    NUMBER = 0
    INTEGER = 1
    TEXT = 2

cdef struct Source:
    # Of NUMBER values are doubles; of INTEGER int64; of TEXT the starts of the texts in `data`.
    const void* values
    const uint8_t* missing
    const int64_t* lengths
    const uint8_t* data
    Py_ssize_t data_bytes

cdef struct Block:
    Py_ssize_t rows
    int state
    double[BLOCK] numbers
    int64_t[BLOCK] integers
    Text[BLOCK] texts
    int64_t[BLOCK] lengths
    uint8_t[BLOCK] missing
    # A rule of `operations.Rule` that a row of this chain broke, or 0.
    uint8_t[BLOCK] broken


@cython.final
cdef class Vocabulary:
    """Categories, by their bytes, and a number for each; unchanging."""

    cdef vocabulary table

    def __cinit__(self, list keys not None, values not None):
        cdef Py_ssize_t i
        cdef Py_ssize_t total = 0
        cdef bytes key
        if len(keys) > MAX_CATEGORIES:
            raise ValueError(f"expected at most {MAX_CATEGORIES} categories, came {len(keys)}")
        if len(values) != len(keys):
            raise ValueError(f"expected a value for each of {len(keys)} categories, came {len(values)}")
        for key in keys:
            total += len(key)
        if vocabulary_reserve(&self.table, len(keys), total) < 0:
            raise MemoryError
        for i in range(len(keys)):
            key = keys[i]
            if vocabulary_add(&self.table, <const uint8_t*><const char*>key, len(key), values[i]) < 0:
                raise ValueError(f"category {key!r:.80} is listed twice")

    def __dealloc__(self):
        vocabulary_clear(&self.table)

    def __len__(self):
        return self.table.count

    def find(self, bytes key not None):
        """The number of `key`, or None."""
        cdef int64_t entry = vocabulary_find(&self.table, <const uint8_t*><const char*>key, len(key))
        return None if entry < 0 else self.table.values[entry]


def hash_bytes(bytes data not None, unsigned long long seed=0):
    """XXH64 of `data`."""
    return xx_hash(<const uint8_t*><const char*>data, len(data), seed)


cdef int load(Block* block, const Source* source, int state, Py_ssize_t start, Py_ssize_t rows) noexcept nogil:
    """The rows from `start` on of a column; -1 where a text lies outside its data."""
    cdef Py_ssize_t i
    cdef const double* numbers
    cdef const int64_t* integers = <const int64_t*>source.values + start
    cdef int64_t size
    block.rows = rows
    block.state = state
    memset(block.broken, 0, rows)
    memcpy(block.missing, source.missing + start, rows)
    if state == NUMBER:
        numbers = <const double*>source.values + start
        for i in range(rows):
            block.numbers[i] = NAN if block.missing[i] else numbers[i]
    elif state == INTEGER:
        memcpy(block.integers, integers, rows * sizeof(int64_t))
    else:
        for i in range(rows):
            size = source.lengths[start + i]
            if size < 0 or integers[i] < 0 or size > source.data_bytes or integers[i] > source.data_bytes - size:
                return -1
            block.texts[i] = source.data + integers[i]
            block.lengths[i] = size
    return 0
