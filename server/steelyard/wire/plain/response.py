"""Encoding of the responses of a version."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from steelyard.wire.plain.encoding import encode_response
from steelyard.wire.plain.request import InferRequest
from steelyard.wire.types import ITEM_BYTES, MAX_DIM, MAX_RANK, MAX_TENSORS


class ResponseEncoder:
    """Writes the responses of a version; `outputs` are name and datatype of each output, in order, `notices` name and
    text of parameters that each response has beside its ids.

    BYTES outputs and the forms that a caller can ask for go through `encode_response`.
    """

    def __init__(
        self,
        model_name: str,
        model_version: str,
        digest: str,
        outputs: Sequence[tuple[str, str]],
        notices: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._model_name = model_name
        self._model_version = model_version
        self._about = {"steelyard_model_digest": digest, **dict(notices)}
        self._datatypes = dict(outputs)
        if not set(self._datatypes.values()) <= set(ITEM_BYTES):
            raise ValueError(f"expected datatypes of the protocol, came {list(self._datatypes.values())}")
        if len(outputs) > MAX_TENSORS:
            raise ValueError(f"expected at most {MAX_TENSORS} outputs, came {len(outputs)}")
        if len(self._datatypes) != len(outputs):
            raise ValueError(f"expected different output names, came {[name for name, _ in outputs]}")

    def encode_batch(
        self,
        requests: list[InferRequest],
        rows: list[int],
        decision_ids: list[str],
        arrays: list[Any],
        shapes: list[tuple[int, ...]],
        batched: bool,
    ) -> list[bytes]:
        """One serialized ModelInferResponse for each request.

        requests: as decoded; their requested outputs have passed `check_outputs`.
        rows: of each request, in the order in which they stand in the arrays.
        decision_ids: of each request.
        arrays: one C-contiguous buffer for each output, little-endian; surplus rows are ignored.
        shapes: of each output, without the batch axis.
        batched: False where there is no batch axis: then there is one request, and the shapes are whole.

        Raises ValueError for arguments that do not fit each other, and for BYTES outputs.
        """
        if not len(requests) == len(rows) == len(decision_ids):
            raise ValueError(
                f"expected rows and decision ids of {len(requests)} requests, came {len(rows)} and"
                f" {len(decision_ids)}"
            )
        if not len(arrays) == len(shapes) == len(self._datatypes):
            raise ValueError(
                f"expected {len(self._datatypes)} arrays and shapes, came {len(arrays)} and {len(shapes)}"
            )
        if not batched and len(requests) != 1:
            raise ValueError(f"expected one request without a batch axis, came {len(requests)}")
        if any(not 0 <= count <= MAX_DIM for count in rows):
            raise ValueError(f"expected rows from 0 to {MAX_DIM}, came {rows}")
        used_rows = sum(rows) if batched else 1
        outputs = {
            name: self._checked(name, memoryview(array), shape, used_rows)
            for name, array, shape in zip(self._datatypes, arrays, shapes, strict=True)
        }
        responses = []
        row = 0
        for request, given_rows, decision_id in zip(requests, rows, decision_ids, strict=True):
            count = given_rows if batched else 1
            tensors = []
            for name in [output.name for output in request.outputs] or list(outputs):
                if name not in outputs:
                    raise ValueError(f"expected requested outputs of {list(outputs)}, came {name!r}")
                content, shape, row_bytes = outputs[name]
                whole = (count, *shape) if batched else shape
                data = content[row * row_bytes : (row + count) * row_bytes]
                tensors.append((name, self._datatypes[name], whole, data))
            parameters = {"steelyard_decision_id": decision_id, **self._about}
            responses.append(
                encode_response(self._model_name, self._model_version, request.id, parameters, tensors)
            )
            row += count
        return responses

    def _checked(
        self, name: str, array: memoryview, shape: tuple[int, ...], rows: int
    ) -> tuple[memoryview, tuple[int, ...], int]:
        """Bytes, shape and bytes of a row of one output."""
        item = ITEM_BYTES[self._datatypes[name]]
        if item == 0:
            raise ValueError(f"output {name!r}: BYTES are encoded one response at a time")
        if len(shape) > MAX_RANK:
            raise ValueError(f"output {name!r}: expected at most {MAX_RANK} dimensions, came {shape}")
        row_bytes = item * math.prod(shape)
        if any(not 0 <= dim <= MAX_DIM for dim in shape) or row_bytes >= 2**63:
            raise ValueError(f"output {name!r}: shape {shape} cannot be encoded")
        if array.itemsize not in (item, 1):
            raise ValueError(f"output {name!r}: expected elements of {item} bytes, came {array.itemsize}")
        if rows * row_bytes > array.nbytes:
            raise ValueError(
                f"output {name!r}: expected {rows} rows of {row_bytes} bytes, came {array.nbytes} bytes"
            )
        flat = array.cast("B") if array.nbytes else memoryview(b"")
        return flat, shape, row_bytes
