"""What a version takes and gives: its tensors, and whether the first axis counts rows."""

from dataclasses import dataclass

from steelyard.models.datatypes import BY_NAME, Datatype

DYNAMIC = -1
"""A dimension that each request chooses."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output."""

    name: str
    datatype: str
    """The protocol's name, such as "FP32"."""
    dims: tuple[int, ...]
    """The batch axis included; DYNAMIC where a request chooses; () is a scalar, or of unknown rank."""
    labels: tuple[str, ...] = ()
    """Names of the classes along an output's last axis; empty where there are none."""

    @property
    def element(self) -> Datatype:
        """The datatype's row in the table of datatypes."""
        return BY_NAME[self.datatype]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The tensors of a version, in the graph's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool
    """Whether the first axis of every input and output counts rows."""
