# What a version expects of a request's inputs, and the fast answer to whether they fit.

cdef struct Expected:
    int datatype
    int rank
    int64_t[MAX_RANK] dims


@cython.final
cdef class Signature:
    """The inputs of a version: name, datatype and dimensions of each, -1 for a dimension of any size.

    Where the version is batched, the first dimension of each input is the batch axis and of any size.
    """

    cdef tuple names
    cdef dict index_of
    cdef Expected* expected
    cdef Py_ssize_t count
    cdef Py_ssize_t dynamic_dims
    cdef bint batched

    def __init__(self, inputs, bint batched):
        cdef Py_ssize_t i
        cdef int axis
        cdef tuple specs = tuple(inputs)
        if self.expected != NULL:
            raise TypeError("a Signature is made once")
        self.batched = batched
        self.names = tuple([remember_name(name) for name, _, _ in specs])
        self.index_of = {name: i for i, name in enumerate(self.names)}
        if len(self.index_of) != len(specs):
            raise ValueError(f"expected different input names, came {list(self.names)}")
        self.expected = <Expected*>PyMem_Calloc(len(specs) or 1, sizeof(Expected))
        if self.expected == NULL:
            raise MemoryError
        for i, (name, datatype, dims) in enumerate(specs):
            self.expected[i].datatype = datatype_of(datatype)
            if self.expected[i].datatype == DATATYPE_UNKNOWN:
                raise ValueError(f"input {name!r}: expected a datatype of the protocol, came {datatype!r}")
            if len(dims) > MAX_RANK or len(dims) < batched:
                raise ValueError(
                    f"input {name!r}: expected {int(batched)} to {MAX_RANK} dimensions, came {dims!r}"
                )
            self.expected[i].rank = len(dims)
            for axis in range(self.expected[i].rank):
                self.expected[i].dims[axis] = dims[axis]
                if axis >= batched and self.expected[i].dims[axis] == -1:
                    self.dynamic_dims += 1
        self.count = len(specs)

    def __dealloc__(self):
        PyMem_Free(self.expected)

    def bind(self, InferRequest request not None):
        """Rows and group key of a request whose inputs fit, and are put into the model's order; else None.

        The group key holds the sizes of the dynamic dimensions, the batch axis left out: requests with equal
        keys can share a batch. A request without a batch axis has one row.
        """
        cdef list inputs = request.tensors
        cdef Py_ssize_t i
        cdef int64_t rows = 1
        cdef Tensor tensor
        if inputs is None:
            raise TypeError("expected a decoded request")
        if PyList_GET_SIZE(inputs) != self.count:
            return None
        if not self.in_order(inputs) and not self.put_in_order(inputs):
            return None
        for i in range(self.count):
            tensor = <Tensor>PyList_GET_ITEM(inputs, i)
            if not fits(tensor, &self.expected[i], self.batched):
                return None
            if self.batched:
                if i == 0:
                    rows = tensor.dims()[0]
                elif tensor.dims()[0] != rows:
                    return None
        return rows, self.group_key(inputs)

    cdef bint in_order(self, list inputs) except -1:
        cdef Py_ssize_t i
        cdef Tensor tensor
        cdef PyObject* name
        for i in range(self.count):
            tensor = <Tensor?><object>PyList_GET_ITEM(inputs, i)
            if tensor.name is not <str>self.names[i] and tensor.name != <str>self.names[i]:
                return False
        return True

    cdef bint put_in_order(self, list inputs) except -1:
        cdef list ordered = [None] * self.count
        cdef Tensor tensor
        for tensor in inputs:
            i = self.index_of.get(tensor.name)
            if i is None or ordered[i] is not None:
                return False
            ordered[i] = tensor
        inputs[:] = ordered
        return True

    cdef tuple group_key(self, list inputs):
        cdef tuple key
        cdef Py_ssize_t i
        cdef Py_ssize_t filled = 0
        cdef int axis
        cdef const int64_t* dims
        cdef object dim
        if self.dynamic_dims == 0:
            return ()
        key = PyTuple_New(self.dynamic_dims)
        for i in range(self.count):
            dims = (<Tensor>PyList_GET_ITEM(inputs, i)).dims()
            for axis in range(self.batched, self.expected[i].rank):
                if self.expected[i].dims[axis] == -1:
                    dim = dims[axis]
                    Py_INCREF(dim)
                    PyTuple_SET_ITEM(key, filled, dim)
                    filled += 1
        return key


cdef inline bint fits(Tensor tensor, const Expected* expected, bint batched) noexcept:
    cdef const int64_t* dims = tensor.dims()
    cdef int axis
    if tensor.datatype_number != expected.datatype or tensor.rank != expected.rank:
        return False
    for axis in range(batched, expected.rank):
        if expected.dims[axis] != dims[axis] and expected.dims[axis] != -1:
            return False
    return True
