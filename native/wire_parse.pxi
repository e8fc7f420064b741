# Parsing: the whole body is read before anything is judged, so that a message that is malformed is called so.
# Only a count over its bound ends it at once, because the rest would cost time that nobody else then has.

cdef struct Span:
    const uint8_t* start
    Py_ssize_t size


cdef struct Parse:
    # Messages and groups may be nested so much deeper.
    int depth_left
    Py_ssize_t tensor_count
    Py_ssize_t output_count
    Py_ssize_t raw_count
    # Entries of maps as they come; one that replaces another counts too, since it costs the same.
    Py_ssize_t parameter_count
    Py_ssize_t id_bytes
    # The first MAX_TENSORS entries; undefined from raw_count on.
    Span[MAX_TENSORS] raw


# What stands for a value that could not be read, since None is one that was not given.
cdef object broken = object()


# Requests and answers have the same fields up to their tensors; a request has its requested outputs before the
# raw contents.
ctypedef fused Message:
    InferRequest
    InferResponse


cdef int begin(Message message, Parse* parse, int depth_left) except RAISED:
    parse.depth_left = depth_left
    parse.tensor_count = 0
    parse.output_count = 0
    parse.raw_count = 0
    parse.parameter_count = 0
    parse.id_bytes = 0
    message.model_name = ""
    message.model_version = ""
    message.id = ""
    message.tensors = []
    return OK


cdef int parse_message(
    Message message, bytes body, const uint8_t* p, const uint8_t* end, Parse* parse
) except RAISED:
    """Takes the fields of a message, or of a further part of it, which is added to what was taken."""
    cdef uint32_t tag
    cdef uint32_t raw_field
    cdef Py_ssize_t length
    if Message is InferRequest:
        raw_field = 7
    else:
        raw_field = 6
    while p < end:
        if read_tag(&p, end, &tag) != OK:
            return MALFORMED
        if tag & 7 != WIRE_LENGTH or tag >> 3 > raw_field:
            if skip_field(&p, end, tag, parse.depth_left) != OK:
                return MALFORMED
            continue
        if read_length(&p, end, &length) != OK:
            return MALFORMED
        if tag >> 3 == raw_field:
            if parse.raw_count < MAX_TENSORS:
                parse.raw[parse.raw_count].start = p
                parse.raw[parse.raw_count].size = length
            parse.raw_count += 1
        elif tag >> 3 == 5:
            if parse_tensor(message, body, p, p + length, parse) != OK:
                return MALFORMED
        elif tag >> 3 == 1:
            message.model_name = read_name(p, length)
            if message.model_name is None:
                return MALFORMED
        elif tag >> 3 == 2:
            message.model_version = read_name(p, length)
            if message.model_version is None:
                return MALFORMED
        elif tag >> 3 == 3:
            message.id = read_text(p, length)
            parse.id_bytes = length
            if message.id is None:
                return MALFORMED
        elif tag >> 3 == 4:
            if message.given_parameters is None:
                message.given_parameters = {}
            if parse_parameter(
                message, p, p + length, message.given_parameters, parse, parse.depth_left - 1
            ) != OK:
                return MALFORMED
        else:
            if Message is InferRequest:
                if parse_output(message, p, p + length, parse) != OK:
                    return MALFORMED
        p += length
    return OK


cdef int parse_tensor(
    Message message, bytes body, const uint8_t* p, const uint8_t* end, Parse* parse
) except RAISED:
    cdef Tensor tensor
    cdef uint32_t tag
    cdef Py_ssize_t length
    cdef uint64_t value
    cdef const uint8_t* stop
    if parse.tensor_count == MAX_TENSORS:
        if Message is InferRequest:
            raise refusals().too_many_tensors(message.model_name, "inputs")
        else:
            raise refusals().answer_over_bound(message.model_name, MAX_TENSORS, "outputs")
    tensor = Tensor.__new__(Tensor)
    tensor.name = ""
    tensor.unknown_datatype = ""
    tensor.owner = body
    while p < end:
        if read_tag(&p, end, &tag) != OK:
            return MALFORMED
        if tag & 7 == WIRE_VARINT and tag >> 3 == 3:
            if read_varint(&p, end, &value) != OK:
                return MALFORMED
            add_dimension(tensor, <int64_t>value)
            continue
        if tag & 7 != WIRE_LENGTH or tag >> 3 > 5:
            if skip_field(&p, end, tag, parse.depth_left - 1) != OK:
                return MALFORMED
            continue
        if read_length(&p, end, &length) != OK:
            return MALFORMED
        if tag >> 3 == 1:
            tensor.name = read_name(p, length)
            if tensor.name is None:
                return MALFORMED
        elif tag >> 3 == 2:
            tensor.datatype_number = datatype_number(p, length)
            if tensor.datatype_number == DATATYPE_UNKNOWN:
                tensor.unknown_datatype = read_text(p, length)
                if tensor.unknown_datatype is None:
                    return MALFORMED
        elif tag >> 3 == 3:
            stop = p + length
            while p < stop:
                if read_varint(&p, stop, &value) != OK:
                    return MALFORMED
                add_dimension(tensor, <int64_t>value)
            continue
        elif tag >> 3 == 4:
            if tensor.given_parameters is None:
                tensor.given_parameters = {}
            if parse_parameter(
                message, p, p + length, tensor.given_parameters, parse, parse.depth_left - 2
            ) != OK:
                return MALFORMED
        else:
            if tensor.contents is None:
                tensor.contents = Contents.__new__(Contents)
            if tensor.contents.add(p, length, parse.depth_left - 2) != OK:
                return MALFORMED
        p += length
    PyList_Append(message.tensors, tensor)
    parse.tensor_count += 1
    return OK


