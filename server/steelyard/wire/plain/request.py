"""Decoding of ModelInferRequest through the generated message, with every rule that needs no model."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.message import DecodeError

from steelyard.wire import check, refusals
from steelyard.wire.generated.grpc_service import InferTensorContents, ModelInferRequest
from steelyard.wire.plain import parameters as parameters_of
from steelyard.wire.plain.elements import encode_bytes_tensor
from steelyard.wire.types import (
    CONTENTS_FIELD,
    CONTENTS_FIELDS,
    ITEM_BYTES,
    MAX_ALL_PARAMETERS,
    MAX_DIM,
    MAX_ID_BYTES,
    MAX_RANK,
    MAX_TENSORS,
    Parameter,
)

_SHARED_MEMORY = "shared_memory_region"
_NUMPY = {
    "BOOL": "?",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
}


@dataclass(slots=True)
class Tensor:
    """An input of a request or an output of an answer; see `steelyard.wire.types`."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: dict[str, Parameter]
    data: memoryview


@dataclass(slots=True)
class RequestedOutput:
    """An output that the caller asked for."""

    name: str
    parameters: dict[str, Parameter] = field(default_factory=dict)


@dataclass(slots=True)
class InferRequest:
    """A decoded ModelInferRequest; see `steelyard.wire.types`."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, Parameter]
    inputs: list[Tensor]
    outputs: list[RequestedOutput]
    body: bytes
    body_bytes: int
    held_bytes: int


def decode_request(body: bytes) -> InferRequest:
    """Decode a serialized ModelInferRequest.

    Raises InvalidRequest for bytes that are no such message and for whatever breaks a rule of the protocol,
    and Unsupported for tensors in shared memory.
    """
    try:
        message = ModelInferRequest.FromString(body)
    except DecodeError:
        raise refusals.malformed(len(body)) from None
    model_name = message.model_name
    for kind, tensors in (("inputs", message.inputs), ("requested outputs", message.outputs)):
        if len(tensors) > MAX_TENSORS:
            raise refusals.too_many_tensors(model_name, kind)
    parameters = [message.parameters, *(tensor.parameters for tensor in message.inputs)]
    parameters += [output.parameters for output in message.outputs]
    if sum(map(len, parameters)) > MAX_ALL_PARAMETERS:
        raise refusals.too_many_parameters_in_all(model_name)
    id_bytes = len(message.id.encode())
    if id_bytes > MAX_ID_BYTES:
        raise refusals.long_id(model_name, id_bytes)
    check.request_parameters(model_name, parameters_of.values(message.parameters))
    for output in message.outputs:
        check.tensor_parameters(model_name, "output", output.name, parameters_of.values(output.parameters))
    counts = [_element_count(model_name, tensor) for tensor in message.inputs]
    _check_placement(message)
    contents = message.raw_input_contents or [None] * len(counts)
    inputs = []
    for tensor, count, raw in zip(message.inputs, counts, contents, strict=True):
        data = _typed(model_name, tensor, count) if raw is None else _raw(model_name, tensor, count, raw)
        inputs.append(
            Tensor(
                tensor.name,
                tensor.datatype,
                tuple(tensor.shape),
                parameters_of.given(tensor.parameters),
                memoryview(data),
            )
        )
    return InferRequest(
        model_name=model_name,
        model_version=message.model_version,
        id=message.id,
        parameters=parameters_of.given(message.parameters),
        inputs=inputs,
        outputs=[
            RequestedOutput(output.name, parameters_of.given(output.parameters)) for output in message.outputs
        ],
        body=body,
        body_bytes=len(body),
        held_bytes=len(body) + (0 if message.raw_input_contents else sum(len(each.data) for each in inputs)),
    )


def _element_count(model_name: str, tensor: ModelInferRequest.InferInputTensor) -> int:
    """Product of the dimensions of an input whose parameters, datatype and shape are right."""
    name, shape = tensor.name, tensor.shape
    check.tensor_parameters(model_name, "input", name, parameters_of.values(tensor.parameters))
    if tensor.datatype not in ITEM_BYTES:
        raise refusals.unknown_datatype(model_name, name, tensor.datatype)
    if len(shape) > MAX_RANK:
        raise refusals.high_rank(model_name, name, len(shape))
    if any(dim < 0 or dim > MAX_DIM for dim in shape):
        raise refusals.dimension_out_of_range(model_name, name, shape)
    # A BYTES element takes its length's four bytes at least. An empty dimension hides no overflow of the
    # others, which NumPy refuses too.
    if (ITEM_BYTES[tensor.datatype] or 4) * math.prod(dim for dim in shape if dim) >= 2**63:
        raise refusals.shape_overflow(model_name, name, shape)
    return math.prod(shape)


def _check_placement(message: ModelInferRequest) -> None:
    """The inputs are all in raw_input_contents or all in contents, and none is in shared memory."""
    model_name = message.model_name
    raw_count = len(message.raw_input_contents)
    if raw_count:
        for tensor in message.inputs:
            if tensor.HasField("contents"):
                raise refusals.mixed_contents(model_name, tensor.name)
        expected = sum(_SHARED_MEMORY not in tensor.parameters for tensor in message.inputs)
        if raw_count != expected:
            raise refusals.raw_count(model_name, expected, raw_count)
    for tensor in message.inputs:
        if _SHARED_MEMORY in tensor.parameters:
            raise refusals.shared_memory(model_name, "input", tensor.name)
    for output in message.outputs:
        if _SHARED_MEMORY in output.parameters:
            raise refusals.shared_memory(model_name, "output", output.name)


def _raw(model_name: str, tensor: ModelInferRequest.InferInputTensor, count: int, raw: bytes) -> bytes:
    """The raw content of an input, held against its shape."""
    name, datatype = tensor.name, tensor.datatype
    if datatype == "BYTES":
        _check_elements(model_name, name, count, raw)
        return raw
    expected = count * ITEM_BYTES[datatype]
    if len(raw) != expected:
        raise refusals.raw_bytes(model_name, name, datatype, tensor.shape, expected, len(raw))
    if datatype == "BOOL":
        (wrong,) = np.nonzero(np.frombuffer(raw, np.uint8) > 1)
        if len(wrong):
            raise refusals.not_boolean(model_name, name, int(wrong[0]), raw[wrong[0]])
    return raw


def _check_elements(model_name: str, name: str, count: int, raw: bytes) -> None:
    at = 0
    for index in range(count):
        if len(raw) - at < 4:
            raise refusals.short_length(model_name, name, index, len(raw) - at)
        length = int.from_bytes(raw[at : at + 4], "little")
        at += 4
        if len(raw) - at < length:
            raise refusals.short_element(model_name, name, index, length, len(raw) - at)
        at += length
    if at < len(raw):
        raise refusals.surplus_bytes(model_name, name, count, len(raw) - at)


def _typed(model_name: str, tensor: ModelInferRequest.InferInputTensor, count: int) -> bytes:
    """The raw form of an input's typed contents."""
    name, datatype = tensor.name, tensor.datatype
    if not tensor.HasField("contents"):
        if count:
            raise refusals.element_count(model_name, name, datatype, tensor.shape, count, 0)
        return b""
    if datatype not in CONTENTS_FIELD:
        raise refusals.raw_only(model_name, name, datatype)
    contents = tensor.contents
    expected = CONTENTS_FIELD[datatype]
    for contents_field in CONTENTS_FIELDS:
        if contents_field != expected and getattr(contents, contents_field):
            raise refusals.wrong_contents(model_name, name, datatype, contents_field)
    values = getattr(contents, expected)
    if len(values) != count:
        raise refusals.element_count(model_name, name, datatype, tensor.shape, count, len(values))
    if datatype == "BYTES":
        return encode_bytes_tensor(values)
    if datatype in ("FP32", "FP64"):
        return _float_bits(contents, count * ITEM_BYTES[datatype])
    return _integers(model_name, name, datatype, values)


def _float_bits(contents: InferTensorContents, size: int) -> bytes:
    """The end of the message, which holds one packed list: a Python float would lose a signalling NaN."""
    only_floats = InferTensorContents()
    only_floats.CopyFrom(contents)
    only_floats.DiscardUnknownFields()
    serialized = only_floats.SerializeToString()
    return serialized[len(serialized) - size :]


def _integers(model_name: str, name: str, datatype: str, values: Iterable[int]) -> bytes:
    dtype = np.dtype(_NUMPY[datatype])
    if CONTENTS_FIELD[datatype] in ("int_contents", "uint_contents"):
        wide = np.fromiter(values, np.int64)
        limits = np.iinfo(dtype)
        (wrong,) = np.nonzero((wide < limits.min) | (wide > limits.max))
        if len(wrong):
            index = int(wrong[0])
            raise refusals.value_out_of_range(
                model_name, name, datatype, int(limits.min), int(limits.max), index, int(wide[index])
            )
        return wide.astype(dtype).tobytes()
    return np.fromiter(values, dtype).tobytes()
