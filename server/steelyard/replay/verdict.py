"""Whether what comes of a request now is what came of it then, and at which stage the two part."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from steelyard.evidence.payload import Payload
from steelyard.models.bfloat16 import from_bfloat16
from steelyard.models.golden import GoldenExample, GoldenOptions
from steelyard.models.manifest import BatchTolerance
from steelyard.pipelines.answers import parameters
from steelyard.pipelines.plan import PreparedRequest
from steelyard.replay.version import Came, ReplayVersion
from steelyard.runtime.independence import difference
from steelyard.runtime.runner import Array
from steelyard.serving.golden import compare
from steelyard.serving.payloads import tensor_digest
from steelyard.wire import decode_response
from steelyard.wire.status import Status

# What a server answers for its own sake, and not for what was asked.
_NOT_FOR_CONTENT = {
    Status.CANCELLED,
    Status.DEADLINE_EXCEEDED,
    Status.RESOURCE_EXHAUSTED,
    Status.UNAVAILABLE,
}

_FLAGS = ("steelyard_rows_marked", "steelyard_rows_flagged", "steelyard_flags")


class Stage(StrEnum):
    """Where a difference begins, in the order of a request's way."""

    RAW = "raw"
    """What is kept is masked, so it is not what was sent."""
    CONTRACT = "contract"
    """Other rows break the data contract, or the request is refused for it."""
    PIPELINE = "pipeline"
    """The steps make other inputs for the model."""
    MODEL = "model"
    """The model gives other outputs for the same inputs."""
    ANSWER = "answer"
    """The steps behind the model make another answer of the same outputs."""


class Verdict(StrEnum):
    """What a replay found."""

    EQUAL = "equal"
    DIFFERS = "differs"
    MASKED = "masked"
    """It differs, and what was sent is not what is kept: that says nothing."""
    CHANGED = "changed"
    """The captured payload is not what was recorded: nothing was run."""
    NOT_COMPARABLE = "not comparable"
    """What came then was not for what was asked, such as a refusal under load."""
    NOT_KEPT = "not kept"
    """There is nothing to run: erased, or only digests were kept, or the version is gone."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision, replayed."""

    decision_id: str
    verdict: Verdict
    begins: Stage | None = None
    """Where the difference begins; None where there is none, or it is not known."""
    why: str = ""
    model: str = ""
    then: Mapping[str, Any] | None = None
    """Version, digest and status of the decision."""
    now: Mapping[str, Any] | None = None
    """Name, digest, status and error of what it was replayed on."""
    masked: tuple[str, ...] = ()
    noted: bool = False
    """Whether the journal has a note of the payload, which was held against that and not only against itself."""


def judge(
    payload: Payload, on: ReplayVersion, then_on: ReplayVersion | None, tolerance: BatchTolerance
) -> Replayed:
    """Runs a payload on `on`; then_on: the version that answered then, where it is another one and is there."""
    came = on.run(payload.request)
    stage, why = compare_with_kept(payload, came, on.digest == payload.digest, tolerance)
    if stage is not None and then_on is not None:
        # The answers differ, or their beginnings do: both ways are there to be held against each other.
        apart = first_apart(then_on.run(payload.request), came, tolerance)
        if apart is not None:
            stage, why = apart
    verdict = Verdict.EQUAL if stage is None else Verdict.DIFFERS
    if verdict is Verdict.DIFFERS and payload.masked:
        verdict, stage = Verdict.MASKED, Stage.RAW
        why = f"{', '.join(payload.masked)} was masked before it was kept; {why}"
    elif payload.status in _NOT_FOR_CONTENT and came.status != payload.status:
        verdict, stage = Verdict.NOT_COMPARABLE, None
        why = f"then it was refused with {Status(payload.status).name}, which was not for what was asked"
    return Replayed(
        decision_id=payload.decision_id,
        verdict=verdict,
        begins=stage,
        why=why,
        model=payload.model,
        then={"version": payload.version, "digest": payload.digest, "status": payload.status},
        now={"name": on.name, "digest": on.digest, "status": came.status, "error": came.error},
        masked=payload.masked,
    )