cdef inline int add_dimension(Tensor tensor, int64_t dim) except RAISED:
    cdef int64_t* spilled
    if tensor.rank < INLINE_RANK:
        tensor.inline_dims[tensor.rank] = dim
    elif tensor.rank < MAX_RANK:
        if tensor.spilled_dims is None:
            tensor.spilled_dims = PyBytes_FromStringAndSize(NULL, MAX_RANK * sizeof(int64_t))
            spilled = <int64_t*>PyBytes_AS_STRING(tensor.spilled_dims)
            memcpy(spilled, tensor.inline_dims, INLINE_RANK * sizeof(int64_t))
        spilled = <int64_t*>PyBytes_AS_STRING(tensor.spilled_dims)
        spilled[tensor.rank] = dim
    elif tensor.rank == 0x7FFFFFFF:
        return OK
    tensor.rank += 1
    return OK


cdef int parse_output(InferRequest request, const uint8_t* p, const uint8_t* end, Parse* parse) except RAISED:
    cdef RequestedOutput output
    cdef uint32_t tag
    cdef Py_ssize_t length
    if parse.output_count == MAX_TENSORS:
        raise refusals().too_many_tensors(request.model_name, "requested outputs")
    output = RequestedOutput.__new__(RequestedOutput)
    output.name = ""
    while p < end:
        if read_tag(&p, end, &tag) != OK:
            return MALFORMED
        if tag & 7 != WIRE_LENGTH or tag >> 3 > 2:
            if skip_field(&p, end, tag, parse.depth_left - 1) != OK:
                return MALFORMED
            continue
        if read_length(&p, end, &length) != OK:
            return MALFORMED
        if tag >> 3 == 1:
            output.name = read_name(p, length)
            if output.name is None:
                return MALFORMED
        else:
            if output.given_parameters is None:
                output.given_parameters = {}
            if parse_parameter(
                request, p, p + length, output.given_parameters, parse, parse.depth_left - 2
            ) != OK:
                return MALFORMED
        p += length
    if request.asked_outputs is None:
        request.asked_outputs = []
    PyList_Append(request.asked_outputs, output)
    parse.output_count += 1
    return OK


cdef int parse_parameter(
    Message message, const uint8_t* p, const uint8_t* end, dict parameters, Parse* parse, int depth_left
) except RAISED:
    """One entry of a map of parameters; a value that is not given is None.

    An entry with an unknown field is left out as a whole, as protobuf's own parser for Python does it.
    """
    cdef str key = ""
    cdef object value = None
    cdef bint whole = True
    cdef uint32_t tag
    cdef Py_ssize_t length
    if parse.parameter_count == MAX_ALL_PARAMETERS:
        if Message is InferRequest:
            raise refusals().too_many_parameters_in_all(message.model_name)
        else:
            raise refusals().answer_over_bound(message.model_name, MAX_ALL_PARAMETERS, "parameters in all")
    parse.parameter_count += 1
    while p < end:
        if read_tag(&p, end, &tag) != OK:
            return MALFORMED
        if tag & 7 != WIRE_LENGTH or tag >> 3 > 2:
            whole = False
            if skip_field(&p, end, tag, depth_left) != OK:
                return MALFORMED
            continue
        if read_length(&p, end, &length) != OK:
            return MALFORMED
        if tag >> 3 == 1:
            key = read_name(p, length)
            if key is None:
                return MALFORMED
        else:
            value = parse_value(p, p + length, value, depth_left - 1)
            if value is broken:
                return MALFORMED
        p += length
    # One over the bound is enough to know that it was passed.
    if whole and (len(parameters) <= MAX_PARAMETERS or key in parameters):
        parameters[key] = value
    return OK


cdef object parse_value(const uint8_t* p, const uint8_t* end, object value, int depth_left):
    """An InferParameter's value, `value` where none is given, or `broken` where it is malformed."""
    cdef uint32_t tag
    cdef Py_ssize_t length
    cdef uint64_t number
    cdef double real
    while p < end:
        if read_tag(&p, end, &tag) != OK:
            return broken
        if tag & 7 == WIRE_VARINT and (tag >> 3 == 1 or tag >> 3 == 2 or tag >> 3 == 5):
            if read_varint(&p, end, &number) != OK:
                return broken
            if tag >> 3 == 1:
                value = number != 0
            elif tag >> 3 == 2:
                value = <int64_t>number
            else:
                value = number
        elif tag == 3 << 3 | WIRE_LENGTH:
            if read_length(&p, end, &length) != OK:
                return broken
            value = read_text(p, length)
            if value is None:
                return broken
            p += length
        elif tag == 4 << 3 | WIRE_FIXED64:
            if 8 > end - p:
                return broken
            memcpy(&real, p, 8)
            value = PyFloat_FromDouble(real)
            p += 8
        elif skip_field(&p, end, tag, depth_left) != OK:
            return broken
    return value
