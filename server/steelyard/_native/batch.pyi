from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

def gather(
    target: np.ndarray[Any, Any], requests: Sequence[Any], index: int, expected_bytes: int
) -> None: ...
def plan(
    sizes: array[int], live: array[float], limit: int, overhead_ns: float, within: float
) -> tuple[array[float], bytearray, array[int], array[float]]: ...
