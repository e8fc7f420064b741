"""Which part of an image goes where in the model's tensor, and the way back for boxes that the model found.

Everything is in pixels of the image as seen, after its EXIF orientation. Coordinates run from the upper left corner of
the image (0, 0) to its lower right one (width, height); a pixel's centre lies at its index plus one half.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from steelyard.errors import ManifestError

Mode = Literal["stretch", "centre_crop", "letterbox", "cover"]
MODES: tuple[Mode, ...] = ("stretch", "centre_crop", "letterbox", "cover")

# What the libraries' reduced decoding offers, the largest first.
REDUCTIONS = (8, 4, 2)
# The native renderer's own bound on the sides of a slot.
MOST_SIDE = 1 << 17


class Placement(NamedTuple):
    """Where one image goes: `Renderer.render` takes its fields in this order."""

    box: tuple[float, float, float, float]
    """left, top, right, bottom of the part of the image that is resized."""
    resized: tuple[int, int]
    """width and height that the box becomes."""
    window: tuple[int, int, int, int]
    """left, top, width, height of the part of the resized box that is kept."""
    at: tuple[int, int]
    """left and top of the window in the slot."""

    def reduction(self) -> int:
        """1, 2, 4 or 8: the most by which an image may be reduced in decoding and still be no smaller, on either side,
        than what it is resized to. It is what Pillow's `draft` chooses where the box is the whole image."""
        left, top, right, bottom = self.box
        ratio = min((right - left) // self.resized[0], (bottom - top) // self.resized[1])
        return next((reduction for reduction in REDUCTIONS if ratio >= reduction), 1)

    def reduced(self, reduction: int) -> "Placement":
        """The same part of an image whose sides are those of the original divided by `reduction` and rounded up."""
        left, top, right, bottom = (side / reduction for side in self.box)
        return self._replace(box=(left, top, right, bottom))

    def to_image(self, boxes: np.ndarray[Any, Any], width: int, height: int) -> np.ndarray[Any, Any]:
        """Boxes in the slot as boxes in the image, cut at its edges.

        boxes: float [..., 4]: left, top, right, bottom in pixels of the slot. width, height: the image's, as seen.
        Returns float64 [..., 4].
        """
        found = np.asarray(boxes, dtype=np.float64)[np.newaxis]
        return boxes_in_images(found, np.array([self.way_back(width, height)]), clip=True).squeeze(0)

    def way_back(self, width: int, height: int) -> tuple[float, float, float, float, float, float]:
        """Pixels of the image to a pixel of the slot, across and down; where the slot's upper left corner lies in the
        image; and the image's width and height, which are given: a row for `boxes_in_images`."""
        left, top, right, bottom = self.box
        across = (right - left) / self.resized[0]
        down = (bottom - top) / self.resized[1]
        first_x = left + (self.window[0] - self.at[0]) * across
        first_y = top + (self.window[1] - self.at[1]) * down
        return across, down, first_x, first_y, width, height

    def to_slot(self, boxes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Boxes in the image as boxes in the slot: the inverse of `to_image`, without its cut.

        boxes: float [..., 4]: left, top, right, bottom in pixels of the image. Returns float64 [..., 4].
        """
        left, top, right, bottom = self.box
        across = self.resized[0] / (right - left)
        down = self.resized[1] / (bottom - top)
        found = (np.asarray(boxes, dtype=np.float64) - (left, top, left, top)) * (across, down, across, down)
        first_x, first_y = self.at[0] - self.window[0], self.at[1] - self.window[1]
        found += (first_x, first_y, first_x, first_y)
        return found


@dataclass(frozen=True, slots=True)
class Geometry:
    """How images of any size meet a slot of `width` by `height` pixels.

    mode: "stretch" resizes the whole image to the slot, whatever its shape. "centre_crop" resizes so that the shorter
    side becomes `shorter_side`, then cuts the slot out of the middle (torchvision's Resize and CenterCrop, rounding
    included; what the image does not cover is filled). "letterbox" resizes so that the whole image fits and fills the
    rest; `align` says whether the image stands in the "centre" or at the "start" (top left), and `enlarge` whether a
    smaller image grows. "cover" cuts the largest part of the slot's shape out of the middle and resizes it (Pillow's
    ImageOps.fit).
    Raises ManifestError where options are wrong or contradict the mode.
    """

    mode: Mode
    width: int
    height: int
    shorter_side: int | None = None
    align: Literal["centre", "start"] = "centre"
    enlarge: bool = True

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ManifestError(f"geometry: expected one of {', '.join(MODES)}, came {self.mode!r}")
        if not (0 < self.width <= MOST_SIDE and 0 < self.height <= MOST_SIDE):
            raise ManifestError(
                f"geometry: expected sides of 1 to {MOST_SIDE} pixels, came {self.width}x{self.height}"
            )
        if (self.mode == "centre_crop") != (self.shorter_side is not None):
            raise ManifestError("geometry: shorter_side belongs to centre_crop, and centre_crop needs it")
        if self.shorter_side is not None and not 0 < self.shorter_side <= MOST_SIDE // 16:
            raise ManifestError(
                f"geometry: expected a shorter_side of 1 to {MOST_SIDE // 16} pixels, came {self.shorter_side}"
            )
        if self.align not in ("centre", "start"):
            raise ManifestError(f"geometry: expected align centre or start, came {self.align!r}")
        if self.mode != "letterbox" and (self.align != "centre" or not self.enlarge):
            raise ManifestError(f"geometry: align and enlarge belong to letterbox, the mode is {self.mode}")

    def place(self, width: int, height: int) -> Placement:
        """Where an image of `width` by `height` pixels, as seen, goes. Both are at least 1."""
        if self.mode == "stretch":
            return whole(width, height, (self.width, self.height))
        if self.mode == "centre_crop":
            return self._centre_crop(width, height)
        if self.mode == "letterbox":
            return self._letterbox(width, height)
        return self._cover(width, height)

    def _centre_crop(self, width: int, height: int) -> Placement:
        assert self.shorter_side is not None
        longer = self.shorter_side * max(width, height) // min(width, height)
        resized = (self.shorter_side, longer) if width <= height else (longer, self.shorter_side)
        left, kept_width, slot_left = centre(resized[0], self.width)
        top, kept_height, slot_top = centre(resized[1], self.height)
        return Placement(
            (0.0, 0.0, float(width), float(height)),
            resized,
            (left, top, kept_width, kept_height),
            (slot_left, slot_top),
        )

    def _letterbox(self, width: int, height: int) -> Placement:
        ratio = min(self.width / width, self.height / height)
        if not self.enlarge:
            ratio = min(ratio, 1.0)
        resized = (
            min(self.width, max(1, round(width * ratio))),
            min(self.height, max(1, round(height * ratio))),
        )
        placement = whole(width, height, resized)
        if self.align == "start":
            return placement
        return placement._replace(at=((self.width - resized[0]) // 2, (self.height - resized[1]) // 2))

    def _cover(self, width: int, height: int) -> Placement:
        ratio = self.width / self.height
        if width / height > ratio:
            kept_width, kept_height = min(ratio * height, float(width)), float(height)
        else:
            kept_width, kept_height = float(width), min(width / ratio, float(height))
        # At least a pixel: in the renderer's single precision a thinner part of a long strip could be nothing.
        kept_width, kept_height = max(kept_width, 1.0), max(kept_height, 1.0)
        left, top = (width - kept_width) * 0.5, (height - kept_height) * 0.5
        box = (left, top, min(left + kept_width, float(width)), min(top + kept_height, float(height)))
        return Placement(box, (self.width, self.height), (0, 0, self.width, self.height), (0, 0))


def boxes_in_images(
    boxes: np.ndarray[Any, Any], ways: np.ndarray[Any, Any], clip: bool
) -> np.ndarray[Any, Any]:
    """Boxes in the slots of a batch as boxes in the images that were put there.

    boxes: float64 [rows, ..., 4]: left, top, right, bottom in pixels of the slot. ways: float64 [rows, 6], each row a
    `way_back`; a single one is for all boxes. clip: whether boxes are cut at the images' edges.
    Returns float64 [rows, ..., 4] in pixels of the images as seen.
    """
    ways = ways.reshape(len(ways), *(1,) * (boxes.ndim - 2), ways.shape[-1])
    found: np.ndarray[Any, Any] = boxes * ways[..., (0, 1, 0, 1)] + ways[..., (2, 3, 2, 3)]
    if clip:
        np.clip(found, 0.0, ways[..., (4, 5, 4, 5)], out=found)
    return found


def whole(width: int, height: int, resized: tuple[int, int]) -> Placement:
    """All of the image, resized to `resized`, in the slot's upper left corner."""
    return Placement((0.0, 0.0, float(width), float(height)), resized, (0, 0, *resized), (0, 0))


def centre(have: int, want: int) -> tuple[int, int, int]:
    """The middle `want` of `have` pixels: where it begins, how many there are, and where they stand among `want`."""
    if have <= want:
        return 0, have, (want - have) // 2
    return round((have - want) / 2), want, 0
