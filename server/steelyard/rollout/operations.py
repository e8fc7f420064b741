"""What expressions can do with values: arithmetic, comparisons, truths, and a short list of functions.

A value is a number or a truth, or an array whose first axis counts rows.
"""

import ast
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from steelyard.rollout.sides import Array

Value = float | bool | Array
Operation = Callable[..., Value]


class NotComparable(Exception):
    """The expression cannot be worked out for this pair; the text says why."""


def described(value: Value) -> str:
    """What a value is, for a message."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype.name} of shape {list(value.shape)}"
    return "true or false" if isinstance(value, bool) else "a number"


def array_of(value: Value) -> Array:
    if not isinstance(value, np.ndarray):
        raise NotComparable(f"expected the values of an output, came {described(value)}")
    return value


def number(value: Value) -> Value:
    """Numbers as float64, truths as 0 and 1: whole numbers must not wrap around."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise NotComparable("expected numbers, came bytes, which can only be compared by == and !=")
        return value.astype(np.float64, copy=False)
    return float(value)


def truth(value: Value) -> Value:
    if isinstance(value, bool) or (isinstance(value, np.ndarray) and value.dtype == np.bool_):
        return value
    raise NotComparable(f"expected true or false, came {described(value)}")


def paired(*values: Value) -> tuple[Value, ...]:
    """Values with as many axes: one a row stands for all of the row's. None grows beyond the largest of them."""
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    if len(arrays) < 2:
        return values
    axes = max(array.ndim for array in arrays)
    found = tuple(
        value.reshape(value.shape + (1,) * (axes - value.ndim)) if isinstance(value, np.ndarray) else value
        for value in values
    )
    shapes = [value.shape for value in found if isinstance(value, np.ndarray)]
    try:
        size = math.prod(np.broadcast_shapes(*shapes))
    except ValueError:
        size = -1
    if size not in {array.size for array in arrays}:
        raise NotComparable(
            f"expected shapes that fit, came {' and '.join(str(list(shape)) for shape in shapes)}"
        )
    return found


def _numbers(operation: Callable[..., Any]) -> Operation:
    """Of numbers, value by value."""

    def apply(*values: Value) -> Value:
        found = operation(*paired(*map(number, values)))
        return found if isinstance(found, np.ndarray) else plain(found)

    return apply


def plain(value: Any) -> float | bool:
    """One number or truth as Python's."""
    return bool(value) if isinstance(value, bool | np.bool_) else float(value)


def _same(left: Value, right: Value) -> Value:
    left, right = paired(left, right)
    kinds = {value.dtype.kind if isinstance(value, np.ndarray) else "f" for value in (left, right)}
    if "O" in kinds and kinds != {"O"}:
        raise NotComparable(
            f"expected values that can be compared, came {described(left)} and {described(right)}"
        )
    found = np.equal(left, right)
    return found.astype(np.bool_, copy=False) if isinstance(found, np.ndarray) else bool(found)


def nots(value: Value) -> Value:
    value = truth(value)
    return ~value if isinstance(value, np.ndarray) else not value


def both(left: Value, right: Value) -> Value:
    left, right = paired(truth(left), truth(right))
    found = np.logical_and(left, right)
    return found if isinstance(found, np.ndarray) else bool(found)


def either(left: Value, right: Value) -> Value:
    left, right = paired(truth(left), truth(right))
    found = np.logical_or(left, right)
    return found if isinstance(found, np.ndarray) else bool(found)


negative = _numbers(np.negative)


def _rows(operation: Callable[[Array], Any]) -> Operation:
    """Of numbers, row by row: [rows, ...] to [rows]."""

    def apply(value: Value) -> Value:
        found: Array = operation(flat(number(value)))
        return found

    return apply


def _truths(operation: Callable[[Array], Any]) -> Operation:
    """Of truths, row by row: [rows, ...] to [rows]."""

    def apply(value: Value) -> Value:
        found: Array = operation(flat(truth(value)))
        return found

    return apply


def flat(value: Value) -> Array:
    """[rows, values] of [rows, ...]."""
    array = array_of(value)
    return array.reshape(len(array), math.prod(array.shape[1:]))


def top(value: Value, k: int) -> Value:
    """The k largest of each row in falling order, [rows, k]; all of them where a row has fewer."""
    return -np.sort(-flat(number(value)), axis=1)[:, :k]


def _where(condition: Value, yes: Value, no: Value) -> Value:
    condition, yes, no = paired(truth(condition), number(yes), number(no))
    found = np.where(condition, yes, no)
    return found if found.ndim else float(found)


ARITHMETIC: dict[type[ast.operator], Operation] = {
    ast.Add: _numbers(np.add),
    ast.Sub: _numbers(np.subtract),
    ast.Mult: _numbers(np.multiply),
    ast.Div: _numbers(np.divide),
}
COMPARISONS: dict[type[ast.cmpop], Operation] = {
    ast.Lt: _numbers(np.less),
    ast.LtE: _numbers(np.less_equal),
    ast.Gt: _numbers(np.greater),
    ast.GtE: _numbers(np.greater_equal),
    ast.Eq: _same,
    ast.NotEq: lambda left, right: nots(_same(left, right)),
}
# By how many values they take.
FUNCTIONS: dict[str, dict[int, Operation]] = {
    "abs": {1: _numbers(np.absolute)},
    "sqrt": {1: _numbers(np.sqrt)},
    "log": {1: _numbers(np.log)},
    "exp": {1: _numbers(np.exp)},
    "isfinite": {1: _numbers(np.isfinite)},
    "isnan": {1: _numbers(np.isnan)},
    "min": {1: _rows(lambda rows: rows.min(axis=1)), 2: _numbers(np.minimum)},
    "max": {1: _rows(lambda rows: rows.max(axis=1)), 2: _numbers(np.maximum)},
    "sum": {1: _rows(lambda rows: rows.sum(axis=1))},
    "mean": {1: _rows(lambda rows: rows.sum(axis=1) / np.float64(rows.shape[1]))},
    "norm": {1: _rows(lambda rows: np.sqrt(np.einsum("ij,ij->i", rows, rows)))},
    "argmin": {1: _rows(lambda rows: rows.argmin(axis=1))},
    "argmax": {1: _rows(lambda rows: rows.argmax(axis=1))},
    "all": {1: _truths(lambda rows: rows.all(axis=1))},
    "any": {1: _truths(lambda rows: rows.any(axis=1))},
    "where": {3: _where},
    "top": {2: top},
}
