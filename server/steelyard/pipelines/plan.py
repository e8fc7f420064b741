"""A version's pipeline: from a request of what callers send to the model's inputs, and from its outputs to theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from steelyard.errors import InvalidRequest
from steelyard.models.spec import DYNAMIC, ModelSpec, TensorSpec
from steelyard.pipelines.outputs.plan import OutputPlan
from steelyard.pipelines.prepared import PreparedTensor, Preparer
from steelyard.pipelines.problems import Problem, describe
from steelyard.wire.types import InferRequest, InputTensor

Array = npt.NDArray[Any]

# What is not heavy is prepared on the event loop, up to a request of this size: some tens of microseconds.
INLINE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class PassedTensor:
    """A tensor of the caller's that is the model's own; its bytes stay where they are."""

    tensor: InputTensor
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    @property
    def data(self) -> memoryview:
        return self.tensor.data

    @property
    def name(self) -> str:
        return self.tensor.name

    @property
    def held_bytes(self) -> int:
        return self.tensor.data.nbytes

    def fill(self, target: Array) -> None:
        np.copyto(target, np.frombuffer(self.tensor.data, self.dtype).reshape(self.tensor.shape))


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request whose inputs are the model's. `key` is what requests of one batch have in common."""

    request: InferRequest
    inputs: tuple[PreparedTensor, ...]
    rows: int
    key: tuple[int, ...]
    held_bytes: int


class Pipeline:
    """Compiled once when a version is loaded, immutable, shared by all threads."""

    def __init__(
        self,
        model: ModelSpec,
        inputs: Sequence[TensorSpec],
        preparers: Sequence[Preparer],
        outputs: OutputPlan,
    ) -> None:
        self.offered = ModelSpec(tuple(inputs), outputs.outputs, model.batched)
        """What callers send and get."""
        self.outputs = outputs
        self.heavy = any(preparer.heavy for preparer in preparers)
        self._model = model
        self._preparers = tuple(preparers)
        self._places = {tensor.name: place for place, tensor in enumerate(model.inputs)}
        made = {target for preparer in preparers for target in preparer.targets}
        self._passed = [tensor for tensor in model.inputs if tensor.name not in made]
        self._dynamic = any(dim == DYNAMIC for tensor in model.inputs for dim in tensor.dims[1:])

    def is_inline(self, request: InferRequest) -> bool:
        """Whether the event loop may prepare it."""
        return not self.heavy and request.body_bytes <= INLINE_BYTES

    def prepare(self, request: InferRequest, rows: int) -> PreparedRequest:
        """The model's inputs for a request that fits `offered`. Raises `InvalidRequest`, naming every bad row."""
        given: Mapping[str, InputTensor] = {tensor.name: tensor for tensor in request.inputs}
        inputs: list[PreparedTensor | None] = [None] * len(self._places)
        problems: list[Problem] = []
        for preparer in self._preparers:
            made = preparer.prepare([given[name] for name in preparer.sources], rows)
            for name, tensor in zip(preparer.targets, made.tensors, strict=True):
                inputs[self._places[name]] = tensor
            problems += made.problems
        if problems:
            raise InvalidRequest(describe(problems))
        for spec in self._passed:
            inputs[self._places[spec.name]] = PassedTensor(given[spec.name], spec.element.dtype)
        return self._prepared(request, inputs)

    def pass_on(self, request: InferRequest) -> PreparedRequest:
        """A request that holds the model's own tensors."""
        given = {tensor.name: tensor for tensor in request.inputs}
        tensors = [PassedTensor(given[spec.name], spec.element.dtype) for spec in self._model.inputs]
        return self._prepared(request, tensors)

    def finish(self, outputs: Sequence[Array], rows: int, inputs: Sequence[Array]) -> list[Array]:
        """The caller's outputs for a batch; `inputs` are the model's, in its order."""
        by_name = {tensor.name: array for tensor, array in zip(self._model.inputs, inputs, strict=True)}
        return self.outputs.finish(outputs, rows, by_name)

    def _prepared(self, request: InferRequest, inputs: Sequence[PreparedTensor | None]) -> PreparedRequest:
        tensors = tuple(tensor for tensor in inputs if tensor is not None)
        key = tuple(dim for tensor in tensors for dim in tensor.shape[1:]) if self._dynamic else ()
        # A table has as many rows as it says, whatever the tensor that holds it.
        rows = {tensor.shape[0] for tensor in tensors}
        if len(rows) != 1:
            raise InvalidRequest(f"expected inputs of as many rows each, came {sorted(rows)}")
        return PreparedRequest(
            request, tensors, rows.pop(), key, sum(tensor.held_bytes for tensor in tensors)
        )
