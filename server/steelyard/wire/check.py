"""Checks of a decoded request that are off the fast path: parameters, requested outputs, and why inputs do not fit."""

from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

from steelyard.errors import InvalidRequest
from steelyard.wire import refusals
from steelyard.wire.refusals import shown, where
from steelyard.wire.types import MAX_PARAMETERS, InferRequest, InputTensor, Parameter

# Name, datatype and dimensions (-1: of any size) of each input of a version.
InputSpecs = Sequence[tuple[str, str, tuple[int, ...]]]

_BOOLEAN_PARAMETERS = ("sequence_start", "sequence_end", "binary_data_output")
_COUNT_PARAMETERS = ("priority", "timeout")


def request_parameters(model_name: str, parameters: Mapping[str, Parameter | None]) -> None:
    """Refuses parameters of a request that have no value, or a meaning and the wrong type.

    `None` stands for a parameter without a value.
    """
    owner = f"model {shown(model_name)}"
    _values(owner, parameters)
    for name in _COUNT_PARAMETERS:
        value = parameters.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise refusals.wrong_parameter(owner, name, "a whole number, 0 or more", _came(value))
    for name in _BOOLEAN_PARAMETERS:
        value = parameters.get(name)
        if value is not None and not isinstance(value, bool):
            raise refusals.wrong_parameter(owner, name, "a bool", _came(value))
    value = parameters.get("sequence_id")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | str)):
        raise refusals.wrong_parameter(owner, "sequence_id", "a whole number or a string", _came(value))


def tensor_parameters(
    model_name: str, kind: str, tensor: str, parameters: Mapping[str, Parameter | None]
) -> None:
    """Refuses parameters of an `input` or `output` (the kind) that have no value."""
    _values(f"model {shown(model_name)}: {kind} {shown(tensor)}", parameters)


def _values(owner: str, parameters: Mapping[str, Parameter | None]) -> None:
    if len(parameters) > MAX_PARAMETERS:
        raise refusals.too_many_parameters(owner)
    # The first by name, because the codecs need not meet them in the same order.
    empty = min((name for name, value in parameters.items() if value is None), default=None)
    if empty is not None:
        raise refusals.empty_parameter(owner, empty)


def _came(value: Parameter) -> str:
    return f"{type(value).__name__} {shown(value) if isinstance(value, str) else value}"


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
                f"model {shown(model_name)}: expected each requested output once, came {shown(output.name)} twice"
            )
        asked.add(output.name)


def explain_misfit(request: InferRequest, model_name: str, specs: InputSpecs, batched: bool) -> NoReturn:
    """Raises InvalidRequest with what is wrong with the inputs of a request that `Signature.bind` did not take."""
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
            f"{place}: expected {len(dims)} dimensions {list(dims)}, came {len(shape)} dimensions {list(shape)}"
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
