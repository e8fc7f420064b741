"""What an image file says of itself, read before any of it is decoded."""

import struct
from dataclasses import dataclass
from typing import Literal

from steelyard.errors import InvalidRequest
from steelyard.pipelines.image.exif import orientation_of

Format = Literal["jpeg", "png", "webp"]

# Segments before a JPEG's pixels. An ICC profile may take 255 and cameras write some tens; a file made of empty
# segments would keep the loop below busy for seconds.
MOST_SEGMENTS = 1000
# Chunks before a PNG's or WebP's pixels, for the same reason.
MOST_CHUNKS = 1000

BASELINE_OR_PROGRESSIVE = (0xC0, 0xC1, 0xC2)
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}
START_OF_SCAN = 0xDA
END_OF_IMAGE = 0xD9
APP1 = 0xE1


@dataclass(frozen=True, slots=True)
class Header:
    """Sizes in pixels. `orientation` is EXIF's, 1 to 8, 1 where none is given or it makes no sense."""

    format: Format
    stored_width: int
    stored_height: int
    orientation: int = 1
    components: int = 3
    """Of a JPEG: 1 grey, 3 colour, 4 CMYK or YCCK."""
    scans_many: bool = False
    """A JPEG whose pixels come in more than one pass over the image."""

    @property
    def width(self) -> int:
        """As seen, after `orientation`."""
        return self.stored_height if self.orientation >= 5 else self.stored_width

    @property
    def height(self) -> int:
        """As seen, after `orientation`."""
        return self.stored_width if self.orientation >= 5 else self.stored_height


def read_header(data: bytes | memoryview) -> Header:
    """The header of a JPEG, PNG or WebP file, told apart by their first bytes.

    Raises InvalidRequest where `data` is none of them, or ends or contradicts itself before its size is known.
    """
    view = memoryview(data).cast("B")
    start = bytes(view[:16])
    if start[:3] == b"\xff\xd8\xff":
        return read_jpeg(view)
    if start[:8] == b"\x89PNG\r\n\x1a\n":
        return read_png(view)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return read_webp(view)
    came = f"{len(view)} bytes that begin with {start[:8].hex(' ')}" if start else "nothing"
    raise InvalidRequest(f"image: expected a JPEG, PNG or WebP file, came {came}")


