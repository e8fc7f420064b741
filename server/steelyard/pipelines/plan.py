"""A version's pipeline: from a request of what callers send to the model's inputs, and from its outputs to theirs."""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from steelyard.errors import InvalidRequest
from steelyard.models.contract import OnBreach
from steelyard.models.ragged import Pad
from steelyard.models.spec import DYNAMIC, ModelSpec, TensorSpec
from steelyard.pipelines.answers import ROW_STATUS
from steelyard.pipelines.elements import select_elements
from steelyard.pipelines.given import GivenTensor
from steelyard.pipelines.prepared import BAD_ROW_BYTES, PATTERN_WEIGHT, PlacedImages, PreparedTensor, Preparer
from steelyard.pipelines.problems import PROBLEM_BYTES, Problem, describe, unservable
from steelyard.pipelines.tally import IMPUTE, Tally
from steelyard.wire.types import InferRequest, InputTensor

if TYPE_CHECKING:
    from steelyard.pipelines.contract.tensors import TensorContract
    from steelyard.pipelines.outputs.boxes import ImageSlot
    from steelyard.pipelines.outputs.plan import OutputPlan, Seen

Array = npt.NDArray[Any]

now_ns = time.monotonic_ns

# The event loop prepares what looks at no more than this: some tens of microseconds.
INLINE_BYTES = 64 << 10
# What holding an element against a contract counts for: it becomes a cell of a column.
ELEMENT_BYTES = 8


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
        return replace(problem, action=unservable(self.by_column.get(problem.column, self.on_breach)))


