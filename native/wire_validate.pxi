# The rules of the protocol that need no knowledge of the model, in the order in which the twin has them, so
# that a request that breaks several gets the same error from both.


# Parameters of a request with a meaning, by what they have to be.
cdef frozenset count_parameters = frozenset(["priority", "timeout"])
cdef frozenset other_meanings = frozenset(
    ["sequence_id", "sequence_start", "sequence_end", "binary_data_output"]
)


cdef bint usual_parameters(dict parameters) except -1:
    """Whether these are in order beyond doubt; the rest is judged by `steelyard.wire.check`."""
    if len(parameters) > MAX_PARAMETERS:
        return False
    for name, value in parameters.items():
        if name in count_parameters:
            if type(value) is not int or value < 0:
                return False
        elif value is None or name in other_meanings:
            return False
    return True


cdef int validate(InferRequest request, bytes body, Parse* parse) except RAISED:
    cdef Py_ssize_t i
    cdef Py_ssize_t raw_expected
    cdef InputTensor tensor
    cdef RequestedOutput output
    cdef str model_name = request.model_name
    cdef bint shared = False
    if parse.id_bytes > MAX_ID_BYTES:
        raise refusals().long_id(model_name, parse.id_bytes)
    if request.given_parameters is not None and not usual_parameters(request.given_parameters):
        check().request_parameters(model_name, request.given_parameters)
    if request.asked_outputs is not None:
        for output in request.asked_outputs:
            if output.given_parameters is not None:
                check().tensor_parameters(model_name, "output", output.name, output.given_parameters)
                shared = shared or "shared_memory_region" in output.given_parameters
    raw_expected = parse.input_count
    for i in range(parse.input_count):
        tensor = <InputTensor>PyList_GET_ITEM(request.inputs, i)
        validate_form(model_name, tensor)
        if tensor.given_parameters is not None and "shared_memory_region" in tensor.given_parameters:
            raw_expected -= 1
            shared = True
    if parse.raw_count > 0:
        for i in range(parse.input_count):
            tensor = <InputTensor>PyList_GET_ITEM(request.inputs, i)
            if tensor.contents is not None:
                raise refusals().mixed_contents(model_name, tensor.name)
        if parse.raw_count != raw_expected:
            raise refusals().raw_count(model_name, raw_expected, parse.raw_count)
    if shared:
        refuse_shared(request)
    for i in range(parse.input_count):
        tensor = <InputTensor>PyList_GET_ITEM(request.inputs, i)
        if parse.raw_count > 0:
            take_raw(model_name, tensor, parse.raw[i].start, parse.raw[i].size)
        else:
            take_contents(model_name, tensor, body)
            if tensor.owner is not body:
                request.held_bytes += tensor.content_bytes
    return OK


cdef int validate_form(str model_name, InputTensor tensor) except RAISED:
    """Parameters, datatype and shape of one input; gives it its element count."""
    cdef const int64_t* dims = tensor.dims()
    cdef int64_t item = item_bytes[tensor.datatype_number]
    cdef int64_t size
    cdef bint empty = False
    cdef int axis
    if tensor.given_parameters is not None:
        check().tensor_parameters(model_name, "input", tensor.name, tensor.given_parameters)
    if tensor.datatype_number == DATATYPE_UNKNOWN:
        raise refusals().unknown_datatype(model_name, tensor.name, tensor.unknown_datatype)
    if tensor.rank > MAX_RANK:
        raise refusals().high_rank(model_name, tensor.name, tensor.rank)
    for axis in range(tensor.rank):
        if dims[axis] < 0 or dims[axis] > MAX_DIM:
            raise refusals().dimension_out_of_range(model_name, tensor.name, tensor.shape)
    # A BYTES element takes its length's four bytes at least.
    if item == 0:
        item = 4
    size = item
    for axis in range(tensor.rank):
        if dims[axis] == 0:
            empty = True
        elif size > INT64_MAX // dims[axis]:
            raise refusals().shape_overflow(model_name, tensor.name, tensor.shape)
        else:
            size *= dims[axis]
    tensor.elements = 0 if empty else size // item
    return OK


cdef int refuse_shared(InferRequest request) except RAISED:
    cdef InputTensor tensor
    cdef RequestedOutput output
    for tensor in request.inputs:
        if tensor.given_parameters is not None and "shared_memory_region" in tensor.given_parameters:
            raise refusals().shared_memory(request.model_name, "input", tensor.name)
    for output in request.asked_outputs:
        if output.given_parameters is not None and "shared_memory_region" in output.given_parameters:
            raise refusals().shared_memory(request.model_name, "output", output.name)
    return OK


