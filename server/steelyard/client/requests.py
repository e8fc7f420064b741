"""A request for inference as callers write it, and as a serialized ModelInferRequest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import TypeAlias

from steelyard import wire
from steelyard.client.tensors import Array, Tensor, encode_tensor
from steelyard.errors import InvalidRequest

Parameter: TypeAlias = bool | int | float | str


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
    """The serialized ModelInferRequest. Raises InvalidRequest for what the protocol cannot carry."""
    return encode_infer(
        request.model,
        request.inputs,
        request.version,
        request.outputs,
        request.request_id,
        request.priority,
        request.parameters,
        request.classes,
    )


def encode_infer(
    model: str,
    inputs: Mapping[str, Array | Tensor],
    version: str | int,
    outputs: Sequence[str] | None,
    request_id: str,
    priority: int,
    parameters: Mapping[str, Parameter] | None,
    classes: Mapping[str, int] | None,
) -> bytes:
    """As `encode_request`, without the object."""
    tensors = [encode_tensor(name, value) for name, value in inputs.items()]
    try:
        asked = () if outputs is None and not classes else _requested(model, outputs, classes or {})
        if priority:
            parameters = {**(parameters or {}), "priority": _priority(priority)}
        return wire.encode_request(model, str(version), request_id, parameters or {}, tensors, asked)
    except (TypeError, ValueError, OverflowError) as exc:  # text that is no UTF-8, a number too large
        raise InvalidRequest(f"model {model!r}: {exc}") from None


def _priority(priority: int) -> int:
    value = index(priority)
    if value < 0:
        raise ValueError(f"expected a priority of 0 or more, came {value}")
    return value


def _requested(
    model: str, outputs: Sequence[str] | None, classes: Mapping[str, int]
) -> list[tuple[str, Mapping[str, Parameter]]]:
    """Requested outputs, each with its parameters: the number of classes, where those are wanted."""
    names = list(classes) if outputs is None else outputs
    missing = [name for name in classes if name not in names]
    if missing:
        raise InvalidRequest(
            f"model {model!r}: expected the outputs of `classes` among `outputs`, came {missing[0]!r}"
        )
    return [(name, {"classification": index(classes[name])} if name in classes else {}) for name in names]
