"""The native renderer against its plain twin and against Pillow: the same levels, whatever is asked for."""

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard._native.image import INSTRUCTIONS, Renderer
from steelyard.pipelines.plain import image as plain

FILTERS = ("nearest", "bilinear", "bicubic")
ORDERS = ("rgb", "bgr", "grey")


def pixels(height: int, width: int, channels: int, seed: int) -> np.ndarray[Any, Any]:
    """Noise, or black and white alone, which drives bicubic sums furthest beyond 0 and 255."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return image if seed % 2 else np.where(image < 128, 0, 255).astype(np.uint8)


def slot(options: dict[str, Any]) -> np.ndarray[Any, Any]:
    channels = len(options["fill"])
    sides = options["height"], options["width"]
    shape = (channels, *sides) if options["layout"] == "chw" else (*sides, channels)
    return np.full(shape, 77, dtype=options["dtype"])


@st.composite
def cases(draw: st.DrawFn, side: int) -> dict[str, Any]:
    """An image, a slot, and a placement of one in the other."""
    sides = st.integers(1, side)
    channels = draw(st.sampled_from((1, 3, 4)))
    height, width = draw(sides), draw(sides)
    orientation = draw(st.integers(1, 8))
    seen_width, seen_height = (height, width) if orientation >= 5 else (width, height)
    resized = draw(sides), draw(sides)
    window_width, window_height = draw(st.integers(1, resized[0])), draw(st.integers(1, resized[1]))
    left = draw(st.integers(0, resized[0] - window_width))
    top = draw(st.integers(0, resized[1] - window_height))
    border = draw(st.tuples(*[st.integers(0, 9)] * 4))
    box = (0.0, 0.0, float(seen_width), float(seen_height))
    if draw(st.booleans()):
        parts = [draw(st.floats(0, 0.45)) for _ in range(4)]
        box = (
            parts[0] * seen_width,
            parts[1] * seen_height,
            (1 - parts[2]) * seen_width,
            (1 - parts[3]) * seen_height,
        )
    order = draw(st.sampled_from(ORDERS))
    count = 1 if order == "grey" else 3
    dtype = draw(st.sampled_from(("uint8", "float16", "float32")))
    plain_levels = draw(st.booleans())
    levels = st.floats(-2, 2, width=32)
    return {
        "source": pixels(height, width, channels, draw(st.integers(0, 1000))),
        "placement": (
            box,
            resized,
            (left, top, window_width, window_height),
            (border[0], border[1]),
            orientation,
        ),
        "options": {
            "height": window_height + border[1] + border[3],
            "width": window_width + border[0] + border[2],
            "order": order,
            "layout": draw(st.sampled_from(("chw", "hwc"))),
            "dtype": dtype,
            "scale": [1.0] * count if plain_levels else [draw(levels) for _ in range(count)],
            "offset": [0.0] * count if plain_levels else [draw(levels) * 100 for _ in range(count)],
            "fill": [draw(st.integers(0, 255)) for _ in range(count)],
            "filter": draw(st.sampled_from(FILTERS)),
            "antialias": draw(st.booleans()),
        },
    }


def check(case: dict[str, Any], instructions: str) -> None:
    expected, found = slot(case["options"]), slot(case["options"])
    plain.Renderer(**case["options"]).render(case["source"], expected, *case["placement"])
    Renderer(**case["options"], instructions=instructions).render(case["source"], found, *case["placement"])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@settings(deadline=None, max_examples=150)
@given(case=cases(40))
def test_small_images_are_the_twins(instructions: str, case: dict[str, Any]) -> None:
    check(case, instructions)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@settings(deadline=None, max_examples=25)
@given(case=cases(300))
def test_images_are_the_twins(instructions: str, case: dict[str, Any]) -> None:
    check(case, instructions)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("filter", FILTERS)
def test_every_orientation_and_filter(filter: str, orientation: int, instructions: str) -> None:
    for height, width, resized in ((37, 53, (16, 11)), (90, 20, (31, 44)), (9, 8, (100, 70))):
        options = {
            "height": resized[1],
            "width": resized[0],
            "order": "rgb",
            "layout": "hwc",
            "dtype": "uint8",
            "scale": [1.0] * 3,
            "offset": [0.0] * 3,
            "fill": [0] * 3,
            "filter": filter,
            "antialias": True,
        }
        seen = (height, width) if orientation >= 5 else (width, height)
        placement = ((0.0, 0.0, *map(float, seen)), resized, (0, 0, *resized), (0, 0), orientation)
        check(
            {"source": pixels(height, width, 3, 4), "options": options, "placement": placement}, instructions
        )


def test_rows_may_lie_at_any_distance_and_end_where_the_memory_ends() -> None:
    whole = pixels(40, 60, 3, 1)
    part = whole[7:40, 31:60]
    renderer = Renderer(height=9, width=9)
    found, expected = np.empty((3, 9, 9), np.float32), np.empty((3, 9, 9), np.float32)
    placement = ((0, 0, 29, 33), (9, 9), (0, 0, 9, 9), (0, 0))
    renderer.render(part, found, *placement)
    renderer.render(np.ascontiguousarray(part), expected, *placement)
    np.testing.assert_array_equal(found, expected)


def test_a_flat_image_stays_flat() -> None:
    for level in (0, 1, 127, 254, 255):
        source = np.full((301, 203, 3), level, np.uint8)
        for filter in FILTERS:
            for antialias in (True, False):
                target = np.empty((3, 17, 90), np.float32)
                renderer = Renderer(height=17, width=90, filter=filter, antialias=antialias)
                renderer.render(source, target, (0.3, 0.1, 203, 300.7), (90, 17), (0, 0, 90, 17), (0, 0))
                assert (target == level).all()


def test_an_image_one_pixel_wide_and_very_long() -> None:
    source = pixels(65_535, 1, 3, 1)
    target = np.empty((3, 8, 8), np.float32)
    renderer = Renderer(height=8, width=8)
    renderer.render(source, target, (0, 0, 1, 65_535), (8, 8), (0, 0, 8, 8), (0, 0))
    assert abs(float(target.mean()) - source.mean()) < 1
    # The middle of 8 times as many rows as there are pixels.
    renderer.render(source, target, (0, 0, 1, 65_535), (8, 524_280), (0, 262_136, 8, 8), (0, 0))
    assert target[:, 0, 0].tolist() == [pytest.approx(level, abs=128) for level in source[32_767, 0]]


def test_tables_of_many_sizes_do_not_change_results() -> None:
    renderer = Renderer(height=5, width=5)
    fresh = [Renderer(height=5, width=5) for _ in range(2)]
    for turn in range(2):
        for side in range(1, 150):
            source = pixels(side, side + 1, 3, side)
            found, expected = np.empty((3, 5, 5), np.float32), np.empty((3, 5, 5), np.float32)
            placement = ((0, 0, side + 1, side), (5, 5), (0, 0, 5, 5), (0, 0))
            renderer.render(source, found, *placement)
            fresh[turn].render(source, expected, *placement)
            np.testing.assert_array_equal(found, expected)


def test_one_renderer_for_many_threads() -> None:
    renderer = Renderer(height=20, width=20)
    jobs = [(pixels(30 + n, 90 - n, 3, n), n) for n in range(40)]
    found: dict[int, Any] = {}

    def work() -> None:
        for source, n in jobs:
            target = np.empty((3, 20, 20), np.float32)
            box = (0, 0, source.shape[1], source.shape[0])
            renderer.render(source, target, box, (20, 20), (0, 0, 20, 20), (0, 0))
            np.testing.assert_array_equal(found.setdefault(n, target), target)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(jobs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "rbg"}, "order is one of rgb, bgr, grey, not 'rbg'"),
        ({"filter": "box"}, "filter is one of"),
        ({"dtype": "int8"}, "dtype is one of"),
        ({"layout": "nchw"}, "layout is one of"),
        ({"height": 0}, "sides are 1 to"),
        ({"scale": (1.0,)}, "scale has 1 values"),
        ({"fill": (0, 0, 256)}, "fill values are 0 to 255"),
        ({"scale": (1.0, float("nan"), 1.0)}, "do not give finite elements"),
        ({"scale": (1.0, 1.0, 1e4), "dtype": "float16"}, "beyond float16's range"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Renderer(**{"height": 4, "width": 4, **options})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": np.zeros((4, 4, 2), np.uint8)}, "an image is uint8"),
        ({"source": np.zeros((4, 4, 3), np.int8)}, "an image is uint8"),
        ({"source": np.zeros(48, np.uint8)}, "an image is uint8"),
        ({"source": np.zeros((0, 4, 3), np.uint8)}, "sides are 1 to"),
        ({"source": np.zeros((4, 4, 4), np.uint8)[:, :, :3]}, "side by side"),
        ({"source": np.zeros((4, 8, 3), np.uint8)[:, ::2]}, "side by side"),
        ({"source": np.zeros((4, 4, 3), np.uint8)[::-1]}, "side by side"),
        ({"target": np.zeros((3, 5, 4), np.float32)}, "a slot has 192 bytes"),
        ({"target": np.zeros((3, 4, 4), np.int32)}, "of format 'f'"),
        ({"box": (0, 0, 4.1, 4)}, "not inside the image"),
        ({"box": (2, 0, 2, 4)}, "is empty"),
        ({"box": (float("nan"), 0, 4, 4)}, "is empty"),
        ({"resized": (0, 4)}, "resized sides"),
        ({"window": (0, 1, 4, 4)}, "not inside 4x4"),
        ({"window": (0, -1, 4, 4)}, "not inside 4x4"),
        ({"at": (1, 0)}, "not inside the slot"),
        ({"at": (-1, 0)}, "not inside the slot"),
        ({"orientation": 9}, "orientation is 1 to 8"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_slot_left_alone(changed: dict[str, Any], message: str) -> None:
    target = changed.get("target", np.full((3, 4, 4), 7, np.float32))
    before = target.copy()
    call = {
        "source": np.zeros((4, 4, 3), np.uint8),
        "target": target,
        "box": (0, 0, 4, 4),
        "resized": (4, 4),
        "window": (0, 0, 4, 4),
        "at": (0, 0),
        **changed,
    }
    with pytest.raises(ValueError, match=message):
        Renderer(height=4, width=4).render(**call)
    np.testing.assert_array_equal(target, before)


def test_a_read_only_target_is_refused() -> None:
    target = np.zeros((3, 4, 4), np.float32)
    target.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        Renderer(height=4, width=4).render(
            np.zeros((4, 4, 3), np.uint8), target, (0, 0, 4, 4), (4, 4), (0, 0, 4, 4), (0, 0)
        )


def test_a_slot_that_would_hold_gigabytes_between_the_passes_is_refused() -> None:
    side = 1 << 15
    renderer = Renderer(height=side, width=side, order="grey", dtype="uint8")
    target = np.empty((1, side, side), np.uint8)
    with pytest.raises(ValueError, match="between its passes"):
        renderer.render(
            np.zeros((4, 4), np.uint8), target, (0, 0, 4, 4), (side, side), (0, 0, side, side), (0, 0), 5
        )
