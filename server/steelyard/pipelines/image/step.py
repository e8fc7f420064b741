"""The step `image`: files or pixels of any size, decoded when they are prepared, and resized into the batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from steelyard._native.image import Renderer
from steelyard.errors import InvalidRequest, ManifestError
from steelyard.models.spec import DYNAMIC, TensorSpec
from steelyard.models.table import Table
from steelyard.pipelines.bounds import check_prepared
from steelyard.pipelines.elements import request_elements
from steelyard.pipelines.image.decode import DEFAULT_MAX_PIXELS, DecodeOptions, Decoder
from steelyard.pipelines.image.geometry import Geometry, Placement
from steelyard.pipelines.misfits import misfit, shown_dims
from steelyard.pipelines.prepared import HEAVY, OneToOne, Preparation
from steelyard.pipelines.problems import Problem
from steelyard.toml import Bytes
from steelyard.wire.types import InputTensor

Array = npt.NDArray[Any]

Levels = Annotated[tuple[float, ...], Field(min_length=1, max_length=3, strict=False)]
Side = Annotated[int, Field(ge=1, le=1 << 15)]

# The decoded images of one request, until the batch has taken them.
MAX_DECODED_BYTES = 512 << 20

_DTYPES: dict[str, Literal["uint8", "float16", "float32"]] = {
    "UINT8": "uint8",
    "FP16": "float16",
    "FP32": "float32",
}


class ImageStep(Table):
    """Options of the step. The slot's size is the model's where the graph states it."""

    step: Literal["image"]
    width: Side | None = Field(
        default=None, description="Of the model's tensor, where the graph leaves it open."
    )
    height: Side | None = Field(default=None, description="The same.")
    fit: Literal["stretch", "centre_crop", "letterbox", "cover"] = Field(
        default="stretch",
        description="How an image meets the slot: resized to it; its shorter side resized to `shorter_side` and the "
        "middle cut out; whole, with a border of `fill`; or its largest part of the slot's shape.",
    )
    shorter_side: Side | None = Field(default=None, description="For centre_crop.")
    align: Literal["centre", "start"] = Field(
        default="centre", description="Where a letterboxed image stands."
    )
    enlarge: bool = Field(default=True, description="Whether letterbox makes small images larger.")
    filter: Literal["nearest", "bilinear", "bicubic"] = Field(default="bilinear", description="As Pillow's.")
    antialias: bool = Field(
        default=True, description="Whether the filter widens when an image is made smaller."
    )
    order: Literal["rgb", "bgr", "grey"] = Field(
        default="rgb", description="The channels that the model takes."
    )
    layout: Literal["chw", "hwc"] | None = Field(
        default=None, description="Where channels stand; not given: seen from the model's dimensions."
    )
    scale: float = Field(
        default=1.0, description="What a level of 0 to 255 is multiplied by, before mean and std."
    )
    mean: Levels = Field(default=(0.0,), description="Taken away from each channel, after `scale`.")
    std: Levels = Field(default=(1.0,), description="What each channel is divided by then.")
    fill: tuple[int, int, int] = Field(
        default=(0, 0, 0), strict=False, description="Levels where no image is."
    )
    decode: Literal["full", "scaled"] = Field(
        default="full",
        description="scaled: a JPEG much larger than the slot is decoded to half its sides, a quarter or an eighth.",
    )
    formats: tuple[Literal["jpeg", "png", "webp"], ...] = Field(
        default=("jpeg", "png", "webp"),
        min_length=1,
        strict=False,
        description="Formats that are taken, by content.",
    )
    max_file: Bytes = Field(default=32 << 20, description="The largest file.")
    max_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, description="The largest image, by its header.")
    orient: bool = Field(default=True, description="Whether the EXIF orientation is followed.")
    background: tuple[int, int, int] | None = Field(
        default=None,
        strict=False,
        description="What shows through transparent pixels; not given: they are opaque.",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if any(value == 0 for value in self.std):
            raise ValueError("expected std without zeros")
        return self


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded image: uint8 [h, w] or [h, w, 3], where it goes, its EXIF orientation, and the way back to the image
    as it came and is seen."""

    pixels: Array
    placement: Placement
    orientation: int
    way_back: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ImageTensor:
    """The images of one request, decoded; None stands for one that could not be, and leaves its row at zero."""

    renderer: Renderer
    pictures: tuple[Picture | None, ...]
    slot: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.pictures), *self.slot)

    @property
    def held_bytes(self) -> int:
        return sum(picture.pixels.nbytes for picture in self.pictures if picture is not None)

    def ways_back(self) -> Array:
        """For each row what `Placement.way_back` gives, float64 [rows, 6]; zeros where there is no image."""
        ways = [(0.0,) * 6 if picture is None else picture.way_back for picture in self.pictures]
        return np.array(ways, np.float64).reshape(len(ways), 6)

    def fill(self, target: Array) -> None:
        for row, picture in zip(target, self.pictures, strict=True):
            if picture is None:
                row[...] = 0
            else:
                self.renderer.render(picture.pixels, row, *picture.placement, picture.orientation)

    def select(self, rows: Sequence[int]) -> "ImageTensor":
        return replace(self, pictures=tuple(self.pictures[row] for row in rows))


