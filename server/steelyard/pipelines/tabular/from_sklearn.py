"""A fitted scikit-learn ColumnTransformer or Pipeline as declared steps, with exactly its outputs.

scikit-learn computes in the dtype of the array that a transformer is given: float64 for integers, for float64 and for
columns of mixed types. Steps compute in float64, so what was fitted on float32 alone is not reproduced to the last bit.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.errors import ConfigError, ManifestError
from steelyard.pipelines.tabular.declaration import TabularTable
from steelyard.pipelines.tabular.sklearn_transformers import TRANSFORMERS, Line, Lines

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
    lines = _apply(estimator, [Line(name) for name in names], type(estimator).__name__, skipped)
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


def _kind(column: str, lines: Lines) -> str:
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


def _apply(transformer: Any, lines: Lines, where: str, skipped: list[str]) -> Lines:
    """What a transformer makes of the columns that it is given."""
    if isinstance(transformer, str):
        if transformer not in ("passthrough", "drop"):
            raise ManifestError(
                f"{where}: expected a fitted transformer, 'drop' or 'passthrough', came {transformer!r:.80}"
            )
        return lines if transformer == "passthrough" else []
    kind = type(transformer).__name__
    ours = type(transformer).__module__.startswith("sklearn.")
    if ours and kind in _CONTAINERS:
        return _CONTAINERS[kind](transformer, lines, where, skipped)
    if ours and kind in TRANSFORMERS:
        return TRANSFORMERS[kind](transformer, lines, where)
    known = ", ".join(sorted([*_CONTAINERS, *TRANSFORMERS]))
    raise ManifestError(f"{where}: cannot write {kind} as steps; known are: {known}")


def _pipeline(pipeline: Any, lines: Lines, where: str, skipped: list[str]) -> Lines:
    for name, step in pipeline.steps:
        if step is None:
            continue
        if not isinstance(step, str) and not hasattr(step, "transform"):
            skipped.append(f"{name} ({type(step).__name__})")
            break
        lines = _apply(step, lines, f"{where} > {name}", skipped)
    return lines


def _column_transformer(transformer: Any, lines: Lines, where: str, skipped: list[str]) -> Lines:
    found: Lines = []
    for name, part, _ in transformer.transformers_:
        indices = transformer._transformer_to_input_indices[name]
        found += _apply(part, [lines[i] for i in indices], f"{where} > {name}", skipped)
    return found


def _function_transformer(transformer: Any, lines: Lines, where: str, _: list[str]) -> Lines:
    if transformer.func is not None:
        raise ManifestError(f"{where}: cannot write a function as steps")
    return lines


_CONTAINERS: dict[str, Callable[[Any, Lines, str, list[str]], Lines]] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _column_transformer,
    "FunctionTransformer": _function_transformer,
}
