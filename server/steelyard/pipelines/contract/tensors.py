"""Contracts of whole tensors: a caller's input as a column of its elements, and back where values were put in."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steelyard._native import tabular as native
from steelyard.errors import InvalidRequest, ManifestError
from steelyard.models.bfloat16 import LARGEST, from_bfloat16, to_bfloat16
from steelyard.models.contract import Contract, OnBreach
from steelyard.models.spec import DYNAMIC, TensorSpec
from steelyard.models.version_manifest import InputManifest
from steelyard.pipelines.bounds import check_prepared
from steelyard.pipelines.contract.plan import ContractPlan, raw
from steelyard.pipelines.contract.rules import Rules, compile_rules, kind_of
from steelyard.pipelines.elements import join_elements
from steelyard.pipelines.given import GivenTensor
from steelyard.pipelines.problems import Problem, shown, unservable
from steelyard.pipelines.tabular.columns import (
    MAX_CELLS,
    MAX_ROWS,
    Column,
    Kind,
    TextColumn,
    ValueColumn,
)
from steelyard.wire.types import InputTensor

Array = NDArray[Any]

# Elements of numbers that are checked at a time, where a row has not more: 17 MB.
CHUNK_CELLS = 1 << 20

# The types that have a value for a missing one: NaN.
_FLOATS = ("FP16", "BF16", "FP32", "FP64")


@dataclass(frozen=True, slots=True)
class HeldTensor:
    """A caller's tensor after it was held against its contract."""

    tensor: InputTensor
    problems: tuple[Problem, ...]
    imputed: Mapping[str, int]


