"""Batches of rows that differ in length: padded where they are filled, and cut where they are answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.models.ragged import Pad
from steelyard.models.spec import ModelSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class RaggedInput:
    """One of the model's inputs that is padded: along which axis, the batch axis being 0, and with what."""

    axis: int
    pad: Pad


@dataclass(frozen=True, slots=True)
class Ragged:
    """Which inputs are padded, where their length stands in a request's key, and which outputs are cut.

    `inputs` and `cuts` stand in the model's order of inputs and the callers' of outputs: None where a tensor has no
    axis of that length. `left`: whether rows stand at the end of their place, so that outputs are cut there.
    """

    inputs: tuple[RaggedInput | None, ...]
    places: tuple[int, ...]
    """Where a key has the lengths of the inputs that are padded."""
    left: bool
    cuts: tuple[int | None, ...] = ()

    def length(self, key: Sequence[int]) -> int:
        """The length of a request's rows; 0 where its inputs disagree about it, and it is run by itself."""
        lengths = {key[place] for place in self.places}
        return lengths.pop() if len(lengths) == 1 else 0

    def rest(self, key: Sequence[int]) -> tuple[int, ...]:
        """The other dimensions in a key, which requests of one batch share."""
        return tuple(dim for place, dim in enumerate(key) if place not in self.places)

    def dims(self, index: int, shape: Sequence[int], longest: int) -> tuple[int, ...]:
        """The dimensions of one row of an input in a batch, whose own are those of `shape` from the second on."""
        ragged = self.inputs[index]
        if ragged is None:
            return tuple(shape[1:])
        return (*shape[1 : ragged.axis], longest, *shape[ragged.axis + 1 :])

    def write(self, target: Array, index: int, rows: Array) -> None:
        """Writes a request's rows of an input into its part of the batch, and pads them."""
        ragged = self.inputs[index]
        if ragged is None or rows.shape == target.shape:
            target[...] = rows
            return
        own, rest = self._halves(ragged.axis, rows.shape[ragged.axis], target.shape[ragged.axis])
        target[own] = rows
        target[rest] = ragged.pad.value

    def cut(self, place: int, output: Array, length: int) -> Array:
        """A request's rows of one of the callers' outputs, as long as the request was."""
        axis = self.cuts[place]
        if axis is None or output.shape[axis] == length:
            return output
        own, _ = self._halves(axis, length, output.shape[axis])
        return np.ascontiguousarray(output[own])

    def _halves(self, axis: int, length: int, longest: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """A row's own part of an axis, and the padding's."""
        before = (slice(None),) * axis
        if self.left:
            return (*before, slice(longest - length, None)), (*before, slice(0, longest - length))
        return (*before, slice(0, length)), (*before, slice(length, None))


def ragged_inputs(spec: ModelSpec, pads: Mapping[str, Pad], prepared: bool) -> tuple[Ragged | None, str]:
    """What `pads` says of the model's inputs, by their names; None, and why, where they cannot be padded.

    prepared: whether keys hold all dimensions of a row, as those of a pipeline do, or only the open ones.
    """
    if not pads:
        return None, "no input is ragged"
    if not spec.batched:
        return None, "the model has no batch axis"
    inputs: list[RaggedInput | None] = []
    places: list[int] = []
    at = 0
    for tensor in spec.inputs:
        pad = pads.get(tensor.name)
        open_axes = [axis for axis, dim in enumerate(tensor.dims) if axis and dim < 0]
        if pad is None:
            inputs.append(None)
        elif len(open_axes) != 1 or tensor.datatype in ("BYTES", "BF16"):
            return None, (
                f"input {tensor.name!r} is {tensor.datatype} of {list(tensor.dims)}: a ragged one has numbers, and one "
                "open dimension beside its rows"
            )
        else:
            inputs.append(RaggedInput(open_axes[0], pad))
        for axis, dim in enumerate(tensor.dims):
            if axis and (prepared or dim < 0):
                if pad is not None and dim < 0:
                    places.append(at)
                at += 1
    sides = {pad.left for pad in pads.values()}
    if len(sides) != 1:
        return None, "some inputs are padded before their rows and others after them"
    return Ragged(tuple(inputs), tuple(places), sides.pop()), ""


def fill_ragged(
    ragged: Ragged, index: int, dtype: np.dtype[Any], target: Array, requests: Sequence[Any], prepared: bool
) -> None:
    """Writes input `index` of every request into `target`, each row padded to the length that this has."""
    start = 0
    for request in requests:
        tensor = request.inputs[index]
        rows = tensor.shape[0]
        part = target[start : start + rows]
        start += rows
        if not prepared:
            data = np.frombuffer(tensor.data, dtype, prod(tensor.shape))
            ragged.write(part, index, data.reshape(tensor.shape))
        elif part.shape == tuple(tensor.shape):
            tensor.fill(part)
        else:
            own = np.empty(tensor.shape, dtype)
            tensor.fill(own)
            ragged.write(part, index, own)
