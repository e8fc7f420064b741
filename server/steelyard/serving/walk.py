"""A request's way through a version, run by itself: what it has become at each stage."""

from dataclasses import dataclass, field
from typing import Any

import onnxruntime as ort

from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.pipelines.plan import Pipeline, PreparedRequest
from steelyard.runtime.runner import Array, Runner
from steelyard.serving.answering import Named, answer_tensors
from steelyard.serving.classification import check_classes
from steelyard.serving.takes import Takes
from steelyard.wire.check import check_outputs


@dataclass(frozen=True, slots=True)
class Finished:
    """What one step behind the model has made."""

    name: str
    """The output and the step, as "kind/softmax"."""
    tensors: tuple[TensorSpec, ...]
    arrays: tuple[Array, ...]


@dataclass(slots=True)
class Walk:
    """How far a request came, and with what; what was not reached is None, or empty."""

    fits: bool = False
    """Whether the version takes such a request."""
    prepared: PreparedRequest | None = None
    """What the pipeline made of it, where there is one."""
    inputs: dict[str, Array] | None = None
    """The model's own, by name."""
    outputs: dict[str, Array] | None = None
    """The model's own, by name."""
    finished: list[Finished] = field(default_factory=list)
    """The steps behind the model, as they were done."""
    answer: list[Named] = field(default_factory=list)


def walk(
    request: Any,
    takes: Takes,
    session: ort.InferenceSession,
    spec: ModelSpec,
    pipeline: Pipeline | None,
    walked: Walk,
) -> None:
    """Runs `request`, and notes in `walked` what it becomes; raises whatever a stage raises, which ends it there."""
    bound = takes.bind(request)
    if bound is None:
        return
    rows, key, direct = bound
    walked.fits = True
    runner = Runner(session, spec, capacity=0, shared=False, prepared=pipeline is not None)
    runner.may_bind = False
    offered = spec if pipeline is None else pipeline.offered
    if request.outputs:
        check_outputs(request, "of the request", {tensor.name for tensor in offered.outputs})
    prepared: PreparedRequest | None = None
    if pipeline is None:
        _, outputs = _run(runner, request, rows, key, spec, walked)
    else:
        tally = pipeline.tally()
        prepared = (pipeline.pass_on if direct else pipeline.prepare)(request, rows, tally)
        walked.prepared = prepared
        if not prepared.rows and prepared.kept is not None:
            outputs = pipeline.nothing()
        else:
            arrays, outputs = _run(runner, prepared, prepared.rows, prepared.key, spec, walked)

            def seen(place: int, tensors: tuple[TensorSpec, ...], made: tuple[Array, ...]) -> None:
                walked.finished.append(Finished(pipeline.steps[place][1], tensors, made))

            outputs = pipeline.finish(outputs, prepared.rows, arrays, tally, [prepared], seen)
        rows = prepared.asked_rows
    if request.outputs:
        check_classes(request, "the request", offered, rows if offered.batched else 1)
    walked.answer = answer_tensors(offered, request, prepared, outputs)


def _run(
    runner: Runner, request: Any, rows: int, key: object, spec: ModelSpec, walked: Walk
) -> tuple[list[Array], list[Array]]:
    """The model's inputs and outputs."""
    shape, arrays = runner.fill([request], rows, key)
    walked.inputs = {tensor.name: array for tensor, array in zip(spec.inputs, arrays, strict=True)}
    outputs = runner.run(shape, arrays, rows)
    walked.outputs = {tensor.name: array for tensor, array in zip(spec.outputs, outputs, strict=True)}
    return arrays, outputs
