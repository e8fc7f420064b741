"""What a manifest says about an output: the tensor of the model that it is made of, and the steps on the way."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from steelyard.models.table import Table
from steelyard.models.version_manifest import TensorName

# More than any chain that makes sense; each is a pass over the batch's output.
MAX_STEPS = 32

# Steps that may make several tensors, which no step takes.
LAST_STEPS = ("top_k", "ctc")

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _name_or_false(value: object) -> object:
    if value is False or (isinstance(value, str) and value):
        return value
    raise ValueError("expected the name of one of the model's inputs, or false")


Mask = Annotated[str | Literal[False], BeforeValidator(_name_or_false)]


class Softmax(Table):
    """Scores that add up to one over the last axis."""

    step: Literal["softmax"]


class Sigmoid(Table):
    """Each number by itself to between nought and one."""

    step: Literal["sigmoid"]


class TopK(Table):
    """The best `k` along the last axis, best first; the last step, because it makes several tensors."""

    step: Literal["top_k"]
    k: int = Field(ge=1, le=1 << 20, description="How many of each row; fewer where there are fewer.")
    give: tuple[Literal["scores", "labels", "indexes"], ...] | None = Field(
        default=None,
        strict=False,
        description="Which tensors callers see; not given: scores, and labels where the output has any, else indexes.",
    )
    scores: TensorName = Field(default="scores", description="Name of the scores.")
    labels: TensorName = Field(default="labels", description="Name of the labels, BYTES.")
    indexes: TensorName = Field(default="indexes", description="Name of the classes' indexes, INT64.")


class ArgMax(Table):
    """The best along the last axis."""

    step: Literal["argmax"]
    give: Literal["label", "index"] | None = Field(
        default=None,
        description="A label (BYTES) or an index (INT64); not given: a label where the output has labels.",
    )


class Select(Table):
    """One class along the last axis, by its index or its label."""

    step: Literal["select"]
    index: int | None = Field(default=None, ge=0, description="The class by its place, the first is 0.")
    label: str | None = Field(
        default=None, description="The class by its label, where the output has labels."
    )
    keep: bool = Field(default=False, description="Whether the axis stays, with a length of one.")


class Ctc(Table):
    """Text of [rows, times, classes]: the best class of each time, equal neighbours once, no blanks; the last step."""

    step: Literal["ctc"]
    blank: int = Field(default=0, ge=0, description="The class that stands for no text, by its place.")
    score: TensorName | None = Field(
        default=None,
        description="Name of a second tensor: the mean of the scores that the text was read from, 0 where it is empty; "
        "not given: there is none.",
    )


class Threshold(Table):
    """Whether each number is at least `at`."""

    step: Literal["threshold"]
    at: Number = Field(description="The smallest number for which it is so.")
    label: str | None = Field(
        default=None, description="The text for those that are; not given: BOOL is given."
    )
    otherwise: str = Field(default="", description="The text for those that are not.")


class Rename(Table):
    """Another name."""

    step: Literal["rename"]
    to: TensorName = Field(description="The name that callers see.")


class Pool(Table):
    """One vector for the tokens of each row."""

    step: Literal["pool"]
    how: Literal["mean", "max", "cls"] = Field(description="The mean, the largest, or the first token's own.")
    mask: Mask = Field(
        default="attention_mask",
        description="The model's input that is 0 where a token is padding; false: every token counts.",
    )


class Normalise(Table):
    """Vectors of length one, by the Euclidean norm over the last axis."""

    step: Literal["normalise"]


class Cast(Table):
    """Another datatype."""

    step: Literal["cast"]
    to: Literal[
        "FP16",
        "FP32",
        "FP64",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "BOOL",
    ] = Field(description="The datatype that callers see. What is out of its range is cut to the range.")


class Boxes(Table):
    """Boxes in pixels of the caller's image: left, top, right and bottom, of what the model found in its input."""

    step: Literal["boxes"]
    input: TensorName | None = Field(
        default=None, description="The caller's images; not given: the only input that has the step `image`."
    )
    format: Literal["xyxy", "xywh", "cxcywh"] = Field(
        default="xyxy",
        description="The model's four numbers: two corners; the upper left corner, width and height; or the centre, "
        "width and height.",
    )
    scale: Literal["pixels", "unit"] = Field(
        default="pixels", description="The model's measure: pixels of its input, or `unit`: 1 is all of it."
    )
    clip: bool = Field(default=True, description="Whether boxes are cut at the image's edges.")


OutputStep = Annotated[
    Softmax | Sigmoid | TopK | ArgMax | Select | Ctc | Threshold | Rename | Pool | Normalise | Cast | Boxes,
    Field(discriminator="step"),
]


class OutputChain(Table):
    """One of the model's outputs, and what is done with it before callers see it."""

    name: TensorName = Field(description="The name that callers see, unless a step gives another.")
    source: TensorName | None = Field(default=None, description="The model's output; not given: `name`.")
    steps: tuple[OutputStep, ...] = Field(default=(), max_length=MAX_STEPS, strict=False)
