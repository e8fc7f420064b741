"""Image files into pixels: JPEG by simplejpeg, the rest by Pillow, nothing before its header was found acceptable.

Both libraries give up the GIL while they decode. They are an extra of this package, imported when a model needs them.
"""

import importlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from steelyard.errors import ConfigError, InvalidRequest, ManifestError
from steelyard.pipelines.image.header import Format, Header, read_header

# One image in flight costs 3 bytes a pixel (4 more while Pillow decodes). 64 million admit what today's phones and
# cameras send, 50 million, and bound an image to 192 MB, or 450 MB for a moment.
DEFAULT_MAX_PIXELS = 64_000_000
# Pillow's own guard against decompression bombs, which belongs to the host process and stays as it is.
MOST_PIXELS = 89_478_485
# A strip of a pixel's width costs little memory, but no model was trained on one; JPEG's own bound.
MOST_SIDE = 65_535
# 50 million pixels at JPEG quality 95 are about 25 MB.
DEFAULT_MAX_BYTES = 32 << 20
# Each pass of a progressive JPEG costs the time of a whole image and can be a few bytes long. Encoders write about ten.
MOST_SCANS = 100

FORMATS: tuple[Format, ...] = ("jpeg", "png", "webp")
NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP"}


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What is taken, and how.

    formats: by content, whatever a name or content type says. max_bytes: of a file. max_pixels: of an image as its
    header gives it, at most 89,478,485. orient: follow the EXIF orientation. background: the colour (R, G, B) that
    shows through transparent pixels; None drops transparency and takes colours as they are stored, as Pillow's
    convert("RGB") does, and so most training code.
    Raises ManifestError for anything else.
    """

    formats: tuple[Format, ...] = FORMATS
    max_bytes: int = DEFAULT_MAX_BYTES
    max_pixels: int = DEFAULT_MAX_PIXELS
    orient: bool = True
    background: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if not self.formats or not set(self.formats) <= set(FORMATS):
            raise ManifestError(
                f"decode: expected formats among {', '.join(FORMATS)}, came {list(self.formats)}"
            )
        if self.max_bytes < 1:
            raise ManifestError(f"decode: expected max_bytes of 1 or more, came {self.max_bytes}")
        if not 1 <= self.max_pixels <= MOST_PIXELS:
            raise ManifestError(f"decode: expected max_pixels of 1 to {MOST_PIXELS}, came {self.max_pixels}")
        if self.background is not None and not (
            len(self.background) == 3 and all(0 <= level <= 255 for level in self.background)
        ):
            raise ManifestError(
                f"decode: expected background of three levels 0 to 255, came {self.background}"
            )


class Decoded(NamedTuple):
    """pixels: uint8 [height, width, 3] in RGB, or [height, width] where the file is grey."""

    pixels: np.ndarray[Any, Any]
    reduction: int


class Decoder:
    """Decodes for one input of a model. Safe to use from many threads at once.

    Raises ConfigError where the libraries are not installed.
    """

    def __init__(self, options: DecodeOptions) -> None:
        self.options = options
        self._jpeg = library("simplejpeg")
        self._image = library("PIL.Image")
        for plugin in ("Jpeg", "Png", "WebP"):
            library(f"PIL.{plugin}ImagePlugin")

    def header(self, data: bytes | memoryview) -> Header:
        """What `data` says of itself, if it is a file that may be decoded.

        Raises InvalidRequest where it is too large, of a format that is not taken, or of too many pixels. Costs some
        microseconds, whatever the image's size.
        """
        options = self.options
        size = memoryview(data).nbytes
        if size > options.max_bytes:
            raise InvalidRequest(f"image: expected a file of at most {options.max_bytes} bytes, came {size}")
        header = read_header(data)
        if header.format not in options.formats:
            raise InvalidRequest(
                f"image: expected {either(options.formats)}, came {NAMES[header.format]} by its content"
            )
        width, height = header.stored_width, header.stored_height
        if width * height > options.max_pixels or max(width, height) > MOST_SIDE:
            raise InvalidRequest(
                f"image: expected at most {options.max_pixels} pixels and {MOST_SIDE} a side, came {width}x{height}"
            )
        if header.scans_many:
            scans = bytes(data).count(b"\xff\xda")
            if scans > MOST_SCANS:
                raise InvalidRequest(f"image: expected a JPEG of at most {MOST_SCANS} scans, came {scans}")
        if not options.orient and header.orientation != 1:
            return Header(header.format, width, height, 1, header.components, header.scans_many)
        return header

    def decode(self, data: bytes | memoryview, header: Header, reduction: int = 1) -> Decoded:
        """The pixels of `data`, whose `header` this decoder gave, as they are stored: `header.orientation` is for the
        renderer to follow.

        Of several frames the first. 16-bit samples lose their lower byte; palettes, CMYK and YCCK become RGB as Pillow
        makes it. reduction: 1, 2, 4 or 8, as `Placement.reduction` gives it: grey and colour JPEGs are decoded to sides
        divided by it and rounded up, in less time; other files to their whole size.
        Raises InvalidRequest where `data` is cut short or corrupt.
        """
        # A codec that meets hostile bytes may raise anything, and whatever it raises these bytes are the cause of.
        try:
            if header.format == "jpeg" and header.components != 4:
                return Decoded(self._decode_jpeg(data, header, reduction), reduction)
            return Decoded(self._decode_by_pillow(data, header), 1)
        except MemoryError:
            raise
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise InvalidRequest(
                f"image: expected a whole and sound {NAMES[header.format]} file, came one with: {reason}"
            ) from None

    def _decode_jpeg(self, data: bytes | memoryview, header: Header, reduction: int) -> np.ndarray[Any, Any]:
        height, width = self._jpeg.decode_jpeg_header(data)[:2]
        as_stored(header, width, height)
        # The library takes the smallest size that is no smaller than what is asked for.
        pixels: np.ndarray[Any, Any] = self._jpeg.decode_jpeg(
            data,
            "RGB" if header.components == 3 else "GRAY",
            min_width=-(-width // reduction),
            min_height=-(-height // reduction),
        )
        return pixels if header.components == 3 else pixels[:, :, 0]

    def _decode_by_pillow(self, data: bytes | memoryview, header: Header) -> np.ndarray[Any, Any]:
        with self._image.open(io.BytesIO(data), formats=(header.format.upper(),)) as image:
            as_stored(header, *image.size)
            image.load()
            return self._to_pixels(image)

    def _to_pixels(self, image: Any) -> np.ndarray[Any, Any]:
        if image.mode.startswith("I"):
            return (np.asarray(image) >> 8).astype(np.uint8)
        transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
        if transparent and (self.options.background is not None or image.mode == "P"):
            image = image.convert("RGBA")
        if transparent and self.options.background is not None:
            under = self._image.new("RGBA", image.size, (*self.options.background, 255))
            image = self._image.alpha_composite(under, image)
        wanted = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
        return np.array(image if image.mode == wanted else image.convert(wanted))


def library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"models that take image files need {name.partition('.')[0]}: pip install 'steelyard[image]' ({error})"
        ) from error


def as_stored(header: Header, width: int, height: int) -> None:
    """Limits were checked for the size that we read; a library that reads another must not go on with it."""
    if (width, height) != (header.stored_width, header.stored_height):
        raise ValueError(f"pixels of {width}x{height}, where its header says otherwise")


def either(formats: Iterable[Format]) -> str:
    return " or ".join(NAMES[name] for name in formats)
