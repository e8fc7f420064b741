"""What was learned of batches' costs, as it is kept from one run of the server to the next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Shapes whose costs are kept: real traffic has few or endless ones. When there are as many, only a shape that comes
# again soon takes the place of another, of the one that did not run for the longest.
SHAPES_KEPT = 64

# More runs than this make no figure surer, when those of several workers are put together: costs change with the day.
RUNS_COUNTED = 4096

# Sizes of one shape that a file may hold: more than a curve has.
KEPT_POINTS = 256


@dataclass(frozen=True, slots=True)
class KeptCurve:
    """One shape's costs as they are kept: rows, nanoseconds when first measured, and as they were at last.

    runs: how many live runs they were learned from.
    """

    shape: tuple[int, ...]
    points: tuple[tuple[int, float, float], ...]
    runs: int = 0


@dataclass(frozen=True, slots=True)
class KeptCosts:
    """What was learned, as it is kept from one run of the server to the next."""

    beside: float
    curves: tuple[KeptCurve, ...]
    company: tuple[KeptCurve, ...] = ()
    """What runs cost while others went on."""


def merged(kept: Sequence[KeptCosts]) -> KeptCosts:
    """What several workers learned of one version, as if one had: of every size the geometric mean, each worker's
    figure weighed by the runs that it comes from.

    kept: at least one. The shape that comes first in the first of them is kept in any case, of the others those with
    the most runs.
    """
    if len(kept) == 1:
        return kept[0]
    first, *others = _by_shape([curve for costs in kept for curve in costs.curves])
    others.sort(key=lambda curve: curve.runs)
    beside = [(costs.beside, sum(map(_weight, costs.curves))) for costs in kept]
    curves = (first, *others[-SHAPES_KEPT + 1 :])
    shapes = {curve.shape for curve in curves}
    company = _by_shape([curve for costs in kept for curve in costs.company])
    return KeptCosts(_mean(beside), curves, tuple(curve for curve in company if curve.shape in shapes))


def _by_shape(curves: Sequence[KeptCurve]) -> list[KeptCurve]:
    """One for each shape, in the order in which they come first."""
    found: dict[tuple[int, ...], list[KeptCurve]] = {}
    for curve in curves:
        found.setdefault(curve.shape, []).append(curve)
    return [_one_curve(same) for same in found.values()]


def _one_curve(curves: Sequence[KeptCurve]) -> KeptCurve:
    """The curve of several of one shape."""
    found: dict[int, list[tuple[float, float, int]]] = {}
    for curve in curves:
        for rows, base, live in curve.points:
            found.setdefault(rows, []).append((base, live, _weight(curve)))
    points = [
        (
            rows,
            _mean([(base, weight) for base, _, weight in figures]),
            _mean([(live, weight) for _, live, weight in figures]),
        )
        for rows, figures in sorted(found.items())
    ]
    return KeptCurve(curves[0].shape, tuple(points), sum(curve.runs for curve in curves))


def _weight(curve: KeptCurve) -> int:
    return 1 + min(curve.runs, RUNS_COUNTED)


def _mean(weighed: Sequence[tuple[float, int]]) -> float:
    """The geometric mean of figures, each with its weight."""
    return math.exp(sum(math.log(figure) * weight for figure, weight in weighed) / sum(w for _, w in weighed))


def read_kept(document: object) -> KeptCosts:
    """What `written` gave, checked. Raises ValueError, KeyError or TypeError for anything else."""
    if not isinstance(document, dict):
        raise TypeError("expected an object")
    # Files of before there was one have none.
    company = _read_curves(document.get("company", []))
    return KeptCosts(_time(document["beside"]), _read_curves(document["curves"]), company)


def _read_curves(listed: object) -> tuple[KeptCurve, ...]:
    curves = []
    if not isinstance(listed, list) or len(listed) > SHAPES_KEPT:
        raise ValueError(f"expected a list of at most {SHAPES_KEPT} curves")
    for one in listed:
        shape = tuple(_whole(dim) for dim in one["shape"])
        points = tuple((_whole(rows), _time(base), _time(live)) for rows, base, live in one["points"])
        if not 0 < len(points) <= KEPT_POINTS or any(rows < 1 for rows, _, _ in points):
            raise ValueError(f"expected 1 to {KEPT_POINTS} points of at least one row")
        curves.append(KeptCurve(shape, points, min(_whole(one["runs"]), RUNS_COUNTED)))
    return tuple(curves)


def written(kept: KeptCosts) -> dict[str, object]:
    """The same as an object for JSON."""
    return {"beside": kept.beside, "curves": _written(kept.curves), "company": _written(kept.company)}


def _written(curves: Sequence[KeptCurve]) -> list[object]:
    return [{"shape": one.shape, "points": one.points, "runs": min(one.runs, RUNS_COUNTED)} for one in curves]


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"expected a whole number, came {value!r:.40}")
    return value


def _time(value: object) -> float:
    number = float(value) if isinstance(value, int | float) else math.nan
    if not 0 < number < 1e15:
        raise ValueError(f"expected a number above 0, came {value!r:.40}")
    return number
