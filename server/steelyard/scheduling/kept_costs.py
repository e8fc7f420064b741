"""What was learned of batches' costs, as it is kept from one run of the server to the next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Shapes whose costs are kept: real traffic has few or endless ones, and for the endless nothing is learned. The one
# that was made first goes first.
SHAPES_KEPT = 64

# Sizes of one shape that a file may hold: more than a curve has.
KEPT_POINTS = 256


@dataclass(frozen=True, slots=True)
class KeptCurve:
    """One shape's costs as they are kept: rows, nanoseconds when first measured, and as they were at last."""

    shape: tuple[int, ...]
    points: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True, slots=True)
class KeptCosts:
    """What was learned, as it is kept from one run of the server to the next."""

    beside: float
    curves: tuple[KeptCurve, ...]


def read_kept(document: object) -> KeptCosts:
    """What `written` gave, checked. Raises ValueError, KeyError or TypeError for anything else."""
    if not isinstance(document, dict):
        raise TypeError("expected an object")
    curves = []
    listed = document["curves"]
    if not isinstance(listed, list) or len(listed) > SHAPES_KEPT:
        raise ValueError(f"expected a list of at most {SHAPES_KEPT} curves")
    for one in listed:
        shape = tuple(_whole(dim) for dim in one["shape"])
        points = tuple((_whole(rows), _time(base), _time(live)) for rows, base, live in one["points"])
        if not 0 < len(points) <= KEPT_POINTS or any(rows < 1 for rows, _, _ in points):
            raise ValueError(f"expected 1 to {KEPT_POINTS} points of at least one row")
        curves.append(KeptCurve(shape, points))
    return KeptCosts(_time(document["beside"]), tuple(curves))


def written(kept: KeptCosts) -> dict[str, object]:
    """The same as an object for JSON."""
    curves: Sequence[object] = [{"shape": one.shape, "points": one.points} for one in kept.curves]
    return {"beside": kept.beside, "curves": curves}


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"expected a whole number, came {value!r:.40}")
    return value


def _time(value: object) -> float:
    number = float(value) if isinstance(value, int | float) else math.nan
    if not 0 < number < 1e15:
        raise ValueError(f"expected a number above 0, came {value!r:.40}")
    return number
