# Requests, responses of any form, messages of a stream, and the raw form of BYTES tensors: off most requests' path.
# All is measured first and then written into one allocation; nothing that could run a caller's code
# stands between.


cdef inline Py_ssize_t field_bytes(Py_ssize_t size) noexcept nogil:
    """Size of a field that has a length, with a number below 16."""
    return 1 + varint_bytes(size) + size


cdef inline uint8_t* put_header(uint8_t* p, int number, Py_ssize_t size) noexcept nogil:
    p[0] = <uint8_t>(number << 3 | WIRE_LENGTH)
    return put_varint(p + 1, size)


cdef Py_ssize_t text_bytes(object text) except -1:
    """Size of a string field; 0 where it is empty, as proto3 leaves those out."""
    cdef Py_ssize_t size
    if not isinstance(text, str):
        raise TypeError(f"expected text, came {type(text).__name__}")
    PyUnicode_AsUTF8AndSize(text, &size)
    return field_bytes(size) if size > 0 else 0


cdef uint8_t* put_text(uint8_t* p, int number, object text) except NULL:
    cdef Py_ssize_t size
    cdef const char* data = PyUnicode_AsUTF8AndSize(text, &size)
    return put_bytes(put_header(p, number, size), data, size) if size > 0 else p


cdef Py_ssize_t value_bytes(object name, object value) except -1:
    """Size of the InferParameter with that name."""
    cdef Py_ssize_t size
    if isinstance(value, bool):
        return 2
    if isinstance(value, int):
        return 1 + varint_bytes(value if value > INT64_MAX else <uint64_t><int64_t>value)
    if isinstance(value, float):
        return 9
    if not isinstance(value, str):
        raise TypeError(f"parameter {name!r}: expected bool, int, float or str, came {type(value).__name__}")
    PyUnicode_AsUTF8AndSize(value, &size)
    return field_bytes(size)


cdef uint8_t* put_value(uint8_t* p, object value, bint unsigned) except NULL:
    """An InferParameter; `unsigned`: in the unsigned form also where the signed one can hold it."""
    cdef Py_ssize_t size
    cdef const char* data
    cdef double real
    if isinstance(value, bool):
        p[0] = 1 << 3 | WIRE_VARINT
        p[1] = value
        return p + 2
    if isinstance(value, int):
        if value > INT64_MAX or (unsigned and value >= 0):
            p[0] = 5 << 3 | WIRE_VARINT
            return put_varint(p + 1, value)
        p[0] = 2 << 3 | WIRE_VARINT
        return put_varint(p + 1, <uint64_t><int64_t>value)
    if isinstance(value, float):
        real = value
        p[0] = 4 << 3 | WIRE_FIXED64
        return put_bytes(p + 1, &real, 8)
    data = PyUnicode_AsUTF8AndSize(value, &size)
    return put_bytes(put_header(p, 3, size), data, size)


cdef Py_ssize_t parameter_bytes(object name, object value) except -1:
    """Size of an entry of a map of parameters, without its header."""
    cdef Py_ssize_t size
    if not isinstance(name, str):
        raise TypeError(f"expected names of parameters as text, came {type(name).__name__}")
    PyUnicode_AsUTF8AndSize(name, &size)
    return field_bytes(size) + field_bytes(value_bytes(name, value))


cdef uint8_t* put_parameter(uint8_t* p, int number, object name, object value) except NULL:
    """The parameter as an entry of the map with this field number."""
    cdef Py_ssize_t size
    cdef const char* data = PyUnicode_AsUTF8AndSize(name, &size)
    # Servers expect the unsigned form of this one.
    cdef bint unsigned = size == 8 and memcmp(data, b"priority", 8) == 0
    p = put_header(p, number, parameter_bytes(name, value))
    p = put_bytes(put_header(p, 1, size), data, size)
    return put_value(put_header(p, 2, value_bytes(name, value)), value, unsigned)


cdef bytes text_field(int number, object text):
    cdef bytes field = PyBytes_FromStringAndSize(NULL, text_bytes(text))
    put_text(<uint8_t*>PyBytes_AS_STRING(field), number, text)
    return field


