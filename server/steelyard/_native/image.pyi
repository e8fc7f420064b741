from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

INSTRUCTIONS: tuple[str, ...]

class Renderer:
    slot_bytes: int
    def __init__(
        self,
        *,
        height: int,
        width: int,
        order: Literal["rgb", "bgr", "grey"] = ...,
        layout: Literal["chw", "hwc"] = ...,
        dtype: Literal["uint8", "float16", "float32"] = ...,
        scale: Sequence[float] | None = ...,
        offset: Sequence[float] | None = ...,
        fill: Sequence[int] | None = ...,
        filter: Literal["nearest", "bilinear", "bicubic"] = ...,
        antialias: bool = ...,
        instructions: str | None = ...,
    ) -> None: ...
    def render(
        self,
        source: np.ndarray[Any, Any],
        target: np.ndarray[Any, Any],
        box: tuple[float, float, float, float],
        resized: tuple[int, int],
        window: tuple[int, int, int, int],
        at: tuple[int, int],
        orientation: int = ...,
    ) -> None: ...
