"""The native renderer against Pillow: the same levels, from decoded images and from files."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from steelyard._native.image import Renderer
from steelyard.pipelines.image.decode import DecodeOptions, Decoder
from steelyard.pipelines.image.geometry import Geometry, Mode

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
SIDES = st.integers(1, 300)


def renderer(width: int, height: int, filter: str) -> Renderer:
    return Renderer(height=height, width=width, layout="hwc", dtype="uint8", filter=filter)


@settings(deadline=None, max_examples=200)
@given(
    size=st.tuples(SIDES, SIDES),
    resized=st.tuples(SIDES, SIDES),
    filter=st.sampled_from(tuple(FILTERS)),
    part=st.none() | st.tuples(*[st.floats(0, 0.45)] * 4),
    seed=st.integers(0, 1 << 30),
)
def test_levels_are_those_of_pillow(
    size: tuple[int, int],
    resized: tuple[int, int],
    filter: str,
    part: tuple[float, ...] | None,
    seed: int,
) -> None:
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if seed % 2:
        pixels = np.where(pixels < 128, 0, 255).astype(np.uint8)
    box = (0.0, 0.0, float(width), float(height))
    if part is not None:
        box = (part[0] * width, part[1] * height, (1 - part[2]) * width, (1 - part[3]) * height)
    found = np.empty((resized[1], resized[0], 3), np.uint8)
    renderer(*resized, filter).render(pixels, found, box, resized, (0, 0, *resized), (0, 0))
    expected = np.asarray(Image.fromarray(pixels).resize(resized, FILTERS[filter], box))
    np.testing.assert_array_equal(found, expected)


def photo(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / 19 + y / 13), 128 + 100 * np.cos(x / 11 - y / 17), (x + 2 * y) % 256]
    return Image.fromarray(np.stack(waves, -1).clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    target = io.BytesIO()
    image.save(target, "JPEG", quality=88, exif=exif)
    return target.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["stretch", "centre_crop", "letterbox", "cover"])
def test_from_a_file_to_the_slot_as_a_training_script_does_it(mode: Mode, orientation: int) -> None:
    data = jpeg(photo(203, 151), orientation)
    geometry = Geometry(mode, 64, 48, shorter_side=70 if mode == "centre_crop" else None)
    decoder = Decoder(DecodeOptions())
    header = decoder.header(data)
    placement = geometry.place(header.width, header.height)
    found = np.empty((48, 64, 3), np.uint8)
    decoded = decoder.decode(data, header)
    renderer(64, 48, "bicubic").render(decoded.pixels, found, *placement, header.orientation)

    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if mode == "stretch":
        expected = image.resize((64, 48), Image.Resampling.BICUBIC)
    elif mode == "centre_crop":
        width, height = placement.resized
        left, top = round((width - 64) / 2), round((height - 48) / 2)
        expected = image.resize((width, height), Image.Resampling.BICUBIC).crop(
            (left, top, left + 64, top + 48)
        )
    elif mode == "letterbox":
        expected = ImageOps.pad(image, (64, 48), Image.Resampling.BICUBIC, color=(0, 0, 0))
    else:
        expected = ImageOps.fit(image, (64, 48), Image.Resampling.BICUBIC)
    if mode == "letterbox":
        # Pillow may put the spare column on the other side.
        left, top = placement.at
        width, height = placement.resized
        whole = image.resize((width, height), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(found[top : top + height, left : left + width], np.asarray(whole))
    else:
        np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("target", [(16, 12), (40, 40), (100, 90), (203, 151), (400, 300)])
def test_reduced_decoding_is_pillows_draft(target: tuple[int, int]) -> None:
    data = jpeg(photo(403, 301))
    decoder = Decoder(DecodeOptions())
    header = decoder.header(data)
    placement = Geometry("stretch", *target).place(header.width, header.height)
    decoded = decoder.decode(data, header, placement.reduction())
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", target)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(image))

    found = np.empty((target[1], target[0], 3), np.uint8)
    renderer(*target, "bilinear").render(decoded.pixels, found, *placement.reduced(decoded.reduction))
    box = (0, 0, 403 / decoded.reduction, 301 / decoded.reduction)
    expected = np.asarray(image.resize(target, Image.Resampling.BILINEAR, box))
    np.testing.assert_array_equal(found, expected)
