"""The plain twin of the native image renderer: whole arrays and one matrix an axis instead of one pass."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BITS = 22
REACH = {"nearest": 0.5, "bilinear": 1.0, "bicubic": 2.0}
# Keys' parameter of the cubic filter: Pillow's where antialiased, OpenCV's where not.
ANTIALIASED_A, INTERPOLATED_A = -0.5, -0.75


class Renderer:
    """What `steelyard._native.image.Renderer` is, of the same arguments, without its checks."""

    def __init__(
        self,
        *,
        height: int,
        width: int,
        order: str = "rgb",
        layout: str = "chw",
        dtype: str = "float32",
        scale: Sequence[float] | None = None,
        offset: Sequence[float] | None = None,
        fill: Sequence[int] | None = None,
        filter: str = "bilinear",
        antialias: bool = True,
    ) -> None:
        self.height, self.width = height, width
        self.order, self.layout, self.dtype = order, layout, np.dtype(dtype)
        channels = 1 if order == "grey" else 3
        self.scale = np.array([1.0] * channels if scale is None else scale, np.float32)
        self.offset = np.array([0.0] * channels if offset is None else offset, np.float32)
        self.fill = np.array([0] * channels if fill is None else fill, np.uint8)
        self.filter, self.antialias = filter, antialias

    def render(
        self,
        source: Array,
        target: Array,
        box: tuple[float, float, float, float],
        resized: tuple[int, int],
        window: tuple[int, int, int, int],
        at: tuple[int, int],
        orientation: int = 1,
    ) -> None:
        """Writes the slot `target` from `source`, as the native one does."""
        image = self.in_order(source if source.ndim == 3 else source[:, :, None])
        image = turn(image, orientation).astype(np.int64)
        height, width = image.shape[:2]
        left, top, kept_width, kept_height = window
        across = self.matrix(width, box[0], box[2], resized[0])[left : left + kept_width]
        down = self.matrix(height, box[1], box[3], resized[1])[top : top + kept_height]
        columns_first = resized[1] < height and height - resized[1] > 2 * (width - resized[0])
        for first in (columns_first, not columns_first):
            image = levels(
                np.einsum("oh,hwc->owc", down, image) if first else np.einsum("ow,hwc->hoc", across, image)
            )
        slot = np.empty((self.height, self.width, len(self.fill)), dtype=np.uint8)
        slot[:] = self.fill
        slot[at[1] : at[1] + kept_height, at[0] : at[0] + kept_width] = image
        elements = slot.astype(np.float32) * self.scale + self.offset
        if self.dtype == np.uint8:
            elements = np.rint(elements).clip(0, 255)
        target[...] = elements.astype(self.dtype).transpose((2, 0, 1) if self.layout == "chw" else (0, 1, 2))

    def in_order(self, image: Array) -> Array:
        """The slot's channels: a grey source gives its one level to each."""
        channels = image.shape[2]
        if self.order == "grey" and channels > 1:
            red, green, blue = (image[:, :, c].astype(np.int64) for c in range(3))
            grey = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
            return grey[:, :, None].astype(np.uint8)
        if channels == 1:
            return image
        return image[:, :, 2::-1] if self.order == "bgr" else image[:, :, :3]

    def matrix(self, size: int, start: float, stop: float, resized: int) -> Array:
        """int64 [resized, size]: the weight of each source sample in each output sample, times 2^22."""
        # In single precision, as in Pillow.
        start = float(np.float32(start))
        scale = float(np.float32(stop) - np.float32(start)) / resized
        rows = np.zeros((resized, size))
        position = start + scale * 0.5
        for i in range(resized):
            centre = start + (i + 0.5) * scale
            if self.filter == "nearest":
                # Summed up, as Pillow does it: a position on the boundary of two pixels depends on that.
                rows[i, min(int(position), size - 1)] = 1.0
                position += scale
            elif self.antialias:
                self.antialiased(rows[i], centre, max(scale, 1.0))
            else:
                self.interpolated(rows[i], centre)
        return np.trunc(rows * (1 << BITS) + np.copysign(0.5, rows)).astype(np.int64)

    def antialiased(self, row: Array, centre: float, stretch: float) -> None:
        """The filter, as wide as the ratio asks for, of what lies inside the image."""
        support = REACH[self.filter] * stretch
        low = max(0, int(centre - support + 0.5))
        high = min(len(row), int(centre + support + 0.5))
        for k in range(low, high):
            row[k] = self.weight((k - centre + 0.5) * (1.0 / stretch), ANTIALIASED_A)
        row *= 1.0 / sum(row[low:high].tolist())

    def interpolated(self, row: Array, centre: float) -> None:
        """The filter of unscaled width, with the image's edge repeated."""
        reach = int(REACH[self.filter])
        base = math.floor(centre - 0.5) - reach + 1
        for k in range(base, base + 2 * reach):
            row[min(max(k, 0), len(row) - 1)] += self.weight(k + 0.5 - centre, INTERPOLATED_A)

    def weight(self, x: float, a: float) -> float:
        x = abs(x)
        if self.filter == "bilinear":
            return max(0.0, 1.0 - x)
        if x < 1.0:
            return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
        return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


def levels(sums: Array) -> Array:
    """Weighed sums, times 2^22, to levels 0 to 255."""
    return ((sums + (1 << (BITS - 1))) >> BITS).clip(0, 255)


def turn(image: Array, orientation: int) -> Array:
    """The image as it is to be seen, for EXIF's orientation 1 to 8."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image
