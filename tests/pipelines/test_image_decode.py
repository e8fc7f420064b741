"""Image files of every kind that is taken, and of those that are not: what comes out, and what is said."""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from steelyard.errors import InvalidRequest, ManifestError
from steelyard.pipelines.image.decode import MOST_SCANS, DecodeOptions, Decoder
from steelyard.pipelines.image.header import MOST_CHUNKS, MOST_SEGMENTS

DECODER = Decoder(DecodeOptions())


def noise(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def picture(mode: str = "RGB", width: int = 50, height: int = 34) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    levels = np.stack([x * 5, y * 7, x + y, 255 - x * 4], -1).astype(np.uint8)
    return Image.fromarray(levels[..., :3]).convert(mode) if mode != "RGBA" else Image.fromarray(levels)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, format, **options)
    return target.getvalue()


def decode(data: bytes | memoryview, options: DecodeOptions | None = None) -> np.ndarray[Any, Any]:
    decoder = Decoder(options) if options else DECODER
    return decoder.decode(data, decoder.header(data)).pixels


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:4:4"}, {"quality": 30}])
def test_jpeg(mode: str, options: dict[str, Any]) -> None:
    data = saved(picture(mode), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L" if mode == "L" else "RGB"))
    np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_png_without_its_transparency(mode: str) -> None:
    image = picture(mode)
    expected = np.asarray(image.convert("L" if mode in ("L", "LA", "1") else "RGB"))
    np.testing.assert_array_equal(decode(saved(image, "PNG")), expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
def test_webp(mode: str, lossless: bool) -> None:
    data = saved(picture(mode), "WEBP", lossless=lossless)
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_a_background_shows_through_what_is_transparent() -> None:
    options = DecodeOptions(background=(200, 100, 0))
    clear = Image.new("RGBA", (3, 2), (9, 9, 9, 0))
    assert decode(saved(clear, "PNG"), options).reshape(-1, 3).tolist() == [[200, 100, 0]] * 6
    half = Image.new("LA", (1, 1), (100, 128))
    assert decode(saved(half, "PNG"), options)[0, 0].tolist() == pytest.approx([150, 100, 50], abs=1)
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([1, 2, 3, 4, 5, 6])
    assert decode(saved(palette, "PNG", transparency=1), options)[0, 0].tolist() == [200, 100, 0]
    assert decode(saved(palette, "PNG", transparency=1))[0, 0].tolist() == [4, 5, 6]


def test_a_palette_with_several_transparencies() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([1, 2, 3, 4, 5, 6])
    palette.putpixel((1, 0), 1)
    data = saved(palette, "PNG", transparency=b"\x00\xff")
    assert decode(data)[0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert decode(data, DecodeOptions(background=(9, 9, 9)))[0].tolist() == [[9, 9, 9], [4, 5, 6]]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_files_may_lie_anywhere_in_memory(format: str) -> None:
    data = saved(picture(), format)
    inside = memoryview(bytearray(b"x" * 7 + data + b"y" * 5))[7:-5]
    np.testing.assert_array_equal(decode(inside), decode(data))


def test_sixteen_bits_lose_their_lower_byte() -> None:
    levels = np.array([[0, 255, 256, 65_535]], np.uint16)
    assert decode(saved(Image.fromarray(levels), "PNG")).tolist() == [[0, 0, 1, 255]]


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_the_first_of_several_frames(format: str) -> None:
    first, second = Image.new("RGB", (8, 6), (250, 0, 0)), Image.new("RGB", (8, 6), (0, 250, 0))
    data = saved(first, format, save_all=True, append_images=[second], duration=10, lossless=True)
    assert decode(data).reshape(-1, 3).tolist() == [[250, 0, 0]] * 48


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_header_says_how_an_image_is_seen(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(), format, exif=exif)
    header = DECODER.header(data)
    seen = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert (header.width, header.height) == seen.size
    assert header.orientation == orientation
    assert Decoder(DecodeOptions(orient=False)).header(data).orientation == 1


def test_an_exif_block_that_makes_no_sense_is_passed_over() -> None:
    plain = saved(picture(), "JPEG")
    for tiff in (
        b"",
        b"MM\0*",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\1\0\x12\1\3\0",
    ):
        body = b"Exif\0\0" + tiff
        data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]
        assert DECODER.header(data).orientation == 1
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, 9, 0)
    body = b"Exif\0\0II*\0\x08\0\0\0\1\0" + entry
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:]
    assert DECODER.header(data).orientation == 1


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_reduced_sides_are_rounded_up(reduction: int) -> None:
    for width in range(1, 34, 4):
        data = saved(picture("RGB", width, 2 * width + 1), "JPEG")
        decoded = DECODER.decode(data, DECODER.header(data), reduction)
        assert decoded.reduction == reduction
        assert decoded.pixels.shape == (-(-(2 * width + 1) // reduction), -(-width // reduction), 3)


def test_what_cannot_be_reduced_is_whole() -> None:
    for data in (saved(picture("CMYK"), "JPEG"), saved(picture(), "PNG")):
        decoded = DECODER.decode(data, DECODER.header(data), 4)
        assert decoded.reduction == 1
        assert decoded.pixels.shape == (34, 50, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_file_that_breaks_off_is_refused(format: str) -> None:
    data = saved(Image.fromarray(noise(60, 70, 3)), format)
    for size in (*range(40), *range(40, len(data) - 12, max(1, len(data) // 60))):
        with pytest.raises(InvalidRequest, match="image: expected"):
            decode(data[:size])


@settings(deadline=None, max_examples=300)
@given(
    format=st.sampled_from(("JPEG", "PNG", "WEBP")),
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_file_with_changed_bytes_is_decoded_or_refused(format: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(saved(picture(), format, **({"exif": Image.Exif()} if format == "JPEG" else {})))
    for at, value in changes:
        # Half of the changes meet the header.
        data[at % (len(data) if at % 2 else 64)] = value
    decoder = Decoder(DecodeOptions(max_pixels=1 << 20))
    with warnings.catch_warnings():
        # Pillow warns of broken metadata before it goes on without.
        warnings.simplefilter("ignore")
        try:
            header = decoder.header(bytes(data))
            pixels = decoder.decode(bytes(data), header).pixels
        except InvalidRequest:
            return
        assert pixels.dtype == np.uint8
        assert pixels.shape[:2] == (header.stored_height, header.stored_width)


@settings(deadline=None, max_examples=300)
@given(
    start=st.sampled_from((b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP")), rest=st.binary()
)
def test_any_bytes_are_refused_by_their_header(start: bytes, rest: bytes) -> None:
    with pytest.raises(InvalidRequest, match="image: expected"):
        DECODER.decode(start + rest, DECODER.header(start + rest))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a JPEG, PNG or WebP file, came nothing"),
        (b"GIF89a" + bytes(20), "came 26 bytes that begin with 47 49 46 38"),
        (b"<svg xmlns=''/>", "expected a JPEG, PNG or WebP file"),
        (
            png(40_000, 40_000, chunk(b"IDAT", b"")),
            "at most 64000000 pixels and 65535 a side, came 40000x40000",
        ),
        (png(1, 70_000, chunk(b"IDAT", b"")), "came 1x70000"),
        (png(0, 4, chunk(b"IDAT", b"")), "at least 1x1"),
        (png(4, 4, *[chunk(b"tEXt", b"")] * (MOST_CHUNKS + 1)), "chunks before a PNG's pixels"),
        (
            b"\xff\xd8\xff\xc0\x00\x0b\x08\x9c\x40\x9c\x40\x01\x01\x11\x00\xff\xda\x00\x03\x01",
            "came 40000x40000",
        ),
        (b"\xff\xd8\xff\xc0\x00\x0b\x0c\x00\x04\x00\x04\x01\x01\x11\x00", "8 bits a sample, came 12"),
        (b"\xff\xd8\xff\xc3\x00\x0b\x08\x00\x04\x00\x04\x01\x01\x11\x00", "frame type 0xc3"),
        (b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x00\x00\x04\x01\x01\x11\x00", "came 4x0"),
        (b"\xff\xd8\xff\xd9", "with a frame header and pixels"),
        (b"\xff\xd8" + b"\xff\xe5\x00\x02" * (MOST_SEGMENTS + 1), "segments before a JPEG's pixels"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8X" + bytes(8) + b"\xff\xff\xff" * 2, "came 16777216x16777216"),
    ],
)
def test_what_is_refused_before_it_is_decoded(data: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        DECODER.header(data)


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    data = saved(picture(), "JPEG", progressive=True)
    assert DECODER.header(data).scans_many
    scan = data.rindex(b"\xff\xda")
    many = data[:scan] + data[scan:-2] * (MOST_SCANS + 1) + data[-2:]
    with pytest.raises(InvalidRequest, match=f"at most {MOST_SCANS} scans"):
        DECODER.header(many)


def test_limits_are_the_owners() -> None:
    data = saved(picture(), "PNG")
    with pytest.raises(InvalidRequest, match=f"at most 100 bytes, came {len(data)}"):
        Decoder(DecodeOptions(max_bytes=100)).header(data)
    with pytest.raises(InvalidRequest, match="at most 1699 pixels"):
        Decoder(DecodeOptions(max_pixels=1699)).header(data)
    with pytest.raises(InvalidRequest, match="expected JPEG or WebP, came PNG by its content"):
        Decoder(DecodeOptions(formats=("jpeg", "webp"))).header(data)
    before = Image.MAX_IMAGE_PIXELS
    decode(data)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ()}, "formats"),
        ({"formats": ("gif",)}, "formats"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_pixels": 0}, "max_pixels"),
        ({"max_pixels": 100_000_000}, "max_pixels"),
        ({"background": (0, 0)}, "background"),
        ({"background": (0, 0, 256)}, "background"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        DecodeOptions(**options)
