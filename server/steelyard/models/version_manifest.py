"""version.toml: what one version takes and gives, and where it comes from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from steelyard.models.contract import ON_BREACH, Contract, OnBreach
from steelyard.models.datatypes import BY_NAME
from steelyard.models.table import Table, Text, read_table
from steelyard.toml import did_you_mean

VERSION_MANIFEST = "version.toml"

# One label a class: the largest public classifiers have some tens of thousands.
MAX_LABELS = 1_000_000
MAX_LABEL_CHARS = 1024

# More than any chain of steps that makes sense.
MAX_STEPS = 32

TensorName = Annotated[str, Field(min_length=1, max_length=1024)]

# What a step's options mean is for the pipelines to say, which check them when a version is loaded.
Steps = tuple[dict[str, Any], ...]


class TensorManifest(Table):
    """`[[input]]` of version.toml. What is not given is taken from the graph."""

    name: TensorName = Field(description="The tensor's name in the graph.")
    datatype: str | None = Field(
        default=None, description="The protocol's name of its datatype, such as FP32."
    )
    shape: tuple[Annotated[int, Field(ge=-1, lt=1 << 63)], ...] | None = Field(
        default=None,
        max_length=64,
        strict=False,
        description="Its dimensions, the batch axis included; -1 where a request chooses.",
    )

    @field_validator("datatype")
    @classmethod
    def _known_datatype(cls, value: str | None) -> str | None:
        if value is not None and value not in BY_NAME:
            raise ValueError(f"unknown datatype{did_you_mean(value, BY_NAME)}")
        return value


class InputManifest(TensorManifest):
    """`[[input]]` of version.toml: a tensor of the graph or, where it has steps, what callers send in its place."""

    steps: Steps = Field(
        default=(),
        max_length=MAX_STEPS,
        strict=False,
        description="From what callers send to the model's own tensor; see pipelines.",
    )
    to: TensorName | None = Field(
        default=None,
        description="The model's tensor that the steps make; not given: the one of this name, or the only one.",
    )
    ragged: bool = Field(
        default=False,
        description="Whether its rows differ in length, along the one open dimension beside the rows, and may be "
        "padded to share a batch.",
    )
    pad: float | int = Field(default=0, description="What a ragged input is padded with.")
    pad_side: Literal["left", "right"] = Field(
        default="right", description="On which side of a row a ragged input is padded."
    )
    required: bool = Field(
        default=True,
        description="Whether each request must have it; else all its values are missing where it is left out.",
    )
    contract: Contract = Field(
        default=Contract(), description="What its values keep to; see [[input]] contract."
    )


class OutputManifest(TensorManifest):
    """`[[output]]` of version.toml: a tensor of the graph or, where it has steps, what callers get in its place."""

    source: TensorName | None = Field(
        default=None,
        description="The model's output that the steps begin with; not given: the one of this name.",
    )
    steps: Steps = Field(
        default=(),
        max_length=MAX_STEPS,
        strict=False,
        description="From the model's own output to what callers get; see pipelines.",
    )

    labels: tuple[str, ...] | str = Field(
        default=(),
        description="Names of the classes along the last axis: a list, or the path of a text file in the "
        "version's directory with one label a line.",
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _list_or_path(cls, value: object) -> object:
        if isinstance(value, str) and value:
            return value
        if not isinstance(value, list | tuple):
            raise ValueError("expected a list of labels, or the path of a file that holds them")
        check_labels(value)
        return tuple(value)


def check_labels(labels: Sequence[object]) -> None:
    """Raises ValueError unless these are at most MAX_LABELS texts of at most MAX_LABEL_CHARS each."""
    if len(labels) > MAX_LABELS:
        raise ValueError(f"expected at most {MAX_LABELS} labels, got {len(labels)}")
    for position, label in enumerate(labels, 1):
        if not isinstance(label, str):
            raise ValueError(f"expected texts, but label {position} is {label!r:.80}")
        if len(label) > MAX_LABEL_CHARS:
            raise ValueError(
                f"label {position} has {len(label)} characters, expected at most {MAX_LABEL_CHARS}"
            )


class Lineage(Table):
    """`[lineage]` of version.toml: where the version comes from."""

    training_data_digest: Text | None = Field(
        default=None, description="Digest of the data that it was trained on."
    )
    code_revision: Text | None = Field(default=None, description="Revision of the code that trained it.")
    parent: Text | None = Field(default=None, description="The version or model that it was made from.")
    training_command: Text | None = Field(default=None, description="The command that made it.")
    notes: Text | None = Field(default=None, description="Anything else.")


class VersionManifest(Table):
    """version.toml."""

    batched: bool | None = Field(
        default=None,
        description="Whether the first axis of every tensor counts rows; not given: seen from the graph.",
    )
    input: tuple[InputManifest, ...] = Field(default=(), max_length=10_000, strict=False)
    output: tuple[OutputManifest, ...] = Field(default=(), max_length=10_000, strict=False)
    model_tensors: bool = Field(
        default=False,
        description="Whether callers may send the model's own tensors in the place of what steps are made for.",
    )
    on_breach: OnBreach = Field(
        default="refuse", description=f"What happens to a row that breaks a rule. {ON_BREACH}"
    )
    lineage: Lineage = Lineage()

    @property
    def callers_inputs(self) -> tuple[InputManifest, ...]:
        """What callers send that the graph does not have: inputs with steps, and those that are a step's pair."""
        pairs = [step.get("pair") for tensor in self.input for step in tensor.steps]
        return tuple(tensor for tensor in self.input if tensor.steps or tensor.name in pairs)

    @property
    def contracts(self) -> tuple[InputManifest, ...]:
        """The inputs whose values are checked, or may be left out."""
        return tuple(
            tensor
            for tensor in self.input
            if tensor.contract.checks or tensor.contract.on_breach is not None or not tensor.required
        )

    @property
    def has_pipeline(self) -> bool:
        """Whether callers send or get something else than the graph's own tensors, or these are checked."""
        return bool(self.callers_inputs or self.callers_outputs or self.contracts)

    @property
    def callers_outputs(self) -> tuple[OutputManifest, ...]:
        """What callers get that the graph does not have."""
        return tuple(tensor for tensor in self.output if tensor.steps or tensor.source is not None)

    @field_validator("input", "output")
    @classmethod
    def _each_once(cls, tensors: tuple[TensorManifest, ...]) -> tuple[TensorManifest, ...]:
        seen: set[str] = set()
        for tensor in tensors:
            if tensor.name in seen:
                raise ValueError(f"tensor '{tensor.name}' is described twice")
            seen.add(tensor.name)
        return tensors


def read_version_manifest(path: Path) -> VersionManifest:
    """version.toml at `path`, or an empty one where no file is. Raises ManifestError."""
    return read_table(path, VersionManifest)
