"""Percentiles of what was measured: exact, over every request, by nearest rank."""

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SHOWN = (50.0, 90.0, 95.0, 99.0, 99.9, 99.99)
# Points of a curve: more than a screen can show of it.
CURVE_POINTS = 240


def summary_ms(latency_ms: Array) -> dict[str, float | None]:
    """Mean, percentiles and the largest of float64 milliseconds; None where there are none, or inf."""
    if not len(latency_ms):
        return {"mean": None, **{_name(q): None for q in SHOWN}, "max": None}
    ordered = np.sort(latency_ms)
    found = {_name(q): _finite(at_rank(ordered, q)) for q in SHOWN}
    return {"mean": _finite(float(ordered.mean())), **found, "max": _finite(float(ordered[-1]))}


def at_rank(ordered: Array, percent: float) -> float:
    """The least of the ascending values that so many percent of them do not exceed."""
    rank = math.ceil(round(percent / 100 * len(ordered), 6))
    return float(ordered[min(max(rank, 1), len(ordered)) - 1])


def curve(latency_ms: Array) -> dict[str, list[float | None]]:
    """Latency over percentiles, as fine at the tail as there are values: each further nine has as many points."""
    if not len(latency_ms):
        return {"percent": [], "ms": []}
    ordered = np.sort(latency_ms)
    # Half a value from the end, so that the last point is the largest.
    nines = np.linspace(0, math.log10(2 * len(ordered)), CURVE_POINTS)
    percents = 100 * (1 - 10**-nines)
    return {
        "percent": [float(percent) for percent in percents],
        "ms": [_finite(at_rank(ordered, float(percent))) for percent in percents],
    }


def _name(percent: float) -> str:
    return f"p{percent:g}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
