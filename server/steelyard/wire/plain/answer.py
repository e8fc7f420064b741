"""Decoding of ModelInferResponse and ModelStreamInferResponse through the generated messages."""

from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from steelyard.wire import check, refusals
from steelyard.wire.generated.grpc_service import (
    InferParameter,
    ModelInferResponse,
    ModelStreamInferResponse,
)
from steelyard.wire.plain.parameters import given
from steelyard.wire.plain.request import Tensor
from steelyard.wire.types import MAX_ALL_PARAMETERS, MAX_PARAMETERS, MAX_RANK, MAX_TENSORS, Parameter


@dataclass(slots=True)
class InferResponse:
    """A decoded ModelInferResponse; see `steelyard.wire.types`."""

    model_name: str
    model_version: str
    id: str
    parameters: dict[str, Parameter]
    outputs: list[Tensor]


def decode_response(body: bytes) -> InferResponse:
    """Decode a serialized ModelInferResponse.

    Raises SteelyardError for bytes that are no such message, and for whatever breaks a rule of the protocol.
    """
    try:
        message = ModelInferResponse.FromString(body)
    except DecodeError:
        raise refusals.malformed_answer("ModelInferResponse", len(body)) from None
    _check_bounds(message)
    return _decoded(message)


def decode_stream_response(body: bytes) -> tuple[str, InferResponse]:
    """Decode a serialized ModelStreamInferResponse: an error's text, or an empty one, and a response.

    Beside an error the response says whose it is, and has no outputs. Raises as decode_response.
    """
    try:
        message = ModelStreamInferResponse.FromString(body)
    except DecodeError:
        raise refusals.malformed_answer("ModelStreamInferResponse", len(body)) from None
    response = message.infer_response
    _check_bounds(response)
    if message.error_message:
        response.ClearField("outputs")
        response.ClearField("raw_output_contents")
    return message.error_message, _decoded(response)


def _check_bounds(message: ModelInferResponse) -> None:
    """What ends the parsing."""
    model_name = message.model_name
    if len(message.outputs) > MAX_TENSORS:
        raise refusals.answer_over_bound(model_name, MAX_TENSORS, "outputs")
    in_all = len(message.parameters) + sum(len(tensor.parameters) for tensor in message.outputs)
    if in_all > MAX_ALL_PARAMETERS:
        raise refusals.answer_over_bound(model_name, MAX_ALL_PARAMETERS, "parameters in all")


def _decoded(message: ModelInferResponse) -> InferResponse:
    model_name = message.model_name
    parameters = _parameters(model_name, message.parameters)
    if len(message.outputs) != len(message.raw_output_contents):
        raise refusals.raw_outputs(model_name, len(message.outputs), len(message.raw_output_contents))
    outputs = []
    for tensor, raw in zip(message.outputs, message.raw_output_contents, strict=True):
        name, datatype, shape = tensor.name, tensor.datatype, tuple(tensor.shape)
        own = _parameters(model_name, tensor.parameters)
        check.output(model_name, name, datatype, shape[:MAX_RANK], len(shape), raw)
        outputs.append(Tensor(name, datatype, shape, own, memoryview(raw)))
    return InferResponse(model_name, message.model_version, message.id, parameters, outputs)


def _parameters(model_name: str, parameters: Mapping[str, InferParameter]) -> dict[str, Parameter]:
    if len(parameters) > MAX_PARAMETERS:
        raise refusals.answer_over_bound(model_name, MAX_PARAMETERS, "parameters in one place")
    return given(parameters)
