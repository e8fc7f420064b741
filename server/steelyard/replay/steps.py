"""A captured request's way through the steps of the version that answered it: what each makes of it, run again."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from steelyard.evidence.payload import Payload
from steelyard.models.spec import TensorSpec
from steelyard.pipelines.plan import Pipeline, PreparedRequest
from steelyard.pipelines.prepared import Preparer
from steelyard.pipelines.tabular.step import TablePreparer
from steelyard.replay.verdict import compare_with_kept
from steelyard.replay.version import ReplayVersion
from steelyard.runtime.runner import Array
from steelyard.serving.payloads import tensor_digest
from steelyard.serving.walk import Walk
from steelyard.wire import decode_request

Kind = Literal["contract", "prepare", "model", "finish"]

AS_THEN = "as then, by its digest"
OTHERWISE = "not as then, by its digest"
MASKED = "masked"

# Of what a contract found: a request may have thousands of bad rows.
MAX_FOUND = 16


@dataclass(frozen=True, slots=True)
class Made:
    """A tensor that a step made."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    array: Array | None
    """None: it is not shown, and `note` says why."""
    note: str = ""
    columns: tuple[str, ...] = ()
    """What its last axis holds, where the step knows."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step."""

    kind: Kind
    name: str
    made: tuple[Made, ...] = ()
    found: tuple[str, ...] = ()
    """What rows break of the contract, without their values."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """All steps, as far as the request came."""

    steps: tuple[Step, ...]
    equal: bool | None
    """Whether the answer is the same as then, within the model's tolerance; None: masks keep that from being told."""
    why: str
    """What is otherwise, where something is."""
    error: str
    """What ended it; empty for an answer, and for a model that masks anything, as errors quote values."""


def way_of(payload: Payload, version: ReplayVersion, masks: Collection[str] = ()) -> Way:
    """Runs the request of `payload`, which is kept, on `version`, which has a pipeline and the content that answered.

    masks: all that the model masks: of those, `payload` names what was in it. What is masked of the answer is not
    shown, nor what it is made of; nor what depends on a masked input, which would be something else than then.
    """
    pipeline = version.pipeline
    assert pipeline is not None
    came = version.run(payload.request)
    walked = came.walked
    stage, why = compare_with_kept(payload, came, True, version.tolerance)
    names = [tensor.name for tensor in decode_request(payload.request).inputs]
    lost = tuple(mask for mask in payload.masked if any(_is_of(mask, name) for name in names))
    steps = [Step("contract", "contract", found=_found(walked.prepared), note=_not_reproducible(lost))]
    steps += _prepared(payload, version, pipeline, walked, lost)
    if walked.outputs is not None:
        hidden = _hidden(version, pipeline, {*payload.masked, *masks})
        unknown = _not_reproducible([mask for mask in lost if _reaches_model(mask, version, pipeline)])
        made = [
            _made(spec, walked.outputs[spec.name], unknown, spec.name in hidden)
            for spec in version.spec.outputs
        ]
        steps.append(Step("model", "model", tuple(made)))
        steps += _finished(version, pipeline, walked, hidden, unknown)
    if stage is not None and payload.masked:
        return Way(tuple(steps), None, f"{', '.join(payload.masked)}: masked before it was kept", "")
    return Way(tuple(steps), stage is None, why, "" if masks else came.error)


def _prepared(
    payload: Payload, version: ReplayVersion, pipeline: Pipeline, walked: Walk, lost: Sequence[str]
) -> Iterator[Step]:
    """What made the model's inputs, as far as it came to that."""
    if walked.inputs is None:
        return
    specs = {spec.name: spec for spec in version.spec.inputs}
    for stage in pipeline.stages:
        preparer = stage.preparer
        made = []
        for name in preparer.targets:
            unknown = _not_reproducible([mask for mask in lost if _touches(mask, preparer, name)])
            tensor = _made(specs[name], walked.inputs[name], unknown, False)
            digest = payload.tensors.get(name)
            if digest is not None and not unknown:
                same = tensor_digest(payload.salt, walked.inputs[name]) == digest
                tensor = replace(tensor, note=AS_THEN if same else OTHERWISE)
            made.append(replace(tensor, columns=_columns(preparer, name)))
        yield Step("prepare", stage.name, tuple(made))