cdef int take_raw(str model_name, InputTensor tensor, const uint8_t* start, Py_ssize_t size) except RAISED:
    cdef int64_t expected
    cdef Py_ssize_t i
    cdef uint8_t seen = 0
    tensor.content = start
    tensor.content_bytes = size
    if tensor.datatype_number == DATATYPE_BYTES:
        return check_elements(model_name, tensor)
    expected = tensor.elements * item_bytes[tensor.datatype_number]
    if expected != size:
        raise refusals().raw_bytes(
            model_name, tensor.name, tensor.datatype, tensor.shape, expected, size
        )
    if tensor.datatype_number == DATATYPE_BOOL:
        for i in range(size):
            seen |= start[i]
        if seen > 1:
            for i in range(size):
                if start[i] > 1:
                    raise refusals().not_boolean(model_name, tensor.name, i, start[i])
    return OK


cdef int check_elements(str model_name, InputTensor tensor) except RAISED:
    """Raw BYTES hold as many elements as the shape says, and nothing else."""
    cdef const uint8_t* p = tensor.content
    cdef const uint8_t* end = p + tensor.content_bytes
    cdef int64_t index
    cdef uint32_t length
    for index in range(tensor.elements):
        if 4 > end - p:
            raise refusals().short_length(model_name, tensor.name, index, end - p)
        memcpy(&length, p, 4)
        p += 4
        if length > end - p:
            raise refusals().short_element(model_name, tensor.name, index, length, end - p)
        p += length
    if p < end:
        raise refusals().surplus_bytes(model_name, tensor.name, tensor.elements, end - p)
    return OK


cdef int take_contents(str model_name, InputTensor tensor, bytes body) except RAISED:
    cdef Contents contents = tensor.contents
    cdef int datatype = tensor.datatype_number
    cdef int number = contents_of[datatype]
    cdef int other
    cdef Py_ssize_t size
    if contents is None:
        if tensor.elements != 0:
            raise refusals().element_count(
                model_name, tensor.name, tensor.datatype, tensor.shape, tensor.elements, 0
            )
        tensor.content = <const uint8_t*>PyBytes_AS_STRING(body)
        return OK
    if number == 0:
        raise refusals().raw_only(model_name, tensor.name, tensor.datatype)
    for other in range(1, CONTENTS_COUNT):
        if other != number and contents.counts[other] != 0:
            raise refusals().wrong_contents(
                model_name, tensor.name, tensor.datatype, contents_names[other]
            )
    if contents.counts[number] != tensor.elements:
        raise refusals().element_count(
            model_name, tensor.name, tensor.datatype, tensor.shape, tensor.elements, contents.counts[number]
        )
    size = tensor.elements * item_bytes[datatype]
    if number == CONTENTS_BYTES:
        size = 4 * contents.counts[number] + contents.element_bytes
    if number == CONTENTS_FP32 or number == CONTENTS_FP64:
        tensor.content = only_chunk(contents, number, size)
    if tensor.content == NULL:
        make_raw(model_name, tensor, size)
    tensor.content_bytes = size
    tensor.contents = None
    return OK


cdef int make_raw(str model_name, InputTensor tensor, Py_ssize_t size) except RAISED:
    cdef Contents contents = tensor.contents
    cdef int datatype = tensor.datatype_number
    cdef bytes raw = PyBytes_FromStringAndSize(NULL, size)
    cdef const uint8_t* p = contents.first
    cdef Py_ssize_t merged_bytes = contents.first_bytes
    cdef Range allowed
    allowed.index = -1
    allowed.value = 0
    allowed.low = lowest[datatype]
    allowed.high = highest[datatype]
    if contents.merged is not None:
        p = <const uint8_t*>PyByteArray_AS_STRING(contents.merged)
        merged_bytes = PyByteArray_GET_SIZE(contents.merged)
    convert_contents(p, p + merged_bytes, datatype, <uint8_t*>PyBytes_AS_STRING(raw), &allowed)
    if allowed.index != -1:
        raise refusals().value_out_of_range(
            model_name, tensor.name, tensor.datatype, allowed.low, allowed.high, allowed.index, allowed.value
        )
    tensor.owner = raw
    tensor.content = <const uint8_t*>PyBytes_AS_STRING(raw)
    return OK
