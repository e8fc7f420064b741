# Answers as the client reads them: the same parser as for requests, and the rules of the protocol that need no
# knowledge of what was asked. What breaks one is told by the twin's own words.


def decode_response(bytes body not None):
    """Decode a serialized ModelInferResponse; the tensors are views into `body` wherever they are aligned there.

    Raises SteelyardError for bytes that are no such message, and for whatever breaks a rule of the protocol.
    """
    cdef InferResponse response = InferResponse.__new__(InferResponse)
    cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(body)
    cdef Parse parse
    begin(response, &parse, MAX_DEPTH)
    if parse_message(response, body, start, start + PyBytes_GET_SIZE(body), &parse) == MALFORMED:
        raise refusals().malformed_answer("ModelInferResponse", PyBytes_GET_SIZE(body))
    accept(response, &parse)
    return response


def decode_stream_response(bytes body not None):
    """Decode a serialized ModelStreamInferResponse: an error's text, or an empty one, and a response.

    Beside an error the response says whose it is, and has no outputs. Raises as decode_response.
    """
    cdef InferResponse response = InferResponse.__new__(InferResponse)
    cdef Parse parse
    cdef str error
    begin(response, &parse, MAX_DEPTH - 1)
    error = parse_stream(response, body, &parse)
    if error is None:
        raise refusals().malformed_answer("ModelStreamInferResponse", PyBytes_GET_SIZE(body))
    if error:
        response.tensors = []
        parse.tensor_count = parse.raw_count = 0
    accept(response, &parse)
    return error, response


cdef str parse_stream(InferResponse response, bytes body, Parse* parse):
    """The error's text, or None where the body is malformed; parts of the response are added up."""
    cdef const uint8_t* p = <const uint8_t*>PyBytes_AS_STRING(body)
    cdef const uint8_t* end = p + PyBytes_GET_SIZE(body)
    cdef str error = ""
    cdef uint32_t tag
    cdef Py_ssize_t length
    while p < end:
        if read_tag(&p, end, &tag) != OK:
            return None
        if tag & 7 != WIRE_LENGTH or tag >> 3 > 2:
            if skip_field(&p, end, tag, MAX_DEPTH) != OK:
                return None
            continue
        if read_length(&p, end, &length) != OK:
            return None
        if tag >> 3 == 1:
            error = read_text(p, length)
            if error is None:
                return None
        elif parse_message(response, body, p, p + length, parse) != OK:
            return None
        p += length
    return error


cdef int accept(InferResponse response, Parse* parse) except RAISED:
    cdef Py_ssize_t i
    cdef Tensor tensor
    cdef str model_name = response.model_name
    if response.given_parameters is not None:
        response.given_parameters = with_value(model_name, response.given_parameters)
    if parse.raw_count != parse.tensor_count:
        raise refusals().raw_outputs(model_name, parse.tensor_count, parse.raw_count)
    for i in range(parse.tensor_count):
        tensor = <Tensor>PyList_GET_ITEM(response.tensors, i)
        if tensor.given_parameters is not None:
            tensor.given_parameters = with_value(model_name, tensor.given_parameters)
        tensor.content = parse.raw[i].start
        tensor.content_bytes = parse.raw[i].size
        tensor.contents = None
        if not holds_its_shape(tensor):
            check().output(
                model_name, tensor.name, tensor.datatype, tensor.shape, tensor.rank, memoryview(tensor)
            )
        align(tensor)
    return OK


cdef dict with_value(str model_name, dict parameters):
    """The parameters that have a value."""
    if len(parameters) > MAX_PARAMETERS:
        raise refusals().answer_over_bound(model_name, MAX_PARAMETERS, "parameters in one place")
    for value in parameters.values():
        if value is None:
            return {name: value for name, value in parameters.items() if value is not None}
    return parameters


cdef bint holds_its_shape(Tensor tensor) noexcept:
    """Whether datatype, shape and content are in order beyond doubt."""
    cdef Walk walk
    if measure(tensor) != FORM_SOUND:
        return False
    if tensor.datatype_number == DATATYPE_BYTES:
        walk = walk_elements(tensor)
        return walk.index == tensor.elements and walk.remaining == 0
    if tensor.elements * item_bytes[tensor.datatype_number] != tensor.content_bytes:
        return False
    return tensor.datatype_number != DATATYPE_BOOL or all_boolean(tensor)


cdef int align(Tensor tensor) except RAISED:
    """Copies content that does not lie as its elements want it.

    To compute with such an array costs NumPy five times as much, and readers of its buffer may refuse it.
    """
    cdef Py_ssize_t item = item_bytes[tensor.datatype_number]
    if item > 1 and <uintptr_t>tensor.content % item != 0:
        tensor.owner = PyBytes_FromStringAndSize(<const char*>tensor.content, tensor.content_bytes)
        tensor.content = <const uint8_t*>PyBytes_AS_STRING(tensor.owner)
    return OK
