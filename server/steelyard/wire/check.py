"""Checks that are off the fast path: parameters, requested outputs, and what does not fit a shape or a model."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NoReturn

from steelyard.errors import InvalidRequest
from steelyard.wire import refusals
from steelyard.wire.refusals import shown, where
from steelyard.wire.types import (
    ITEM_BYTES,
    MAX_DIM,
    MAX_PARAMETERS,
    MAX_RANK,
    InferRequest,
    InputTensor,
    Parameter,
)

# Name, datatype and dimensions (-1: of any size) of each input of a version.
InputSpecs = Sequence[tuple[str, str, tuple[int, ...]]]


def _is_count(value: Parameter) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_bool(value: Parameter) -> bool:
    return isinstance(value, bool)


def _is_sequence_id(value: Parameter) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


# What a request's parameters with a meaning have to be.
_MEANINGS: dict[str, tuple[Callable[[Parameter], bool], str]] = {
    "priority": (_is_count, "a whole number, 0 or more"),
    "timeout": (_is_count, "a whole number, 0 or more"),
    "sequence_id": (_is_sequence_id, "a whole number or a string"),
    "sequence_start": (_is_bool, "a bool"),
    "sequence_end": (_is_bool, "a bool"),
    "binary_data_output": (_is_bool, "a bool"),
}


def request_parameters(model_name: str, parameters: Mapping[str, Parameter | None]) -> None:
    """Refuses parameters of a request that have no value, or a meaning and the wrong type.

    `None` stands for a parameter without a value.
    """
    if len(parameters) > MAX_PARAMETERS:
        raise refusals.too_many_parameters(f"model {shown(model_name)}")
    wrong = [
        name
        for name, value in parameters.items()
        if value is None or (name in _MEANINGS and not _MEANINGS[name][0](value))
    ]
    if wrong:
        _refuse(f"model {shown(model_name)}", parameters, wrong)


def tensor_parameters(
    model_name: str, kind: str, tensor: str, parameters: Mapping[str, Parameter | None]
) -> None:
    """Refuses parameters of an `input` or `output` (the kind) that have no value."""
    if len(parameters) > MAX_PARAMETERS:
        raise refusals.too_many_parameters(f"model {shown(model_name)}: {kind} {shown(tensor)}")
    wrong = [name for name, value in parameters.items() if value is None]
    if wrong:
        _refuse(f"model {shown(model_name)}: {kind} {shown(tensor)}", parameters, wrong)


def _refuse(owner: str, parameters: Mapping[str, Parameter | None], wrong: list[str]) -> NoReturn:
    # The first by name, because the codecs need not meet them in the same order.
    name = min(wrong)
    value = parameters[name]
    if value is None:
        raise refusals.empty_parameter(owner, name)
    came = f"{type(value).__name__} {shown(value) if isinstance(value, str) else value}"
    raise refusals.wrong_parameter(owner, name, _MEANINGS[name][1], came)


def check_outputs(request: InferRequest, model_name: str, output_names: Collection[str]) -> None:
    """Refuses requested outputs that the model does not have, and those asked for twice."""
    asked: set[str] = set()
    for output in request.outputs:
        if output.name not in output_names:
            raise InvalidRequest(
                f"model {shown(model_name)}: expected requested outputs of {_names(output_names)},"
                f" came {shown(output.name)}"
            )
        if output.name in asked:
            raise InvalidRequest(
                f"model {shown(model_name)}: expected {shown(output.name)} once in outputs, came twice"
            )
        asked.add(output.name)


def output(
    model_name: str, name: str, datatype: str, shape: Sequence[int], rank: int, content: bytes | memoryview
) -> None:
    """Refuses an output of an answer whose datatype, shape and raw content do not fit each other.

    rank: how many dimensions came; `shape` may hold no more than MAX_RANK of them.
    """
    why = _misfit(datatype, shape, rank, content)
    if why:
        raise refusals.unfit_output(model_name, name, why)


def _misfit(datatype: str, shape: Sequence[int], rank: int, content: bytes | memoryview) -> str:
    if datatype not in ITEM_BYTES:
        return f"an unknown datatype {shown(datatype)}"
    if rank > MAX_RANK:
        return f"{rank} dimensions, more than {MAX_RANK}"
    item = ITEM_BYTES[datatype]
    if any(not 0 <= dim <= MAX_DIM for dim in shape) or (item or 4) * math.prod(filter(None, shape)) >= 2**63:
        return f"shape {list(shape)} of {datatype}, which no message can hold"
    count = math.prod(shape)
    came = _element_count(datatype, content)
    if came is None:
        return f"{len(content)} bytes that are no elements of {datatype}"
    if came != count:
        return f"{came} elements for shape {list(shape)} of {datatype}"
    if datatype == "BOOL" and bytes(content).strip(b"\0\1"):
        return "BOOL elements that are neither 0 nor 1"
    return ""


def _element_count(datatype: str, content: bytes | memoryview) -> int | None:
    """How many elements are in raw content; None where the last is cut off."""
    item = ITEM_BYTES[datatype]
    if item:
        return None if len(content) % item else len(content) // item
    at = count = 0
    while at < len(content):
        at += 4 + int.from_bytes(content[at : at + 4], "little")
        count += 1
    return count if at == len(content) else None


def explain_misfit(request: InferRequest, model_name: str, specs: InputSpecs, batched: bool) -> NoReturn:
    """Raises InvalidRequest with what is wrong with inputs that `Signature.bind` did not take."""
    known = {name: (datatype, dims) for name, datatype, dims in specs}
    given: dict[str, InputTensor] = {}
    for tensor in request.inputs:
        if tensor.name not in known:
            raise InvalidRequest(
                f"model {shown(model_name)}: expected inputs of {_names(known)}, came {shown(tensor.name)}"
            )
        if tensor.name in given:
            raise InvalidRequest(
                f"model {shown(model_name)}: expected each input once, came {shown(tensor.name)} twice"
            )
        given[tensor.name] = tensor
    for name, datatype, dims in specs:
        if name not in given:
            raise InvalidRequest(
                f"{where(model_name, name)}: expected {datatype} {list(dims)}, came no such input"
            )
        _explain_tensor(given[name], model_name, datatype, dims, batched)
    if batched:
        _explain_rows(given, model_name)
    raise InvalidRequest(f"model {shown(model_name)}: expected inputs as in its metadata, came others")


def _explain_tensor(
    tensor: InputTensor, model_name: str, datatype: str, dims: tuple[int, ...], batched: bool
) -> None:
    place = where(model_name, tensor.name)
    if tensor.datatype != datatype:
        raise InvalidRequest(f"{place}: expected datatype {datatype}, came {tensor.datatype}")
    shape = tensor.shape
    if len(shape) != len(dims):
        raise InvalidRequest(
            f"{place}: expected {len(dims)} dimensions {list(dims)}, came {len(shape)}: {list(shape)}"
        )
    first = 1 if batched else 0
    for axis in range(first, len(dims)):
        if dims[axis] not in (-1, shape[axis]):
            raise InvalidRequest(
                f"{place}: expected dimension {axis} of {list(dims)} to be {dims[axis]}, came {list(shape)}"
            )


def _explain_rows(given: Mapping[str, InputTensor], model_name: str) -> None:
    rows = {name: tensor.shape[0] for name, tensor in given.items()}
    (first, expected), *others = rows.items()
    for name, came in others:
        if came != expected:
            raise InvalidRequest(
                f"{where(model_name, name)}: expected {expected} rows as in input {shown(first)}, came {came}"
            )


def _names(names: Collection[str]) -> str:
    """The known names, at most twenty of them, since models with hundreds of tensors exist."""
    listed = [shown(name) for name in sorted(names)[:20]]
    more = len(names) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more else "") if listed else "none"
