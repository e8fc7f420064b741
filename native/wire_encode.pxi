# Responses: sizes are added up first, so that each response is one allocation and every output one copy.

cdef bytes DECISION_KEY = b"\n\x15steelyard_decision_id\x12"


cdef struct Output:
    Py_buffer buffer
    bint acquired
    # Name and datatype, encoded.
    const uint8_t* head
    Py_ssize_t head_bytes
    # Bytes of one row, or of the whole where there is no batch axis.
    Py_ssize_t row_bytes
    # Dimensions, the batch axis left out, encoded.
    uint8_t[MAX_RANK * MAX_VARINT_BYTES] dims
    Py_ssize_t dims_bytes
    # Of the response being written.
    Py_ssize_t shape_bytes
    Py_ssize_t tensor_bytes
    Py_ssize_t data_bytes


@cython.final
cdef class ResponseEncoder:
    """Writes the responses of a version; `outputs` are name and datatype of each output, in order, `notices` name and
    text of parameters that each response has beside its ids.

    BYTES outputs and the forms that a caller can ask for go through `encode_response`.
    """

    # Fields that are the same in every response.
    cdef bytes prefix
    cdef bytes entries
    cdef tuple names
    cdef tuple heads
    cdef list datatypes
    cdef dict index_of

    def __init__(self, str model_name, str model_version, str digest, outputs, notices=()):
        cdef tuple specs = tuple(outputs)
        self.prefix = text_field(1, model_name) + text_field(2, model_version)
        self.entries = parameter_field("steelyard_model_digest", digest)
        for name, text in notices:
            self.entries += parameter_field(name, text)
        self.names = tuple([remember_name(name) for name, _ in specs])
        self.heads = tuple([text_field(1, name) + text_field(2, datatype) for name, datatype in specs])
        self.datatypes = [datatype_of(datatype) for _, datatype in specs]
        self.index_of = {name: i for i, name in enumerate(self.names)}
        if DATATYPE_UNKNOWN in self.datatypes:
            raise ValueError(f"expected datatypes of the protocol, came {specs}")
        if len(specs) > MAX_TENSORS:
            raise ValueError(f"expected at most {MAX_TENSORS} outputs, came {len(specs)}")
        if len(self.index_of) != len(specs):
            raise ValueError(f"expected different output names, came {list(self.names)}")

    def encode_batch(
        self, list requests not None, list rows not None, list decision_ids not None, list arrays not None,
        list shapes not None, bint batched
    ):
        """One serialized ModelInferResponse for each request.

        requests: as decoded; their requested outputs have passed `check_outputs`.
        rows: of each request, in the order in which they stand in the arrays.
        decision_ids: of each request.
        arrays: one C-contiguous buffer for each output, little-endian; surplus rows are ignored.
        shapes: of each output, without the batch axis.
        batched: False where there is no batch axis: then there is one request, and the shapes are whole.

        Raises ValueError for arguments that do not fit each other, and for BYTES outputs.
        """
        cdef Py_ssize_t count = len(requests)
        cdef Py_ssize_t outputs = len(self.names)
        cdef Py_ssize_t i
        cdef Py_ssize_t row = 0
        cdef Py_ssize_t request_rows
        cdef int64_t total_rows = 0
        cdef list responses = []
        cdef bytes response
        cdef Output* plan
        if len(rows) != count or len(decision_ids) != count:
            raise ValueError(
                f"expected rows and decision ids of {count} requests,"
                f" came {len(rows)} and {len(decision_ids)}"
            )
        if len(arrays) != outputs or len(shapes) != outputs:
            raise ValueError(f"expected {outputs} arrays and shapes, came {len(arrays)} and {len(shapes)}")
        if not batched and count != 1:
            raise ValueError(f"expected one request without a batch axis, came {count}")
        for i in range(count):
            request_rows = rows[i]
            if request_rows < 0 or request_rows > MAX_DIM:
                raise ValueError(f"expected rows from 0 to {MAX_DIM}, came {request_rows}")
            total_rows += request_rows
        plan = <Output*>PyMem_Calloc(outputs or 1, sizeof(Output))
        if plan == NULL:
            raise MemoryError
        try:
            self.prepare(plan, arrays, shapes, total_rows if batched else 1)
            for i in range(count):
                request_rows = rows[i] if batched else 1
                response = self.encode_one(
                    <InferRequest?>requests[i], decision_ids[i], plan, row, request_rows, batched
                )
                responses.append(response)
                row += request_rows
        finally:
            for i in range(outputs):
                if plan[i].acquired:
                    PyBuffer_Release(&plan[i].buffer)
            PyMem_Free(plan)
        return responses

    cdef int prepare(self, Output* plan, list arrays, list shapes, int64_t rows) except -1:
        """Buffers, row sizes and encoded dimensions of the outputs."""
        cdef Py_ssize_t i
        cdef Py_ssize_t available
        cdef int64_t dim, size
        cdef int datatype
        cdef uint8_t* p
        for i in range(len(self.names)):
            datatype = self.datatypes[i]
            if datatype == DATATYPE_BYTES:
                raise ValueError(f"output {self.names[i]!r}: BYTES are encoded one response at a time")
            if len(shapes[i]) > MAX_RANK:
                raise ValueError(
                    f"output {self.names[i]!r}: expected at most {MAX_RANK} dimensions, came {shapes[i]}"
                )
            p = plan[i].dims
            size = item_bytes[datatype]
            for dim in shapes[i]:
                if dim < 0 or dim > MAX_DIM or (dim > 0 and size > INT64_MAX // dim):
                    raise ValueError(f"output {self.names[i]!r}: shape {shapes[i]} cannot be encoded")
                size *= dim
                p = put_varint(p, dim)
            plan[i].dims_bytes = p - plan[i].dims
            plan[i].row_bytes = size
            plan[i].head = <const uint8_t*>PyBytes_AS_STRING(<bytes>self.heads[i])
            plan[i].head_bytes = PyBytes_GET_SIZE(<bytes>self.heads[i])
            PyObject_GetBuffer(arrays[i], &plan[i].buffer, PyBUF_SIMPLE)
            plan[i].acquired = True
            available = plan[i].buffer.len
            if plan[i].buffer.itemsize != item_bytes[datatype] and plan[i].buffer.itemsize != 1:
                raise ValueError(
                    f"output {self.names[i]!r}: expected elements of {item_bytes[datatype]} bytes,"
                    f" came {plan[i].buffer.itemsize}"
                )
            if size > 0 and rows > available // size:
                raise ValueError(
                    f"output {self.names[i]!r}: expected {rows} rows of {size} bytes, came {available} bytes"
                )
        return 0

    cdef bytes encode_one(
        self, InferRequest request, str decision_id, Output* plan, Py_ssize_t row, Py_ssize_t rows,
        bint batched
    ):
        cdef Py_ssize_t[MAX_TENSORS] chosen
        cdef Py_ssize_t outputs = self.choose(request, chosen)
        cdef Py_ssize_t id_bytes, decision_bytes, entry_bytes
        cdef const char* id = PyUnicode_AsUTF8AndSize(request.id, &id_bytes)
        cdef const char* decision = PyUnicode_AsUTF8AndSize(decision_id, &decision_bytes)
        cdef Py_ssize_t choice_bytes = field_bytes(decision_bytes)
        cdef Py_ssize_t i
        cdef Output* output
        cdef int64_t total
        cdef bytes response
        cdef uint8_t* p
        entry_bytes = PyBytes_GET_SIZE(DECISION_KEY) + varint_bytes(choice_bytes) + choice_bytes
        total = PyBytes_GET_SIZE(self.prefix) + PyBytes_GET_SIZE(self.entries)
        total += field_bytes(entry_bytes)
        if id_bytes > 0:
            total += field_bytes(id_bytes)
        for i in range(outputs):
            output = &plan[chosen[i]]
            output.shape_bytes = output.dims_bytes + (varint_bytes(rows) if batched else 0)
            output.tensor_bytes = output.head_bytes
            if output.shape_bytes > 0:
                output.tensor_bytes += field_bytes(output.shape_bytes)
            output.data_bytes = rows * output.row_bytes
            total += field_bytes(output.tensor_bytes) + field_bytes(output.data_bytes)
        if total > MAX_MESSAGE_BYTES:
            raise refusals().large_message("response", total)
        response = PyBytes_FromStringAndSize(NULL, total)
        p = <uint8_t*>PyBytes_AS_STRING(response)
        p = put_bytes(p, PyBytes_AS_STRING(self.prefix), PyBytes_GET_SIZE(self.prefix))
        if id_bytes > 0:
            p = put_bytes(put_header(p, 3, id_bytes), id, id_bytes)
        p = put_header(p, 4, entry_bytes)
        p = put_bytes(p, PyBytes_AS_STRING(DECISION_KEY), PyBytes_GET_SIZE(DECISION_KEY))
        p = put_varint(p, choice_bytes)
        p = put_bytes(put_header(p, 3, decision_bytes), decision, decision_bytes)
        p = put_bytes(p, PyBytes_AS_STRING(self.entries), PyBytes_GET_SIZE(self.entries))
        for i in range(outputs):
            output = &plan[chosen[i]]
            p = put_bytes(put_header(p, 5, output.tensor_bytes), output.head, output.head_bytes)
            if output.shape_bytes > 0:
                p = put_header(p, 3, output.shape_bytes)
                if batched:
                    p = put_varint(p, rows)
                p = put_bytes(p, output.dims, output.dims_bytes)
        for i in range(outputs):
            output = &plan[chosen[i]]
            p = put_header(p, 6, output.data_bytes)
            p = put_bytes(p, <const uint8_t*>output.buffer.buf + row * output.row_bytes, output.data_bytes)
        return response

    cdef Py_ssize_t choose(self, InferRequest request, Py_ssize_t* chosen) except -1:
        """Indices of the outputs asked for, in the caller's order."""
        cdef Py_ssize_t count = len(self.names)
        cdef Py_ssize_t i
        cdef RequestedOutput output
        if request.asked_outputs is None or PyList_GET_SIZE(request.asked_outputs) == 0:
            for i in range(count):
                chosen[i] = i
            return count
        count = PyList_GET_SIZE(request.asked_outputs)
        if count > len(self.names):
            raise ValueError(f"expected at most {len(self.names)} requested outputs, came {count}")
        for i in range(count):
            output = <RequestedOutput?><object>PyList_GET_ITEM(request.asked_outputs, i)
            if output.name not in self.index_of:
                raise ValueError(f"expected requested outputs of {list(self.names)}, came {output.name!r}")
            chosen[i] = self.index_of[output.name]
        return count