class TensorContract:
    """The contract of one of the caller's tensors; immutable, so threads may share it."""

    def __init__(
        self, spec: TensorSpec, rules: Rules, required: bool, row_bytes: int | None, is_text: bool
    ) -> None:
        """row_bytes: the largest row of a tensor of numbers, None: any. is_text: whether elements have to be UTF-8."""
        self.name = spec.name
        self.required = required
        self.action = rules.action
        self._spec = spec
        self._rules = rules
        self._row_bytes = row_bytes
        self._is_text = is_text
        self._plan = ContractPlan([rules])
        self.row_elements = 0 if required else prod(spec.dims[1:])
        """Of a row that is made up where the tensor is left out."""
        self.has_pattern = rules.matches is not None
        self._hole = _element(rules, spec)

    def hold(self, tensor: InputTensor, rows: int) -> HeldTensor:
        """Checks a tensor of `rows` rows. What a row breaks is a problem.

        Raises InvalidRequest where there are more rows or elements than can be checked.
        """
        width = prod(tensor.shape[1:])
        if self._plan.is_empty and not self._is_text and self._row_bytes is None:
            return HeldTensor(tensor, (), {})
        if rows > MAX_ROWS:
            raise InvalidRequest(
                f"input '{self.name}': expected at most {MAX_ROWS} rows, which has a contract, came {rows}"
            )
        if width > MAX_CELLS:
            raise InvalidRequest(
                f"input '{self.name}': expected at most {MAX_CELLS} elements a row, which has a contract, came {width}"
            )
        problems = self._large_rows(tensor, rows)
        if not rows or not width or (self._plan.is_empty and not self._is_text):
            return HeldTensor(tensor, tuple(problems), {})
        if tensor.datatype == "BYTES":
            column = self._texts(tensor.data, rows * width, width, problems)
            held = self._plan.hold({self.name: column}, rows * width, width)
            after = held.columns.get(self.name)
            if after is not None:
                tensor = self._given(_elements(after, self._spec), tensor.shape)
            return HeldTensor(tensor, (*problems, *held.problems), held.imputed)
        return self._hold_numbers(tensor, rows, width, problems)

    def _hold_numbers(
        self, tensor: InputTensor, rows: int, width: int, problems: list[Problem]
    ) -> HeldTensor:
        """Some rows at a time: as columns they take up to 17 times as much memory."""
        imputed: Counter[str] = Counter()
        parts: list[bytes | memoryview] = []
        changed = False
        row_bytes = tensor.data.nbytes // rows
        step = max(1, CHUNK_CELLS // width)
        for start in range(0, rows, step):
            count = min(step, rows - start)
            data = tensor.data[start * row_bytes : (start + count) * row_bytes]
            held = self._plan.hold({self.name: self._numbers(data, count * width)}, count * width, width)
            problems += [replace(problem, row=start + problem.row) for problem in held.problems]
            imputed.update(held.imputed)
            after = held.columns.get(self.name)
            changed |= after is not None
            parts.append(data if after is None else _elements(after, self._spec))
        if changed:
            tensor = self._given(b"".join(parts), tensor.shape)
        return HeldTensor(tensor, tuple(problems), imputed)

    def _large_rows(self, tensor: InputTensor, rows: int) -> list[Problem]:
        """Of a tensor of numbers all rows have one size."""
        size = tensor.data.nbytes // rows if rows else 0
        if self._row_bytes is None or size <= self._row_bytes:
            return []
        expected, came = f"at most {self._row_bytes} bytes", f"{size} bytes"
        return [Problem(row, self.name, "size", expected, came, self.action) for row in range(rows)]

    def absent(self, rows: int) -> GivenTensor:
        """The tensor of a request that left it out: each value is what stands for a missing one."""
        shape = (rows, *self._spec.dims[1:])
        check_prepared(self.name, shape, len(self._hole))
        return self._given(self._hole * prod(shape), shape)

    def _given(self, data: bytes, shape: Sequence[int]) -> GivenTensor:
        return GivenTensor(self.name, self._spec.datatype, tuple(shape), memoryview(data), {})

    def _texts(self, data: memoryview, cells: int, width: int, problems: list[Problem]) -> TextColumn:
        """The elements of a BYTES tensor. Where they have to be UTF-8, the first of a row that is not is a problem."""
        if cells > MAX_CELLS:
            raise InvalidRequest(f"input '{self.name}': expected at most {MAX_CELLS} elements, came {cells}")
        starts, lengths = np.empty(cells, np.int64), np.empty(cells, np.int64)
        missing = np.zeros(cells, np.bool_)
        column = TextColumn(starts, lengths, missing, data)
        try:
            if not self._is_text:
                native.split_elements_of(data, starts, lengths)
                return column
            wrong = native.split_texts(data, starts, lengths, missing)
        except ValueError as exc:
            raise InvalidRequest(f"input '{self.name}': {exc}") from exc
        missing[:] = False
        action = unservable(self.action)
        last = -1
        for cell in wrong:
            row = cell // width
            if row != last:
                problems.append(Problem(row, self.name, "utf8", "UTF-8", shown(raw(column, cell)), action))
            last = row
        return column

    def _numbers(self, data: memoryview, cells: int) -> ValueColumn:
        """A tensor's elements. Of a type that float64 and int64 cannot hold whole (UINT64), the nearest."""
        datatype = self._spec.datatype
        if datatype in ("FP32", "FP64"):
            numbers, missing = np.empty(cells, np.float64), np.empty(cells, np.bool_)
            native.copy_floats(data, numbers, missing)
            return ValueColumn(Kind.NUMBER, numbers, missing)
        values: Array = np.frombuffer(data, self._spec.element.dtype)
        if datatype == "BF16":
            values = from_bfloat16(values)
        if self._rules.kind is Kind.NUMBER:
            numbers = values.astype(np.float64)
            return ValueColumn(Kind.NUMBER, numbers, np.isnan(numbers))
        return ValueColumn(self._rules.kind, values.astype(np.int64), np.zeros(cells, np.bool_))


def _element(rules: Rules, spec: TensorSpec) -> bytes:
    """What stands for a missing element, in the tensor's bytes: the contract's value, else NaN or nothing."""
    value = rules.missing_value
    if spec.datatype == "BYTES":
        return join_elements([value or b""])
    if value is None:
        value = np.nan if rules.kind is Kind.NUMBER and spec.datatype in _FLOATS else 0
    return _elements(ValueColumn(rules.kind, np.array([value]), np.zeros(1, np.bool_)), spec)


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
        return to_bfloat16(values).tobytes()
    return values.astype(spec.element.dtype).tobytes()


def compile_tensor_contract(
    tensor: InputManifest, spec: TensorSpec, directory: Path, on_breach: OnBreach, passed: bool
) -> TensorContract:
    """The contract of an input whose values are tensors' own.

    on_breach: where it does not say. passed: whether the tensor is the model's own. Raises ManifestError that names the
    input.
    """
    contract, kind = tensor.contract, kind_of(spec)
    row_bytes = None
    if kind is not Kind.TEXT and contract.max_bytes is not None:
        row_bytes = contract.max_bytes
        contract = contract.model_copy(update={"max_bytes": None})
    rules = compile_rules(contract, spec.name, kind, directory, on_breach, _nearest_of(spec))
    if contract.unknown == "null" and spec.datatype not in _FLOATS:
        raise ManifestError(
            f"contract of '{spec.name}': unknown = 'null': {spec.datatype} has no value for a missing one"
        )
    for value in (rules.missing_value, rules.unknown_value):
        if value is not None:
            _check_fits(value, spec)
    if not tensor.required:
        _check_optional(contract, spec)
    return TensorContract(spec, rules, tensor.required, row_bytes, passed and spec.datatype == "BYTES")


def _nearest_of(spec: TensorSpec) -> Callable[[float], float]:
    """What a number becomes in a tensor's datatype; one that is too large stays, for no element is beyond it."""

    def nearest(value: float) -> float:
        exact = np.array([value], np.float64)
        with np.errstate(over="ignore"):
            if spec.datatype == "BF16":
                rounded = float(from_bfloat16(to_bfloat16(exact))[0])
            else:
                rounded = float(exact.astype(spec.element.dtype)[0])
        return rounded if np.isfinite(rounded) else float(value)

    return nearest if spec.datatype in ("FP16", "BF16", "FP32") else float


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
    if spec.datatype in ("BYTES", "BOOL"):
        return
    dtype = spec.element.dtype
    if spec.datatype == "BF16":
        limit = float(from_bfloat16(np.array([LARGEST], np.uint16))[0])
        least, greatest = -limit, limit
    else:
        limits: Any = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        least, greatest = limits.min, limits.max
    if not least <= value <= greatest:
        raise ManifestError(f"contract of '{spec.name}': value: {spec.datatype} does not hold {value}")
