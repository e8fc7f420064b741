"""The step `windows`: what stands at the beginning, in the middle and at the end of a file, as one row of tokens.

The first window is the first `block` bytes without their leading white space, cut to `begin` tokens and padded on the
right. The last one is the last `block` bytes without their trailing white space, of which the last `end` tokens count,
padded on the left. The middle one is the `middle` bytes (all, if there are fewer) from offset (size - middle) // 2 of
the file, never stripped, padded on the right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from steelyard._native.windows import Windows
from steelyard.errors import InvalidRequest
from steelyard.models.spec import DYNAMIC, TensorSpec
from steelyard.models.table import Table
from steelyard.pipelines.bounds import check_prepared
from steelyard.pipelines.elements import select_elements
from steelyard.pipelines.misfits import misfit, shown_dims
from steelyard.pipelines.prepared import OneToOne, Preparation
from steelyard.pipelines.problems import Problem
from steelyard.wire.types import InputTensor

Array = npt.NDArray[Any]

# A row of tokens is made for each file of a batch, up to eight bytes a token: 8 MiB at most.
MAX_TOKENS = 1 << 20
# What is looked at from either end of each file for white space: a millisecond at most.
MAX_BLOCK_BYTES = 1 << 20

_BYTE_VALUES = 256

Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]


class WindowsStep(Table):
    """Options of the step."""

    step: Literal["windows"]
    begin: Tokens = Field(default=0, description="Tokens from the beginning of a file.")
    middle: Tokens = Field(default=0, description="Tokens from its middle.")
    end: Tokens = Field(default=0, description="Tokens from its end.")
    block: int = Field(
        ge=1,
        le=MAX_BLOCK_BYTES,
        description="How many bytes are looked at from either end before white space is stripped.",
    )
    pad: int = Field(description="The token that stands where a file has no more bytes.")
    strip: bool = Field(
        default=True,
        description="Whether ASCII white space is stripped, left of the beginning, right of the end.",
    )
    minimum: int = Field(
        default=0,
        ge=0,
        description="The fewest bytes that a file has in its first block, stripped; smaller ones are refused.",
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.begin + self.middle + self.end == 0:
            raise ValueError("expected at least one token of begin, middle and end")
        if max(self.begin, self.end) > self.block:
            raise ValueError(
                f"expected begin and end of at most block = {self.block} bytes, got {max(self.begin, self.end)}"
            )
        if self.minimum > self.block:
            raise ValueError(f"expected minimum of at most block = {self.block} bytes, got {self.minimum}")
        return self


class WindowsKernel(Protocol):
    """What the native windows and their plain twin have in common."""

    def __init__(
        self,
        *,
        begin: int,
        middle: int,
        end: int,
        block: int,
        strip: bool,
        minimum: int,
        table: bytes,
        item_bytes: int,
    ) -> None: ...
    @property
    def tokens(self) -> int: ...
    def short(self, data: memoryview, rows: int) -> list[tuple[int, int]]: ...
    def fill(self, target: Array, data: memoryview) -> None: ...


@dataclass(frozen=True, slots=True)
class WindowsTensor:
    """The rows of one request: its bytes as they came, until the batch has room for them."""

    kernel: WindowsKernel
    data: memoryview
    rows: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, self.kernel.tokens)

    @property
    def held_bytes(self) -> int:
        return self.data.nbytes

    def fill(self, target: Array) -> None:
        self.kernel.fill(target, self.data)

    def select(self, rows: Sequence[int]) -> "WindowsTensor":
        return WindowsTensor(self.kernel, select_elements(self.data, self.rows, rows), len(rows))


@dataclass(frozen=True, slots=True)
class WindowsPreparer(OneToOne):
    """Files to rows of tokens. Preparing only looks for files that are too small: the bytes stay where they are."""

    step: WindowsStep
    kernel: WindowsKernel
    item_bytes: int

    def looks_at(self, size: int, rows: int) -> int:
        """The lengths of files and, where they have a least one, a block of each; however large they are."""
        block = self.step.block if self.step.minimum else 0
        return min(size, rows * (4 + block))

    def prepare(self, tensors: Sequence[InputTensor], rows: int) -> Preparation:
        """`tensors` is the one BYTES tensor of `rows` elements. A file that is too small is a problem ("size")."""
        (tensor,) = tensors
        check_prepared(self.source, (rows, self.kernel.tokens), self.item_bytes)
        try:
            short = self.kernel.short(tensor.data, rows)
        except ValueError as exc:
            raise InvalidRequest(f"input '{self.source}': {exc}") from exc
        where = "after leading white space" if self.step.strip else "in the first block"
        problems = tuple(
            Problem(row, self.source, "size", f"at least {self.step.minimum} bytes {where}", f"{size} bytes")
            for row, size in short
        )
        return Preparation((WindowsTensor(self.kernel, tensor.data, rows),), problems)


def compile_windows(
    step: WindowsStep, source: TensorSpec, target: TensorSpec, kernel: type[WindowsKernel] = Windows
) -> WindowsPreparer:
    """The step from what callers send, BYTES of [rows] or [rows, 1], to the model's input of [rows, tokens].

    The model's input may be of any number type that holds 0 to 255 and the padding. Raises ManifestError.
    """
    name = f"input '{source.name}'"
    if source.datatype != "BYTES" or len(source.dims) not in (1, 2) or source.dims[1:] not in ((), (1,)):
        raise misfit(
            name, step.step, f"expected BYTES of [-1], got {source.datatype} of {shown_dims(source.dims)}"
        )
    tokens = step.begin + step.middle + step.end
    if len(target.dims) != 2 or target.dims[1] not in (DYNAMIC, tokens):
        raise misfit(
            name,
            step.step,
            f"makes rows of {tokens} tokens, the model's input '{target.name}' expects {shown_dims(target.dims)}",
        )
    table = _table(target, step.pad)
    if table is None:
        raise misfit(
            name,
            step.step,
            f"pad {step.pad} and bytes of 0 to 255 do not fit {target.datatype}, which the model's input "
            f"'{target.name}' expects",
        )
    compiled = kernel(
        begin=step.begin,
        middle=step.middle,
        end=step.end,
        block=step.block,
        strip=step.strip,
        minimum=step.minimum,
        table=table.tobytes(),
        item_bytes=table.itemsize,
    )
    return WindowsPreparer(source.name, target.name, step, compiled, table.itemsize)


def _table(target: TensorSpec, pad: int) -> Array | None:
    """The elements for the 256 values of a byte and for the padding; None where the type does not hold them."""
    values = [*range(_BYTE_VALUES), pad]
    dtype = target.element.dtype
    if target.datatype in ("BYTES", "BOOL"):
        return None
    if target.datatype == "BF16":
        try:
            bits = np.array(values, np.float32).view(np.uint32)
        except OverflowError:
            return None
        return None if (bits & 0xFFFF).any() else (bits >> 16).astype(dtype)
    try:
        with np.errstate(over="ignore"):
            table = np.array(values, dtype)
    except OverflowError:
        return None
    return table if table.tolist() == values else None
