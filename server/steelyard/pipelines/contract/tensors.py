"""Contracts of whole tensors: a caller's input as a column of its elements, and back where values were put in."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard._native import tabular as native
from steelyard.errors import InvalidRequest, ManifestError
from steelyard.models.contract import Contract, OnBreach
from steelyard.models.spec import DYNAMIC, TensorSpec
from steelyard.models.version_manifest import InputManifest
from steelyard.pipelines.bounds import check_prepared
from steelyard.pipelines.contract.plan import ContractPlan
from steelyard.pipelines.contract.rules import Rules, compile_rules, kind_of
from steelyard.pipelines.elements import join_elements
from steelyard.pipelines.problems import Problem
from steelyard.pipelines.tabular.columns import Column, Kind, TextColumn, ValueColumn
from steelyard.wire.types import InputTensor

Array = NDArray[Any]

# The types that have a value for a missing one: NaN.
_FLOATS = ("FP16", "BF16", "FP32", "FP64")


@dataclass(frozen=True, slots=True)
class GivenTensor:
    """A tensor in the place of a caller's own: with values put in, or made up where it was left out."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview
    parameters: dict[str, bool | int | str | float]


@dataclass(frozen=True, slots=True)
class HeldTensor:
    """A caller's tensor after it was held against its contract."""

    tensor: InputTensor
    problems: tuple[Problem, ...]
    imputed: dict[str, int]


class TensorContract:
    """The contract of one of the caller's tensors; immutable, so threads may share it."""

    def __init__(self, spec: TensorSpec, rules: Rules, required: bool, row_bytes: int | None) -> None:
        """row_bytes: the largest row of a tensor of numbers, None: any."""
        self.name = spec.name
        self.required = required
        self.action = rules.action
        self._spec = spec
        self._rules = rules
        self._row_bytes = row_bytes
        self._plan = ContractPlan([rules])

    def hold(self, tensor: InputTensor, rows: int) -> HeldTensor:
        """Checks a tensor of `rows` rows. What a row breaks is a problem."""
        width = prod(tensor.shape[1:])
        problems: tuple[Problem, ...] = ()
        if self._row_bytes is not None and rows and tensor.data.nbytes // rows > self._row_bytes:
            size = tensor.data.nbytes // rows
            problems = tuple(
                Problem(
                    row, self.name, "size", f"at most {self._row_bytes} bytes", f"{size} bytes", self.action
                )
                for row in range(rows)
            )
        if self._plan.is_empty or not rows or not width:
            return HeldTensor(tensor, problems, {})
        column = self._column(tensor, rows * width)
        held = self._plan.hold({self.name: column}, rows * width, width)
        after = held.columns.get(self.name)
        if after is not None:
            tensor = self._given(_elements(after, self._spec), tensor.shape)
        return HeldTensor(tensor, (*problems, *held.problems), dict(held.imputed))

    def absent(self, rows: int) -> GivenTensor:
        """The tensor of a request that left it out: each value is what stands for a missing one."""
        shape = (rows, *self._spec.dims[1:])
        item_bytes = max(self._spec.element.dtype.itemsize, 1)
        check_prepared(self.name, shape, item_bytes)
        value = self._rules.missing_value
        cells = prod(shape)
        if self._spec.datatype == "BYTES":
            return self._given(join_elements([value or b""] * cells), shape)
        values = np.full(cells, np.nan if value is None else value)
        column = ValueColumn(self._rules.kind, values, np.zeros(cells, np.bool_))
        return self._given(_elements(column, self._spec), shape)

    def _given(self, data: bytes, shape: Sequence[int]) -> GivenTensor:
        return GivenTensor(self.name, self._spec.datatype, tuple(shape), memoryview(data), {})

    def _column(self, tensor: InputTensor, cells: int) -> Column:
        """A tensor's elements. Of a type that float64 and int64 cannot hold whole (UINT64), the nearest."""
        data = tensor.data
        if tensor.datatype == "BYTES":
            starts, lengths = np.empty(cells, np.int64), np.empty(cells, np.int64)
            try:
                native.split_elements_of(data, starts, lengths)
            except ValueError as exc:
                raise InvalidRequest(f"input '{self.name}': {exc}") from exc
            return TextColumn(starts, lengths, np.zeros(cells, np.bool_), data)
        if tensor.datatype in ("FP32", "FP64"):
            numbers, missing = np.empty(cells, np.float64), np.empty(cells, np.bool_)
            native.copy_floats(data, numbers, missing)
            return ValueColumn(Kind.NUMBER, numbers, missing)
        values: Array = np.frombuffer(data, self._spec.element.dtype)
        if tensor.datatype == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        if self._rules.kind is Kind.NUMBER:
            numbers = values.astype(np.float64)
            return ValueColumn(Kind.NUMBER, numbers, np.isnan(numbers))
        return ValueColumn(self._rules.kind, values.astype(np.int64), np.zeros(cells, np.bool_))


def _elements(column: Column, spec: TensorSpec) -> bytes:
    """A column as a tensor's bytes; what is missing is NaN."""
    if isinstance(column, TextColumn):
        data = memoryview(bytes(column.data))
        bounds = zip(column.starts.tolist(), column.lengths.tolist(), strict=True)
        return join_elements([data[start : start + size] for start, size in bounds])
    values = column.values
    if column.missing.any():
        values = np.where(column.missing, np.nan, values)
    if spec.datatype == "BF16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return values.astype(spec.element.dtype).tobytes()


def compile_tensor_contract(
    tensor: InputManifest, spec: TensorSpec, directory: Path, on_breach: OnBreach
) -> TensorContract:
    """The contract of an input whose values are tensors' own; on_breach: where it does not say.

    Raises ManifestError that names the input.
    """
    contract, kind = tensor.contract, kind_of(spec)
    row_bytes = None
    if kind is not Kind.TEXT and contract.max_bytes is not None:
        row_bytes = contract.max_bytes
        contract = contract.model_copy(update={"max_bytes": None})
    rules = compile_rules(contract, spec.name, kind, directory, on_breach)
    if contract.unknown == "null" and spec.datatype not in _FLOATS:
        raise ManifestError(
            f"contract of '{spec.name}': unknown = 'null': {spec.datatype} has no value for a missing one"
        )
    for value in (rules.missing_value, rules.unknown_value):
        if value is not None:
            _check_fits(value, spec)
    if not tensor.required:
        _check_optional(contract, spec)
    return TensorContract(spec, rules, tensor.required, row_bytes)


def _check_optional(contract: Contract, spec: TensorSpec) -> None:
    where = f"input '{spec.name}': required = false"
    if contract.missing == "refuse":
        raise ManifestError(f"{where}: its contract refuses missing values")
    if contract.missing != "impute" and spec.datatype not in _FLOATS:
        raise ManifestError(
            f"{where}: expected missing = 'impute' with a value in its contract, for {spec.datatype} has no value "
            "for a missing one"
        )
    if DYNAMIC in spec.dims[1:]:
        raise ManifestError(
            f"{where}: expected every dimension but the first to be fixed, got {list(spec.dims)}"
        )


def _check_fits(value: Any, spec: TensorSpec) -> None:
    """Raises ManifestError for a value to put in that the tensor's datatype does not hold."""
    if spec.datatype == "UINT64":
        raise ManifestError(f"contract of '{spec.name}': no value can be put into UINT64")
    if spec.datatype in ("BYTES", "BOOL", "BF16"):
        return
    dtype = spec.element.dtype
    limits: Any = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    if not limits.min <= value <= limits.max:
        raise ManifestError(f"contract of '{spec.name}': value: {spec.datatype} does not hold {value}")
