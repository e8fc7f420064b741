"""A version's pipeline: from a request of what callers send to the model's inputs, and from its outputs to theirs."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from steelyard.errors import InvalidRequest
from steelyard.models.contract import OnBreach
from steelyard.models.spec import DYNAMIC, ModelSpec, TensorSpec
from steelyard.pipelines.answers import ROW_STATUS, row_status, spread
from steelyard.pipelines.contract.tensors import GivenTensor, TensorContract
from steelyard.pipelines.elements import select_elements
from steelyard.pipelines.outputs.boxes import ImageSlot
from steelyard.pipelines.outputs.plan import OutputPlan
from steelyard.pipelines.prepared import PlacedImages, PreparedTensor, Preparer
from steelyard.pipelines.problems import Problem, describe
from steelyard.pipelines.tally import IMPUTE, Tally
from steelyard.wire.types import InferRequest, InputTensor

Array = npt.NDArray[Any]

now_ns = time.monotonic_ns

# The event loop prepares what looks at no more than this: some tens of microseconds.
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

    def select(self, rows: Sequence[int]) -> "PassedTensor":
        shape = self.tensor.shape
        if self.tensor.datatype == "BYTES":
            data = select_elements(self.tensor.data, shape[0], rows, prod(shape[1:]))
        else:
            array = np.frombuffer(self.tensor.data, self.dtype).reshape(shape)[list(rows)]
            data = memoryview(array.tobytes())
        return PassedTensor(
            GivenTensor(self.name, self.tensor.datatype, (len(rows), *shape[1:]), data, {}), self.dtype
        )


@dataclass(frozen=True, slots=True)
class PreparedRequest:
    """A request whose inputs are the model's. `key` is what requests of one batch have in common."""

    request: InferRequest
    inputs: tuple[PreparedTensor, ...]
    rows: int
    """Those that the model runs."""
    key: tuple[int, ...]
    held_bytes: int
    asked_rows: int
    """Those that the caller sent."""
    kept: Sequence[int] | None = None
    """Which of them the model runs; None: all."""
    marked: tuple[Problem, ...] = ()
    flagged: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """A preparer, and what is done about rows that it cannot take: by column, or as the input says."""

    preparer: Preparer
    name: str
    on_breach: OnBreach
    by_column: Mapping[str, OnBreach]

    def settled(self, problem: Problem) -> Problem:
        """The problem with what is done about it. What is there to be served can be flagged; what is not, cannot."""
        if problem.action is not None:
            return problem
        action = self.by_column.get(problem.column, self.on_breach)
        return replace(problem, action="mark" if action == "mark" else "refuse")


