"""What requests of a version may hold: what it offers, less what is optional, or the model's own tensors."""

from collections.abc import Collection, Sequence
from typing import Any

from steelyard.models.spec import ModelSpec
from steelyard.pipelines.plan import Pipeline
from steelyard.wire import Signature

InputSpec = tuple[str, str, tuple[int, ...]]


class Takes:
    """Binds requests to a version's inputs; immutable, so threads may share it."""

    def __init__(self, spec: ModelSpec, pipeline: Pipeline | None, model_tensors: bool) -> None:
        """model_tensors: whether the model's own are taken in the place of what the pipeline prepares."""
        offered = spec if pipeline is None else pipeline.offered
        self.specs = [(tensor.name, tensor.datatype, tensor.dims) for tensor in offered.inputs]
        """Name, datatype and dimensions of each input that the version offers."""
        self.optional: frozenset[str] = frozenset() if pipeline is None else pipeline.optional
        self._own_optional: frozenset[str] = frozenset() if pipeline is None else pipeline.own_optional
        self._batched = spec.batched
        self.signature = Signature(self.specs, spec.batched)
        """Of all that the version offers, which is what most requests hold."""
        self._own: list[InputSpec] | None = None
        """The model's own tensors, where they are taken."""
        if model_tensors:
            self._own = [(tensor.name, tensor.datatype, tensor.dims) for tensor in spec.inputs]
            self._own_signature = Signature(self._own, spec.batched)

    def bind(self, request: Any) -> tuple[int, tuple[int, ...], bool] | None:
        """Rows, the dimensions that a request shares with others of its batch, and whether it holds the model's own
        tensors; its inputs are put into order. None where it does not fit."""
        bound = self.signature.bind(request)
        return self.bind_otherwise(request) if bound is None else (*bound, False)

    def bind_otherwise(self, request: Any) -> tuple[int, tuple[int, ...], bool] | None:
        """The same of a request that `signature` does not take."""
        if self._own is not None:
            bound = self._own_signature.bind(request)
            if bound is not None:
                return *bound, True
        bound = self._bind_present(request, self.specs, self.optional)
        if bound is not None:
            return *bound, False
        if self._own is not None:
            bound = self._bind_present(request, self._own, self._own_optional)
        return None if bound is None else (*bound, True)

    def _bind_present(
        self, request: Any, specs: Sequence[InputSpec], optional: Collection[str]
    ) -> tuple[int, tuple[int, ...]] | None:
        """Binds a request that leaves out some of the optional inputs."""
        if not optional:
            return None
        names = {tensor.name for tensor in request.inputs}
        present = [spec for spec in specs if spec[0] in names or spec[0] not in optional]
        return Signature(present, self._batched).bind(request) if present else None