def read_jpeg(view: memoryview) -> Header:
    at = 2
    orientation = 1
    frame: tuple[int, int, int] | None = None
    progressive = False
    for _ in range(MOST_SEGMENTS):
        if len(view) - at < 2:
            raise cut_short("JPEG", len(view))
        if view[at] != 0xFF:
            raise InvalidRequest(f"image: expected a JPEG marker at byte {at}, came {view[at]:#04x}")
        marker = view[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        at += 2
        if marker in WITHOUT_LENGTH:
            continue
        if marker == END_OF_IMAGE:
            break
        if len(view) - at < 2:
            raise cut_short("JPEG", len(view))
        length = view[at] << 8 | view[at + 1]
        if length < 2 or length > len(view) - at:
            raise cut_short("JPEG", len(view))
        segment = view[at + 2 : at + length]
        at += length
        if marker in FRAMES:
            if frame is not None:
                raise InvalidRequest("image: expected one frame header in a JPEG, came a second")
            frame = read_frame(marker, segment)
            progressive = marker == 0xC2
        elif marker == APP1 and bytes(segment[:6]) == b"Exif\0\0":
            orientation = orientation_of(segment[6:])
        elif marker == START_OF_SCAN:
            if frame is None or not segment:
                break
            many = progressive or segment[0] < frame[2]
            return Header("jpeg", frame[0], frame[1], orientation, frame[2], many)
    else:
        raise InvalidRequest(
            f"image: expected at most {MOST_SEGMENTS} segments before a JPEG's pixels, came more"
        )
    raise InvalidRequest("image: expected a JPEG with a frame header and pixels, came one without")


def read_frame(marker: int, segment: memoryview) -> tuple[int, int, int]:
    """Width, height and components."""
    if len(segment) < 6:
        raise InvalidRequest(f"image: expected a JPEG frame header of 6 bytes or more, came {len(segment)}")
    bits, height, width, components = struct.unpack_from(">BHHB", segment)
    if marker not in BASELINE_OR_PROGRESSIVE:
        raise InvalidRequest(f"image: expected a baseline or progressive JPEG, came frame type {marker:#04x}")
    if bits != 8:
        raise InvalidRequest(f"image: expected a JPEG of 8 bits a sample, came {bits}")
    if components not in (1, 3, 4):
        raise InvalidRequest(f"image: expected a JPEG of 1, 3 or 4 components, came {components}")
    if not width or not height:
        raise InvalidRequest(f"image: expected a JPEG of at least 1x1 pixels, came {width}x{height}")
    return width, height, components


def read_png(view: memoryview) -> Header:
    if len(view) < 33:
        raise cut_short("PNG", len(view))
    length, kind, width, height = struct.unpack_from(">I4sII", view, 8)
    if kind != b"IHDR" or length != 13:
        raise InvalidRequest(
            f"image: expected a PNG that begins with IHDR of 13 bytes, came {kind!r} of {length}"
        )
    if not (0 < width < 1 << 31 and 0 < height < 1 << 31):
        raise InvalidRequest(f"image: expected a PNG of at least 1x1 pixels, came {width}x{height}")
    orientation = 1
    at = 33
    for _ in range(MOST_CHUNKS):
        if len(view) - at < 12:
            raise cut_short("PNG", len(view))
        length, kind = struct.unpack_from(">I4s", view, at)
        if length > len(view) - at - 12:
            if kind == b"IDAT":
                break
            raise cut_short("PNG", len(view))
        if kind in (b"IDAT", b"IEND"):
            break
        if kind == b"eXIf":
            orientation = orientation_of(view[at + 8 : at + 8 + length])
        at += 12 + length
    else:
        raise InvalidRequest(f"image: expected at most {MOST_CHUNKS} chunks before a PNG's pixels, came more")
    return Header("png", width, height, orientation)


def read_webp(view: memoryview) -> Header:
    if len(view) < 30:
        raise cut_short("WebP", len(view))
    kind = bytes(view[12:16])
    if kind == b"VP8 ":
        if bytes(view[23:26]) != b"\x9d\x01\x2a":
            raise InvalidRequest("image: expected a WebP key frame, came none")
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", view, 26))
        orientation = 1
    elif kind == b"VP8L":
        if view[20] != 0x2F:
            raise InvalidRequest("image: expected a lossless WebP's signature 0x2f, came " + hex(view[20]))
        (bits,) = struct.unpack_from("<I", view, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        orientation = 1
    elif kind == b"VP8X":
        width = int.from_bytes(view[24:27], "little") + 1
        height = int.from_bytes(view[27:30], "little") + 1
        orientation = webp_orientation(view)
    else:
        raise InvalidRequest(f"image: expected a WebP of VP8, VP8L or VP8X, came {kind!r}")
    if not width or not height:
        raise InvalidRequest(f"image: expected a WebP of at least 1x1 pixels, came {width}x{height}")
    return Header("webp", width, height, orientation)


def webp_orientation(view: memoryview) -> int:
    """From the EXIF chunk, which stands behind the pixels."""
    at = 12
    for _ in range(MOST_CHUNKS):
        if len(view) - at < 8:
            break
        kind, length = struct.unpack_from("<4sI", view, at)
        if length > len(view) - at - 8:
            break
        if kind == b"EXIF":
            found = view[at + 8 : at + 8 + length]
            return orientation_of(found[6:] if bytes(found[:6]) == b"Exif\0\0" else found)
        at += 8 + length + (length & 1)
    return 1


def cut_short(name: str, size: int) -> InvalidRequest:
    return InvalidRequest(
        f"image: expected a whole {name} file, came {size} bytes that end or break off in its header"
    )
