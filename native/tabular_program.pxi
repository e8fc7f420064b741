# A program: chains of operations, made and checked once, run by any number of threads at a time.


cdef enum:
    # What a program may be at most: an output row of so many elements, operations of all chains.
    MAX_WIDTH = 1 << 24
    MAX_OPERATIONS = 1 << 20
    # Rows that broke a rule are all named up to so many pairs of row and chain; from there on, each row once.
    MAX_BREACHES = 16384
    # Below this work giving up the GIL, and waiting for it up to a switch interval, is dearer than what it lets
    # others do. Work is elements written, and eight for each operation on a row: a unit took 0.3 ns, so 25 µs.
    RELEASE_GIL_ABOVE_WORK = 80_000

cdef struct Chain:
    int column
    int state
    Py_ssize_t first
    Py_ssize_t count
    Py_ssize_t offset
    Py_ssize_t one_hot
    bint refuses

cdef struct Breach:
    int64_t row
    int chain
    int rule

cdef struct Breaches:
    Breach* items
    Py_ssize_t count
    Py_ssize_t room


OUTPUT_TYPES = {"FP32": FP32, "FP64": FP64, "INT64": INT64}


@cython.final
cdef class Program:
    """Compiled chains. Twin: `steelyard.pipelines.plain.tabular.Program`."""

    cdef int* states
    cdef Chain* chains
    cdef Py_ssize_t chain_count
    cdef Operation* operations
    cdef Py_ssize_t operation_count
    cdef Py_ssize_t width
    cdef Py_ssize_t columns
    cdef int output_type
    cdef bint refuses
    cdef bint one_hot
    cdef list kept

    def __cinit__(self, list chains not None, Py_ssize_t columns, Py_ssize_t width, str datatype not None):
        cdef Py_ssize_t i
        cdef Py_ssize_t total = sum(len(chain.operations) for chain in chains)
        if datatype not in OUTPUT_TYPES:
            raise ValueError(f"expected FP32, FP64 or INT64, came {datatype}")
        if columns < 0:
            raise ValueError(f"no {columns} columns")
        if not 0 < width <= MAX_WIDTH or total > MAX_OPERATIONS:
            raise ValueError(f"{width} features by {total} operations: at most {MAX_WIDTH} by {MAX_OPERATIONS}")
        self.output_type = OUTPUT_TYPES[datatype]
        self.width = width
        self.columns = columns
        self.kept = []
        # What each column is, by the first chain that reads it; -1 while none does.
        self.states = <int*>malloc((columns + 1) * sizeof(int))
        self.chains = <Chain*>calloc(len(chains) + 1, sizeof(Chain))
        self.operations = <Operation*>calloc(total + 1, sizeof(Operation))
        if self.states == NULL or self.chains == NULL or self.operations == NULL:
            raise MemoryError
        for i in range(columns):
            self.states[i] = -1
        for chain in chains:
            self.add_chain(chain)

    def __dealloc__(self):
        free(self.states)
        free(self.chains)
        free(self.operations)

    cdef int add_chain(self, chain) except -1:
        cdef Chain* added = &self.chains[self.chain_count]
        cdef int state = chain.state
        if not 0 <= chain.column < self.columns or state not in (NUMBER, INTEGER, TEXT):
            raise ValueError(f"chain {self.chain_count}: no column {chain.column} of state {state}")
        if self.states[<int>chain.column] not in (-1, state):
            raise ValueError(f"chain {self.chain_count}: column {chain.column} has another state")
        self.states[<int>chain.column] = state
        added.column = chain.column
        added.state = state
        added.first = self.operation_count
        added.offset = chain.offset
        added.one_hot = chain.one_hot
        for operation in chain.operations:
            state = self.add_operation(operation, state)
            added.refuses |= operation.code == REFUSE_MISSING or (operation.code == LOOKUP and operation.n == REFUSE)
        added.count = self.operation_count - added.first
        if added.one_hot < 0 or not 0 <= added.offset <= self.width - max(1, added.one_hot):
            raise ValueError(f"chain {self.chain_count} ends outside the {self.width} features")
        if state == TEXT or (added.one_hot and state != INTEGER) or (self.output_type == INT64 and state != INTEGER):
            raise ValueError(f"chain {self.chain_count} ends in state {state}")
        self.refuses |= added.refuses
        self.one_hot |= added.one_hot > 0
        self.chain_count += 1
        return 0

    cdef int add_operation(self, operation, int state) except -1:
        """Appends an operation; returns the state after it."""
        cdef Operation* added = &self.operations[self.operation_count]
        cdef const double[::1] edges
        cdef Vocabulary table
        cdef bytes text
        cdef int code = operation.code
        state = state_after(code, state)
        if state < 0:
            raise ValueError(f"operation {code} cannot stand at place {self.operation_count}")
        added.code = code
        added.a = operation.a
        added.b = operation.b
        added.n = operation.n
        added.m = operation.m
        added.k = operation.k
        if code == BUCKET:
            edges = operation.data
            added.data = &edges[0] if edges.shape[0] else NULL
            added.n = edges.shape[0]
        elif code == IMPUTE_TEXT:
            text = operation.data
            added.data = <const char*>text
            added.n = len(text)
        elif code == LOOKUP:
            table = operation.data
            added.table = &table.table
        elif code == HASH and added.n < 1:
            raise ValueError("a hash needs a bucket")
        self.kept.append(operation.data)
        self.operation_count += 1
        return state

    def run(self, list sources not None, Py_ssize_t start, Py_ssize_t rows, out):
        """Rows `start` to `start + rows` of the columns into `out`; the rows that break a rule.

        sources: for each column (values, missing), or of text (starts, missing, lengths, data), C-contiguous buffers.
        out: a writable C-contiguous buffer of [rows, width] elements; None: only to find what breaks a rule.
        Returns (row from `start` on, chain, rule) in order of rows. Raises ValueError where a buffer is too small.
        """
        cdef Py_buffer target
        cdef Py_buffer* views
        cdef Source* columns
        cdef Py_ssize_t i
        cdef Py_ssize_t held = 0
        cdef int outside = 0
        cdef Breaches breaches
        memset(&breaches, 0, sizeof(Breaches))
        if len(sources) != self.columns:
            raise ValueError(f"expected {self.columns} columns, came {len(sources)}")
        if start < 0 or rows < 0 or rows > INT64_MAX // 8 - start:
            raise ValueError(f"no rows from {start}, {rows} of them")
        if out is None and not self.refuses:
            return []
        columns = <Source*>calloc(self.columns + 1, sizeof(Source))
        views = <Py_buffer*>calloc(4 * self.columns + 1, sizeof(Py_buffer))
        target.buf = NULL
        try:
            if columns == NULL or views == NULL:
                raise MemoryError
            for i in range(self.columns):
                open_source(<tuple?>sources[i], self.states[i], &columns[i], views, &held, start + rows)
            if out is not None:
                PyObject_GetBuffer(out, &target, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS)
                if rows and self.width > target.len // (rows * item_bytes(self.output_type)):
                    raise ValueError(f"{rows} rows of {self.width} features do not fit {target.len} bytes")
            if rows > RELEASE_GIL_ABOVE_WORK // (self.width + 8 * (self.operation_count + self.chain_count)):
                with nogil:
                    outside = self.run_blocks(columns, start, rows, <char*>target.buf, &breaches)
            else:
                outside = self.run_blocks(columns, start, rows, <char*>target.buf, &breaches)
            if outside == -2:
                raise MemoryError
            if outside:
                raise ValueError("a text lies outside its data")
            return [
                (breaches.items[i].row, breaches.items[i].chain, breaches.items[i].rule) for i in range(breaches.count)
            ]
        finally:
            for i in range(held):
                PyBuffer_Release(&views[i])
            if target.buf != NULL:
                PyBuffer_Release(&target)
            free(views)
            free(columns)
            free(breaches.items)

    cdef int run_blocks(
        self, const Source* columns, Py_ssize_t start, Py_ssize_t rows, char* out, Breaches* breaches
    ) noexcept nogil:
        cdef Block block
        cdef uint8_t[BLOCK] named
        cdef const Chain* chain
        cdef Py_ssize_t at, count, c, i
        cdef Py_ssize_t row_bytes = self.width * item_bytes(self.output_type)
        cdef char* first = out
        at = 0
        while at < rows:
            count = min(rows - at, <Py_ssize_t>BLOCK)
            if out != NULL:
                first = out + at * row_bytes
                if self.one_hot:
                    memset(first, 0, count * row_bytes)
            memset(named, 0, count)
            for c in range(self.chain_count):
                chain = &self.chains[c]
                if out == NULL and not chain.refuses:
                    continue
                if load(&block, &columns[chain.column], chain.state, start + at, count) < 0:
                    return -1
                for i in range(chain.first, chain.first + chain.count):
                    perform(&block, &self.operations[i])
                if chain.refuses and note(&block, breaches, named, at, <int>c) < 0:
                    return -2
                if out != NULL:
                    store_as(&block, first, self.output_type, self.width, chain.offset, chain.one_hot)
            at += count
        return 0


