"""Encoding of requests, and of responses of any form, through the generated messages."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from steelyard.wire import refusals
from steelyard.wire.generated.grpc_service import (
    ModelInferRequest,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from steelyard.wire.plain.parameters import fill
from steelyard.wire.types import MAX_MESSAGE_BYTES, Parameter

# Name, datatype, shape, and content in raw form.
RawTensor = tuple[str, str, Sequence[int], Any]


def encode_request(
    model_name: str,
    model_version: str,
    id: str,
    parameters: Mapping[str, Parameter],
    inputs: Iterable[RawTensor],
    outputs: Iterable[tuple[str, Mapping[str, Parameter]]],
) -> bytes:
    """A serialized ModelInferRequest.

    parameters: bool, int (of 64 bits), float or str by name.
    inputs: name, datatype, shape and content of each, the content as a contiguous buffer in the protocol's raw
    form. Its size is not held against the shape.
    outputs: name and parameters of each that is asked for; none: all.
    """
    message = ModelInferRequest(model_name=model_name, model_version=model_version, id=id)
    for name, value in parameters.items():
        fill(message.parameters[name], name, value)
    for name, datatype, shape, content in inputs:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_input_contents.append(memoryview(content).tobytes())
    for name, given in outputs:
        output = message.outputs.add(name=name)
        for key, value in given.items():
            fill(output.parameters[key], key, value)
    return _serialized("request", message)


def encode_response(
    model_name: str,
    model_version: str,
    id: str,
    parameters: Mapping[str, Parameter],
    outputs: Iterable[RawTensor],
) -> bytes:
    """A serialized ModelInferResponse.

    parameters: bool, int (of 64 bits), float or str by name.
    outputs: name, datatype, shape and content of each, the content as a contiguous buffer in the protocol's
    raw form. Its size is not held against the shape.
    """
    message = ModelInferResponse(model_name=model_name, model_version=model_version, id=id)
    for name, value in parameters.items():
        fill(message.parameters[name], name, value)
    for name, datatype, shape, content in outputs:
        message.outputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_output_contents.append(memoryview(content).tobytes())
    return _serialized("response", message)


def wrap_stream_response(body: bytes) -> bytes:
    """A ModelStreamInferResponse that holds a serialized ModelInferResponse."""
    return _serialized(
        "response", ModelStreamInferResponse(infer_response=ModelInferResponse.FromString(body))
    )


def stream_error(message: str, about: bytes = b"") -> bytes:
    """A ModelStreamInferResponse with an error, and a serialized ModelInferResponse that says whose it is."""
    response = ModelInferResponse.FromString(about)
    return _serialized("response", ModelStreamInferResponse(error_message=message, infer_response=response))


def _serialized(
    kind: str, message: ModelInferRequest | ModelInferResponse | ModelStreamInferResponse
) -> bytes:
    size = message.ByteSize()
    if size > MAX_MESSAGE_BYTES:
        raise refusals.large_message(kind, size)
    return message.SerializeToString()
