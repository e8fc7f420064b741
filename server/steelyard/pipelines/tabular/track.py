"""A feature while it is compiled: its operations so far, and what they leave."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from steelyard.errors import ManifestError
from steelyard.pipelines.tabular.categories import Profile
from steelyard.pipelines.tabular.columns import Kind
from steelyard.pipelines.tabular.operations import Code, Operation, State, state_after

_STATES = {
    Kind.NUMBER: State.NUMBER,
    Kind.INTEGER: State.INTEGER,
    Kind.BOOLEAN: State.INTEGER,
    Kind.TEXT: State.TEXT,
    Kind.DATE: State.INTEGER,
}


def state_of(kind: Kind) -> State:
    """How a program holds a column of this kind."""
    return _STATES[kind]


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may look into while it is compiled."""

    profile: Profile
    directory: Path | None
    """The version's directory."""
    vocabulary: Callable[[list[bytes], list[int]], Any]
    """Makes a vocabulary: the native one, or its twin."""


@dataclass(frozen=True, slots=True)
class Track:
    """Operations that lead from a column to one place of the output; unchanging."""

    column: str
    name: str
    """What the feature is called: the column, with what the steps made of it."""
    kind: Kind
    """What the values are now; of indices and parts, INTEGER."""
    state: State
    operations: tuple[Operation, ...] = ()
    may_miss: bool = True
    one_hot: int = 0
    labels: tuple[str, ...] = field(default=())
    """Names of the one-hot columns."""

    def then(self, operation: Operation, **changes: Any) -> "Track":
        """The track with one operation more. Raises ManifestError where it cannot follow."""
        if self.one_hot:
            raise ManifestError("cannot follow a step that made several columns")
        after = state_after(operation.code, self.state)
        if after is None:
            raise ManifestError(f"cannot work on {self.holds()}")
        return replace(self, operations=(*self.operations, operation), state=after, **changes)

    def as_number(self) -> "Track":
        """The track with values that arithmetic can work on."""
        if self.state is State.NUMBER and not self.one_hot:
            return self
        return self.then(Operation(Code.TO_NUMBER), kind=Kind.NUMBER)

    def holds(self) -> str:
        """What the values are, for a message."""
        return {State.NUMBER: "numbers", State.INTEGER: "whole numbers", State.TEXT: "text"}[self.state]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its output columns."""
        if not self.one_hot:
            return (self.name,)
        return tuple(f"{self.name}={label}" for label in self.labels) or tuple(
            f"{self.name}={i}" for i in range(self.one_hot)
        )
