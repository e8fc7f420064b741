"""Whether a request fits the version that is to answer it."""

from steelyard.errors import InvalidRequest
from steelyard.serving.classification import check_classes
from steelyard.serving.empty_tensors import check_empty
from steelyard.serving.version import ServedVersion
from steelyard.wire import InferRequest
from steelyard.wire.check import check_outputs, explain_misfit


def fit(version: ServedVersion, request: InferRequest) -> tuple[int, tuple[int, ...], bool]:
    """Rows, the dimensions that it shares with others of its batch, and whether it holds the model's own tensors in the
    place of what a pipeline takes. Raises `InvalidRequest` that says what does not fit."""
    direct = False
    bound = version.signature.bind(request)
    if bound is not None:
        rows, key = bound
    else:
        otherwise = version.takes.bind_otherwise(request)
        if otherwise is None and not request.inputs and version.takes.optional:
            raise InvalidRequest(f"model {version.model!r}: expected at least one input, came none")
        if otherwise is None:
            explain_misfit(request, version.model, version.takes.specs, version.spec.batched)
        rows, key, direct = otherwise
    if request.outputs:
        check_outputs(request, version.model, version.output_names)
        rows_asked = rows if version.spec.batched else 1
        check_classes(request, f"model {version.model!r}", version.offered, rows_asked)
    if not rows or 0 in key:
        check_empty(request, version.model)
    return rows, key, direct
