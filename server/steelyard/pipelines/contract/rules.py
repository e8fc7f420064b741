"""What a manifest says of the values of one column, compiled: checks, what is put in, what is done about a breach."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from steelyard._native import tabular as native
from steelyard.errors import ManifestError
from steelyard.models.contract import Contract, OnBreach
from steelyard.models.spec import TensorSpec
from steelyard.pipelines.contract.patterns import compile_pattern
from steelyard.pipelines.problems import shown
from steelyard.pipelines.tabular.categories import key_of, read_categories
from steelyard.pipelines.tabular.columns import Kind
from steelyard.pipelines.tabular.operations import CellCheck, CellRule
from steelyard.pipelines.tabular.track import state_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64 = -(1 << 63), (1 << 63) - 1
# As many of the allowed values are named by a message.
_NAMED = 8

KIND_OF = {
    "FP16": Kind.NUMBER,
    "BF16": Kind.NUMBER,
    "FP32": Kind.NUMBER,
    "FP64": Kind.NUMBER,
    "UINT64": Kind.NUMBER,
    "BOOL": Kind.BOOLEAN,
    "BYTES": Kind.TEXT,
}
"""What the elements of a tensor are to a contract; of every other datatype whole numbers."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The contract of one column. `expected` has a text for each rule that a cell may break."""

    name: str
    kind: Kind
    check: CellCheck
    action: OnBreach
    missing_value: Any
    """What is put in the place of a missing value; None: it stays missing, or breaks a rule."""
    unknown_value: Any
    nulls_unknown: bool
    matches: Callable[[str], bool] | None
    expected: dict[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing that a cell could break and nothing to put in."""
        return not self.expected and self.missing_value is None


RULE_NAMES = {
    CellRule.MISSING: "missing",
    CellRule.BELOW: "range",
    CellRule.ABOVE: "range",
    CellRule.SIZE: "size",
    CellRule.UNKNOWN: "allowed",
}


def kind_of(tensor: TensorSpec) -> Kind:
    """What a tensor's elements are to a contract."""
    return KIND_OF.get(tensor.datatype, Kind.INTEGER)


def compile_rules(
    contract: Contract,
    name: str,
    kind: Kind,
    directory: Path | None,
    on_breach: OnBreach,
    nearest: Callable[[float], float] = float,
) -> Rules:
    """The rules of the column `name`.

    on_breach: where the contract does not say. nearest: what a number becomes in the caller's datatype, so that a bound
    of 0.1 is FP32's 0.1 where values are FP32. Raises ManifestError.
    """
    try:
        _refuse_of_kind(contract, kind)
        least, greatest = (
            _bound(bound, kind, up, nearest) for bound, up in ((contract.min, True), (contract.max, False))
        )
        if least is not None and greatest is not None and least > greatest:
            raise ManifestError(
                f"min, max: no value is within {_text(contract.min)} and {_text(contract.max)}"
            )
        words, named = _words(contract, kind, directory, nearest, (least, greatest))
        value = _stored(contract.value, kind)
        matches = compile_pattern(contract.pattern) if contract.pattern is not None else None
    except ManifestError as error:
        raise ManifestError(f"contract of '{name}': {error}") from error
    expected = {}
    if contract.missing == "refuse":
        expected["missing"] = "a value"
    if contract.min is not None:
        expected["least"] = f"at least {_text(contract.min)}"
    if contract.max is not None:
        expected["greatest"] = f"at most {_text(contract.max)}"
    if contract.max_bytes is not None:
        expected["size"] = f"at most {contract.max_bytes} bytes"
    if words is not None:
        expected["allowed"] = named
    if contract.pattern is not None:
        expected["pattern"] = f"a text that matches {shown(contract.pattern)}"
    check = CellCheck(
        state_of(kind),
        contract.missing == "refuse",
        contract.missing == "impute",
        least,
        greatest,
        contract.max_bytes,
        words,
    )
    return Rules(
        name,
        kind,
        check,
        contract.on_breach or on_breach,
        value if contract.missing == "impute" else None,
        value if contract.unknown == "impute" else None,
        contract.unknown == "null",
        matches,
        expected,
    )


def _refuse_of_kind(contract: Contract, kind: Kind) -> None:
    """Raises ManifestError for rules that values of this kind cannot have."""
    what = kind.name.lower()
    if kind is not Kind.TEXT:
        for rule in ("pattern", "max_bytes"):
            if getattr(contract, rule) is not None:
                raise ManifestError(f"{rule}: expected only of texts, got kind {what}")
    if kind in (Kind.TEXT, Kind.BOOLEAN) and (contract.min is not None or contract.max is not None):
        raise ManifestError(f"expected min and max only of numbers and dates, got kind {what}")
    if kind is Kind.DATE and contract.allowed:
        raise ManifestError("allowed: expected min and max for dates")


def _bound(bound: object, kind: Kind, up: bool, nearest: Callable[[float], float]) -> float | int | None:
    """A bound as cells of the kind are stored; of whole numbers the next one within."""
    if bound is None or kind in (Kind.TEXT, Kind.BOOLEAN):
        return None
    if isinstance(bound, date) != (kind is Kind.DATE):
        expected = "dates" if kind is Kind.DATE else "numbers"
        raise ManifestError(f"min, max: expected {expected} for kind {kind.name.lower()}, got {bound}")
    if isinstance(bound, date):
        return _microseconds(bound)
    assert isinstance(bound, int | float)
    if kind is Kind.NUMBER:
        return nearest(bound)
    whole = math.ceil(bound) if up else math.floor(bound)
    if (up and whole > _INT64[1]) or (not up and whole < _INT64[0]):
        raise ManifestError(f"min, max: no whole number of 64 bits is beyond {bound}")
    return min(max(whole, _INT64[0]), _INT64[1])


def _microseconds(moment: date) -> int:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    elif moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _words(
    contract: Contract,
    kind: Kind,
    directory: Path | None,
    nearest: Callable[[float], float],
    bounds: tuple[float | int | None, float | int | None],
) -> tuple[Any, str]:
    """The allowed values as a vocabulary, and what a message says that they are."""
    allowed = contract.allowed
    if not allowed:
        return None, ""
    values = read_categories(allowed, directory) if isinstance(allowed, str) else allowed
    state = state_of(kind)
    keys = []
    for value in values:
        if kind is Kind.NUMBER and isinstance(value, int | float) and not isinstance(value, bool):
            value = nearest(value)
        keys.append(key_of(value, state, kind))
        least, greatest = bounds
        within = isinstance(value, str) or (
            (least is None or value >= least) and (greatest is None or value <= greatest)
        )
        if not within:
            raise ManifestError(f"allowed: {shown(value)} is not within min and max")
    keys = list(dict.fromkeys(keys))
    named = ", ".join(shown(value) for value in values[:_NAMED])
    more = f" or {len(values) - _NAMED} more" if len(values) > _NAMED else ""
    return native.Vocabulary(keys, [0] * len(keys)), f"one of {named}{more}"


def _stored(value: object, kind: Kind) -> Any:
    """The value to put in, as cells of the kind are stored: bytes for TEXT. Raises ManifestError."""
    if value is None:
        return None
    wanted: tuple[tuple[type, ...], str]
    match kind:
        case Kind.TEXT:
            wanted = (str,), "a text"
        case Kind.BOOLEAN:
            wanted = (bool,), "true or false"
        case Kind.DATE:
            wanted = (date,), "a date"
        case Kind.INTEGER:
            wanted = (int,), "a whole number"
        case _:
            wanted = (int, float), "a number"
    if not isinstance(value, wanted[0]) or (isinstance(value, bool) and kind is not Kind.BOOLEAN):
        raise ManifestError(f"value: expected {wanted[1]} for kind {kind.name.lower()}, got {shown(value)}")
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, date):
        return _microseconds(value)
    if kind is Kind.NUMBER:
        return float(value)
    whole = int(value)
    if not _INT64[0] <= whole <= _INT64[1]:
        raise ManifestError(f"value: expected a whole number of 64 bits, got {whole}")
    return whole


def _text(bound: object) -> str:
    return bound.isoformat() if isinstance(bound, date) else str(bound)
