"""The outputs that callers see: which chain of steps each comes from, compiled once and run over whole batches."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import ManifestError
from steelyard.models.spec import TensorSpec
from steelyard.pipelines.misfits import misfit
from steelyard.pipelines.outputs.boxes import ImageSlot
from steelyard.pipelines.outputs.compile import Compiled, Given, compile_step, image_input
from steelyard.pipelines.outputs.declaration import LAST_STEPS, OutputChain
from steelyard.pipelines.tally import Tally
from steelyard.toml import did_you_mean

Array = npt.NDArray[Any]

Seen = Callable[[int, tuple[TensorSpec, ...], tuple[Array, ...]], None]
"""Shown what a step has made: its place, what its tensors are, and the tensors."""


@dataclass(frozen=True, slots=True)
class Chain:
    """From one of the model's outputs to some of the caller's."""

    index: int
    """The model's output, by its place."""
    steps: tuple[Compiled, ...]

    def run(
        self, outputs: Sequence[Array], given: Given, tally: Tally, place: int, seen: Seen | None = None
    ) -> tuple[Array, ...]:
        """Its steps are counted from `place` on."""
        arrays: tuple[Array, ...] = (outputs[self.index],)
        for at, step in enumerate(self.steps, place):
            began_ns = time.monotonic_ns()
            try:
                arrays = step.run(arrays[0], given)
            except Exception:
                tally.ended(at, began_ns, errors=1)
                raise
            tally.ended(at, began_ns)
            if seen is not None:
                seen(at, step.tensors, arrays)
        return arrays


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """What callers get, in the order of the manifest. Immutable, so threads may share it."""

    outputs: tuple[TensorSpec, ...]
    chains: tuple[Chain, ...]
    inputs: frozenset[str]
    """The model's inputs that `finish` needs: the masks of pooling."""
    steps: tuple[str, ...] = ()
    """Name of the output and of the step, chain after chain."""
    images: tuple[ImageSlot, ...] = ()
    """The slots whose ways back to the callers' images `finish` needs: those that boxes lie in."""

    def finish(
        self,
        outputs: Sequence[Array],
        rows: int,
        inputs: Mapping[str, Array] | None = None,
        tally: Tally | None = None,
        first_place: int = 0,
        ways_back: Mapping[str, Array] | None = None,
        seen: Seen | None = None,
    ) -> list[Array]:
        """The caller's outputs for a batch of `rows` rows, C-contiguous, in the order of `self.outputs`.

        outputs: the model's, in the model's order. inputs: the batch's model inputs, at least those that `self.inputs`
        names. BYTES are arrays of objects (bytes, or str where the model made them). What a step leaves alone is the
        model's own array, valid as long as that is. tally: where the steps are counted, from `first_place` on.
        ways_back: by the model's input, float64 [rows, 6], for each of `self.images`. seen: shown what each step makes.
        Raises ExecutionFailed where the model's outputs have shapes that its graph does not announce.
        """
        given = Given(inputs or {}, ways_back or {})
        counted = Tally(len(self.steps)) if tally is None else tally
        found: list[Array] = []
        place = first_place
        for chain in self.chains:
            found += chain.run(outputs, given, counted, place, seen)
            place += len(chain.steps)
        # Not `ascontiguousarray`, which makes a scalar a vector.
        return [np.asarray(array, order="C") for array in found]


def compile_outputs(
    declared: Sequence[OutputChain],
    model_outputs: Sequence[TensorSpec],
    labels: Mapping[str, Sequence[str]] | None = None,
    model_inputs: Sequence[TensorSpec] = (),
    images: Mapping[str, ImageSlot] | None = None,
) -> OutputPlan:
    """The plan for what a manifest declares; without anything declared the model's outputs as they are.

    labels: names of the classes by a chain's name, before those of the model's output. model_inputs: where pooling
    finds its mask. images: the slots of the model's inputs, by the caller's input whose images fill them. Raises
    ManifestError that names the output and the step.
    """
    chains = declared or [OutputChain(name=tensor.name) for tensor in model_outputs]
    places = {tensor.name: index for index, tensor in enumerate(model_outputs)}
    inputs = {tensor.name: tensor for tensor in model_inputs}
    compiled = []
    tensors: list[TensorSpec] = []
    masks = set()
    names: list[str] = []
    slots = images or {}
    looked_at: dict[ImageSlot, None] = {}
    for chain in chains:
        source = chain.source or chain.name
        index = places.get(source)
        if index is None:
            raise ManifestError(
                f"output '{chain.name}': the model has no output '{source}'{did_you_mean(source, places)}"
            )
        own = model_outputs[index]
        made: tuple[TensorSpec, ...] = (
            replace(own, name=chain.name, labels=tuple((labels or {}).get(chain.name, own.labels))),
        )
        steps: list[Compiled] = []
        for step in chain.steps:
            before = chain.steps[len(steps) - 1].step if steps else None
            if before in LAST_STEPS:
                raise misfit(
                    f"output '{chain.name}'",
                    step.step,
                    f"stands after '{before}', which has to be the last step",
                )
            steps.append(compile_step(step, chain.name, made[0], inputs, slots))
            names.append(f"{chain.name}/{step.step}")
            made = steps[-1].tensors
            if step.step == "pool" and step.how != "cls" and step.mask is not False:
                masks.add(step.mask)
            elif step.step == "boxes":
                looked_at[slots[image_input(step, f"output '{chain.name}'", slots)]] = None
        for tensor in made:
            if any(tensor.name == other.name for other in tensors):
                raise ManifestError(
                    f"output '{chain.name}': another output is called '{tensor.name}' as well"
                )
            tensors.append(tensor)
        compiled.append(Chain(index, tuple(steps)))
    return OutputPlan(tuple(tensors), tuple(compiled), frozenset(masks), tuple(names), tuple(looked_at))
