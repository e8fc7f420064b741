"""Windows of files: tokens at the beginning, middle and end of each BYTES element, written into the rows of a batch."""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

ctypedef fused Item:
    uint8_t
    uint16_t
    uint32_t
    uint64_t

# The values of a byte, and the padding behind them.
cdef enum:
    TABLE_ITEMS = 257
    PAD = 256

# Tokens written and bytes looked at for white space; a step of either is about a nanosecond at worst. Below this a fill
# is over before another thread could have done much with the GIL.
cdef Py_ssize_t RELEASE_GIL_ABOVE_STEPS = 1 << 15


cdef struct Element:
    const uint8_t* content
    Py_ssize_t size


cdef int next_element(const uint8_t** at, Py_ssize_t* remaining, Element* element) noexcept nogil:
    """Steps over one length and its bytes; -1 where they are cut off."""
    cdef const uint8_t* head = at[0]
    cdef size_t length
    if 4 > remaining[0]:
        return -1
    length = head[0] | (<size_t> head[1] << 8) | (<size_t> head[2] << 16) | (<size_t> head[3] << 24)
    if length > <size_t> (remaining[0] - 4):
        return -1
    element.content = head + 4
    element.size = <Py_ssize_t> length
    at[0] = head + 4 + length
    remaining[0] -= 4 + <Py_ssize_t> length
    return 0


cdef inline bint is_space(uint8_t byte) noexcept nogil:
    """As `bytes.lstrip` has it: tab, line feed, vertical tab, form feed, carriage return, space."""
    return byte == 32 or 9 <= byte <= 13