cdef int note(const Block* block, Breaches* breaches, uint8_t* named, Py_ssize_t at, int chain) noexcept nogil:
    """Keeps which rows of the block broke a rule; -1 where memory is short."""
    cdef Py_ssize_t i, room
    cdef Breach* items
    for i in range(block.rows):
        if not block.broken[i] or (breaches.count >= MAX_BREACHES and named[i]):
            continue
        if breaches.count == breaches.room:
            room = 2 * breaches.room + 64
            items = <Breach*>realloc(breaches.items, room * sizeof(Breach))
            if items == NULL:
                return -1
            breaches.items = items
            breaches.room = room
        breaches.items[breaches.count] = Breach(row=at + i, chain=chain, rule=block.broken[i])
        breaches.count += 1
        named[i] = 1
    return 0


cdef int open_source(
    tuple source, int state, Source* column, Py_buffer* views, Py_ssize_t* held, Py_ssize_t rows
) except -1:
    """Takes the buffers of a column, each of which is then counted in `held`."""
    cdef Py_ssize_t i
    cdef Py_buffer* first = views + held[0]
    cdef Py_ssize_t size = len(source)
    if state < 0:
        return 0
    if size != (4 if state == TEXT else 2):
        raise ValueError(f"expected a column of state {state}, came {size} buffers")
    for i in range(size):
        PyObject_GetBuffer(source[i], first + i, PyBUF_SIMPLE)
        held[0] += 1
    if rows > first[0].len // 8 or rows > first[1].len or (state == TEXT and rows > first[2].len // 8):
        raise ValueError(f"expected columns of {rows} rows, came fewer")
    if <size_t>first[0].buf & 7 or (state == TEXT and <size_t>first[2].buf & 7):
        raise ValueError("expected values that are aligned to 8 bytes")
    column.values = first[0].buf
    column.missing = <const uint8_t*>first[1].buf
    if state == TEXT:
        column.lengths = <const int64_t*>first[2].buf
        column.data = <const uint8_t*>first[3].buf
        column.data_bytes = first[3].len
    return 0
