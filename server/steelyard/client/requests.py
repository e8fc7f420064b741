"""A request for inference as callers write it, and as a serialized ModelInferRequest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from steelyard.client.tensors import Array, Tensor, encode_tensor
from steelyard.errors import InvalidRequest
from steelyard.wire.generated import grpc_service as pb

Parameter: TypeAlias = bool | int | float | str

# Field 7 of ModelInferRequest, raw_input_contents, with a length.
_RAW_INPUT_TAG = b"\x3a"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Request:
    """One request for inference."""

    model: str
    inputs: Mapping[str, Array | Tensor]
    version: str | int = ""
    """Empty leaves the choice to the server."""
    outputs: Sequence[str] | None = None
    """Which outputs to send back, in this order; None: all, or where `classes` is given, those in it."""
    request_id: str = ""
    """The caller's own name for the request, at most 128 bytes; echoed."""
    priority: int = 0
    """1 is the most urgent; 0 is the server's default."""
    parameters: Mapping[str, Parameter] | None = None
    classes: Mapping[str, int] | None = None
    """For these outputs, the so many best classes as "score:index[:label]" in place of the numbers."""


def encode_request(request: Request) -> bytes:
    """The serialized ModelInferRequest. Raises InvalidRequest for what the protocol cannot carry.

    The message is written without the tensors' bytes, which are appended as what protobuf takes for further
    fields of the same message: so they are copied once, and not three times.
    """
    tensors = [encode_tensor(name, value) for name, value in request.inputs.items()]
    try:
        message = pb.ModelInferRequest(
            model_name=request.model, model_version=str(request.version), id=request.request_id
        )
        for name, value in (request.parameters or {}).items():
            _set(message.parameters[name], name, value)
        if request.priority:
            message.parameters["priority"].uint64_param = request.priority
        for tensor in tensors:
            message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        for name, count in _outputs(request).items():
            output = message.outputs.add(name=name)
            if count is not None:
                output.parameters["classification"].int64_param = count
        parts: list[bytes | memoryview] = [message.SerializeToString()]
    except (
        TypeError,
        ValueError,
    ) as exc:  # what protobuf says of text that is no UTF-8, or a number too large
        raise InvalidRequest(f"model {request.model!r}: {exc}") from None
    for tensor in tensors:
        parts += (_RAW_INPUT_TAG, _varint(len(tensor.raw)), tensor.raw)
    return b"".join(parts)


def _outputs(request: Request) -> Mapping[str, int | None]:
    """Requested outputs, each with its number of classes, None where the numbers themselves are wanted."""
    classes = request.classes or {}
    if request.outputs is None:
        return dict(classes)
    missing = [name for name in classes if name not in request.outputs]
    if missing:
        raise InvalidRequest(
            f"model {request.model!r}: expected the outputs of `classes` among `outputs`, came {missing[0]!r}"
        )
    return {name: classes.get(name) for name in request.outputs}


def _set(parameter: Any, name: str, value: Parameter) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        if value >= 1 << 63:
            parameter.uint64_param = value
        else:
            parameter.int64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    elif isinstance(value, str):
        parameter.string_param = value
    else:
        raise InvalidRequest(
            f"parameter {name!r}: expected bool, int, float or str, came {type(value).__name__}"
        )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
