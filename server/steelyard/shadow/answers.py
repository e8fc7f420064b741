"""The tensors of an answer, and nothing else of it: two are decoded for every pair."""

from steelyard.client.tensors import Array, decode_tensor
from steelyard.errors import SteelyardError
from steelyard.wire import decode_response

Outputs = dict[str, Array]
"""By name; read-only. BYTES are objects (bytes), BF16 its bits as uint16."""


def decoded(answer: bytes) -> Outputs | None:
    """The outputs of a serialized ModelInferResponse; None for what is no answer."""
    try:
        return {tensor.name: decode_tensor(tensor) for tensor in decode_response(answer).outputs}
    except SteelyardError:
        return None
