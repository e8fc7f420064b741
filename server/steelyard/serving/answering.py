"""The tensors of one answer: those that were asked for, classes where they are wanted, and all rows of the request."""

from typing import Any

from steelyard.models.spec import ModelSpec
from steelyard.pipelines.answers import ROW_STATUS, row_status, spread
from steelyard.pipelines.plan import PreparedRequest
from steelyard.runtime.runner import Array
from steelyard.serving.classification import PARAMETER, classify
from steelyard.wire.types import InferRequest

Named = tuple[str, str, Array]
"""Name, datatype and the tensor."""


def answer_tensors(
    offered: ModelSpec, request: InferRequest, prepared: PreparedRequest | None, outputs: list[Array]
) -> list[Named]:
    """What the caller of `request` gets of `outputs`, which are the request's own, of the rows that the model ran.

    offered: what the version offers. prepared: where it has a pipeline.
    """
    specs = [spec for spec in offered.outputs if spec is not ROW_STATUS]
    by_name = {spec.name: (spec, array) for spec, array in zip(specs, outputs, strict=True)}
    wanted: list[tuple[str, Any]]
    if request.outputs:
        wanted = [(output.name, output.parameters.get(PARAMETER, 0)) for output in request.outputs]
    else:
        wanted = [(spec.name, 0) for spec in offered.outputs]
    found: list[Named] = []
    for name, top in wanted:
        if name not in by_name:
            assert prepared is not None
            status = row_status(prepared.marked, prepared.asked_rows)
            found.append((name, ROW_STATUS.datatype, status))
            continue
        spec, array = by_name[name]
        datatype = spec.datatype
        if top:
            array = classify(array, datatype, int(top), spec.labels, offered.batched)
            datatype = "BYTES"
        if prepared is not None and prepared.kept is not None:
            array = spread(array, datatype, prepared.kept, prepared.asked_rows)
        found.append((name, datatype, array))
    return found
