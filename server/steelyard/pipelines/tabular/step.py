"""The step `table`: rows of named columns into the model's tensors, computed when the batch has room for them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from steelyard.models.contract import OnBreach
from steelyard.models.spec import DYNAMIC, TensorSpec
from steelyard.pipelines.bounds import check_prepared
from steelyard.pipelines.contract.plan import ContractPlan
from steelyard.pipelines.contract.rules import compile_rules
from steelyard.pipelines.misfits import misfit, shown_dims
from steelyard.pipelines.prepared import BAD_ROW_BYTES, HEAVY, PATTERN_WEIGHT, Preparation
from steelyard.pipelines.problems import Problem
from steelyard.pipelines.tabular.arrow_source import ArrowSource
from steelyard.pipelines.tabular.columns import Columns
from steelyard.pipelines.tabular.declaration import TabularTable
from steelyard.pipelines.tabular.json_source import JsonSource
from steelyard.pipelines.tabular.plan import TabularPlan, TensorPlan, compile_plan
from steelyard.pipelines.tabular.profiled import profile_of
from steelyard.pipelines.tabular.tensor_source import TensorSource
from steelyard.toml import did_you_mean
from steelyard.wire.types import InputTensor

Array = npt.NDArray[Any]


# What callers send for a column of each kind, where each column is a tensor.
COLUMN_DATATYPES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "text": "BYTES", "date": "BYTES"}


class TableStep(TabularTable):
    """Options of the step: how rows come, their columns, and the tensors made of them."""

    step: Literal["table"]


@dataclass(frozen=True, slots=True)
class TableTensor:
    """The rows of one request for one of the model's tensors."""

    plan: TensorPlan
    columns: Columns
    held_bytes: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.columns.rows, self.plan.width)

    def fill(self, target: Array) -> None:
        self.plan.run(self.columns, target)

    def select(self, rows: Sequence[int]) -> "TableTensor":
        return replace(self, columns=self.columns.select(np.asarray(rows, np.int64)))


@dataclass(frozen=True, slots=True)
class TablePreparer:
    """Rows of columns to rows of features. Immutable, so threads may share it."""

    sources: Sequence[str]
    targets: Sequence[str]
    optional: Sequence[str]
    reader: JsonSource | ArrowSource | TensorSource
    contract: ContractPlan
    plan: TabularPlan

    def looks_at(self, size: int, rows: int) -> int:
        """What is read, and a message for each row where all are bad. An Arrow batch alone takes 0.1 ms to open."""
        if isinstance(self.reader, ArrowSource):
            return HEAVY
        weight = PATTERN_WEIGHT if self.contract.has_pattern else 1
        return weight * size + rows * BAD_ROW_BYTES

    def prepare(self, tensors: Sequence[InputTensor], rows: int) -> Preparation:
        """The rows are those of the table: an Arrow batch is one element and has any number of them.

        What is wrong with a cell is a problem, by the rule that it breaks.
        """
        columns = (
            self.reader.read(tensors)
            if isinstance(self.reader, TensorSource)
            else self.reader.read(tensors[0])
        )
        plans = list(self.plan.tensors.values())
        for plan in plans:
            check_prepared(self.sources[0], (columns.rows, plan.width), plan.dtype.itemsize)
        held = self.contract.hold(columns.by_name, columns.rows)
        if held.columns:
            columns = Columns(columns.rows, {**columns.by_name, **held.columns}, columns.problems)
        problems = _first_found(columns.problems, (*held.problems, *self.plan.find_problems(columns)))
        held_bytes = sum(tensor.data.nbytes for tensor in tensors)
        made = tuple(TableTensor(plan, columns, held_bytes if not at else 0) for at, plan in enumerate(plans))
        return Preparation(made, problems, held.imputed)


def _first_found(read: Sequence[Problem], later: Sequence[Problem]) -> tuple[Problem, ...]:
    """All problems, but for those of cells that could not be read: these are missing, which is no news."""
    if not read or not later:
        return (*read, *later)
    cells = {(problem.row, problem.column) for problem in read}
    unread = [found for found in later if cells.isdisjoint({(found.row, found.column), (found.row, "")})]
    return (*read, *unread)


def compile_table(
    step: TableStep,
    source: TensorSpec,
    model_inputs: Sequence[TensorSpec],
    directory: Path,
    on_breach: OnBreach = "refuse",
) -> tuple[TablePreparer, tuple[TensorSpec, ...]]:
    """The step to those of `model_inputs` that its tensors name, and what callers send for it.

    That is `source`, BYTES of [rows] or [rows, 1], or a tensor of [rows] for each column. directory: the version's,
    with files of categories and the training profile. on_breach: what is done about rows where a column's contract
    does not say. Raises ManifestError that names the input, the tensor, the feature and the step.
    """
    where = f"input '{source.name}'"
    if source.datatype != "BYTES" or source.dims[1:] not in ((), (1,)):
        raise misfit(
            where, step.step, f"expected BYTES of [-1], got {source.datatype} of {shown_dims(source.dims)}"
        )
    plan = compile_plan(step, profile_of(directory), directory=directory)
    by_name = {tensor.name: tensor for tensor in model_inputs}
    for name, made in plan.tensors.items():
        own = by_name.get(name)
        if own is None:
            raise misfit(
                where, step.step, f"tensor '{name}': the model has no such input{did_you_mean(name, by_name)}"
            )
        fits = own.datatype == made.datatype and len(own.dims) == 2 and own.dims[1] in (DYNAMIC, made.width)
        if not fits:
            raise misfit(
                where,
                step.step,
                f"makes {made.datatype} of {shown_dims((DYNAMIC, made.width))}, the model's input '{name}' expects "
                f"{own.datatype} of {shown_dims(own.dims)}",
            )
    if step.rows == "columns":
        offered = tuple(
            TensorSpec(column.name, COLUMN_DATATYPES[column.kind], (DYNAMIC,)) for column in step.column
        )
        reader: JsonSource | ArrowSource | TensorSource = TensorSource(step.column)
    else:
        offered = (source,)
        reader = JsonSource(step.column) if step.rows == "json" else ArrowSource(step.column)
    names = tuple(tensor.name for tensor in offered)
    optional = (
        [column.name for column in step.column if not column.required] if step.rows == "columns" else []
    )
    rules = [
        compile_rules(column.contract, column.name, column.column_kind, directory, on_breach)
        for column in step.column
    ]
    contract = ContractPlan(rules)
    return TablePreparer(names, tuple(plan.tensors), optional, reader, contract, plan), offered
