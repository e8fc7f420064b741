"""Whether a version's rows of different length may be padded into one batch, and what that costs by length."""

from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.errors import ManifestError
from steelyard.models.manifest import ModelManifest
from steelyard.models.ragged import Pad
from steelyard.models.spec import ModelSpec
from steelyard.models.version_manifest import VERSION_MANIFEST, VersionManifest
from steelyard.pipelines.plan import Pipeline
from steelyard.runtime.padding import Run, check_padding, whole_masks
from steelyard.runtime.ragged import Array, Ragged, ragged_inputs
from steelyard.scheduling.ragged import RaggedGroup
from steelyard.scheduling.ticket import Ticket
from steelyard.toml import did_you_mean

# Lengths that warm-up measures beside each other: the first is what most sentences have, and tells how many rows are
# worth putting together at all.
MEASURED_LENGTHS = (16, 64, 256)

# What warm-up may spend on each length but the first, which has what any version has.
LENGTH_BUDGET_NS = 300_000_000


def declared_pads(manifest: VersionManifest, spec: ModelSpec, pipeline: Pipeline | None) -> dict[str, Pad]:
    """What the model's inputs are padded with that differ in length: those that the manifest calls ragged, and those
    that a step makes of texts. Raises ManifestError where it calls something else so."""
    pads = {} if pipeline is None else dict(pipeline.pads)
    own = {tensor.name for tensor in spec.inputs}
    for tensor in manifest.input:
        if not tensor.ragged:
            continue
        if tensor.steps or tensor.name not in own:
            raise ManifestError(
                f"{VERSION_MANIFEST}: input '{tensor.name}': expected ragged at an input of the model's own"
                f"{did_you_mean(tensor.name, own)}; what the step tokenize makes is ragged anyway"
            )
        pads[tensor.name] = Pad(tensor.pad, tensor.pad_side == "left")
    return pads


def decide_ragged(
    run: Run,
    inputs: Mapping[str, Array] | None,
    made_up: bool,
    spec: ModelSpec,
    manifest: ModelManifest,
    pads: Mapping[str, Pad],
    pipeline: Pipeline | None,
) -> tuple[Ragged | None, str]:
    """How rows are padded, or None and why they are not; no reason where nothing is ragged.

    run: the model. inputs: rows for it, `made_up` or real; None where none would run.
    """
    if not pads:
        return None, ""
    ragged, reason = ragged_inputs(spec, pads, pipeline is not None)
    if ragged is None:
        return None, reason
    if inputs is None:
        return None, "no made-up input would run, so padding could not be checked"
    if made_up:
        inputs = whole_masks(spec, ragged, inputs)

    def answers(model_inputs: Mapping[str, Array]) -> Sequence[Array]:
        outputs = run(model_inputs)
        if pipeline is None:
            return outputs
        arrays = [model_inputs[tensor.name] for tensor in spec.inputs]
        return pipeline.finish(outputs, len(arrays[0]), arrays, pipeline.tally())

    offered = spec.outputs if pipeline is None else pipeline.outputs.outputs
    tolerance = manifest.serving.batch_tolerance
    names = [tensor.name for tensor in offered]
    try:
        return check_padding(answers, spec, ragged, inputs, names, tolerance.absolute, tolerance.relative)
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        return None, f"padding could not be checked: {' '.join(str(error).split())[:300]}"


def place(ragged: Ragged, ticket: Ticket) -> Any:
    """The group of a ticket, whose length it is told: tickets of one group may be padded to share a batch."""
    length = ragged.length(ticket.key)
    if not length:
        return ticket.key
    ticket.length = length
    return RaggedGroup(ragged.rest(ticket.key))
