"""What a version expects of a request's inputs."""

from collections.abc import Sequence

from steelyard.wire.plain.request import InferRequest
from steelyard.wire.types import ITEM_BYTES, MAX_RANK


class Signature:
    """The inputs of a version: name, datatype and dimensions of each, -1 for a dimension of any size.

    Where the version is batched, the first dimension of each input is the batch axis and of any size.
    """

    def __init__(self, inputs: Sequence[tuple[str, str, tuple[int, ...]]], batched: bool) -> None:
        self._specs = tuple(inputs)
        self._batched = batched
        self._index_of = {name: i for i, (name, _, _) in enumerate(self._specs)}
        if len(self._index_of) != len(self._specs):
            raise ValueError(f"expected different input names, came {[name for name, _, _ in self._specs]}")
        for name, datatype, dims in self._specs:
            if datatype not in ITEM_BYTES:
                raise ValueError(f"input {name!r}: expected a datatype of the protocol, came {datatype!r}")
            if not int(batched) <= len(dims) <= MAX_RANK:
                raise ValueError(
                    f"input {name!r}: expected {int(batched)} to {MAX_RANK} dimensions, came {dims!r}"
                )

    def bind(self, request: InferRequest) -> tuple[int, tuple[int, ...]] | None:
        """Rows and group key of a request whose inputs fit, and are put into the model's order; else None.

        The group key holds the sizes of the dynamic dimensions, the batch axis left out: requests with equal
        keys can share a batch. A request without a batch axis has one row.
        """
        given = {tensor.name: tensor for tensor in request.inputs}
        if len(request.inputs) != len(self._specs) or given.keys() != self._index_of.keys():
            return None
        request.inputs.sort(key=lambda tensor: self._index_of[tensor.name])
        first = int(self._batched)
        key: list[int] = []
        rows = set()
        for tensor, (_, datatype, dims) in zip(request.inputs, self._specs, strict=True):
            if tensor.datatype != datatype or len(tensor.shape) != len(dims):
                return None
            for came, expected in zip(tensor.shape[first:], dims[first:], strict=True):
                if expected == -1:
                    key.append(came)
                elif came != expected:
                    return None
            rows.add(tensor.shape[0] if self._batched else 1)
        if len(rows) > 1:
            return None
        return rows.pop() if rows else 1, tuple(key)
