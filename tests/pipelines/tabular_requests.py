"""Requests of tabular rows as tests make them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from steelyard import wire
from steelyard.pipelines.tabular.declaration import TabularTable


@dataclass(frozen=True)
class Tensor:
    """An input tensor of a request."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview
    parameters: dict[str, Any] = field(default_factory=dict)


def texts(name: str, elements: Sequence[bytes | str]) -> Tensor:
    """A BYTES tensor [rows]."""
    return Tensor(name, "BYTES", (len(elements),), memoryview(wire.encode_bytes_tensor(elements)))


def numbers(name: str, datatype: str, array: Any) -> Tensor:
    """A tensor of an array's bytes."""
    return Tensor(name, datatype, array.shape, memoryview(array.tobytes()))


def declared(columns: dict[str, str], features: Sequence[dict[str, Any]], **tensor: Any) -> TabularTable:
    """A declaration of columns by kind, and of one tensor `x`."""
    return TabularTable.model_validate(
        {
            "column": [{"name": name, "kind": kind} for name, kind in columns.items()],
            "tensor": [{"name": "x", "feature": list(features), **tensor}],
        }
    )
