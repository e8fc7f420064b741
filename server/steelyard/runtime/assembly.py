"""Batch assembly in plain Python: the twin of `steelyard._native.batch`, and its oracle in tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def gather(target: np.ndarray[Any, Any], requests: Sequence[Any], index: int, expected_bytes: int) -> None:
    """Copies input `index` of every request, in order, to the front of `target`. See the native twin."""
    flat = target.reshape(-1).view(np.uint8)
    if expected_bytes > flat.size:
        raise ValueError(f"a batch of {expected_bytes} bytes does not fit a buffer of {flat.size}")
    offset = 0
    for request in requests:
        data = np.frombuffer(request.inputs[index].data, dtype=np.uint8)
        if data.size > expected_bytes - offset:
            raise ValueError(
                f"the batch has room for {expected_bytes - offset} bytes more, a tensor has {data.size}"
            )
        flat[offset : offset + data.size] = data
        offset += data.size
    if offset != expected_bytes:
        raise ValueError(f"the batch expects {expected_bytes} bytes, its requests hold {offset}")
