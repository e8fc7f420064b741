"""The twin of the native program of features: the same operations, a column at a time, in NumPy and Python."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from steelyard.pipelines.plain.xxh64 import xxh64
from steelyard.pipelines.tabular.operations import (
    KEEP_MISSING,
    OUTPUT_TYPES,
    Chain,
    Code,
    Operation,
    Part,
    Rule,
    State,
    Unknown,
    state_after,
)

Array = NDArray[Any]

MAX_BREACHES = 16384
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Vocabulary:
    """Categories, by their bytes, and a number for each; unchanging."""

    def __init__(self, keys: list[bytes], values: Sequence[int]) -> None:
        if len(values) != len(keys):
            raise ValueError(f"expected a value for each of {len(keys)} categories, came {len(values)}")
        self._numbers = dict(zip(keys, values, strict=True))
        if len(self._numbers) != len(keys):
            raise ValueError("a category is listed twice")

    def __len__(self) -> int:
        return len(self._numbers)

    def find(self, key: bytes) -> int | None:
        """The number of `key`, or None."""
        return self._numbers.get(key)


class _Rows:
    """A column's values as operations change them."""

    def __init__(self, state: State, source: tuple[Any, ...], start: int, rows: int) -> None:
        self.state = state
        self.missing = np.frombuffer(source[1], "u1")[start : start + rows].astype(bool)
        self.broken = np.zeros(rows, "u1")
        self.values: Any
        if state is State.TEXT:
            starts = np.frombuffer(source[0], "<i8")[start : start + rows]
            lengths = np.frombuffer(source[2], "<i8")[start : start + rows]
            data = bytes(source[3])
            self.values = [data[at : at + size] for at, size in zip(starts, lengths, strict=True)]
        elif state is State.NUMBER:
            self.values = np.frombuffer(source[0], "<f8")[start : start + rows].copy()
            self.values[self.missing] = np.nan
        else:
            self.values = np.frombuffer(source[0], "<i8")[start : start + rows].copy()

    def keys(self) -> list[bytes]:
        """Each value as the bytes that lookups and hashes take."""
        if self.state is State.TEXT:
            return cast("list[bytes]", self.values)
        return [(value + 0.0 if self.state is State.NUMBER else value).tobytes() for value in self.values]

    def gone(self) -> Array:
        """Where a value is missing."""
        return np.isnan(self.values) if self.state is State.NUMBER else self.missing


def _arithmetic(rows: _Rows, op: Operation) -> None:
    x = rows.values
    with np.errstate(all="ignore"):
        match op.code:
            case Code.SUBTRACT:
                x -= op.a
            case Code.DIVIDE:
                x /= op.a
            case Code.MULTIPLY:
                x *= op.a
            case Code.ADD:
                x += op.a
            case Code.IMPUTE_NUMBER:
                x[np.isnan(x)] = op.a
            case Code.CLIP:
                np.clip(x, op.a, op.b, out=x)


def _logarithm(function: Callable[[float], float]) -> Callable[[_Rows, Operation], None]:
    """By the C library's function: NumPy's own may differ from it in the last bit."""

    def apply(rows: _Rows, _: Operation) -> None:
        lowest = 0.0 if function is math.log else -1.0
        for i, x in enumerate(rows.values):
            if x > lowest:
                rows.values[i] = function(x)
            else:
                rows.values[i] = -math.inf if x == lowest else math.nan

    return apply


def _bucket(rows: _Rows, op: Operation) -> None:
    rows.missing = np.isnan(rows.values)
    rows.values = np.searchsorted(cast(Array, op.data), rows.values, side="right").astype("<i8")


def _lookup(rows: _Rows, op: Operation) -> None:
    vocabulary = cast(Vocabulary, op.data)
    gone = rows.gone().copy()
    values = np.zeros(len(gone), "<i8")
    for i, key in enumerate(rows.keys()):
        if gone[i]:
            if op.k != KEEP_MISSING:
                values[i] = op.k
                gone[i] = False
            continue
        number = vocabulary.find(key)
        if number is not None:
            values[i] = number
        elif op.n == Unknown.INDEX:
            values[i] = op.m
        else:
            gone[i] = True
            if op.n == Unknown.REFUSE and not rows.broken[i]:
                rows.broken[i] = Rule.UNKNOWN_CATEGORY
    rows.values, rows.missing = values, gone