cdef bytes parameter_field(object name, object value):
    cdef bytes field = PyBytes_FromStringAndSize(NULL, field_bytes(parameter_bytes(name, value)))
    put_parameter(<uint8_t*>PyBytes_AS_STRING(field), 4, name, value)
    return field


cdef bytes tensor_of(object name, object datatype, object shape):
    """A tensor of a request or a response, without content."""
    cdef uint8_t[MAX_RANK * MAX_VARINT_BYTES] dims
    cdef uint8_t* p = dims
    cdef Py_ssize_t dims_bytes
    cdef Py_ssize_t size = text_bytes(name) + text_bytes(datatype)
    cdef int64_t dim
    cdef bytes tensor
    if len(shape) > MAX_RANK:
        raise ValueError(f"tensor {name!r}: expected at most {MAX_RANK} dimensions, came {len(shape)}")
    for dim in tuple(shape)[:MAX_RANK]:
        p = put_varint(p, <uint64_t>dim)
    dims_bytes = p - dims
    if dims_bytes > 0:
        size += field_bytes(dims_bytes)
    tensor = PyBytes_FromStringAndSize(NULL, size)
    p = put_text(put_text(<uint8_t*>PyBytes_AS_STRING(tensor), 1, name), 2, datatype)
    if dims_bytes > 0:
        put_bytes(put_header(p, 3, dims_bytes), dims, dims_bytes)
    return tensor


cdef bytes requested_output(object name, object parameters):
    """An InferRequestedOutputTensor."""
    cdef dict given = dict(parameters)
    cdef Py_ssize_t size = text_bytes(name)
    cdef bytes output
    cdef uint8_t* p
    for key, value in given.items():
        size += field_bytes(parameter_bytes(key, value))
    output = PyBytes_FromStringAndSize(NULL, size)
    p = put_text(<uint8_t*>PyBytes_AS_STRING(output), 1, name)
    for key, value in given.items():
        p = put_parameter(p, 2, key, value)
    return output


def encode_request(model_name, model_version, id, parameters, inputs, outputs):
    """A serialized ModelInferRequest.

    parameters: bool, int (of 64 bits), float or str by name.
    inputs: name, datatype, shape and content of each, the content as a contiguous buffer in the protocol's raw
    form. Its size is not held against the shape.
    outputs: name and parameters of each that is asked for; none: all.
    """
    cdef list asked = [requested_output(name, given) for name, given in outputs]
    return encode_message("request", model_name, model_version, id, dict(parameters), inputs, asked, 7)


def encode_response(model_name, model_version, id, parameters, outputs):
    """A serialized ModelInferResponse.

    parameters: bool, int (of 64 bits), float or str by name.
    outputs: name, datatype, shape and content of each, the content as a contiguous buffer in the protocol's
    raw form. Its size is not held against the shape.
    """
    return encode_message("response", model_name, model_version, id, dict(parameters), outputs, (), 6)


cdef bytes encode_message(
    str kind, object model_name, object model_version, object id, dict parameters, object tensors,
    object asked, int raw_field
):
    """A request or a response: tensors of either are field 5, the outputs asked for (encoded) field 6."""
    cdef list heads = []
    cdef list contents = []
    cdef bytes field
    cdef Py_buffer* content
    cdef int64_t size
    cdef bytes message
    cdef uint8_t* p
    for name, datatype, shape, data in tensors:
        heads.append(tensor_of(name, datatype, shape))
        contents.append(memoryview(data))
    size = text_bytes(model_name) + text_bytes(model_version) + text_bytes(id)
    for name, value in parameters.items():
        size += field_bytes(parameter_bytes(name, value))
    for field in heads:
        size += field_bytes(PyBytes_GET_SIZE(field))
    for field in asked:
        size += field_bytes(PyBytes_GET_SIZE(field))
    for view in contents:
        content = PyMemoryView_GET_BUFFER(view)
        if not PyBuffer_IsContiguous(content, c"C"):
            raise ValueError("expected contents that are contiguous, came others")
        size += field_bytes(content.len)
    if size > MAX_MESSAGE_BYTES:
        raise refusals().large_message(kind, size)
    message = PyBytes_FromStringAndSize(NULL, size)
    p = <uint8_t*>PyBytes_AS_STRING(message)
    p = put_text(put_text(put_text(p, 1, model_name), 2, model_version), 3, id)
    for name, value in parameters.items():
        p = put_parameter(p, 4, name, value)
    for field in heads:
        size = PyBytes_GET_SIZE(field)
        p = put_bytes(put_header(p, 5, size), PyBytes_AS_STRING(field), size)
    for field in asked:
        size = PyBytes_GET_SIZE(field)
        p = put_bytes(put_header(p, 6, size), PyBytes_AS_STRING(field), size)
    for view in contents:
        content = PyMemoryView_GET_BUFFER(view)
        p = put_bytes(put_header(p, raw_field, content.len), content.buf, content.len)
    return message


