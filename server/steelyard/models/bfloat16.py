"""BF16, the upper half of a float32, which NumPy has not and keeps as uint16."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The bits of a NaN, and of the largest number.
NAN = 0x7FC0
LARGEST = 0x7F7F


def from_bfloat16(bits: Array) -> npt.NDArray[np.float32]:
    """The numbers of uint16 bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_bfloat16(values: Array) -> npt.NDArray[np.uint16]:
    """The bits of the nearest BF16 of numbers, ties to even; a NaN stays one."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    bits = narrow.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(narrow), np.uint16(NAN), rounded)
