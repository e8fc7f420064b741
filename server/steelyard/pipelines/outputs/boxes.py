"""Boxes that a model found in its input, as boxes in the images that callers sent."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from steelyard.pipelines.image.geometry import boxes_in_images

Array = npt.NDArray[Any]
Format = Literal["xyxy", "xywh", "cxcywh"]


@dataclass(frozen=True, slots=True)
class ImageSlot:
    """The room for one image in one of the model's inputs, pixels."""

    tensor: str
    width: int
    height: int

    def as_they_came(self, rows: int) -> Array:
        """The ways back of `rows` images that fill their slots as they are, float64 [rows, 6]."""
        return np.tile((1.0, 1.0, 0.0, 0.0, self.width, self.height), (rows, 1))


def from_slots(
    boxes: Array,
    format: Format,
    scale: Literal["pixels", "unit"],
    slot: ImageSlot,
    ways_back: Array,
    clip: bool,
) -> Array:
    """Boxes in slots, floats [rows, ..., 4] in `format` and `scale`, as left, top, right, bottom in the images' pixels.

    ways_back: float64 [rows, 6], or [1, 6] for all. clip: whether they are cut at the images' edges. Returns float64
    [rows, ..., 4]; NaN stays NaN.
    """
    found = corners(boxes.astype(np.float64), format)
    if scale == "unit":
        found *= (slot.width, slot.height, slot.width, slot.height)
    return boxes_in_images(found, ways_back, clip)


def corners(boxes: Array, format: Format) -> Array:
    """Boxes [..., 4] in `format` as left, top, right, bottom; overwrites `boxes`."""
    if format == "xyxy":
        return boxes
    if format == "cxcywh":
        boxes[..., :2] -= boxes[..., 2:] / 2
    boxes[..., 2:] += boxes[..., :2]
    return boxes