class Pipeline:
    """Compiled once when a version is loaded, immutable, shared by all threads."""

    def __init__(
        self,
        model: ModelSpec,
        inputs: Sequence[TensorSpec],
        stages: Sequence[Stage],
        outputs: OutputPlan,
        contracts: Sequence[TensorContract] = (),
        optional: Collection[str] = (),
    ) -> None:
        """optional: the names of inputs that requests may leave out."""
        actions = {action for stage in stages for action in (stage.on_breach, *stage.by_column.values())}
        self.marks = "mark" in actions.union(contract.action for contract in contracts)
        """Whether rows may be left unanswered, so that there is an output that says which."""
        shown = (*outputs.outputs, ROW_STATUS) if self.marks else outputs.outputs
        self.offered = ModelSpec(tuple(inputs), shown, model.batched)
        """What callers send and get."""
        self.outputs = outputs
        self.optional = frozenset(optional)
        self._model = model
        self._stages = tuple(stages)
        self._contracts = tuple(contracts)
        self._places = {tensor.name: place for place, tensor in enumerate(model.inputs)}
        made = {target: stage for stage in stages for target in stage.preparer.targets}
        self._passed = [tensor for tensor in model.inputs if tensor.name not in made]
        self._dynamic = any(dim == DYNAMIC for tensor in model.inputs for dim in tensor.dims[1:])
        prepare = ("contract", *(stage.name for stage in stages))
        fill = [made[tensor.name].name if tensor.name in made else tensor.name for tensor in model.inputs]
        self.steps = (
            *(("prepare", name) for name in prepare),
            *(("fill", name) for name in fill),
            *(("finish", name) for name in outputs.steps),
        )
        """Phase and name of everything that is timed, by its place in a tally."""
        self._first_fill = len(prepare)
        self._first_finish = self._first_fill + len(fill)

    def tally(self) -> Tally:
        """An empty one for a request or a batch."""
        return Tally(len(self.steps))

    def is_inline(self, request: InferRequest, rows: int) -> bool:
        """Whether the event loop may prepare it."""
        size = request.body_bytes
        looked_at = size if self._contracts else 0
        for stage in self._stages:
            looked_at += stage.preparer.looks_at(size, rows)
        return looked_at <= INLINE_BYTES

    def prepare(self, request: InferRequest, rows: int, tally: Tally) -> PreparedRequest:
        """The model's inputs for a request that fits `offered`, but for optional inputs that it leaves out.

        Raises `InvalidRequest`, naming every bad row, where a row breaks a rule and its request is refused for that.
        """
        given: dict[str, InputTensor] = {tensor.name: tensor for tensor in request.inputs}
        problems = self._hold(given, rows, tally)
        inputs: list[PreparedTensor | None] = [None] * len(self._places)
        for place, stage in enumerate(self._stages, 1):
            preparer = stage.preparer
            began_ns = now_ns()
            try:
                made = preparer.prepare([given[name] for name in preparer.sources if name in given], rows)
            except InvalidRequest:
                tally.ended(place, began_ns, errors=1)
                raise
            tally.ended(place, began_ns, len(made.problems))
            for name, tensor in zip(preparer.targets, made.tensors, strict=True):
                inputs[self._places[name]] = tensor
            for rule, times in made.imputed.items():
                tally.count(rule, IMPUTE, times)
            found = [stage.settled(problem) for problem in made.problems]
            tally.broke(found)
            problems += found
        _refuse(problems)
        return self._prepared(request, self._pass(given, inputs, self._passed), problems)

    def pass_on(self, request: InferRequest, rows: int, tally: Tally) -> PreparedRequest:
        """A request that holds the model's own tensors."""
        given: dict[str, InputTensor] = {tensor.name: tensor for tensor in request.inputs}
        problems = self._hold(given, rows, tally, only=given)
        inputs: list[PreparedTensor | None] = [None] * len(self._places)
        return self._prepared(request, self._pass(given, inputs, self._model.inputs), problems)

    def count_fill(self, filled_ns: Sequence[int], tally: Tally) -> None:
        """Counts what writing each of the model's inputs into the batch took."""
        for place, ns in enumerate(filled_ns, self._first_fill):
            tally.ns[place] += ns
            tally.runs[place] += 1

    def finish(
        self,
        outputs: Sequence[Array],
        rows: int,
        inputs: Sequence[Array],
        tally: Tally,
        requests: Sequence[PreparedRequest] = (),
    ) -> list[Array]:
        """The caller's outputs for a batch; `inputs` are the model's, in its order, `requests` those of the batch."""
        by_name = {tensor.name: array for tensor, array in zip(self._model.inputs, inputs, strict=True)}
        ways_back = {slot.tensor: self._ways_back(slot, requests) for slot in self.outputs.images}
        return self.outputs.finish(outputs, rows, by_name, tally, self._first_finish, ways_back)

    def _ways_back(self, slot: ImageSlot, requests: Sequence[PreparedRequest]) -> Array:
        """How each row's slot lies in its image, float64 [rows, 6]; the model's own tensors are images as they are."""
        place = self._places[slot.tensor]
        found = []
        for request in requests:
            tensor = request.inputs[place]
            if isinstance(tensor, PassedTensor):
                found.append(slot.as_they_came(request.rows))
            else:
                found.append(cast(PlacedImages, tensor).ways_back())
        return np.concatenate(found)

    def nothing(self) -> list[Array]:
        """The caller's outputs for no rows, which no model has to be run for."""
        shapes = [(0, *(max(dim, 0) for dim in spec.dims[1:])) for spec in self.outputs.outputs]
        return [
            np.empty(shape, object if spec.datatype == "BYTES" else spec.element.dtype)
            for shape, spec in zip(shapes, self.outputs.outputs, strict=True)
        ]

    def answer(self, prepared: PreparedRequest, outputs: Sequence[Array]) -> list[Array]:
        """What the caller of one request gets: as many rows as were sent, and their status where rows are marked."""
        if not self.marks:
            return list(outputs)
        rows, kept = prepared.asked_rows, prepared.kept
        whole = outputs
        if kept is not None:
            specs = self.outputs.outputs
            whole = [spread(array, spec, kept, rows) for array, spec in zip(outputs, specs, strict=True)]
        return [*whole, row_status(prepared.marked, rows)]

    def _hold(
        self,
        given: dict[str, InputTensor],
        rows: int,
        tally: Tally,
        only: Collection[str] | None = None,
    ) -> list[Problem]:
        """Holds the tensors against their contracts, and puts in what was left out; gives what rows break."""
        problems: list[Problem] = []
        if not self._contracts:
            return problems
        began_ns = now_ns()
        for contract in self._contracts:
            if only is not None and contract.name not in only:
                continue
            tensor = given.get(contract.name)
            if tensor is None:
                given[contract.name] = contract.absent(rows)
                tally.count("missing", IMPUTE, rows)
                continue
            held = contract.hold(tensor, rows)
            given[contract.name] = held.tensor
            for rule, times in held.imputed.items():
                tally.count(rule, IMPUTE, times)
            problems += held.problems
        tally.ended(0, began_ns, len(problems))
        tally.broke(problems)
        _refuse(problems)
        return problems

    def _pass(
        self,
        given: Mapping[str, InputTensor],
        inputs: list[PreparedTensor | None],
        passed: Sequence[TensorSpec],
    ) -> list[PreparedTensor]:
        """All of the model's inputs, with those that are passed on as they are."""
        for spec in passed:
            inputs[self._places[spec.name]] = PassedTensor(given[spec.name], spec.element.dtype)
        return [tensor for tensor in inputs if tensor is not None]

    def _prepared(
        self, request: InferRequest, tensors: Sequence[PreparedTensor], problems: Sequence[Problem]
    ) -> PreparedRequest:
        # A table has as many rows as it says, whatever the tensor that holds it.
        counts = {tensor.shape[0] for tensor in tensors}
        if len(counts) != 1:
            raise InvalidRequest(f"expected inputs of as many rows each, came {sorted(counts)}")
        asked = rows = counts.pop()
        kept: list[int] | None = None
        marked = tuple(problem for problem in problems if problem.action == "mark")
        if marked:
            bad = {problem.row for problem in marked}
            kept = [row for row in range(asked) if row not in bad]
            tensors = [tensor.select(kept) for tensor in tensors]
            rows = len(kept)
        key = tuple(dim for tensor in tensors for dim in tensor.shape[1:]) if self._dynamic else ()
        held_bytes = sum(tensor.held_bytes for tensor in tensors)
        flagged = tuple(problem for problem in problems if problem.action == "flag")
        return PreparedRequest(request, tuple(tensors), rows, key, held_bytes, asked, kept, marked, flagged)


def _refuse(problems: Sequence[Problem]) -> None:
    """Raises InvalidRequest where a row's request is refused, naming all rows that are not served."""
    if any(problem.action == "refuse" for problem in problems):
        raise InvalidRequest(describe([problem for problem in problems if problem.action != "flag"]))
