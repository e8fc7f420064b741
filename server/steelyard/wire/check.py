"""Checks that are off the fast path: parameters, requested outputs, and why inputs do not fit."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NoReturn

from steelyard.errors import InvalidRequest
from steelyard.wire import refusals
from steelyard.wire.refusals import shown, where
from steelyard.wire.types import MAX_PARAMETERS, InferRequest, InputTensor, Parameter

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