@dataclass(frozen=True, slots=True)
class ImagePreparer(OneToOne):
    """Images to rows. Preparing decodes; everything after that is one pass into the batch."""

    step: ImageStep
    packed: bool
    """Whether images come as files in BYTES, not as pixels."""
    decoder: Decoder | None
    geometry: Geometry
    renderer: Renderer
    slot: tuple[int, ...]
    item_bytes: int

    def looks_at(self, size: int, rows: int) -> int:
        return HEAVY

    def prepare(self, tensors: Sequence[InputTensor], rows: int) -> Preparation:
        """A file that is no acceptable image is a problem ("image")."""
        (tensor,) = tensors
        check_prepared(self.source, (rows, *self.slot), self.item_bytes)
        if not self.packed:
            return Preparation((ImageTensor(self.renderer, self._given(tensor, rows), self.slot),))
        files = request_elements(self.source, tensor.data, rows)
        pictures: list[Picture | None] = []
        problems = []
        held_bytes = 0
        for row, file in enumerate(files):
            try:
                picture = self._decoded(file)
            except InvalidRequest as error:
                pictures.append(None)
                problems.append(
                    Problem(row, self.source, "image", "an image that can be decoded", str(error))
                )
                continue
            held_bytes += picture.pixels.nbytes
            if held_bytes > MAX_DECODED_BYTES:
                raise InvalidRequest(
                    f"input '{self.source}': expected images of at most {MAX_DECODED_BYTES} bytes together when "
                    f"decoded, came more in the first {row + 1} of {rows}"
                )
            pictures.append(picture)
        return Preparation((ImageTensor(self.renderer, tuple(pictures), self.slot),), tuple(problems))

    def _decoded(self, file: memoryview) -> Picture:
        assert self.decoder is not None
        header = self.decoder.header(file)
        placement = self.geometry.place(header.width, header.height)
        wanted = placement.reduction() if self.step.decode == "scaled" else 1
        decoded = self.decoder.decode(file, header, wanted)
        way_back = placement.way_back(header.width, header.height)
        return Picture(decoded.pixels, placement.reduced(decoded.reduction), header.orientation, way_back)

    def _given(self, tensor: InputTensor, rows: int) -> tuple[Picture, ...]:
        height, width = tensor.shape[1:3]
        if not height or not width:
            raise InvalidRequest(f"input '{self.source}': expected pixels, came shape {list(tensor.shape)}")
        pixels = np.frombuffer(tensor.data, np.uint8).reshape(tensor.shape)
        placement = self.geometry.place(width, height)
        way_back = placement.way_back(width, height)
        return tuple(Picture(pixels[row], placement, 1, way_back) for row in range(rows))


