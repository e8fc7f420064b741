"""Whether rows may be padded: the same rows are run as long as they are, and padded in one batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from steelyard.models.spec import ModelSpec
from steelyard.runtime.independence import difference
from steelyard.runtime.ragged import Array, Ragged

Run = Callable[[Mapping[str, Array]], Sequence[Array]]


def check_padding(
    run: Run,
    spec: ModelSpec,
    ragged: Ragged,
    inputs: Mapping[str, Array],
    outputs: Sequence[str],
    absolute: float,
    relative: float,
) -> tuple[Ragged | None, str]:
    """Cuts the rows of `inputs` to lengths of their own, runs them by themselves and padded together, and compares.

    run: gives what callers get for the model's inputs. outputs: the names of that, in order. Two results are equal
    where |a - b| <= absolute + relative * |b|. Gives what `ragged` says with the outputs that are cut, or None and what
    was seen. Raises whatever `run` raises.
    """
    rows = len(next(iter(inputs.values())))
    longest = _length(spec, ragged, inputs)
    if rows < 2 or longest < 2:
        return None, f"expected two rows of at least two places to compare, there are {rows} of {longest}"
    lengths = [longest - at * (longest - 1) // (rows - 1) for at in range(rows)]
    padded = run(_padded(spec, ragged, inputs, lengths))
    cuts: list[int | None] = [None] * len(outputs)
    for row, length in enumerate(lengths):
        own = run(_cut(spec, ragged, inputs, row, length))
        for place, (name, alone, together) in enumerate(zip(outputs, own, padded, strict=True)):
            whole = together[row : row + 1]
            moved = [axis for axis in range(1, alone.ndim) if alone.shape[axis] != whole.shape[axis]]
            if alone.ndim != whole.ndim or len(moved) > 1:
                return None, f"output {name!r} is {list(whole.shape)} where padded, {list(alone.shape)} else"
            if moved:
                (axis,) = moved
                if (alone.shape[axis], whole.shape[axis]) != (length, longest) or cuts[place] not in (
                    None,
                    axis,
                ):
                    return None, (
                        f"output {name!r} has {alone.shape[axis]} places along axis {axis} for a row of {length}, and "
                        f"{whole.shape[axis]} where it is padded to {longest}"
                    )
                cuts[place] = axis
            found = replace(ragged, cuts=tuple(cuts))
            distance = difference(found.cut(place, whole, length), alone, absolute, relative)
            if distance is not None:
                return None, (
                    f"a row's answer depends on its padding: output {name!r}, {length} places padded to {longest}, "
                    f"differs by {distance}"
                )
    return replace(ragged, cuts=tuple(cuts)), f"{rows} rows gave the same answers padded and not padded"


def resized(
    spec: ModelSpec, ragged: Ragged, inputs: Mapping[str, Array], rows: int, length: int
) -> dict[str, Array]:
    """Inputs of so many rows of such a length, made of those of `inputs` over and over."""
    made = {}
    for tensor, input_ in zip(spec.inputs, ragged.inputs, strict=True):
        array = inputs[tensor.name]
        array = array[np.arange(rows) % len(array)]
        if input_ is not None:
            array = np.take(array, np.arange(length) % array.shape[input_.axis], axis=input_.axis)
        made[tensor.name] = np.ascontiguousarray(array)
    return made


def whole_masks(spec: ModelSpec, ragged: Ragged, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The same with ones in every mask: what is made up at random may be a row of nothing but padding."""
    masks = {
        tensor.name for tensor, input_ in zip(spec.inputs, ragged.inputs, strict=True) if input_ is not None
    }
    return {
        name: np.ones_like(array) if name in masks and "mask" in name.lower() else array
        for name, array in inputs.items()
    }


def _length(spec: ModelSpec, ragged: Ragged, inputs: Mapping[str, Array]) -> int:
    lengths = {
        inputs[tensor.name].shape[input_.axis]
        for tensor, input_ in zip(spec.inputs, ragged.inputs, strict=True)
        if input_ is not None
    }
    return lengths.pop() if len(lengths) == 1 else 0


def _cut(
    spec: ModelSpec, ragged: Ragged, inputs: Mapping[str, Array], row: int, length: int
) -> dict[str, Array]:
    """One row, and of its places those that are its own where it is so long."""
    made = {}
    for tensor, input_ in zip(spec.inputs, ragged.inputs, strict=True):
        array = inputs[tensor.name][row : row + 1]
        if input_ is not None:
            places = array.shape[input_.axis]
            some = np.arange(places - length, places) if ragged.left else np.arange(length)
            array = np.take(array, some, axis=input_.axis)
        made[tensor.name] = np.ascontiguousarray(array)
    return made


def _padded(
    spec: ModelSpec, ragged: Ragged, inputs: Mapping[str, Array], lengths: Sequence[int]
) -> dict[str, Array]:
    made = {}
    for index, tensor in enumerate(spec.inputs):
        array = inputs[tensor.name]
        target = np.empty_like(array)
        for row, length in enumerate(lengths):
            ragged.write(target[row : row + 1], index, _cut(spec, ragged, inputs, row, length)[tensor.name])
        made[tensor.name] = target
    return made
