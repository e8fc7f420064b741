"""The `classification` parameter of a requested output: the k best classes as "score:index[:label]" strings."""

from math import prod

import numpy as np

from steelyard.errors import InvalidRequest
from steelyard.models.bfloat16 import from_bfloat16
from steelyard.models.spec import ModelSpec
from steelyard.runtime.runner import Array
from steelyard.wire.types import InferRequest, Parameter

PARAMETER = "classification"

# Each class is formatted by itself, a microsecond: so many rows times classes are a tenth of a second of one thread.
MAX_FORMATTED = 100_000


def check_classes(request: InferRequest, where: str, offered: ModelSpec, rows: int) -> None:
    """Refuses a `classification` that is no whole number above zero, or asked of an output that holds no numbers.

    where: the model, for messages. rows: those that are answered.
    """
    for output in request.outputs:
        wanted = output.parameters.get(PARAMETER)
        if wanted is None:
            continue
        place = f"{where}: output {output.name!r}"
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            raise InvalidRequest(
                f"{place}: parameter {PARAMETER!r}: expected a whole number, 1 or more, came {_came(wanted)}"
            )
        tensor = next(tensor for tensor in offered.outputs if tensor.name == output.name)
        dims = tensor.dims[1:] if offered.batched else tensor.dims
        classes = min(wanted, prod(dims)) if all(dim >= 0 for dim in dims) else wanted
        if rows * classes > MAX_FORMATTED:
            raise InvalidRequest(
                f"{place}: parameter {PARAMETER!r}: expected at most {MAX_FORMATTED} classes over all rows, "
                f"came {classes} for each of {rows}"
            )
        datatype = tensor.datatype
        if datatype in ("BYTES", "BOOL"):
            raise InvalidRequest(
                f"{place}: parameter {PARAMETER!r}: expected an output of numbers, it has {datatype}"
            )


def _came(value: Parameter) -> str:
    return f"{type(value).__name__} {str(value)[:80]!r}"


def classify(array: Array, datatype: str, top: int, labels: tuple[str, ...], batched: bool) -> Array:
    """The `top` best classes of each row, best first, ties by the lower index.

    array: numbers of the protocol's `datatype`, shape [rows, ...] where batched, else [...]; everything but the rows
    counts as the classes.
    Returns strings of shape [rows, k] where batched, else [k], with k the smaller of `top` and the classes.
    """
    if datatype == "BF16":
        array = from_bfloat16(array)
    count = array.shape[0] if batched and array.ndim else 1
    rows = array.reshape(count, prod(array.shape[1:] if batched else array.shape))
    k = min(top, rows.shape[1])
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :k]
    found = np.empty((count, k), dtype=object)
    for row, indexes in enumerate(order):
        for position, index in enumerate(indexes):
            label = f":{labels[index]}" if index < len(labels) else ""
            found[row, position] = f"{rows[row, index]:f}:{index}{label}"
    return found if batched else found[0]
