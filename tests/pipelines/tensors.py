"""Inputs of a request as the codec gives them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from steelyard.wire import encode_bytes_tensor
from steelyard.wire.types import Parameter

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Tensor:
    """An input tensor."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview
    parameters: dict[str, Parameter] = field(default_factory=dict)


def of_bytes(
    elements: Sequence[bytes | str], shape: tuple[int, ...] | None = None, name: str = "raw"
) -> Tensor:
    """A BYTES tensor, read-only as one that came over the wire."""
    data = memoryview(encode_bytes_tensor(elements))
    return Tensor(name, "BYTES", (len(elements),) if shape is None else shape, data)


def of_array(array: Array, datatype: str, name: str = "raw") -> Tensor:
    """A tensor of numbers."""
    return Tensor(name, datatype, array.shape, memoryview(array.tobytes()))
