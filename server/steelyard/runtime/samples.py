"""Inputs made up for a model that brought none: for warm-up, and for the check that its rows are independent."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.runtime.runner import Array

# What a dynamic inner dimension is tried with, in this order: 8 is short enough to be cheap and long enough for most
# windows; 1 for what broadcasts; the others for what is an image's side or a frame's length.
DIMENSIONS = (8, 1, 32, 224, 512)

# Upper bounds for made-up whole numbers, in this order. Most are indices into something: 100 is inside nearly every
# vocabulary, 2 inside a token type or a mask, 1 leaves only zeros.
WHOLE_BELOW = (100, 2, 1)

# Inputs of whole numbers that are given bounds of their own, in every combination: 3 to this power. A sentence encoder
# has three. Where there are more, the later ones share the last bound.
BOUNDED_APART = 4

# Rows of floats differ in scale, so that a model that measures a range over its batch gives itself away.
SCALES = (1.0, 8.0, 0.1, 3.0)


def sample_rows(
    tensor: TensorSpec, dims: Sequence[int], rows: int, below: int, rng: np.random.Generator
) -> Array:
    """`rows` rows of `tensor`, each of shape `dims`; whole numbers are in [0, below), and the second row differs from
    the first where there is more than one number to choose from."""
    shape = (rows, *dims)
    dtype = tensor.element.dtype
    if tensor.datatype == "BYTES":
        words = np.array(
            [f"sample {i}" for i in range(rows * int(np.prod(dims, dtype=np.int64)))], dtype=object
        )
        return words.reshape(shape)
    if tensor.datatype == "BOOL":
        return _different(rng.integers(0, 2, shape), 2).astype(dtype)
    if tensor.datatype == "BF16":
        scaled = rng.random(shape, np.float32) * _scales(rows, len(dims))
        return (scaled.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if dtype.kind == "f":
        return (rng.standard_normal(shape) * _scales(rows, len(dims))).astype(dtype)
    below = min(below, int(np.iinfo(dtype).max))
    return _different(rng.integers(0, below, shape), below).astype(dtype)


def _different(numbers: Array, below: int) -> Array:
    if len(numbers) > 1:
        numbers[1] = (numbers[0] + 1) % below
    return numbers


def _scales(rows: int, trailing: int) -> Array:
    scales = np.array([SCALES[row % len(SCALES)] for row in range(rows)])
    return scales.reshape((rows,) + (1,) * trailing)


def is_whole(tensor: TensorSpec) -> bool:
    """Whether the tensor holds whole numbers, which BF16 does not, although its bits are kept as such."""
    return tensor.element.dtype.kind in "iu" and tensor.datatype not in ("BF16", "BOOL")


def _bounds(count: int) -> list[tuple[int, ...]]:
    """Every choice of a bound for each of `count` inputs, those that leave them most of their range first."""
    choices = product(range(len(WHOLE_BELOW)), repeat=count)
    return [tuple(WHOLE_BELOW[at] for at in choice) for choice in sorted(choices, key=lambda c: (sum(c), c))]


def candidates(spec: ModelSpec, rows: int, seed: int = 7) -> Iterator[Mapping[str, Array]]:
    """Choices of inputs for `spec`, the most likely to run first; the same choices at every call.

    rows: rows in the batch where the spec is batched; ignored where it is not.
    """
    dynamic = any(
        dim < 0 for tensor in spec.inputs for dim in (tensor.dims[1:] if spec.batched else tensor.dims)
    )
    whole = [tensor.name for tensor in spec.inputs if is_whole(tensor)]
    for dimension in DIMENSIONS if dynamic else DIMENSIONS[:1]:
        for bounds in _bounds(min(len(whole), BOUNDED_APART)):
            below = {name: bounds[min(at, BOUNDED_APART - 1)] for at, name in enumerate(whole)}
            rng = np.random.default_rng(seed)
            inputs = {}
            for tensor in spec.inputs:
                dims = [
                    dim if dim >= 0 else dimension
                    for dim in (tensor.dims[1:] if spec.batched else tensor.dims)
                ]
                made = sample_rows(tensor, dims, rows if spec.batched else 1, below.get(tensor.name, 1), rng)
                inputs[tensor.name] = made if spec.batched else made[0]
            yield inputs