def _hash(rows: _Rows, op: Operation) -> None:
    hashed = [
        0 if gone else xxh64(key, op.m) % op.n for key, gone in zip(rows.keys(), rows.missing, strict=True)
    ]
    rows.values = np.array(hashed, "<i8")


def _date_part(rows: _Rows, op: Operation) -> None:
    part = Part(op.n)
    for i, (us, gone) in enumerate(zip(rows.values.tolist(), rows.missing, strict=True)):
        if gone:
            continue
        time = _EPOCH + timedelta(microseconds=us)
        rows.values[i] = time.weekday() if part is Part.WEEKDAY else getattr(time, part.name.lower())


def _impute(rows: _Rows, op: Operation) -> None:
    if op.code is Code.IMPUTE_TEXT:
        rows.values = [
            op.data if gone else value for gone, value in zip(rows.missing, rows.values, strict=True)
        ]
    else:
        rows.values[rows.missing] = op.n
    rows.missing[:] = False


def _to_number(rows: _Rows, _: Operation) -> None:
    rows.values = rows.values.astype("<f8")
    rows.values[rows.missing] = np.nan


def _is_missing(rows: _Rows, _: Operation) -> None:
    rows.values = rows.gone().astype("<i8")
    rows.missing = np.zeros(len(rows.values), bool)


def _refuse_missing(rows: _Rows, _: Operation) -> None:
    rows.broken[rows.gone() & (rows.broken == 0)] = Rule.MISSING_VALUE


_APPLY: dict[Code, Callable[[_Rows, Operation], None]] = {
    **dict.fromkeys((Code.SUBTRACT, Code.DIVIDE, Code.MULTIPLY, Code.ADD), _arithmetic),
    **dict.fromkeys((Code.IMPUTE_NUMBER, Code.CLIP), _arithmetic),
    Code.LOG: _logarithm(math.log),
    Code.LOG1P: _logarithm(math.log1p),
    Code.IMPUTE_INTEGER: _impute,
    Code.IMPUTE_TEXT: _impute,
    Code.TO_NUMBER: _to_number,
    Code.BUCKET: _bucket,
    Code.LOOKUP: _lookup,
    Code.HASH: _hash,
    Code.DATE_PART: _date_part,
    Code.IS_MISSING: _is_missing,
    Code.REFUSE_MISSING: _refuse_missing,
}


class Program:
    """Chains, run one after another over all rows."""

    def __init__(self, chains: list[Chain], columns: int, width: int, datatype: str) -> None:
        self._chains = chains
        self._width = width
        self._dtype = np.dtype(OUTPUT_TYPES[datatype])

    def run(
        self, sources: list[tuple[Any, ...]], start: int, rows: int, out: Any
    ) -> list[tuple[int, int, int]]:
        """As the native program's."""
        breaches: list[tuple[int, int, int]] = []
        target = np.zeros((rows, self._width), self._dtype)
        for number, chain in enumerate(self._chains):
            column = _Rows(chain.state, sources[chain.column], start, rows)
            for operation in chain.operations:
                after = state_after(operation.code, column.state)
                if after is None:
                    raise ValueError(f"operation {operation.code.name} cannot follow {column.state.name}")
                _APPLY[operation.code](column, operation)
                column.state = after
            breaches += [(int(row), number, int(column.broken[row])) for row in np.flatnonzero(column.broken)]
            self._store(target, chain, column)
        if out is not None:
            np.frombuffer(out, self._dtype)[: target.size] = target.reshape(-1)
        return breaches

    def _store(self, target: Array, chain: Chain, column: _Rows) -> None:
        if chain.one_hot:
            there = ~column.missing & (column.values >= 0) & (column.values < chain.one_hot)
            target[np.flatnonzero(there), chain.offset + column.values[there]] = 1
            return
        values = column.values
        with np.errstate(over="ignore", invalid="ignore"):
            if column.state is State.INTEGER:
                values = np.where(column.missing, 0, values)
                if self._dtype.kind == "f":
                    values = np.where(column.missing, np.nan, values.astype("<f8"))
            target[:, chain.offset] = values
