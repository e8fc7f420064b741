"""Parameters of the generated messages as plain values, and back."""

from collections.abc import Mapping

from steelyard.wire.generated.grpc_service import InferParameter
from steelyard.wire.types import Parameter


def values(parameters: Mapping[str, InferParameter]) -> dict[str, Parameter | None]:
    """Values by name; None for a parameter without one."""
    return {name: _value(parameter) for name, parameter in parameters.items()}


def given(parameters: Mapping[str, InferParameter]) -> dict[str, Parameter]:
    """Values by name, of the parameters that have one."""
    return {name: value for name, value in values(parameters).items() if value is not None}


def fill(parameter: InferParameter, name: str, value: Parameter) -> None:
    """Gives the parameter of that name its value."""
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        # Servers expect the unsigned form of a priority.
        if value >= 2**63 or (name == "priority" and value >= 0):
            parameter.uint64_param = value
        else:
            parameter.int64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = value


def _value(parameter: InferParameter) -> Parameter | None:
    choice = parameter.WhichOneof("parameter_choice")
    if choice is None:
        return None
    value: Parameter = getattr(parameter, choice)
    return value
