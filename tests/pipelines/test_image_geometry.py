"""Where an image goes in the slot: inside both, of the right shape, and back again."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native.image import Renderer
from steelyard.errors import ManifestError
from steelyard.pipelines.image.geometry import Geometry, Placement

SIDES = st.integers(1, 65_535)
SLOTS = st.integers(1, 2000)
MODES = ("stretch", "centre_crop", "letterbox", "cover")


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    mode = draw(st.sampled_from(MODES))
    return Geometry(
        mode,
        draw(SLOTS),
        draw(SLOTS),
        shorter_side=draw(st.integers(1, 4096)) if mode == "centre_crop" else None,
        align=draw(st.sampled_from(("centre", "start"))) if mode == "letterbox" else "centre",
        enlarge=draw(st.booleans()) if mode == "letterbox" else True,
    )


@given(geometry=geometries(), width=SIDES, height=SIDES)
def test_a_placement_lies_inside_the_image_and_the_slot(geometry: Geometry, width: int, height: int) -> None:
    box, resized, window, at = geometry.place(width, height)
    assert 0 <= box[0] < box[2] <= width
    assert 0 <= box[1] < box[3] <= height
    # In single precision too, which the renderer works in.
    assert np.float32(box[0]) < np.float32(box[2]) <= width
    assert np.float32(box[1]) < np.float32(box[3]) <= height
    assert min(resized) >= 1
    assert min(window) >= 0
    assert 1 <= window[2] <= resized[0] - window[0]
    assert 1 <= window[3] <= resized[1] - window[1]
    assert 0 <= at[0] <= geometry.width - window[2]
    assert 0 <= at[1] <= geometry.height - window[3]


@given(geometry=geometries(), width=st.integers(1, 60), height=st.integers(1, 60))
def test_the_renderer_takes_every_placement(geometry: Geometry, width: int, height: int) -> None:
    small = Geometry(
        geometry.mode,
        1 + geometry.width % 64,
        1 + geometry.height % 64,
        shorter_side=geometry.shorter_side,
        align=geometry.align,
        enlarge=geometry.enlarge,
    )
    target = np.empty((3, small.height, small.width), np.float32)
    renderer = Renderer(height=small.height, width=small.width, fill=(255, 255, 255))
    renderer.render(np.full((height, width, 3), 255, np.uint8), target, *small.place(width, height))
    assert (target == 255).all()


@given(geometry=geometries(), width=SIDES, height=SIDES, corners=st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_come_back_where_they_were(
    geometry: Geometry, width: int, height: int, corners: tuple[float, ...]
) -> None:
    placement = geometry.place(width, height)
    box = np.array([[corners[0] * width, corners[1] * height, corners[2] * width, corners[3] * height]])
    back = placement.to_image(placement.to_slot(box), width, height)
    np.testing.assert_allclose(back, box, atol=1e-6 * max(width, height))


@given(geometry=geometries(), width=SIDES, height=SIDES)
def test_boxes_stay_inside_the_image(geometry: Geometry, width: int, height: int) -> None:
    boxes = np.array([[-1e9, -1e9, 1e9, 1e9], [0, 0, geometry.width, geometry.height]], np.float32)
    found = geometry.place(width, height).to_image(boxes, width, height)
    assert (found >= 0).all()
    assert (found <= (width, height, width, height)).all()


def test_a_box_around_the_letterboxed_image_is_the_whole_image() -> None:
    placement = Geometry("letterbox", 640, 640).place(1280, 960)
    assert placement == Placement((0.0, 0.0, 1280.0, 960.0), (640, 480), (0, 0, 640, 480), (0, 80))
    assert placement.to_image(np.array([0, 80, 640, 560]), 1280, 960).tolist() == [0, 0, 1280, 960]
    assert placement.to_image(np.array([0, 0, 320, 320]), 1280, 960).tolist() == [0, 0, 640, 480]


def test_letterboxing_to_the_start_and_without_enlarging() -> None:
    start = Geometry("letterbox", 640, 640, align="start")
    assert start.place(960, 1280) == Placement(
        (0.0, 0.0, 960.0, 1280.0), (480, 640), (0, 0, 480, 640), (0, 0)
    )
    small = Geometry("letterbox", 640, 640, enlarge=False)
    assert small.place(100, 50) == Placement((0.0, 0.0, 100.0, 50.0), (100, 50), (0, 0, 100, 50), (270, 295))


@pytest.mark.parametrize(
    ("size", "resized", "window", "at"),
    [
        ((1280, 960), (341, 256), (58, 16, 224, 224), (0, 0)),
        ((960, 1280), (256, 341), (16, 58, 224, 224), (0, 0)),
        ((300, 300), (256, 256), (16, 16, 224, 224), (0, 0)),
    ],
)
def test_centre_crops_round_as_torchvision_does(size: Any, resized: Any, window: Any, at: Any) -> None:
    placement = Geometry("centre_crop", 224, 224, shorter_side=256).place(*size)
    assert placement[1:] == (resized, window, at)


def test_a_crop_larger_than_the_image_is_surrounded() -> None:
    placement = Geometry("centre_crop", 224, 224, shorter_side=100).place(100, 300)
    assert placement[1:] == ((100, 300), (0, 38, 100, 224), (62, 0))


def test_reduction_is_the_largest_that_leaves_enough() -> None:
    def reduction(width: int, height: int, side: int) -> int:
        return Geometry("stretch", side, side).place(width, height).reduction()

    assert reduction(1280, 960, 224) == 4
    assert reduction(1280, 896, 224) == 4
    assert reduction(1280, 895, 224) == 2
    assert reduction(4000, 3000, 224) == 8
    assert reduction(447, 447, 224) == 1
    assert reduction(100, 100, 224) == 1


def test_a_reduced_placement_is_the_same_part_of_a_smaller_image() -> None:
    placement = Geometry("cover", 224, 224).place(1281, 961)
    reduced = placement.reduced(4)
    assert reduced.box == tuple(side / 4 for side in placement.box)
    assert reduced[1:] == placement[1:]


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "crop"},
        {"width": 0},
        {"height": 1 << 20},
        {"mode": "centre_crop"},
        {"shorter_side": 256},
        {"mode": "centre_crop", "shorter_side": 0},
        {"mode": "letterbox", "align": "end"},
        {"align": "start"},
        {"enlarge": False},
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match="geometry: "):
        Geometry(**{"mode": "stretch", "width": 8, "height": 8, **options})
