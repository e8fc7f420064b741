"""Lines of text as the files of pictures that a scanner or a camera would send, and what each of them says."""

import io
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

UPRIGHT, UPSIDE_DOWN = "0°", "180°"
WORDS = (
    "balance",
    "weigh",
    "against",
    "known",
    "weight",
    "every",
    "version",
    "before",
    "after",
    "answer",
    "record",
    "customer",
    "invoice",
    "number",
    "street",
    "total",
    "amount",
    "January",
    "delivered",
    "Received",
    "signed",
    "No.4711",
    "12.50",
    "30%",
    "2041/7",
)
FONTS = (
    "font_source_serif_pro/files/SourceSerifPro-Regular.ttf",
    "font_source_sans_pro/files/SourceSansPro-Semibold.ttf",
    "font_caladea/files/Caladea-Italic.ttf",
)


@dataclass(frozen=True)
class Line:
    """A line of text, as it was set."""

    file: bytes
    text: str
    up: str


def render(count: int) -> list[Line]:
    """Lines of two or three words in four fonts, sizes of 18 to 63, PNG and JPEG; every other one is upside down."""
    rng = np.random.default_rng(7)
    made = []
    for number in range(count):
        font = _font(number // 2 % (len(FONTS) + 1), int(rng.integers(18, 64)))
        text = " ".join(rng.choice(WORDS, int(rng.integers(2, 4))))
        left, top, right, bottom = font.getbbox(text)
        margin = int(rng.integers(4, 12))
        paper, ink = int(rng.integers(200, 256)), int(rng.integers(0, 80))
        size = (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin)
        image = Image.new("RGB", size, (paper, paper, paper))
        ImageDraw.Draw(image).text((margin - left, margin - top), text, font=font, fill=(ink, ink, ink))
        up = UPSIDE_DOWN if number % 2 else UPRIGHT
        if up == UPSIDE_DOWN:
            image = image.transpose(Image.Transpose.ROTATE_180)
        made.append(Line(_file(image, "PNG" if number % 3 else "JPEG"), text, up))
    return made


def turned(file: bytes) -> bytes:
    """The picture the other way up."""
    return _file(Image.open(io.BytesIO(file)).transpose(Image.Transpose.ROTATE_180), "PNG")


def _font(number: int, size: int) -> Any:
    """One of FONTS, or the one that Pillow brings."""
    if number == len(FONTS):
        return ImageFont.load_default(size)
    package, _, path = FONTS[number].partition("/")
    return ImageFont.truetype(io.BytesIO(resources.files(package).joinpath(path).read_bytes()), size)


def _file(image: Image.Image, kind: str) -> bytes:
    target = io.BytesIO()
    image.save(target, kind)
    return target.getvalue()