def compare_with_kept(
    payload: Payload, came: Came, same_content: bool, tolerance: BatchTolerance
) -> tuple[Stage | None, str]:
    """Where what came parts from what is kept of then, and how; None where it does not."""
    walked = came.walked
    if came.status or payload.status:
        if came.status == payload.status:
            return None, ""
        stage = Stage.CONTRACT if walked.inputs is None else Stage.MODEL
        then = _told(payload.status, payload.answer.decode("utf-8", "replace") if payload.status else "")
        return stage, f"then {then}, now {_told(came.status, came.error)}"
    said = decode_response(payload.answer).parameters
    found = flags_of(walked.prepared)
    for name in _FLAGS:
        # Of what quotes values, a masked answer has the place only.
        if said.get(name) != found.get(name) and not (payload.masked and name == "steelyard_flags"):
            return Stage.CONTRACT, f"{name}: then {said.get(name, 'none')}, now {found.get(name, 'none')}"
    if same_content:
        for name, digest in payload.tensors.items():
            array = (walked.inputs or {}).get(name)
            if array is not None and tensor_digest(payload.salt, array) != digest:
                return Stage.PIPELINE, f"the model's input {name!r} is another one than then"
    options = GoldenOptions(absolute=tolerance.absolute, relative=tolerance.relative)
    example = GoldenExample(payload.decision_id, payload.request, payload.answer, options)
    wrong = compare(example, {name: (datatype, array) for name, datatype, array in walked.answer})
    return (Stage.MODEL, wrong) if wrong else (None, "")


def first_apart(then: Came, now: Came, tolerance: BatchTolerance) -> tuple[Stage, str] | None:
    """Where two versions part over the same request, and how; None where they do not."""
    left, right = then.walked, now.walked
    if flags_of(left.prepared) != flags_of(right.prepared):
        return Stage.CONTRACT, "the two find different rows that break their contracts"
    if (left.inputs is None) != (right.inputs is None):
        told = _told(now.status, now.error) if right.inputs is None else _told(then.status, then.error)
        return Stage.CONTRACT, f"only one of the two lets it come to the model; the other: {told}"
    if wrong := _apart("the model's input", left.inputs or {}, right.inputs or {}, tolerance):
        return Stage.PIPELINE, wrong
    if now.status != then.status:
        return Stage.MODEL, f"{_told(then.status, then.error)} against {_told(now.status, now.error)}"
    if wrong := _apart("the model's output", left.outputs or {}, right.outputs or {}, tolerance):
        return Stage.MODEL, wrong
    answers = [
        {name: _numbers(datatype, array) for name, datatype, array in walked.answer}
        for walked in (left, right)
    ]
    if wrong := _apart("the output", answers[0], answers[1], tolerance):
        return Stage.ANSWER, wrong
    return None


def flags_of(prepared: PreparedRequest | None) -> dict[str, bool | int | str | float]:
    """What an answer's parameters say of rows that break their contract."""
    return {} if prepared is None else parameters(prepared.marked, prepared.flagged)


def _apart(
    what: str, left: Mapping[str, Array], right: Mapping[str, Array], tolerance: BatchTolerance
) -> str:
    if left.keys() != right.keys():
        return f"{what}s are {', '.join(left) or 'none'} against {', '.join(right) or 'none'}"
    for name, array in left.items():
        distance = difference(_texts(array), _texts(right[name]), tolerance.absolute, tolerance.relative)
        if distance is not None:
            return f"{what} {name!r} differs by {distance}"
    return ""


def _numbers(datatype: str, array: Array) -> Array:
    return from_bfloat16(array) if datatype == "BF16" else array


def _texts(array: Array) -> Array:
    """Texts come from some models as str, from others as bytes."""
    if array.dtype.kind not in "OU":
        return array
    encoded = [one.encode() if isinstance(one, str) else bytes(one) for one in array.ravel().tolist()]
    made = np.empty(len(encoded), object)
    made[:] = encoded
    return made.reshape(array.shape)


def _told(status: int, error: str) -> str:
    return f"{Status(status).name}: {error[:300]}" if status else "an answer"
