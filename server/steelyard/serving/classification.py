"""The `classification` parameter of a requested output: the k best classes as "score:index[:label]" strings."""

import numpy as np

from steelyard.errors import InvalidRequest
from steelyard.runtime.runner import Array


def classify(
    array: Array, top: int, labels: tuple[str, ...], batched: bool, model: str, output: str
) -> Array:
    """The `top` best classes of each row, best first, ties by the lower index.

    array: numbers, shape [rows, ...] where batched, else [...]; everything but the rows counts as the classes.
    Returns strings of shape [rows, k] where batched, else [k], with k the smaller of `top` and the classes.
    Raises `InvalidRequest` for an output of strings or booleans.
    """
    if array.dtype.kind not in "fiu":
        raise InvalidRequest(
            f"model {model!r}: output {output!r} cannot be classified, it does not hold numbers"
        )
    rows = array.reshape(array.shape[0] if batched else 1, -1)
    k = min(top, rows.shape[1])
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :k]
    found = np.empty((rows.shape[0], k), dtype=object)
    for row, indexes in enumerate(order):
        for position, index in enumerate(indexes):
            label = f":{labels[index]}" if index < len(labels) else ""
            found[row, position] = f"{rows[row, index]:f}:{index}{label}"
    return found if batched else found[0]