def compile_image(step: ImageStep, source: TensorSpec, target: TensorSpec) -> ImagePreparer:
    """The step from what callers send to the model's input of [rows, 3 or 1, height, width] or with channels last.

    Callers send files as BYTES of [rows] or [rows, 1], or pixels as UINT8 of [rows, height, width, 3]. Raises
    ManifestError, and ConfigError where the libraries are not installed.
    """
    name = f"input '{source.name}'"
    packed = source.datatype == "BYTES" and source.dims[1:] in ((), (1,)) and len(source.dims) > 0
    if not packed and not (source.datatype == "UINT8" and len(source.dims) == 4 and source.dims[3] == 3):
        raise misfit(
            name,
            step.step,
            f"expected BYTES of [-1], or UINT8 of [-1, -1, -1, 3], got {source.datatype} of {shown_dims(source.dims)}",
        )
    dtype = _DTYPES.get(target.datatype)
    channels = 1 if step.order == "grey" else 3
    layout, slot = _slot(step, name, target, channels)
    if dtype is None:
        raise misfit(
            name,
            step.step,
            f"makes UINT8, FP16 or FP32, the model's input '{target.name}' expects {target.datatype}",
        )
    height, width = slot[1:] if layout == "chw" else slot[:2]
    mean, std = (_per_channel(step, name, key, channels) for key in ("mean", "std"))
    try:
        geometry = Geometry(
            step.fit, width, height, shorter_side=step.shorter_side, align=step.align, enlarge=step.enlarge
        )
        options = DecodeOptions(
            formats=step.formats,
            max_bytes=step.max_file,
            max_pixels=step.max_pixels,
            orient=step.orient,
            background=step.background,
        )
        renderer = Renderer(
            height=height,
            width=width,
            order=step.order,
            layout=layout,
            dtype=dtype,
            scale=None if dtype == "uint8" else [step.scale / one for one in std],
            offset=None if dtype == "uint8" else [-m / s for m, s in zip(mean, std, strict=True)],
            fill=step.fill[:channels],
            filter=step.filter,
            antialias=step.antialias,
        )
    except (ManifestError, ValueError) as error:
        raise misfit(name, step.step, str(error)) from error
    decoder = Decoder(options) if packed else None
    item_bytes = target.element.dtype.itemsize
    return ImagePreparer(
        source.name, target.name, step, packed, decoder, geometry, renderer, slot, item_bytes
    )


def _slot(
    step: ImageStep, name: str, target: TensorSpec, channels: int
) -> tuple[Literal["chw", "hwc"], tuple[int, ...]]:
    """Where the channels stand, and the dimensions of one row."""
    dims = target.dims[1:]
    layout = step.layout
    if layout is None and len(dims) == 3:
        layout = "chw" if dims[0] == channels else "hwc" if dims[2] == channels else None
    if layout is None or len(dims) != 3:
        raise misfit(
            name,
            step.step,
            f"expected a model's input of four dimensions, {channels} of them channels (layout says where, if the "
            f"graph does not), '{target.name}' has {shown_dims(target.dims)}",
        )
    wanted = (channels, step.height, step.width) if layout == "chw" else (step.height, step.width, channels)
    found = []
    for own, given in zip(dims, wanted, strict=True):
        if own != DYNAMIC and given not in (None, own):
            raise misfit(
                name,
                step.step,
                f"makes {[*wanted]}, the model's input '{target.name}' expects {shown_dims(target.dims)}",
            )
        if own == DYNAMIC and given is None:
            raise misfit(
                name,
                step.step,
                f"expected width and height, since '{target.name}' has {shown_dims(target.dims)}",
            )
        found.append(own if given is None else given)
    assert prod(found) > 0
    return layout, tuple(found)


def _per_channel(step: ImageStep, name: str, key: Literal["mean", "std"], channels: int) -> tuple[float, ...]:
    given: tuple[float, ...] = getattr(step, key)
    if len(given) not in (1, channels):
        raise misfit(name, step.step, f"expected {key} of 1 or {channels} numbers, got {len(given)}")
    return given * channels if len(given) == 1 else given
