"""Fitted scikit-learn transformers of single columns, as the steps that do the same."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from steelyard.errors import ManifestError


@dataclass(frozen=True, slots=True)
class Line:
    """One column of the array between two transformers."""

    column: str
    steps: tuple[dict[str, Any], ...] = ()
    kinds: tuple[str, ...] = ()
    """What the steps ask of the column."""
    spread: bool = False
    """Whether it stands for several columns, of which one is 1."""

    def then(self, kind: str, spread: bool = False, **step: Any) -> "Line":
        return replace(self, steps=(*self.steps, step), kinds=(*self.kinds, kind), spread=spread)


Lines = list[Line]


def _single(lines: Lines, where: str) -> None:
    for line in lines:
        if line.spread:
            raise ManifestError(f"{where}: cannot work on what a one-hot encoding of '{line.column}' made")


def _imputer(imputer: Any, lines: Lines, where: str) -> Lines:
    _single(lines, where)
    if not _is_missing(imputer.missing_values):
        raise ManifestError(
            f"{where}: expected NaN or None for missing_values, came {imputer.missing_values!r:.80}"
        )
    found = []
    for line, value in zip(lines, imputer.statistics_, strict=True):
        if _is_missing(value):
            # No value was there to learn from: the transformer leaves the column out.
            continue
        plain = _plain(value, where)
        kind = "text" if isinstance(plain, str) else "boolean" if isinstance(plain, bool) else "any"
        found.append(line.then(kind, step="impute", value=plain))
    if imputer.add_indicator:
        found += [lines[i].then("any", step="missing_indicator") for i in imputer.indicator_.features_]
    return found


def _standard_scaler(scaler: Any, lines: Lines, where: str) -> Lines:
    _single(lines, where)
    found = []
    for i, line in enumerate(lines):
        step: dict[str, Any] = {}
        if scaler.with_mean:
            step["subtract"] = float(scaler.mean_[i])
        if scaler.with_std:
            step["divide"] = float(scaler.scale_[i])
        if scaler.with_mean and scaler.with_std:
            line = line.then("number", step="scale", mean=step["subtract"], std=step["divide"])
        elif step:
            line = line.then("number", step="scale", method="linear", **step)
        found.append(line)
    return found


def _min_max_scaler(scaler: Any, lines: Lines, where: str) -> Lines:
    _single(lines, where)
    found = []
    for line, factor, shift in zip(lines, scaler.scale_, scaler.min_, strict=True):
        line = line.then("number", step="scale", method="linear", multiply=float(factor), add=float(shift))
        if scaler.clip:
            low, high = map(float, scaler.feature_range)
            line = line.then("number", step="clip", min=low, max=high)
        found.append(line)
    return found


def _bins(discretizer: Any, lines: Lines, where: str) -> Lines:
    _single(lines, where)
    spread = discretizer.encode != "ordinal"
    found = []
    for line, edges in zip(lines, discretizer.bin_edges_, strict=True):
        inner = [float(edge) for edge in edges[1:-1]]
        output = "onehot" if spread else "ordinal"
        found.append(
            line.then("number", spread, step="bucketize", edges=inner, output=output, missing="refuse")
        )
    return found


@dataclass(frozen=True, slots=True)
class _Categories:
    """The categories of a fitted encoder's column."""

    kind: str
    values: list[Any]
    """Without the missing one."""
    missing: int | None
    """Its position among all, or None."""
    positions: list[int] = field(default_factory=list)
    """The position of each value among all."""


def _categories(array: Any, where: str) -> _Categories:
    missing = [i for i, value in enumerate(array) if _is_missing(value)]
    if len(missing) > 1:
        raise ManifestError(f"{where}: categories hold both None and NaN, which are one to a request")
    positions = [i for i in range(len(array)) if i not in missing]
    values = [_plain(array[i], where) for i in positions]
    kinds = {_CATEGORY_KINDS[type(value)] for value in values} or {"any"}
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    if len(kinds) > 1:
        raise ManifestError(f"{where}: expected categories of one type, came {' and '.join(sorted(kinds))}")
    return _Categories(kinds.pop(), values, missing[0] if missing else None, positions)


