"""From what version.toml says of inputs and outputs to the plan that runs, or to an error that names the step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from steelyard.errors import ManifestError
from steelyard.models.labels import read_labels
from steelyard.models.spec import DYNAMIC, ModelSpec, TensorSpec
from steelyard.models.table import Table
from steelyard.models.version_manifest import (
    VERSION_MANIFEST,
    InputManifest,
    OutputManifest,
    TensorName,
    VersionManifest,
)
from steelyard.pipelines.bytes.frames import FramesStep, compile_frames
from steelyard.pipelines.bytes.windows import WindowsStep, compile_windows
from steelyard.pipelines.image.step import ImageStep, compile_image
from steelyard.pipelines.outputs.declaration import OutputChain
from steelyard.pipelines.outputs.plan import OutputPlan, compile_outputs
from steelyard.pipelines.plan import Pipeline
from steelyard.pipelines.prepared import Preparer
from steelyard.pipelines.tabular.step import TableStep, compile_table
from steelyard.pipelines.text.compile import compile_tokenize
from steelyard.pipelines.text.declaration import TokenizeStep
from steelyard.toml import describe_problems, did_you_mean

InputStep = Annotated[
    WindowsStep | FramesStep | ImageStep | TokenizeStep | TableStep,
    Field(discriminator="step"),
]


class InputChain(Table):
    """The steps of one input. Each kind of data takes one step to the model's tensor."""

    name: TensorName
    steps: tuple[InputStep, ...] = Field(min_length=1, max_length=1, strict=False)


def compile_pipeline(manifest: VersionManifest, model: ModelSpec, directory: Path) -> Pipeline | None:
    """The plan that `manifest` declares for `model`, whose version is in `directory`; None where it declares none.

    Raises ManifestError that names the input or output and the step, and ConfigError where a step's library is missing.
    """
    made, shown = manifest.callers_inputs, manifest.callers_outputs
    if not made and not shown:
        if manifest.model_tensors:
            raise ManifestError(f"{VERSION_MANIFEST}: model_tensors = true, but no input has steps")
        return None
    try:
        if not model.batched:
            raise ManifestError("steps need a model whose first axis counts rows (batched = true)")
        compiled = [_preparer(tensor, made, model, directory) for tensor in made if tensor.steps]
        preparers = [preparer for preparer, _ in compiled]
        targets: dict[str, str] = {}
        for preparer in preparers:
            for target in preparer.targets:
                if target in targets:
                    raise ManifestError(
                        f"input '{preparer.sources[0]}': the model's input '{target}' is made of "
                        f"'{targets[target]}' already"
                    )
                targets[target] = preparer.sources[0]
        passed = [tensor for tensor in model.inputs if tensor.name not in targets]
        inputs = [*(tensor for _, offered in compiled for tensor in offered), *passed]
        names = [tensor.name for tensor in inputs]
        for name in names:
            if names.count(name) > 1:
                raise ManifestError(f"input '{name}': callers would have to send two tensors of that name")
        return Pipeline(model, inputs, preparers, _outputs(manifest, shown, model, directory))
    except ManifestError as error:
        raise ManifestError(f"{VERSION_MANIFEST}: {error}") from error


def _preparer(
    tensor: InputManifest, made: Sequence[InputManifest], model: ModelSpec, directory: Path
) -> tuple[Preparer, tuple[TensorSpec, ...]]:
    """What prepares `tensor`, and what callers send for it."""
    document = {"name": tensor.name, "steps": [dict(step) for step in tensor.steps]}
    try:
        (step,) = InputChain.model_validate(document).steps
    except ValidationError as exc:
        raise ManifestError(
            f"input '{tensor.name}': {'; '.join(describe_problems(exc, InputChain))}"
        ) from exc
    source = _offered(tensor)
    if isinstance(step, TokenizeStep):
        pair = [_offered(other) for other in made if other.name == step.pair]
        sources = (source, *pair)
        return compile_tokenize(step, sources, model.inputs, directory), sources
    if isinstance(step, TableStep):
        return compile_table(step, source, model.inputs, directory)
    target = _target(tensor, model)
    if isinstance(step, WindowsStep):
        return compile_windows(step, source, target), (source,)
    if isinstance(step, FramesStep):
        return compile_frames(step, source, target), (source,)
    return compile_image(step, source, target), (source,)


def _offered(tensor: InputManifest) -> TensorSpec:
    """What callers send: BYTES of [-1] unless the manifest says otherwise."""
    dims = (DYNAMIC,) if tensor.shape is None else tensor.shape
    if dims[:1] != (DYNAMIC,):
        raise ManifestError(
            f"input '{tensor.name}': expected a shape whose first axis counts rows (-1), got {list(dims)}"
        )
    return TensorSpec(tensor.name, tensor.datatype or "BYTES", dims)


def _target(tensor: InputManifest, model: ModelSpec) -> TensorSpec:
    by_name = {spec.name: spec for spec in model.inputs}
    name = tensor.to or (tensor.name if tensor.name in by_name else None)
    if name is None and len(by_name) == 1:
        return model.inputs[0]
    if name is None:
        raise ManifestError(f"input '{tensor.name}': expected `to`, one of: {', '.join(by_name)}")
    if name not in by_name:
        raise ManifestError(
            f"input '{tensor.name}': to: the model has no input '{name}'{did_you_mean(name, by_name)}"
        )
    return by_name[name]


def _outputs(
    manifest: VersionManifest, shown: Sequence[OutputManifest], model: ModelSpec, directory: Path
) -> OutputPlan:
    """The chains of all outputs that the manifest names, where any has steps; else the model's outputs as they are."""
    chains = []
    labels = {}
    for tensor in manifest.output if shown else ():
        document = {
            "name": tensor.name,
            "source": tensor.source,
            "steps": [dict(step) for step in tensor.steps],
        }
        try:
            chains.append(OutputChain.model_validate(document))
        except ValidationError as exc:
            problems = "; ".join(describe_problems(exc, OutputChain))
            raise ManifestError(f"output '{tensor.name}': {problems}") from exc
        found = read_labels(tensor, directory)
        if found:
            labels[tensor.name] = found
    return compile_outputs(chains, model.outputs, labels, model.inputs)
