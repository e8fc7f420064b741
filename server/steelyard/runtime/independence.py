"""Whether rows may be batched: the same rows are run together and one by one, and one batch is run twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from steelyard.runtime.runner import Array

Run = Callable[[Mapping[str, Array]], Sequence[Array]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether rows are independent, and what was seen."""

    independent: bool
    reason: str


def check(
    run: Run, inputs: Mapping[str, Array], outputs: Sequence[str], absolute: float, relative: float
) -> Verdict:
    """Runs `inputs` (at least two rows along the first axis) together, together again, and row by row.

    Two results are equal where |a - b| <= absolute + relative * |b|; NaN equals NaN, strings must be the same.
    Rows that are all alike show nothing, and count as dependent.
    Raises whatever `run` raises for the whole batch; a row that fails by itself is a verdict.
    """
    rows = len(next(iter(inputs.values())))
    if all(bool(np.all(array == array[:1])) for array in inputs.values()):
        return Verdict(False, "the only rows that the model would run are all alike, so they show nothing")
    together = run(inputs)
    for name, output in zip(outputs, together, strict=True):
        if output.ndim == 0 or output.shape[0] != rows:
            return Verdict(
                False, f"output {name!r} has shape {list(output.shape)} for a batch of {rows} rows"
            )
    again = run(inputs)
    for name, first, second in zip(outputs, together, again, strict=True):
        distance = difference(first, second, absolute, relative)
        if distance is not None:
            return Verdict(
                False, f"the same batch gave different answers twice: output {name!r} differs by {distance}"
            )
    for row in range(rows):
        alone = run({name: array[row : row + 1] for name, array in inputs.items()})
        for name, whole, own in zip(outputs, together, alone, strict=True):
            if own.ndim == 0 or own.shape[0] != 1:
                return Verdict(False, f"output {name!r} has shape {list(own.shape)} for one row")
            distance = difference(whole[row], own[0], absolute, relative)
            if distance is not None:
                return Verdict(
                    False,
                    f"a row's answer depends on the rows beside it: output {name!r}, row {row}, differs by {distance}",
                )
    return Verdict(True, f"{rows} rows gave the same answers together and one by one")


def difference(a: Array, b: Array, absolute: float, relative: float) -> str | None:
    """None where the arrays are equal within the tolerance, else the largest difference as text."""
    if a.shape != b.shape:
        return f"its shape, {list(a.shape)} against {list(b.shape)}"
    if a.dtype.kind in "OUSb":
        return None if bool(np.all(a == b)) else "its values"
    left, right = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        close = np.isclose(left, right, rtol=relative, atol=absolute, equal_nan=True)
        if bool(close.all()):
            return None
        return f"{float(np.nanmax(np.abs(left - right)[~close], initial=0.0)):.3g}"