def _finished(
    version: ReplayVersion, pipeline: Pipeline, walked: Walk, hidden: Collection[str], unknown: str
) -> Iterator[Step]:
    """What was made of the model's outputs."""
    sources = [
        version.spec.outputs[chain.index].name for chain in pipeline.outputs.chains for _ in chain.steps
    ]
    for source, step in zip(sources, walked.finished, strict=False):
        made = [
            _made(spec, array, unknown, source in hidden)
            for spec, array in zip(step.tensors, step.arrays, strict=True)
        ]
        yield Step("finish", step.name, tuple(made))


def _made(spec: TensorSpec, array: Array, unknown: str, is_hidden: bool) -> Made:
    note = MASKED if is_hidden else unknown
    return Made(spec.name, spec.datatype, array.shape, None if note else array, note)


def _hidden(version: ReplayVersion, pipeline: Pipeline, masks: Collection[str]) -> set[str]:
    """The model's outputs that say what a mask hides of the answer: those that a masked output is made of."""
    found = set()
    offered = iter(pipeline.outputs.outputs)
    for chain in pipeline.outputs.chains:
        own = version.spec.outputs[chain.index]
        count = len(chain.steps[-1].tensors) if chain.steps else 1
        if not {own.name, *(spec.name for spec in islice(offered, count))}.isdisjoint(masks):
            found.add(own.name)
    return found


def _is_of(mask: str, name: str) -> bool:
    """Whether a mask is of a tensor, as a whole or of one of its keys."""
    return mask == name or mask.startswith(f"{name}.")


def _touches(mask: str, preparer: Preparer, target: str) -> bool:
    """Whether what a preparer makes for an input of the model depends on what the mask hides."""
    for source in preparer.sources:
        if mask == source:
            return True
        if mask.startswith(f"{source}."):
            return not isinstance(preparer, TablePreparer) or mask[len(source) + 1 :] in _used(
                preparer, target
            )
    return False


def _reaches_model(mask: str, version: ReplayVersion, pipeline: Pipeline) -> bool:
    """Whether any input of the model depends on what the mask hides."""
    made = {target: stage.preparer for stage in pipeline.stages for target in stage.preparer.targets}
    return any(
        _touches(mask, made[spec.name], spec.name) if spec.name in made else _is_of(mask, spec.name)
        for spec in version.spec.inputs
    )


def _used(preparer: TablePreparer, target: str) -> set[str]:
    """The columns that a tensor is made of, and those whose contract says which rows there are."""
    table = preparer.plan.table
    features = preparer.plan.tensors[target].table.feature
    checked = {column.name for column in table.column if column.contract.checks}
    return checked.union(*(feature.sources for feature in features))


def _columns(preparer: Preparer, target: str) -> tuple[str, ...]:
    return preparer.plan.tensors[target].feature_names if isinstance(preparer, TablePreparer) else ()


def _found(prepared: PreparedRequest | None) -> tuple[str, ...]:
    """What rows break, the first of many."""
    if prepared is None:
        return ()
    problems = sorted((*prepared.marked, *prepared.flagged), key=lambda problem: problem.row)
    told = [
        f"row {problem.row}{f', {problem.column}' if problem.column else ''}: {problem.rule}, {problem.action}"
        for problem in problems
    ]
    more = len(told) - MAX_FOUND
    return (*told[:MAX_FOUND], *([f"{more} more"] if more > 0 else []))


def _not_reproducible(lost: Sequence[str]) -> str:
    if not lost:
        return ""
    return f"not reproducible: {', '.join(lost)} {'was' if len(lost) == 1 else 'were'} masked"
