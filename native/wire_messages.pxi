# Decoded requests and answers. Their objects are made by the decoder only, hold no reference that could lead back to
# them, and are therefore kept out of the garbage collector.

cdef enum:
    MAX_TENSORS = 1024
    MAX_PARAMETERS = 256
    MAX_ALL_PARAMETERS = 16384
    MAX_RANK = 32
    MAX_ID_BYTES = 128
    INLINE_RANK = 8

cdef int64_t MAX_DIM = 0x7FFFFFFF


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class Tensor:
    """An input of a request, or an output of an answer; its content is also given by the buffer protocol, read-only."""

    cdef readonly str name
    # None where the datatype is a known one: its name is then that of the number.
    cdef str unknown_datatype
    cdef dict given_parameters
    cdef Contents contents
    # Owner of what `content` points to: the body, or bytes that were made for this tensor.
    cdef bytes owner
    cdef const uint8_t* content
    cdef Py_ssize_t content_bytes
    # Product of the dimensions, once validated.
    cdef int64_t elements
    cdef int datatype_number
    # May be over MAX_RANK before validation; dimensions past that are counted, not kept.
    cdef int rank
    cdef int64_t[INLINE_RANK] inline_dims
    # Room for MAX_RANK dimensions, where they are more than INLINE_RANK.
    cdef bytes spilled_dims
    cdef tuple made_shape

    cdef inline const int64_t* dims(self) noexcept:
        if self.spilled_dims is not None:
            return <const int64_t*>PyBytes_AS_STRING(self.spilled_dims)
        return self.inline_dims

    @property
    def datatype(self):
        """Name of the datatype, as in the protocol."""
        return self.unknown_datatype if self.datatype_number == DATATYPE_UNKNOWN else (
            datatype_names[self.datatype_number]
        )

    @property
    def shape(self):
        """Dimensions, as a tuple."""
        if self.made_shape is None:
            self.made_shape = tuple_of(self.dims(), self.rank if self.rank < MAX_RANK else MAX_RANK)
        return self.made_shape

    @property
    def parameters(self):
        """Parameters by name."""
        if self.given_parameters is None:
            self.given_parameters = {}
        return self.given_parameters

    @property
    def data(self):
        """The raw content as a read-only view of bytes."""
        return memoryview(self)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        if self.content == NULL:
            raise BufferError("the tensor has no content")
        PyBuffer_FillInfo(buffer, self, <void*>self.content, self.content_bytes, 1, flags)

    def __repr__(self):
        return f"Tensor(name={self.name!r}, datatype={self.datatype!r}, shape={self.shape!r})"


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class RequestedOutput:
    """An output that the caller asked for."""

    cdef readonly str name
    cdef dict given_parameters

    @property
    def parameters(self):
        """Parameters by name."""
        if self.given_parameters is None:
            self.given_parameters = {}
        return self.given_parameters

    def __repr__(self):
        return f"RequestedOutput(name={self.name!r}, parameters={self.parameters!r})"


@cython.final
@cython.no_gc
@cython.freelist(256)
cdef class InferRequest:
    """A decoded ModelInferRequest."""

    @property
    def inputs(self):
        """The tensors, in the caller's order until they are put into the model's."""
        return self.tensors

    @property
    def parameters(self):
        """Parameters by name."""
        if self.given_parameters is None:
            self.given_parameters = {}
        return self.given_parameters

    @property
    def outputs(self):
        """The outputs asked for; an empty list means all."""
        if self.asked_outputs is None:
            self.asked_outputs = []
        return self.asked_outputs

    def __repr__(self):
        return (
            f"InferRequest(model_name={self.model_name!r}, model_version={self.model_version!r},"
            f" id={self.id!r}, inputs={self.tensors!r})"
        )


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class InferResponse:
    """A decoded ModelInferResponse."""

    cdef readonly str model_name
    cdef readonly str model_version
    cdef readonly str id
    cdef list tensors
    cdef dict given_parameters

    @property
    def outputs(self):
        """The tensors, in the server's order."""
        return self.tensors

    @property
    def parameters(self):
        """Parameters by name."""
        if self.given_parameters is None:
            self.given_parameters = {}
        return self.given_parameters

    def __repr__(self):
        return (
            f"InferResponse(model_name={self.model_name!r}, model_version={self.model_version!r},"
            f" id={self.id!r}, outputs={self.tensors!r})"
        )


cdef tuple tuple_of(const int64_t* values, Py_ssize_t count):
    cdef tuple result = PyTuple_New(count)
    cdef Py_ssize_t i
    cdef object value
    for i in range(count):
        value = values[i]
        Py_INCREF(value)
        PyTuple_SET_ITEM(result, i, value)
    return result


# The names of errors are the twin's too, and are found when the first is needed: the package that has them
# imports this module.
cdef object refusals_module = None
cdef object check_module = None


cdef object refusals():
    global refusals_module
    if refusals_module is None:
        from steelyard.wire import refusals as refusals_module
    return refusals_module


cdef object check():
    global check_module
    if check_module is None:
        from steelyard.wire import check as check_module
    return check_module
