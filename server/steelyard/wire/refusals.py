"""The errors for messages that break a rule of the protocol, one function a rule, for both codecs."""

from collections.abc import Sequence

from steelyard.errors import InvalidRequest, SteelyardError, TooLarge, Unsupported
from steelyard.wire.types import (
    CONTENTS_FIELD,
    ITEM_BYTES,
    MAX_ALL_PARAMETERS,
    MAX_DIM,
    MAX_ID_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PARAMETERS,
    MAX_RANK,
    MAX_TENSORS,
)

# Names come from outside and go into logs and trailers, so a message holds no more of one than this.
MAX_SHOWN_CHARACTERS = 80


def shown(name: str) -> str:
    """A name from outside, quoted and cut."""
    if len(name) <= MAX_SHOWN_CHARACTERS:
        return repr(name)
    return f"{name[:MAX_SHOWN_CHARACTERS]!r}... ({len(name)} characters)"


def where(model_name: str, tensor: str) -> str:
    return f"model {shown(model_name)}: input {shown(tensor)}"


def malformed(body_bytes: int) -> InvalidRequest:
    return InvalidRequest(
        f"malformed ModelInferRequest: expected a protobuf message, came {body_bytes} bytes that are none"
    )


def too_many_tensors(model_name: str, kind: str) -> InvalidRequest:
    return InvalidRequest(f"model {shown(model_name)}: expected at most {MAX_TENSORS} {kind}, came more")


def long_id(model_name: str, id_bytes: int) -> InvalidRequest:
    return InvalidRequest(
        f"model {shown(model_name)}: expected an id of at most {MAX_ID_BYTES} bytes, came {id_bytes}"
    )


def too_many_parameters(owner: str) -> InvalidRequest:
    return InvalidRequest(f"{owner}: expected at most {MAX_PARAMETERS} parameters, came more")


def too_many_parameters_in_all(model_name: str) -> InvalidRequest:
    return InvalidRequest(
        f"model {shown(model_name)}: expected at most {MAX_ALL_PARAMETERS} parameters in all, came more"
    )


def empty_parameter(owner: str, name: str) -> InvalidRequest:
    return InvalidRequest(f"{owner}: parameter {shown(name)}: expected a value, came none")


def wrong_parameter(owner: str, name: str, expected: str, came: str) -> InvalidRequest:
    return InvalidRequest(f"{owner}: parameter {shown(name)}: expected {expected}, came {came}")


def unknown_datatype(model_name: str, tensor: str, datatype: str) -> InvalidRequest:
    known = ", ".join(ITEM_BYTES)
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected a datatype of {known}, came {shown(datatype)}"
    )


def high_rank(model_name: str, tensor: str, rank: int) -> InvalidRequest:
    return InvalidRequest(f"{where(model_name, tensor)}: expected at most {MAX_RANK} dimensions, came {rank}")


def dimension_out_of_range(model_name: str, tensor: str, shape: Sequence[int]) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected dimensions from 0 to {MAX_DIM}, came shape {list(shape)}"
    )


def shape_overflow(model_name: str, tensor: str, shape: Sequence[int]) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected a tensor of less than 2**63 bytes, came shape {list(shape)}"
    )


def mixed_contents(model_name: str, tensor: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected contents or raw_input_contents in a request, came both"
    )


def raw_count(model_name: str, expected: int, came: int) -> InvalidRequest:
    return InvalidRequest(
        f"model {shown(model_name)}: expected {expected} entries of raw_input_contents, one for each input,"
        f" came {came}"
    )


def shared_memory(model_name: str, kind: str, tensor: str) -> Unsupported:
    return Unsupported(
        f"model {shown(model_name)}: {kind} {shown(tensor)}: expected data in the message, came a reference"
        " to shared memory, which this server does not do"
    )


def raw_bytes(
    model_name: str, tensor: str, datatype: str, shape: Sequence[int], expected: int, came: int
) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected {expected} bytes of raw content for {datatype} {list(shape)},"
        f" came {came}"
    )


def not_boolean(model_name: str, tensor: str, index: int, value: int) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected BOOL elements to be 0 or 1, came {value} at index {index}"
    )


def short_length(model_name: str, tensor: str, index: int, remaining: int) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected a length of 4 bytes before BYTES element {index},"
        f" came {remaining} bytes"
    )


def short_element(model_name: str, tensor: str, index: int, length: int, remaining: int) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected {length} bytes of BYTES element {index}, came {remaining}"
    )


def surplus_bytes(model_name: str, tensor: str, count: int, surplus: int) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected {count} BYTES elements, came {surplus} bytes more than those"
    )


def raw_only(model_name: str, tensor: str, datatype: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected {datatype} in raw_input_contents, the only form it has,"
        " came contents"
    )


def wrong_contents(model_name: str, tensor: str, datatype: str, came: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected {datatype} in {CONTENTS_FIELD[datatype]}, came {came}"
    )


def element_count(
    model_name: str, tensor: str, datatype: str, shape: Sequence[int], expected: int, came: int
) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected {expected} elements for {datatype} {list(shape)}, came {came}"
    )


def value_out_of_range(
    model_name: str, tensor: str, datatype: str, low: int, high: int, index: int, value: int
) -> InvalidRequest:
    return InvalidRequest(
        f"{where(model_name, tensor)}: expected {datatype} elements from {low} to {high}, came {value}"
        f" at index {index}"
    )


def large_message(kind: str, message_bytes: int) -> TooLarge:
    """kind: request or response."""
    return TooLarge(f"expected a {kind} of at most {MAX_MESSAGE_BYTES} bytes, came {message_bytes}")


def malformed_elements(what: str) -> InvalidRequest:
    return InvalidRequest(f"BYTES tensor: {what}")


# Of answers, at the client.


def malformed_answer(message: str, body_bytes: int) -> SteelyardError:
    return SteelyardError(
        f"the answer is no {message}: expected a protobuf message, came {body_bytes} bytes that are none"
    )


def answer_over_bound(model_name: str, limit: int, what: str) -> SteelyardError:
    return SteelyardError(f"model {shown(model_name)}: the answer has more than {limit} {what}")


def raw_outputs(model_name: str, outputs: int, raws: int) -> SteelyardError:
    return SteelyardError(
        f"model {shown(model_name)}: the answer has {outputs} outputs and {raws} raw contents"
    )


def unfit_output(model_name: str, output: str, why: str) -> SteelyardError:
    return SteelyardError(f"model {shown(model_name)}: output {shown(output)}: the answer has {why}")
