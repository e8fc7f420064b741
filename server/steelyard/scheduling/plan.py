"""How rows that wait are best cut into runs, in plain Python: the twin of `steelyard._native.batch.plan`."""

from array import array
from collections.abc import Sequence


def plan(
    sizes: Sequence[int], live: Sequence[float], limit: int, overhead_ns: float, within: float
) -> "tuple[array[float], bytearray, array[int], array[float]]":
    """By rows up to `limit` what a run costs and whether it is no dearer by the row than smaller ones; and by rows that
    wait, up to twice `limit`, how many to run first and what all of them cost, one run after another.

    sizes: rows, ascending, at least 1; live: nanoseconds of each. overhead_ns: what each run costs beside. within: what
    counts as no dearer, and as no saving, as a share. Where one row alone is as cheap as any by that, none is run with
    others: nobody waits for what saves nothing. Raises ValueError.
    """
    if not sizes or len(live) != len(sizes) or sizes[0] < 1 or limit < 1:
        raise ValueError(
            "expected as many costs as sizes, at least one, of at least one row, and a limit of at least 1"
        )
    costs = [_line(sizes, live, max(rows, 1)) for rows in range(limit + 1)]
    whole = [ns + overhead_ns for ns in costs]
    allowed = [True] * (limit + 1)
    least = whole[1]
    for rows in range(2, limit + 1):
        per_row = whole[rows] / rows
        allowed[rows] = per_row <= least * (1 + within)
        least = min(least, per_row)
    if whole[1] <= least * (1 + within):
        allowed[2:] = [False] * (limit - 1)
    cuts = [rows for rows in reversed(sizes) if rows <= limit and allowed[rows]]
    if sizes[0] != 1:
        cuts.append(1)
    first, total = [0], [0.0]
    for waiting in range(1, 2 * limit + 1):
        found = min(waiting, limit)
        while not allowed[found]:
            found -= 1
        best = (whole[found] + total[waiting - found]) * (1 - within)
        for cut in cuts:
            if cut < waiting and whole[cut] + total[waiting - cut] < best:
                best, found = whole[cut] + total[waiting - cut], cut
        first.append(found)
        total.append(whole[found] + total[waiting - found])
    return array("d", costs), bytearray(allowed), array("i", first), array("d", total)


def _line(sizes: Sequence[int], live: Sequence[float], rows: int) -> float:
    """On the line between the sizes beside `rows`; before the first as dear as that, after the last in proportion."""
    above = next((place for place, size in enumerate(sizes) if size >= rows), len(sizes))
    if above < len(sizes) and sizes[above] == rows:
        return live[above]
    below = above - 1
    if below < 0:
        return live[0]
    if above == len(sizes):
        return live[below] * rows / sizes[below]
    return live[below] + (live[above] - live[below]) * (rows - sizes[below]) / (sizes[above] - sizes[below])
