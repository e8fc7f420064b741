"""A bound on tensors without data: their other dimensions cost the caller nothing, and the model perhaps gigabytes."""

from math import prod

from steelyard.errors import InvalidRequest
from steelyard.wire.refusals import shown
from steelyard.wire.types import InferRequest

# The largest max_batch that a manifest can ask for. With data, a message's size bounds the dimensions.
MAX_EMPTY_PRODUCT = 65_536


def check_empty(request: InferRequest, model: str) -> None:
    """Refuses a tensor with a dimension of size zero whose others come to more than `MAX_EMPTY_PRODUCT`."""
    for tensor in request.inputs:
        shape = tensor.shape
        if 0 in shape and prod(dim for dim in shape if dim) > MAX_EMPTY_PRODUCT:
            raise InvalidRequest(
                f"model {model!r}: input {shown(tensor.name)}: expected a tensor without data to have dimensions that "
                f"come to {MAX_EMPTY_PRODUCT} at most beside the zeros, came shape {list(shape)}"
            )
