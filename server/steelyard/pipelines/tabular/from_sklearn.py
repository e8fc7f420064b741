"""A fitted scikit-learn ColumnTransformer or Pipeline as declared steps, with exactly its outputs.

scikit-learn computes in the dtype of the array that a transformer is given: float64 for integers, for float64 and for
columns of mixed types. Steps compute in float64, so what was fitted on float32 alone is not reproduced to the last bit.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.errors import ConfigError, ManifestError
from steelyard.pipelines.tabular.declaration import TabularTable

# Longer lists of categories go into a file beside the manifest, whose size is bounded.
MAX_INLINE_CATEGORIES = 1000


@dataclass(frozen=True, slots=True)
class Converted:
    """Steps that do what an estimator did."""

    document: dict[str, Any]
    """As `TabularTable` reads it."""
    files: dict[str, str]
    """Files of categories, by their names beside the manifest."""
    skipped: tuple[str, ...]
    """The estimators behind the transformers, which are the model itself."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One column of the array between two transformers."""

    column: str
    steps: tuple[dict[str, Any], ...] = ()
    kinds: tuple[str, ...] = ()
    """What the steps ask of the column."""
    spread: bool = False
    """Whether it stands for several columns, of which one is 1."""

    def then(self, kind: str, spread: bool = False, **step: Any) -> "_Line":
        return replace(self, steps=(*self.steps, step), kinds=(*self.kinds, kind), spread=spread)


_Lines = list[_Line]


def load_estimator(path: Path) -> Any:
    """The estimator in a joblib or pickle file. Loading runs whatever code the file names.

    Raises ConfigError where scikit-learn is not installed, ManifestError where the file holds no estimator.
    """
    _sklearn()
    import joblib

    try:
        return joblib.load(path)
    except Exception as exc:  # a pickle may raise anything
        raise ManifestError(f"{path}: expected a joblib or pickle file: {type(exc).__name__}: {exc}") from exc


def _sklearn() -> Any:
    try:
        import sklearn
    except ImportError as exc:
        raise ConfigError(
            "expected scikit-learn, which is not installed: pip install 'steelyard[sklearn]'"
        ) from exc
    return sklearn


def convert(
    estimator: Any,
    *,
    tensor: str = "x",
    datatype: str = "FP32",
    rows: str = "columns",
    columns: Sequence[str] | None = None,
) -> Converted:
    """The steps of a fitted ColumnTransformer, transformer, or Pipeline of them.

    columns: names of the columns where it was fitted on an array without. What follows the transformers of a
    Pipeline (a classifier, say) is left out. Raises ManifestError that names what cannot be written as steps.
    """
    _sklearn()
    names = _column_names(estimator, columns)
    skipped: list[str] = []
    lines = _apply(estimator, [_Line(name) for name in names], type(estimator).__name__, skipped)
    if not lines:
        raise ManifestError("expected transformers that leave a column, came none")
    files: dict[str, str] = {}
    used = {line.column: _kind(line.column, lines) for line in lines}
    document = {
        "rows": rows,
        "column": [{"name": name, "kind": used[name]} for name in names if name in used],
        "tensor": [
            {
                "name": tensor,
                "datatype": datatype,
                "feature": [
                    {
                        "column": line.column,
                        "steps": [_shortened(step, line.column, files) for step in line.steps],
                    }
                    for line in lines
                ],
            }
        ],
    }
    TabularTable.model_validate(document)
    return Converted(document, files, tuple(skipped))


def _column_names(estimator: Any, columns: Sequence[str] | None) -> list[str]:
    named = getattr(estimator, "feature_names_in_", None)
    count = getattr(estimator, "n_features_in_", None)
    if count is None:
        raise ManifestError(f"expected a fitted transformer of scikit-learn, came {type(estimator).__name__}")
    if columns is not None:
        if len(columns) != count:
            raise ManifestError(f"expected {count} names of columns, came {len(columns)}")
        return list(columns)
    return [str(name) for name in named] if named is not None else [f"x{i}" for i in range(count)]


