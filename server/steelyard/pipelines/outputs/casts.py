"""Numbers of one datatype as another."""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def cast(values: Array, dtype: np.dtype[Any]) -> Array:
    """`values` as `dtype`; what is out of its range is cut to the range, fractions are cut off, NaN is 0 as an integer.

    NumPy's own cast leaves it to the processor what an integer is that does not fit.
    """
    if dtype.kind == "b":
        return np.not_equal(values, 0)
    if dtype.kind == "f" or values.dtype.kind == "b":
        with np.errstate(over="ignore", under="ignore"):
            floats: Array = values.astype(dtype)
            return floats
    limits = np.iinfo(dtype)
    if values.dtype.kind in "iu":
        own = np.iinfo(values.dtype)
        return np.clip(values, max(limits.min, own.min), min(limits.max, own.max)).astype(dtype)
    wide = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        cut = np.nan_to_num(wide, nan=0.0, posinf=np.inf, neginf=-np.inf)
        # 2**63 - 1 and 2**64 - 1 have no float64, so what reaches the end of the range is set apart.
        above = cut >= float(limits.max)
        below = cut <= float(limits.min)
        inside = np.where(above | below, 0.0, cut).astype(dtype)
    inside[above] = limits.max
    inside[below] = limits.min
    return inside
