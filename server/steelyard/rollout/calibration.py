"""What tolerance the primary's own noise asks for: from pairs of its answers to the same requests (A/A)."""

from collections.abc import Iterable, Mapping, Sequence

from steelyard.rollout.comparison import FLOATS, Output
from steelyard.rollout.sides import LARGEST, OutputError

# Twice what was seen. For `close` anything from 1 up would do; for winners it takes two: where two values lie within
# twice the largest error, noise may exchange them.
SAFETY = 2.0
# What a deterministic output is given, so that another order of summing is no disagreement: with the relative floor of
# FP32, four units in the last place of numbers around 1.
ABSOLUTE_FLOOR = 1e-6
FLOOR_ULPS = 4
EPSILON = {"FP64": 2.0**-52, "FP32": 2.0**-23, "FP16": 2.0**-10, "BF16": 2.0**-7}
# The largest relative error of all is that of some value next to 0, and says nothing about the others: what is beyond
# this is left to the absolute part.
MOST_RELATIVE = 1e-3


def tolerance_of(
    errors: Iterable[Mapping[str, OutputError]], outputs: Sequence[Output]
) -> dict[str, tuple[float, float]]:
    """The (absolute, relative) tolerance of each output of floats that the pairs hold, from the `Pair.error` of each.

    The absolute part is `SAFETY` times the largest absolute error, at least `ABSOLUTE_FLOOR`; so the same pairs, where
    they can be compared at all, agree by `close`, `top_1` and `top_k`. The relative part is `SAFETY` times the largest
    relative error, at least `FLOOR_ULPS` units of the datatype's precision and at most `MOST_RELATIVE` or that floor.
    """
    largest: dict[str, OutputError] = {}
    for pair in errors:
        for name, error in pair.items():
            known = largest.get(name, error)
            largest[name] = OutputError(
                max(known.max_absolute, error.max_absolute), max(known.max_relative, error.max_relative)
            )
    tolerances = {}
    for output in outputs:
        if output.datatype in FLOATS and output.name in largest:
            error = largest[output.name]
            floor = FLOOR_ULPS * EPSILON[output.datatype]
            absolute = max(SAFETY * error.max_absolute, ABSOLUTE_FLOOR)
            relative = min(max(SAFETY * error.max_relative, floor), max(MOST_RELATIVE, floor))
            tolerances[output.name] = (min(absolute, LARGEST), relative)
    return tolerances
