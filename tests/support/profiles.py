"""Training profiles as profile.json has them."""

from collections import Counter
from typing import Any

import numpy as np

from steelyard.models.profile import QUANTILES


def profile(*columns: dict[str, Any]) -> dict[str, Any]:
    """A profile of these columns."""
    return {"format": 1, "rows": 4, "columns": list(columns)}


def integers(name: str, *values: int) -> dict[str, Any]:
    """A column of whole numbers, all of them there."""
    return _column(name, "integer") | {"numbers": _figures(*values), "values": _counts(*values)}


def numbers(name: str, *values: float) -> dict[str, Any]:
    """A column of numbers, all of them there."""
    return _column(name, "number") | {"numbers": _figures(*values)}


def texts(name: str, *values: str | bool, rest: int = 0) -> dict[str, Any]:
    """A column of texts, or of booleans; `rest` values more are not listed."""
    kind = "boolean" if isinstance(values[0], bool) else "text"
    return _column(name, kind) | {"values": _counts(*values) | {"rest": rest}}


def _column(name: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "missing": 0,
        "missing_share": 0.0,
        "infinite": 0,
        "numbers": None,
        "values": None,
        "bytes": None,
    }


def _figures(*values: float) -> dict[str, Any]:
    (mode, _), *_ = Counter(sorted(values)).most_common(1)
    return {
        "min": min(values),
        "max": max(values),
        "mean": float(np.mean(values)),
        "std": float(np.std(values)),
        "median": np.median(values).item(),
        "mode": mode,
        "quantiles": list(zip(QUANTILES, np.quantile(values, QUANTILES).tolist(), strict=True)),
        "histogram": {"edges": [min(values), max(values)], "counts": [len(values)]},
        "deciles": {"edges": [], "counts": [len(values)]},
        "sample": None,
    }


def _counts(*values: str | bool | int) -> dict[str, Any]:
    counted = Counter(values).most_common()
    return {"distinct": len(counted), "exact": True, "counts": counted, "short_by": 0, "rest": 0}
