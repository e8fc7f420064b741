"""From what version.toml says of inputs and outputs to the plan that runs, or to an error that names the step."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from steelyard.errors import ManifestError
from steelyard.models.contract import OnBreach
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
from steelyard.pipelines.answers import ROW_STATUS
from steelyard.pipelines.bytes.frames import FramesStep, compile_frames
from steelyard.pipelines.bytes.windows import WindowsStep, compile_windows
from steelyard.pipelines.contract.tensors import TensorContract, compile_tensor_contract
from steelyard.pipelines.image.step import ImagePreparer, ImageStep, compile_image
from steelyard.pipelines.outputs.boxes import ImageSlot
from steelyard.pipelines.outputs.declaration import OutputChain
from steelyard.pipelines.outputs.plan import OutputPlan, compile_outputs
from steelyard.pipelines.plan import Pipeline, Stage
from steelyard.pipelines.prepared import Preparer
from steelyard.pipelines.tabular.step import TableStep, compile_table
from steelyard.pipelines.text.compile import compile_tokenize
from steelyard.pipelines.text.declaration import TokenizeStep
from steelyard.pipelines.text.tokenize import TokenizePreparer
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
    made, shown, held = manifest.callers_inputs, manifest.callers_outputs, manifest.contracts
    if not manifest.has_pipeline:
        if manifest.model_tensors:
            raise ManifestError(f"{VERSION_MANIFEST}: model_tensors = true, but no input has steps")
        return None
    try:
        if not model.batched:
            raise ManifestError(
                "steps and contracts need a model whose first axis counts rows (batched = true)"
            )
        compiled = [_stage(tensor, made, model, directory, manifest) for tensor in made if tensor.steps]
        stages = [stage for stage, _ in compiled]
        targets: dict[str, str] = {}
        for stage in stages:
            source = stage.preparer.sources[0]
            for target in stage.preparer.targets:
                if target in targets:
                    raise ManifestError(
                        f"input '{source}': the model's input '{target}' is made of '{targets[target]}' already"
                    )
                targets[target] = source
        passed = [tensor for tensor in model.inputs if tensor.name not in targets]
        inputs = [*(tensor for _, offered in compiled for tensor in offered), *passed]
        names: set[str] = set()
        for tensor in inputs:
            if tensor.name in names:
                raise ManifestError(
                    f"input '{tensor.name}': callers would have to send two tensors of that name"
                )
            names.add(tensor.name)
        for given in made if len(inputs) > 1 else ():
            if any(step.get("rows") == "arrow" for step in given.steps):
                raise ManifestError(
                    f"input '{given.name}': rows = 'arrow': one element holds all rows, so callers can send nothing "
                    "beside it"
                )
        contracts = _contracts(
            held, inputs, {tensor.name for tensor in passed}, directory, manifest.on_breach
        )
        optional = {tensor.name for tensor in held if not tensor.required}
        optional.update(name for stage in stages for name in stage.preparer.optional)
        images = {
            preparer.source: ImageSlot(preparer.target, preparer.geometry.width, preparer.geometry.height)
            for preparer in (stage.preparer for stage in stages)
            if isinstance(preparer, ImagePreparer)
        }
        outputs = _outputs(manifest, shown, model, directory, images)
        pads = {
            name: pad
            for preparer in (stage.preparer for stage in stages)
            if isinstance(preparer, TokenizePreparer)
            for name, pad in preparer.pads.items()
        }
        pipeline = Pipeline(model, inputs, stages, outputs, contracts, optional, pads)
        if pipeline.marks and any(tensor.name == ROW_STATUS.name for tensor in outputs.outputs):
            raise ManifestError(
                f"output '{ROW_STATUS.name}': the name is that of the output which says what rows were marked"
            )
        return pipeline
    except ManifestError as error:
        raise ManifestError(f"{VERSION_MANIFEST}: {error}") from error


def _contracts(
    held: Sequence[InputManifest],
    inputs: Sequence[TensorSpec],
    passed: Collection[str],
    directory: Path,
    on_breach: OnBreach,
) -> list[TensorContract]:
    """The contracts of tensors; those of a table's columns are the table's."""
    by_name = {tensor.name: tensor for tensor in inputs}
    contracts = []
    for tensor in held:
        spec = by_name.get(tensor.name)
        if tensor.steps and not tensor.contract.checks and tensor.required:
            continue
        rows = next((step.get("rows", "columns") for step in tensor.steps if step.get("step") == "table"), "")
        if spec is None or rows in ("columns", "arrow"):
            raise ManifestError(
                f"input '{tensor.name}': expected contracts and required = false at its columns, not at the input"
            )
        contracts.append(compile_tensor_contract(tensor, spec, directory, on_breach, tensor.name in passed))
    return contracts


def _stage(
    tensor: InputManifest,
    made: Sequence[InputManifest],
    model: ModelSpec,
    directory: Path,
    manifest: VersionManifest,
) -> tuple[Stage, tuple[TensorSpec, ...]]:
    """What prepares `tensor`, and what callers send for it."""
    document = {"name": tensor.name, "steps": [dict(step) for step in tensor.steps]}
    try:
        (step,) = InputChain.model_validate(document).steps
    except ValidationError as exc:
        raise ManifestError(
            f"input '{tensor.name}': {'; '.join(describe_problems(exc, InputChain))}"
        ) from exc
    on_breach = tensor.contract.on_breach or manifest.on_breach
    by_column: Mapping[str, OnBreach] = {}
    if isinstance(step, TableStep):
        by_column = {column.name: column.contract.on_breach or on_breach for column in step.column}
    preparer, offered = _preparer(step, tensor, made, model, directory, on_breach)
    return Stage(preparer, f"{tensor.name}/{step.step}", on_breach, by_column), offered


def _preparer(
    step: InputStep,
    tensor: InputManifest,
    made: Sequence[InputManifest],
    model: ModelSpec,
    directory: Path,
    on_breach: OnBreach,
) -> tuple[Preparer, tuple[TensorSpec, ...]]:
    source = _offered(tensor)
    if isinstance(step, TokenizeStep):
        pair = [_offered(other) for other in made if other.name == step.pair]
        sources = (source, *pair)
        return compile_tokenize(step, sources, model.inputs, directory), sources
    if isinstance(step, TableStep):
        return compile_table(step, source, model.inputs, directory, on_breach)
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
    manifest: VersionManifest,
    shown: Sequence[OutputManifest],
    model: ModelSpec,
    directory: Path,
    images: Mapping[str, ImageSlot],
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
    return compile_outputs(chains, model.outputs, labels, model.inputs, images)
