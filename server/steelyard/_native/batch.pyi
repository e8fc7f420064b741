from collections.abc import Sequence
from typing import Any

import numpy as np

def gather(
    target: np.ndarray[Any, Any], requests: Sequence[Any], index: int, expected_bytes: int
) -> None: ...