cdef void translate(Item* target, const Item* table, const uint8_t* content, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        target[i] = table[content[i]]


cdef void pad(Item* target, Item token, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        target[i] = token


cdef class Windows:
    """The windows of one model's input.

    table: the elements that stand for the 256 values of a byte, and the padding as the 257th, `item_bytes` (1, 2, 4 or
    8) each. A row is `begin` + `middle` + `end` elements. Immutable, so threads may share it.
    """

    cdef readonly Py_ssize_t begin
    cdef readonly Py_ssize_t middle
    cdef readonly Py_ssize_t end
    cdef readonly Py_ssize_t block
    cdef readonly Py_ssize_t minimum
    cdef readonly bint strip
    cdef readonly Py_ssize_t item_bytes
    cdef uint8_t table[TABLE_ITEMS * 8]

    def __init__(
        self,
        *,
        Py_ssize_t begin,
        Py_ssize_t middle,
        Py_ssize_t end,
        Py_ssize_t block,
        bint strip,
        Py_ssize_t minimum,
        bytes table not None,
        Py_ssize_t item_bytes,
    ):
        """Raises ValueError for a negative size, no tokens at all, and a table that is not 257 elements."""
        if begin < 0 or middle < 0 or end < 0 or block < 1 or minimum < 0 or begin + middle + end < 1:
            raise ValueError("expected sizes that are not negative, and at least one token")
        if item_bytes not in (1, 2, 4, 8) or len(table) != TABLE_ITEMS * item_bytes:
            raise ValueError(f"expected {TABLE_ITEMS} elements of 1, 2, 4 or 8 bytes, got {len(table)} bytes")
        self.begin, self.middle, self.end = begin, middle, end
        self.block, self.strip, self.minimum = block, strip, minimum
        self.item_bytes = item_bytes
        memcpy(self.table, <const char*> table, len(table))

    @property
    def tokens(self):
        return self.begin + self.middle + self.end

    cdef Py_ssize_t leading(self, const Element* element) noexcept nogil:
        """How many bytes the strip takes from the front of the first block."""
        cdef Py_ssize_t size = min(element.size, self.block)
        cdef Py_ssize_t at = 0
        if self.strip:
            while at < size and is_space(element.content[at]):
                at += 1
        return at

    cdef void row(self, Item* target, const Element* element) noexcept nogil:
        cdef const Item* table = <const Item*> self.table
        cdef Py_ssize_t block = min(element.size, self.block)
        cdef Py_ssize_t first, size, room
        if self.begin:
            first = self.leading(element)
            size = min(block - first, self.begin)
            translate(target, table, element.content + first, size)
            pad(target + size, table[PAD], self.begin - size)
            target += self.begin
        if self.middle:
            size = min(element.size, self.middle)
            translate(target, table, element.content + (element.size - size) // 2, size)
            pad(target + size, table[PAD], self.middle - size)
            target += self.middle
        if self.end:
            first = element.size - block
            size = block
            if self.strip:
                while size and is_space(element.content[first + size - 1]):
                    size -= 1
            room = min(size, self.end)
            pad(target, table[PAD], self.end - room)
            translate(target + (self.end - room), table, element.content + first + size - room, room)

    cdef int rows(self, uint8_t* target, Py_ssize_t rows, const uint8_t* data, Py_ssize_t remaining) noexcept nogil:
        """Fills the rows; -1 where the data does not hold exactly so many elements."""
        cdef Py_ssize_t _row
        cdef Py_ssize_t row_bytes = (self.begin + self.middle + self.end) * self.item_bytes
        cdef Element element
        for _row in range(rows):
            if next_element(&data, &remaining, &element) < 0:
                return -1
            if self.item_bytes == 1:
                self.row[uint8_t](target, &element)
            elif self.item_bytes == 2:
                self.row[uint16_t](<uint16_t*> target, &element)
            elif self.item_bytes == 4:
                self.row[uint32_t](<uint32_t*> target, &element)
            else:
                self.row[uint64_t](<uint64_t*> target, &element)
            target += row_bytes
        return -1 if remaining else 0

    def short(self, data not None, Py_ssize_t rows):
        """Rows and sizes of the elements with fewer than `minimum` bytes in the first block, stripped.

        data: the raw form of a BYTES tensor of `rows` elements. Raises ValueError where it is not.
        """
        cdef Py_buffer view
        cdef const uint8_t* at
        cdef Py_ssize_t remaining, row, size
        cdef Element element
        found = []
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            at, remaining = <const uint8_t*> view.buf, view.len
            for row in range(rows):
                if next_element(&at, &remaining, &element) < 0:
                    raise ValueError(f"expected {rows} elements, got data that ends in element {row}")
                size = min(element.size, self.block) - self.leading(&element)
                if size < self.minimum:
                    found.append((row, size))
            if remaining:
                raise ValueError(f"expected {rows} elements, got {remaining} bytes more")
        finally:
            PyBuffer_Release(&view)
        return found

    def fill(self, target not None, data not None):
        """Writes one row for each element into `target`: a writable C-contiguous buffer of [rows, tokens] elements.

        Gives up the GIL above some 16 rows of 2,048 tokens. Raises ValueError where `data` does not hold one element
        for each row; then `target` holds what came so far.
        """
        cdef Py_buffer source, view
        cdef Py_ssize_t rows, steps
        cdef Py_ssize_t row_bytes = (self.begin + self.middle + self.end) * self.item_bytes
        cdef int done
        PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
        try:
            PyObject_GetBuffer(target, &view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
            try:
                if view.len % row_bytes or view.itemsize != self.item_bytes:
                    raise ValueError(
                        f"expected rows of {row_bytes // self.item_bytes} elements of {self.item_bytes} bytes, "
                        f"got {view.len} bytes in elements of {view.itemsize}"
                    )
                rows = view.len // row_bytes
                steps = view.len // self.item_bytes + (min(source.len, 2 * rows * self.block) if self.strip else 0)
                if steps > RELEASE_GIL_ABOVE_STEPS:
                    with nogil:
                        done = self.rows(<uint8_t*> view.buf, rows, <const uint8_t*> source.buf, source.len)
                else:
                    done = self.rows(<uint8_t*> view.buf, rows, <const uint8_t*> source.buf, source.len)
            finally:
                PyBuffer_Release(&view)
        finally:
            PyBuffer_Release(&source)
        if done < 0:
            raise ValueError(f"expected {rows} whole elements")
