"""A request's row as the columns that callers sent, and requests of other rows like it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from steelyard.errors import InvalidRequest
from steelyard.evidence.attribution import Rows
from steelyard.evidence.background import Background
from steelyard.models.datatypes import BY_NAME
from steelyard.wire import decode_bytes_tensor, encode_bytes_tensor, encode_request


class TableRow(Protocol):
    """One row, of which some columns can be given other values; a value that is None is missing."""

    @property
    def names(self) -> Sequence[str]:
        """The columns that are in the background."""
        ...

    @property
    def values(self) -> Sequence[Any]: ...

    @property
    def others(self) -> Sequence[str]:
        """What callers sent beside them."""
        ...

    def body(self, rows: Rows) -> bytes:
        """A serialized ModelInferRequest of rows that have these values in place of the row's own: [rows, names]."""
        ...


@dataclass(frozen=True, slots=True)
class JsonRow:
    """A row that is a JSON object."""

    request: Any
    input: str
    cells: dict[str, Any]
    names: tuple[str, ...]

    @property
    def values(self) -> list[Any]:
        return [self.cells[name] for name in self.names]

    @property
    def others(self) -> list[str]:
        return [name for name in self.cells if name not in self.names]

    def body(self, rows: Rows) -> bytes:
        made = [
            json.dumps(self.cells | dict(zip(self.names, row, strict=True))).encode() for row in rows.tolist()
        ]
        inputs = [(self.input, "BYTES", (len(made),), encode_bytes_tensor(made))]
        return encode_request(self.request.model_name, "", "", {}, inputs, [])


@dataclass(frozen=True, slots=True)
class TensorRow:
    """A row of tensors: one a column, or one that holds a number for each of several."""

    request: Any
    row: int
    places: tuple[tuple[str, int], ...]
    """Input and place in its row, for each name."""
    names: tuple[str, ...]
    middle: tuple[Any, ...]
    """What stands for a missing value where the datatype has none."""

    @property
    def values(self) -> list[Any]:
        cells = {tensor.name: _cells(tensor, self.row) for tensor in self.request.inputs}
        return [cells[name][place] for name, place in self.places]

    @property
    def others(self) -> list[str]:
        met = {name for name, _ in self.places}
        return [tensor.name for tensor in self.request.inputs if tensor.name not in met]

    def body(self, rows: Rows) -> bytes:
        inputs = []
        for tensor in self.request.inputs:
            cells = np.empty((len(rows), len(_cells(tensor, self.row))), object)
            cells[:] = _cells(tensor, self.row)
            for column, (name, place) in enumerate(self.places):
                if name == tensor.name:
                    cells[:, place] = self._given(rows[:, column], column, tensor.datatype)
            shape = (len(rows), *tensor.shape[1:])
            inputs.append((tensor.name, tensor.datatype, shape, _raw(cells, tensor.datatype)))
        return encode_request(self.request.model_name, "", "", {}, inputs, [])

    def _given(self, values: Rows, column: int, datatype: str) -> Rows:
        missing = np.nan if datatype in ("FP16", "FP32", "FP64") else self.middle[column]
        given = values.copy()
        given[[one is None for one in values.tolist()]] = missing
        return given


def table_row(request: Any, background: Background, row: int) -> TableRow:
    """The row of a decoded request, from 0, as far as the background knows its columns.

    Raises InvalidRequest where it is not there, or the request holds no table that the background knows.
    """
    for tensor in request.inputs:
        if tensor.datatype == "BYTES" and (cells := _object(tensor, row)) is not None:
            names = tuple(name for name in cells if name in background)
            if names:
                return JsonRow(request, tensor.name, cells, names)
    if any(not tensor.shape or row >= tensor.shape[0] for tensor in request.inputs):
        raise InvalidRequest(f"attribution: the request has no row {row}")
    columns = [tensor.name for tensor in request.inputs if tensor.name in background and _width(tensor) == 1]
    if columns:
        return TensorRow(
            request,
            row,
            tuple((name, 0) for name in columns),
            tuple(columns),
            tuple(background.middle(columns)),
        )
    matrix = [tensor for tensor in request.inputs if _width(tensor) == len(background.numbers)]
    if len(matrix) == 1 and matrix[0].datatype != "BYTES" and background.numbers:
        names = tuple(background.numbers)
        places = tuple((matrix[0].name, place) for place in range(len(names)))
        return TensorRow(request, row, places, names, tuple(background.middle(names)))
    raise InvalidRequest(
        "attribution: expected rows of columns that the training profile knows: JSON objects, a tensor a column, or "
        "one of as many numbers as the profile has columns of them"
    )


def _object(tensor: Any, row: int) -> dict[str, Any] | None:
    elements = decode_bytes_tensor(tensor.data)
    if row >= len(elements):
        raise InvalidRequest(f"attribution: the request has {len(elements)} rows, and none that is {row}")
    try:
        cells = json.loads(elements[row])
    except (ValueError, RecursionError):
        return None
    return cells if isinstance(cells, dict) else None


def _width(tensor: Any) -> int:
    width = 1
    for dim in tensor.shape[1:]:
        width *= dim
    return width


def _cells(tensor: Any, row: int) -> list[Any]:
    width = _width(tensor)
    if tensor.datatype == "BYTES":
        return decode_bytes_tensor(tensor.data)[row * width : (row + 1) * width]
    array = np.frombuffer(tensor.data, BY_NAME[tensor.datatype].dtype)
    return list(array[row * width : (row + 1) * width].tolist())


def _raw(cells: Rows, datatype: str) -> bytes:
    if datatype == "BYTES":
        return encode_bytes_tensor(
            [one if isinstance(one, bytes) else str(one) for one in cells.ravel().tolist()]
        )
    dtype = BY_NAME[datatype].dtype
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(cells.astype(np.float64).round(), limits.min, limits.max).astype(dtype).tobytes()
    return cells.astype(dtype).tobytes()