def _kind(column: str, lines: _Lines) -> str:
    kinds = {kind for line in lines if line.column == column for kind in line.kinds} - {"any"}
    if kinds == {"integer", "number"}:
        return "number"
    if len(kinds) > 1:
        raise ManifestError(f"column '{column}': used as {' and as '.join(sorted(kinds))}")
    return kinds.pop() if kinds else "number"


def _shortened(step: dict[str, Any], column: str, files: dict[str, str]) -> dict[str, Any]:
    """The step with a long list of categories in a file."""
    categories = step.get("categories", ())
    if len(categories) <= MAX_INLINE_CATEGORIES:
        return step
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in column)
    name = f"categories-{len(files)}-{safe[:64]}.json"
    files[name] = json.dumps(categories, ensure_ascii=False, allow_nan=False) + "\n"
    return {**step, "categories": name}


def _apply(transformer: Any, lines: _Lines, where: str, skipped: list[str]) -> _Lines:
    """What a transformer makes of the columns that it is given."""
    if isinstance(transformer, str):
        if transformer not in ("passthrough", "drop"):
            raise ManifestError(
                f"{where}: expected a fitted transformer, 'drop' or 'passthrough', came {transformer!r:.80}"
            )
        return lines if transformer == "passthrough" else []
    kind = type(transformer).__name__
    if not type(transformer).__module__.startswith("sklearn.") or kind not in _CONVERTERS:
        known = ", ".join(sorted(_CONVERTERS))
        raise ManifestError(f"{where}: cannot write {kind} as steps; known are: {known}")
    return _CONVERTERS[kind](transformer, lines, where, skipped)


def _pipeline(pipeline: Any, lines: _Lines, where: str, skipped: list[str]) -> _Lines:
    for name, step in pipeline.steps:
        if step is None:
            continue
        if not isinstance(step, str) and not hasattr(step, "transform"):
            skipped.append(f"{name} ({type(step).__name__})")
            break
        lines = _apply(step, lines, f"{where} > {name}", skipped)
    return lines


def _column_transformer(transformer: Any, lines: _Lines, where: str, skipped: list[str]) -> _Lines:
    found: _Lines = []
    for name, part, _ in transformer.transformers_:
        indices = transformer._transformer_to_input_indices[name]
        found += _apply(part, [lines[i] for i in indices], f"{where} > {name}", skipped)
    return found


def _function_transformer(transformer: Any, lines: _Lines, where: str, _: list[str]) -> _Lines:
    if transformer.func is not None:
        raise ManifestError(f"{where}: cannot write a function as steps")
    return lines


def _single(lines: _Lines, where: str) -> None:
    for line in lines:
        if line.spread:
            raise ManifestError(f"{where}: cannot work on what a one-hot encoding of '{line.column}' made")


def _imputer(imputer: Any, lines: _Lines, where: str, _: list[str]) -> _Lines:
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


def _standard_scaler(scaler: Any, lines: _Lines, where: str, _: list[str]) -> _Lines:
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


def _min_max_scaler(scaler: Any, lines: _Lines, where: str, _: list[str]) -> _Lines:
    _single(lines, where)
    found = []
    for line, factor, shift in zip(lines, scaler.scale_, scaler.min_, strict=True):
        line = line.then("number", step="scale", method="linear", multiply=float(factor), add=float(shift))
        if scaler.clip:
            low, high = map(float, scaler.feature_range)
            line = line.then("number", step="clip", min=low, max=high)
        found.append(line)
    return found


def _bins(discretizer: Any, lines: _Lines, where: str, _: list[str]) -> _Lines:
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


def _one_hot(encoder: Any, lines: _Lines, where: str, _: list[str]) -> _Lines:
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


def _ordinal(encoder: Any, lines: _Lines, where: str, _: list[str]) -> _Lines:
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


_CONVERTERS: dict[str, Callable[[Any, _Lines, str, list[str]], _Lines]] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _column_transformer,
    "FunctionTransformer": _function_transformer,
    "SimpleImputer": _imputer,
    "StandardScaler": _standard_scaler,
    "MinMaxScaler": _min_max_scaler,
    "KBinsDiscretizer": _bins,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
}