_CATEGORY_KINDS = {str: "text", bool: "boolean", int: "integer", float: "number"}


def _one_hot(encoder: Any, lines: Lines, where: str) -> Lines:
    _single(lines, where)
    found = []
    infrequent_of = getattr(encoder, "infrequent_categories_", None)
    for i, (line, array) in enumerate(zip(lines, encoder.categories_, strict=True)):
        known = _categories(array, where)
        rare_values = [] if infrequent_of is None or infrequent_of[i] is None else list(infrequent_of[i])
        rare_missing = any(_is_missing(value) for value in rare_values)
        rare = [_plain(value, where) for value in rare_values if not _is_missing(value)]
        dropped = None if encoder.drop_idx_ is None else encoder.drop_idx_[i]
        if rare_values and encoder.drop is not None:
            raise ManifestError(f"{where}: cannot write drop together with infrequent categories")
        if dropped is not None and dropped == known.missing:
            raise ManifestError(f"{where}: cannot drop the category that stands for a missing value")
        unknown = "refuse" if encoder.handle_unknown == "error" else "zeros"
        if rare_values and encoder.handle_unknown in ("infrequent_if_exist", "warn"):
            unknown = "infrequent"
        step: dict[str, Any] = {
            "step": "onehot",
            "categories": [value for value in known.values if value not in rare],
            "unknown": unknown,
            "missing": "infrequent" if rare_missing else unknown if known.missing is None else "category",
        }
        if known.missing is not None and known.missing != len(array) - 1:
            raise ManifestError(f"{where}: expected a missing value as the last category of '{line.column}'")
        if rare:
            step["infrequent"] = rare
        if dropped is not None:
            step["drop"] = _plain(array[dropped], where)
        found.append(line.then(known.kind, spread=True, **step))
    return found


def _ordinal(encoder: Any, lines: Lines, where: str) -> Lines:
    _single(lines, where)
    found = []
    mappings = getattr(encoder, "_default_to_infrequent_mappings", None)
    for i, (line, array) in enumerate(zip(lines, encoder.categories_, strict=True)):
        known = _categories(array, where)
        mapping = None if mappings is None or mappings[i] is None else mappings[i]
        unknown: str | int = "refuse"
        if encoder.handle_unknown == "use_encoded_value":
            unknown = "missing" if _is_missing(encoder.unknown_value) else int(encoder.unknown_value)
        missing: str | int
        if known.missing is not None:
            value = encoder.encoded_missing_value
            missing = "keep" if _is_missing(value) else int(value)
        else:
            missing = "keep" if unknown == "missing" else unknown
        step: dict[str, Any] = {
            "step": "vocabulary",
            "categories": known.values,
            "unknown": unknown,
            "missing": missing,
        }
        indices = [int(at if mapping is None else mapping[at]) for at in known.positions]
        if indices != list(range(len(indices))):
            step["indices"] = indices
        found.append(line.then(known.kind, **step))
    return found


def _is_missing(value: Any) -> bool:
    """None, NaN and pandas' NA, which is what differs from itself or will not say."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except TypeError:
        return True


def _plain(value: Any, where: str) -> str | bool | int | float:
    """A value of NumPy's as Python's own. Raises ManifestError where it is none that a manifest holds."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) not in _CATEGORY_KINDS:
        raise ManifestError(f"{where}: expected texts, numbers or booleans, came {type(value).__name__}")
    return value  # type: ignore[no-any-return]


TRANSFORMERS: dict[str, Callable[[Any, Lines, str], Lines]] = {
    "SimpleImputer": _imputer,
    "StandardScaler": _standard_scaler,
    "MinMaxScaler": _min_max_scaler,
    "KBinsDiscretizer": _bins,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
}
"""By the names of scikit-learn's classes; each from (transformer, columns that go in, where it stands)."""
