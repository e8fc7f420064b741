"""The operations that steps are compiled to, numbered as the native program numbers them."""

from dataclasses import dataclass
from enum import IntEnum


class State(IntEnum):
    """What a chain holds at a point: how a block's values are stored."""

    NUMBER = 0
    """float64; a missing value is NaN."""
    INTEGER = 1
    """int64 and a mask: whole numbers, booleans, microseconds from 1970, and indices."""
    TEXT = 2
    """Bytes of UTF-8 and a mask."""


class Code(IntEnum):
    """What an operation does; the fields of `Operation` that it uses stand behind it."""

    IMPUTE_NUMBER = 1  # a
    IMPUTE_INTEGER = 2  # n
    IMPUTE_TEXT = 3  # data: bytes
    TO_NUMBER = 4
    SUBTRACT = 5  # a
    DIVIDE = 6  # a
    MULTIPLY = 7  # a
    ADD = 8  # a
    CLIP = 9  # a: least, b: greatest
    LOG = 10
    LOG1P = 11
    BUCKET = 12  # data: ascending float64 edges
    LOOKUP = (
        13  # data: a Vocabulary; n: an `Unknown`, m: its index; k: index of a missing value, or KEEP_MISSING
    )
    HASH = 14  # n: buckets, m: seed
    DATE_PART = 15  # n: a `Part`
    IS_MISSING = 16
    REFUSE_MISSING = 17


class Unknown(IntEnum):
    """What a lookup makes of a value that is not in its vocabulary."""

    REFUSE = 0
    INDEX = 1
    MISSING = 2


class Part(IntEnum):
    """Parts of a date, in UTC and the proleptic Gregorian calendar; Monday is 0."""

    YEAR = 0
    MONTH = 1
    DAY = 2
    WEEKDAY = 3
    HOUR = 4
    MINUTE = 5


class Rule(IntEnum):
    """What a row can break while a program runs."""

    UNKNOWN_CATEGORY = 1
    MISSING_VALUE = 2


KEEP_MISSING = -(1 << 63)
"""The `k` of a lookup that leaves a missing value missing: no index is as low."""

OUTPUT_TYPES = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}
"""Datatypes of a program's output, with numpy's names of them."""

_ARITHMETIC = frozenset(
    (
        Code.IMPUTE_NUMBER,
        Code.SUBTRACT,
        Code.DIVIDE,
        Code.MULTIPLY,
        Code.ADD,
        Code.CLIP,
        Code.LOG,
        Code.LOG1P,
    )
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation with its parameters, each with the meaning that `Code` gives it."""

    code: Code
    a: float = 0.0
    b: float = 0.0
    n: int = 0
    m: int = 0
    k: int = 0
    data: object = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Operations from one column to one place of the output."""

    column: int
    state: State
    """What the column holds."""
    operations: tuple[Operation, ...]
    offset: int
    """The first output column."""
    one_hot: int = 0
    """How many output columns, one of which is set to 1; 0: the value goes into one."""


def state_after(code: Code, state: State) -> State | None:
    """The state that an operation leaves, or None where it cannot follow `state`."""
    match code, state:
        case (Code.IS_MISSING | Code.LOOKUP, _):
            return State.INTEGER
        case (Code.REFUSE_MISSING, _):
            return state
        case (Code.BUCKET, State.NUMBER) | (Code.HASH, State.INTEGER | State.TEXT):
            return State.INTEGER
        case (Code.IMPUTE_TEXT, State.TEXT):
            return State.TEXT
        case (Code.TO_NUMBER, State.INTEGER):
            return State.NUMBER
        case (Code.IMPUTE_INTEGER | Code.DATE_PART, State.INTEGER):
            return State.INTEGER
        case (_, State.NUMBER) if code in _ARITHMETIC:
            return State.NUMBER
    return None


class CellRule(IntEnum):
    """What a single cell can break; 0 in a table of them is a cell that breaks none."""

    MISSING = 1
    BELOW = 2
    ABOVE = 3
    SIZE = 4
    UNKNOWN = 5
    HOLE = 6
    """Missing where that breaks no rule, because a value is put in."""


@dataclass(frozen=True, slots=True)
class CellCheck:
    """What the cells of one column are held against."""

    state: State
    refuses_missing: bool = False
    fills_missing: bool = False
    least: float | int | None = None
    """A float for NUMBER, whole for INTEGER, none for TEXT; so is `greatest`."""
    greatest: float | int | None = None
    max_bytes: int | None = None
    """Of TEXT."""
    words: object = None
    """A Vocabulary of the keys of all values that there are; None: any."""