def wrap_stream_response(bytes body not None):
    """A ModelStreamInferResponse that holds a serialized ModelInferResponse."""
    cdef Py_ssize_t size = field_bytes(PyBytes_GET_SIZE(body))
    cdef bytes response
    cdef uint8_t* p
    if size > MAX_MESSAGE_BYTES:
        raise refusals().large_message("response", size)
    response = PyBytes_FromStringAndSize(NULL, size)
    p = put_header(<uint8_t*>PyBytes_AS_STRING(response), 2, PyBytes_GET_SIZE(body))
    put_bytes(p, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
    return response


def stream_error(str message not None, bytes about not None=b""):
    """A ModelStreamInferResponse with an error, and a serialized ModelInferResponse that says whose it is."""
    return text_field(1, message) + wrap_stream_response(about)


def encode_bytes_tensor(values):
    """The raw form of BYTES elements (bytes or str): a length of four bytes, little-endian, before each."""
    cdef tuple elements = tuple(values)
    cdef Py_ssize_t total = 0
    cdef Py_ssize_t size
    cdef uint32_t length
    cdef const char* data
    cdef bytes raw
    cdef uint8_t* p
    for element in elements:
        read_element(element, &data, &size)
        if size > UINT32_MAX:
            raise ValueError(f"expected elements of less than 4 GiB, came {size} bytes")
        total += 4 + size
    raw = PyBytes_FromStringAndSize(NULL, total)
    p = <uint8_t*>PyBytes_AS_STRING(raw)
    for element in elements:
        read_element(element, &data, &size)
        length = <uint32_t>size
        p = put_bytes(put_bytes(p, &length, 4), data, size)
    return raw


cdef inline int read_element(object element, const char** data, Py_ssize_t* size) except -1:
    """Where the bytes of an element are, for as long as it lives."""
    if isinstance(element, bytes):
        data[0] = PyBytes_AS_STRING(element)
        size[0] = PyBytes_GET_SIZE(element)
    else:
        data[0] = PyUnicode_AsUTF8AndSize(element, size)
    return 0


def decode_bytes_tensor(data):
    """The elements of a BYTES tensor from its raw form (any contiguous buffer).

    Raises InvalidRequest where a length or an element is cut off.
    """
    cdef Py_buffer buffer
    PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
    try:
        return split_elements(<const uint8_t*>buffer.buf, buffer.len)
    finally:
        PyBuffer_Release(&buffer)


cdef list split_elements(const uint8_t* p, Py_ssize_t size):
    cdef const uint8_t* end = p + size
    cdef uint32_t length
    cdef list values = []
    while p < end:
        if 4 > end - p:
            raise refusals().malformed_elements(
                f"expected a length of 4 bytes before element {len(values)}, came {end - p} bytes"
            )
        memcpy(&length, p, 4)
        p += 4
        if length > end - p:
            raise refusals().malformed_elements(
                f"expected {length} bytes of element {len(values)}, came {end - p}"
            )
        values.append(PyBytes_FromStringAndSize(<const char*>p, length))
        p += length
    return values
