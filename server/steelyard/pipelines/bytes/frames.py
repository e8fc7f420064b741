"""The step `frames`: sound as rows of so many samples each, whole numbers brought to -1 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from steelyard.errors import InvalidRequest
from steelyard.models.spec import DYNAMIC, TensorSpec
from steelyard.models.table import Table
from steelyard.pipelines.bounds import check_prepared
from steelyard.pipelines.elements import request_elements
from steelyard.pipelines.misfits import misfit, shown_dims
from steelyard.pipelines.prepared import OneToOne, Preparation, ReadyTensor
from steelyard.pipelines.problems import Problem
from steelyard.wire.types import InputTensor

Array = npt.NDArray[Any]

# A minute at 16 kHz; what takes more is no frame.
MAX_FRAME_SAMPLES = 1 << 20

# What a sample of 16 bits is multiplied by: the smallest becomes -1 exactly.
SCALE_S16 = 1 / 32768

# Little-endian samples, as they lie in the bytes of a BYTES element, or as a tensor of their own.
ENCODINGS: dict[str, np.dtype[Any]] = {"s16": np.dtype("<i2"), "f32": np.dtype("<f4")}
OF_DATATYPE = {"INT16": "s16", "FP32": "f32"}


class FramesStep(Table):
    """Options of the step."""

    step: Literal["frames"]
    samples: int = Field(ge=1, le=MAX_FRAME_SAMPLES, description="Samples of a frame.")
    encoding: Literal["s16", "f32"] | None = Field(
        default=None,
        description="How BYTES hold samples, little-endian; not given for tensors of INT16 (s16) and FP32 (f32).",
    )
    short: Literal["refuse", "pad"] = Field(
        default="refuse",
        description="What is done about fewer samples: refused, or padded with silence at the end.",
    )


@dataclass(frozen=True, slots=True)
class FramesPreparer(OneToOne):
    """Sound to rows of [samples]. Immutable, so threads may share it."""

    step: FramesStep
    encoding: str
    packed: bool
    """Whether samples come as BYTES."""
    dtype: np.dtype[Any]

    def looks_at(self, size: int, rows: int) -> int:
        return size + rows * self.step.samples * self.dtype.itemsize

    def prepare(self, tensors: Sequence[InputTensor], rows: int) -> Preparation:
        """One frame for each row. A row of another size is a problem ("size"); it is silence, and so is what is padded.

        Raises InvalidRequest where a tensor of numbers, whose rows are all of one size, has another one.
        """
        (tensor,) = tensors
        check_prepared(self.source, (rows, self.step.samples), self.dtype.itemsize)
        problems: list[Problem] = []
        frames = self._unpacked(tensor, rows, problems) if self.packed else self._shaped(tensor, rows)
        made = frames.astype(self.dtype)
        if self.encoding == "s16":
            made *= self.dtype.type(SCALE_S16)
        return Preparation((ReadyTensor(made),), tuple(problems))

    def _shaped(self, tensor: InputTensor, rows: int) -> Array:
        given = tensor.shape[1]
        frames = np.frombuffer(tensor.data, ENCODINGS[self.encoding]).reshape(rows, given)
        if given == self.step.samples:
            return frames
        if given > self.step.samples or self.step.short == "refuse":
            raise InvalidRequest(f"input '{self.source}': expected {self._expected} in a row, got {given}")
        return np.pad(frames, ((0, 0), (0, self.step.samples - given)))

    def _unpacked(self, tensor: InputTensor, rows: int, problems: list[Problem]) -> Array:
        views = request_elements(self.source, tensor.data, rows)
        dtype = ENCODINGS[self.encoding]
        frames = np.zeros((rows, self.step.samples), dtype)
        for row, view in enumerate(views):
            samples, rest = divmod(len(view), dtype.itemsize)
            whole = rest == 0 and samples == self.step.samples
            if whole or (rest == 0 and samples < self.step.samples and self.step.short == "pad"):
                frames[row, :samples] = np.frombuffer(view, dtype)
            else:
                problems.append(
                    Problem(
                        row,
                        self.source,
                        "size",
                        f"{self._expected} of {dtype.itemsize} bytes",
                        f"{len(view)} bytes",
                    )
                )
        return frames

    @property
    def _expected(self) -> str:
        return f"{'at most ' if self.step.short == 'pad' else ''}{self.step.samples} samples"


def compile_frames(step: FramesStep, source: TensorSpec, target: TensorSpec) -> FramesPreparer:
    """The step from what callers send to the model's input of [rows, samples], FP32, FP16 or FP64.

    Callers send BYTES of [rows] or [rows, 1], or INT16 or FP32 of [rows, samples]. Raises ManifestError.
    """
    name = f"input '{source.name}'"
    packed = source.datatype == "BYTES"
    if packed:
        if len(source.dims) != 1 and source.dims[1:] != (1,):
            raise misfit(name, step.step, f"expected BYTES of [-1], got {shown_dims(source.dims)}")
        if step.encoding is None:
            raise misfit(name, step.step, "expected encoding for BYTES, one of: s16, f32")
        encoding: str = step.encoding
    else:
        if source.datatype not in OF_DATATYPE or len(source.dims) != 2:
            raise misfit(
                name,
                step.step,
                f"expected BYTES of [-1], or INT16 or FP32 of [-1, -1], got {source.datatype} of "
                f"{shown_dims(source.dims)}",
            )
        encoding = OF_DATATYPE[source.datatype]
        if step.encoding not in (None, encoding):
            raise misfit(name, step.step, f"encoding '{step.encoding}' is not that of {source.datatype}")
        given = source.dims[1]
        if given > step.samples or (step.short == "refuse" and given not in (DYNAMIC, step.samples)):
            raise misfit(name, step.step, f"makes frames of {step.samples} samples, callers send {given}")
    if (
        target.datatype not in ("FP16", "FP32", "FP64")
        or len(target.dims) != 2
        or target.dims[1] not in (DYNAMIC, step.samples)
    ):
        raise misfit(
            name,
            step.step,
            f"makes FP16, FP32 or FP64 of {shown_dims((DYNAMIC, step.samples))}, the model's input '{target.name}' "
            f"expects {target.datatype} of {shown_dims(target.dims)}",
        )
    return FramesPreparer(source.name, target.name, step, encoding, packed, target.element.dtype)
