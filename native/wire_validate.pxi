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
    cdef Tensor tensor
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
    raw_expected = parse.tensor_count
    for i in range(parse.tensor_count):
        tensor = <Tensor>PyList_GET_ITEM(request.tensors, i)
        validate_form(model_name, tensor)
        if tensor.given_parameters is not None and "shared_memory_region" in tensor.given_parameters:
            raw_expected -= 1
            shared = True
    if parse.raw_count > 0:
        for i in range(parse.tensor_count):
            tensor = <Tensor>PyList_GET_ITEM(request.tensors, i)
            if tensor.contents is not None:
                raise refusals().mixed_contents(model_name, tensor.name)
        if parse.raw_count != raw_expected:
            raise refusals().raw_count(model_name, raw_expected, parse.raw_count)
    if shared:
        refuse_shared(request)
    for i in range(parse.tensor_count):
        tensor = <Tensor>PyList_GET_ITEM(request.tensors, i)
        if parse.raw_count > 0:
            take_raw(model_name, tensor, parse.raw[i].start, parse.raw[i].size)
        else:
            take_contents(model_name, tensor, body)
            if tensor.owner is not body:
                request.held_bytes += tensor.content_bytes
    return OK


cdef int validate_form(str model_name, Tensor tensor) except RAISED:
    """Parameters, datatype and shape of one input; gives it its element count."""
    cdef Form form
    if tensor.given_parameters is not None:
        check().tensor_parameters(model_name, "input", tensor.name, tensor.given_parameters)
    form = measure(tensor)
    if form == FORM_UNKNOWN_DATATYPE:
        raise refusals().unknown_datatype(model_name, tensor.name, tensor.unknown_datatype)
    if form == FORM_HIGH_RANK:
        raise refusals().high_rank(model_name, tensor.name, tensor.rank)
    if form == FORM_DIMENSION:
        raise refusals().dimension_out_of_range(model_name, tensor.name, tensor.shape)
    if form == FORM_OVERFLOW:
        raise refusals().shape_overflow(model_name, tensor.name, tensor.shape)
    return OK


# What is wrong with a tensor's datatype and shape.
cdef enum Form:
    FORM_SOUND
    FORM_UNKNOWN_DATATYPE
    FORM_HIGH_RANK
    FORM_DIMENSION
    FORM_OVERFLOW


cdef Form measure(Tensor tensor) noexcept:
    """Gives a tensor whose datatype and shape are sound its element count."""
    cdef const int64_t* dims = tensor.dims()
    cdef int64_t item = item_bytes[tensor.datatype_number]
    cdef int64_t size
    cdef bint empty = False
    cdef int axis
    if tensor.datatype_number == DATATYPE_UNKNOWN:
        return FORM_UNKNOWN_DATATYPE
    if tensor.rank > MAX_RANK:
        return FORM_HIGH_RANK
    for axis in range(tensor.rank):
        if dims[axis] < 0 or dims[axis] > MAX_DIM:
            return FORM_DIMENSION
    # A BYTES element takes its length's four bytes at least.
    if item == 0:
        item = 4
    size = item
    for axis in range(tensor.rank):
        if dims[axis] == 0:
            empty = True
        elif size > INT64_MAX // dims[axis]:
            return FORM_OVERFLOW
        else:
            size *= dims[axis]
    tensor.elements = 0 if empty else size // item
    return FORM_SOUND


cdef int refuse_shared(InferRequest request) except RAISED:
    cdef Tensor tensor
    cdef RequestedOutput output
    for tensor in request.tensors:
        if tensor.given_parameters is not None and "shared_memory_region" in tensor.given_parameters:
            raise refusals().shared_memory(request.model_name, "input", tensor.name)
    for output in request.asked_outputs:
        if output.given_parameters is not None and "shared_memory_region" in output.given_parameters:
            raise refusals().shared_memory(request.model_name, "output", output.name)
    return OK


cdef int take_raw(str model_name, Tensor tensor, const uint8_t* start, Py_ssize_t size) except RAISED:
    cdef int64_t expected
    cdef Py_ssize_t i
    tensor.content = start
    tensor.content_bytes = size
    if tensor.datatype_number == DATATYPE_BYTES:
        return check_elements(model_name, tensor)
    expected = tensor.elements * item_bytes[tensor.datatype_number]
    if expected != size:
        raise refusals().raw_bytes(
            model_name, tensor.name, tensor.datatype, tensor.shape, expected, size
        )
    if tensor.datatype_number == DATATYPE_BOOL and not all_boolean(tensor):
        for i in range(size):
            if start[i] > 1:
                raise refusals().not_boolean(model_name, tensor.name, i, start[i])
    return OK


cdef bint all_boolean(Tensor tensor) noexcept:
    """Whether every byte is 0 or 1."""
    cdef uint8_t seen = 0
    cdef Py_ssize_t i
    for i in range(tensor.content_bytes):
        seen |= tensor.content[i]
    return seen <= 1


# Where raw BYTES stop being elements: before a length, before the bytes of an element, or nowhere.
cdef struct Walk:
    int64_t index
    bint has_length
    uint32_t length
    # After `index` elements, or after the length.
    Py_ssize_t remaining


cdef Walk walk_elements(Tensor tensor) noexcept:
    """Over as many elements as the shape says."""
    cdef const uint8_t* p = tensor.content
    cdef const uint8_t* end = p + tensor.content_bytes
    cdef Walk walk
    walk.index = 0
    walk.has_length = False
    walk.length = 0
    while walk.index < tensor.elements and 4 <= end - p:
        memcpy(&walk.length, p, 4)
        p += 4
        if walk.length > end - p:
            walk.has_length = True
            break
        p += walk.length
        walk.index += 1
    walk.remaining = end - p
    return walk


cdef int check_elements(str model_name, Tensor tensor) except RAISED:
    """Raw BYTES hold as many elements as the shape says, and nothing else."""
    cdef Walk walk = walk_elements(tensor)
    if walk.has_length:
        raise refusals().short_element(model_name, tensor.name, walk.index, walk.length, walk.remaining)
    if walk.index < tensor.elements:
        raise refusals().short_length(model_name, tensor.name, walk.index, walk.remaining)
    if walk.remaining > 0:
        raise refusals().surplus_bytes(model_name, tensor.name, tensor.elements, walk.remaining)
    return OK


cdef int take_contents(str model_name, Tensor tensor, bytes body) except RAISED:
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


cdef int make_raw(str model_name, Tensor tensor, Py_ssize_t size) except RAISED:
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
