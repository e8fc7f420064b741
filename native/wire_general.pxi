# Responses of any form, messages of a stream, and the raw form of BYTES tensors: off the path of most requests.


cdef bytes varint(uint64_t value):
    cdef uint8_t[MAX_VARINT_BYTES] buffer
    cdef uint8_t* end = put_varint(buffer, value)
    return PyBytes_FromStringAndSize(<const char*>buffer, end - buffer)


cdef bytes length_field(int number, bytes content):
    return varint(number << 3 | WIRE_LENGTH) + varint(PyBytes_GET_SIZE(content)) + content


cdef bytes text_field(int number, str text):
    """A string field; nothing where it is empty, as proto3 has it."""
    return length_field(number, text.encode()) if text else b""


cdef bytes parameter_entry(str name, object value):
    """An entry of a map of parameters."""
    cdef double real
    cdef bytes content
    if isinstance(value, bool):
        content = b"\x08\x01" if value else b"\x08\x00"
    elif isinstance(value, int):
        if value > INT64_MAX:
            content = b"\x28" + varint(value)
        else:
            content = b"\x10" + varint(<uint64_t><int64_t>value)
    elif isinstance(value, float):
        real = value
        content = b"\x21" + PyBytes_FromStringAndSize(<const char*>&real, 8)
    else:
        content = length_field(3, (<str?>value).encode())
    return length_field(1, name.encode()) + length_field(2, content)


def encode_response(str model_name not None, str model_version not None, str id not None, parameters, outputs):
    """A serialized ModelInferResponse.

    parameters: bool, int (of 64 bits), float or str by name.
    outputs: name, datatype, shape and raw content (any contiguous buffer) of each, the content in the protocol's raw
    form. Its size is not held against the shape.
    """
    cdef list pieces = [text_field(1, model_name), text_field(2, model_version), text_field(3, id)]
    cdef list contents = []
    cdef bytes tensor
    cdef bytes dims
    cdef bytes response
    cdef Py_ssize_t size
    for name, value in parameters.items():
        pieces.append(length_field(4, parameter_entry(name, value)))
    for name, datatype, shape, content in outputs:
        dims = b"".join([varint(<uint64_t><int64_t>dim) for dim in shape])
        tensor = text_field(1, name) + text_field(2, datatype)
        if dims:
            tensor += length_field(3, dims)
        pieces.append(length_field(5, tensor))
        content = memoryview(content).cast("B")
        contents += (b"2", varint(len(content)), content)
    pieces += contents
    size = sum([len(piece) for piece in pieces])
    if size > MAX_MESSAGE_BYTES:
        raise refusals().large_response(size)
    return b"".join(pieces)


def wrap_stream_response(bytes body not None):
    """A ModelStreamInferResponse that holds a serialized ModelInferResponse."""
    if PyBytes_GET_SIZE(body) > MAX_MESSAGE_BYTES - 1 - MAX_VARINT_BYTES:
        raise refusals().large_response(PyBytes_GET_SIZE(body) + 1 + MAX_VARINT_BYTES)
    return b"".join([b"\x12", varint(PyBytes_GET_SIZE(body)), body])


def stream_error(str message not None, str model_name="", str model_version="", str id=""):
    """A ModelStreamInferResponse with an error; the names tell the caller which request of the stream it is about."""
    cdef bytes about = text_field(1, model_name) + text_field(2, model_version) + text_field(3, id)
    return text_field(1, message) + length_field(2, about)


def encode_bytes_tensor(values):
    """The raw form of BYTES elements (bytes or str): four bytes of little-endian length, then the element, each."""
    cdef list pieces = []
    cdef bytes element
    cdef uint32_t length
    for value in values:
        element = value.encode() if isinstance(value, str) else <bytes?>value
        if PyBytes_GET_SIZE(element) > UINT32_MAX:
            raise ValueError(f"expected elements of less than 4 GiB, came {PyBytes_GET_SIZE(element)} bytes")
        length = <uint32_t>PyBytes_GET_SIZE(element)
        pieces.append(PyBytes_FromStringAndSize(<const char*>&length, 4))
        pieces.append(element)
    return b"".join(pieces)


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