class Pipeline:
    """Compiled once when a version is loaded, immutable, shared by all threads."""

    def __init__(
        self,
        model: ModelSpec,
        inputs: Sequence[TensorSpec],
        stages: Sequence[Stage],
        outputs: "OutputPlan",
        contracts: "Sequence[TensorContract]" = (),
        optional: Collection[str] = (),
        pads: Mapping[str, Pad] | None = None,
    ) -> None:
        """optional: the names of inputs that requests may leave out. pads: what the model's inputs that steps make of
        texts are padded with, by their names."""
        actions = {action for stage in stages for action in (stage.on_breach, *stage.by_column.values())}
        self.marks = "mark" in actions.union(contract.action for contract in contracts)
        """Whether rows may be left unanswered, so that there is an output that says which."""
        shown = (*outputs.outputs, ROW_STATUS) if self.marks else outputs.outputs
        self.offered = ModelSpec(tuple(inputs), shown, model.batched)
        """What callers send and get."""
        self.outputs = outputs
        self.optional = frozenset(optional)
        self.pads = dict(pads or {})
        self._model = model
        self._stages = tuple(stages)
        self._contracts = tuple(contracts)
        made = {target: stage for stage in stages for target in stage.preparer.targets}
        self._passed = [tensor for tensor in model.inputs if tensor.name not in made]
        passed = {tensor.name for tensor in self._passed}
        self._own_contracts = tuple(contract for contract in contracts if contract.name in passed)
        """Those of tensors that are the model's own, whatever else the request holds."""
        self.own_optional = frozenset(
            contract.name for contract in self._own_contracts if not contract.required
        )
        """The model's own tensors that a request which holds those may leave out."""
        self._places = {tensor.name: place for place, tensor in enumerate(model.inputs)}
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

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What makes inputs of the model that callers do not send, in the order in which it is done."""
        return self._stages

    def tally(self) -> Tally:
        """An empty one for a request or a batch."""
        return Tally(len(self.steps))

    def is_inline(self, request: InferRequest, rows: int, direct: bool) -> bool:
        """Whether the event loop may prepare it; direct: a request that holds the model's own tensors."""
        size = request.body_bytes
        looked_at = 0
        contracts = self._own_contracts if direct else self._contracts
        if contracts:
            came = {tensor.name for tensor in request.inputs}
            elements = sum(prod(tensor.shape) for tensor in request.inputs)
            elements += sum(rows * made.row_elements for made in contracts if made.name not in came)
            weight = PATTERN_WEIGHT if any(contract.has_pattern for contract in contracts) else 1
            looked_at = weight * size + elements * ELEMENT_BYTES + rows * BAD_ROW_BYTES
        if not direct:
            for stage in self._stages:
                looked_at += stage.preparer.looks_at(size, rows)
        return looked_at <= INLINE_BYTES

    def prepare(self, request: InferRequest, rows: int, tally: Tally) -> PreparedRequest:
        """The model's inputs for a request that fits `offered`, but for optional inputs that it leaves out.

        Raises `InvalidRequest`, naming every bad row, where a row breaks a rule and its request is refused for that.
        """
        given: dict[str, InputTensor] = {tensor.name: tensor for tensor in request.inputs}
        problems, imputed = self._hold(self._contracts, given, rows, tally)
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
            imputed.update(made.imputed)
            problems += [stage.settled(problem) for problem in made.problems]
        tensors = self._pass(given, inputs, self._passed)
        return self._prepared(request, tensors, problems, imputed, tally)

    def pass_on(self, request: InferRequest, rows: int, tally: Tally) -> PreparedRequest:
        """A request that holds the model's own tensors."""
        given: dict[str, InputTensor] = {tensor.name: tensor for tensor in request.inputs}
        problems, imputed = self._hold(self._own_contracts, given, rows, tally)
        inputs: list[PreparedTensor | None] = [None] * len(self._places)
        tensors = self._pass(given, inputs, self._model.inputs)
        return self._prepared(request, tensors, problems, imputed, tally)

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
        seen: "Seen | None" = None,
    ) -> list[Array]:
        """The caller's outputs for a batch; `inputs` are the model's, in its order, `requests` those of the batch.

        seen: shown what each step makes, with its place in `steps`.
        """
        by_name = {tensor.name: array for tensor, array in zip(self._model.inputs, inputs, strict=True)}
        ways_back = {slot.tensor: self._ways_back(slot, requests) for slot in self.outputs.images}
        return self.outputs.finish(outputs, rows, by_name, tally, self._first_finish, ways_back, seen)

    def _ways_back(self, slot: "ImageSlot", requests: Sequence[PreparedRequest]) -> Array:
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

    def _hold(
        self, contracts: "Sequence[TensorContract]", given: dict[str, InputTensor], rows: int, tally: Tally
    ) -> tuple[list[Problem], Counter[str]]:
        """Holds tensors against their contracts; gives what rows break, and how many values were put in."""
        problems: list[Problem] = []
        imputed: Counter[str] = Counter()
        if not contracts:
            return problems, imputed
        began_ns = now_ns()
        for contract in contracts:
            tensor = given.get(contract.name)
            if tensor is None:
                given[contract.name] = contract.absent(rows)
                imputed["missing"] += rows
                continue
            held = contract.hold(tensor, rows)
            given[contract.name] = held.tensor
            imputed.update(held.imputed)
            problems += held.problems
        tally.ended(0, began_ns, len(problems))
        return problems, imputed

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
        self,
        request: InferRequest,
        tensors: Sequence[PreparedTensor],
        problems: Sequence[Problem],
        imputed: Mapping[str, int],
        tally: Tally,
    ) -> PreparedRequest:
        # A table has as many rows as it says, whatever the tensor that holds it.
        counts = {tensor.shape[0] for tensor in tensors}
        if len(counts) != 1:
            raise InvalidRequest(f"expected inputs of as many rows each, came {sorted(counts)}")
        problems = _settle(problems, imputed, tally)
        asked = rows = counts.pop()
        kept: list[int] | None = None
        marked = tuple(problem for problem in problems if problem.action == "mark")
        if marked:
            bad = {problem.row for problem in marked}
            kept = [row for row in range(asked) if row not in bad]
            tensors = [tensor.select(kept) for tensor in tensors]
            rows = len(kept)
        key = tuple(dim for tensor in tensors for dim in tensor.shape[1:]) if self._dynamic else ()
        # The request as it came is kept, and some tensors are views of it.
        held_bytes = max(request.held_bytes, sum(tensor.held_bytes for tensor in tensors))
        held_bytes += PROBLEM_BYTES * len(problems)
        flagged = tuple(problem for problem in problems if problem.action == "flag")
        return PreparedRequest(request, tuple(tensors), rows, key, held_bytes, asked, kept, marked, flagged)


def _settle(problems: Sequence[Problem], imputed: Mapping[str, int], tally: Tally) -> list[Problem]:
    """What is done about all that rows break, counted; what a contract and a step find alike is there once.

    Raises InvalidRequest where a row's request is refused, naming all rows that are not served.
    """
    served: list[Problem] = []
    if problems:
        found = {(problem.row, problem.column, problem.rule): problem for problem in problems}
        once = sorted(found.values(), key=lambda problem: problem.row)
        if any(problem.action == "refuse" for problem in once):
            for problem in once:
                tally.count(problem.rule, "refuse")
            raise InvalidRequest(describe([problem for problem in once if problem.action != "flag"]))
        bad = {problem.row for problem in once if problem.action == "mark"}
        served = [problem for problem in once if problem.action == "mark" or problem.row not in bad]
        for problem in served:
            tally.count(problem.rule, problem.action or "refuse")
    for rule, times in imputed.items():
        tally.count(rule, IMPUTE, times)
    return served
