"""Warm-up: the first runs of a version, which also show what its batches cost."""

import time
from collections.abc import Callable, Mapping

from steelyard.runtime.pace import Pace

# Rounds over all sizes; the fastest run of each counts, since whatever disturbs a run can only slow it. Sizes are run
# in turn, so that a slow second on a shared machine falls on all of them. Where a round is cheap there are more.
ROUNDS = 3
CHEAP_ROUNDS = 20
CHEAP_NS = 3_000_000

# A version's measurements end when they have taken this long, however far they came: a heavy model's first sizes say
# enough, and a server of many models must become ready.
BUDGET_NS = 800_000_000

# So many rows are measured of a heavier model too, as long as that is foreseen to take no longer than this beyond the
# budget: with no size to compare with, none of its rows would ever be put together.
LEAST_ROWS = 4
LEAST_ROWS_NS = 3_000_000_000

# Sizes past one that costs this much more by the row than the best are not tried, where runs are not cheap: one
# disturbance must not end the sizes of a model whose runs are shorter than it.
WORSE_BY = 1.12


def measure(
    run: Callable[[int], object],
    max_batch: int,
    extra_runs: int = 0,
    now_ns: Callable[[], int] = time.monotonic_ns,
    pace: Pace | None = None,
    budget_ns: int = BUDGET_NS,
    least_rows_ns: int = LEAST_ROWS_NS,
) -> dict[int, int]:
    """Runs batches of 1, 2, 4, … up to `max_batch` rows and returns rows to nanoseconds of one run.

    run: runs a batch of so many rows to its end.
    extra_runs: further runs of one row that are not measured, first, and count for nothing.
    pace: pauses between runs, which count for nothing.
    budget_ns: what the measurements may take in all.
    least_rows_ns: what those of sizes up to LEAST_ROWS may take beyond that.
    """
    pace = Pace() if pace is None else pace

    def busy_ns() -> int:
        return now_ns() - pace.paused_ns

    def timed(rows: int) -> int:
        pace.pause()
        before_ns = now_ns()
        run(rows)
        return now_ns() - before_ns

    for _ in range(extra_runs):
        timed(1)
    started_ns = busy_ns()
    fastest: dict[int, int] = {}
    for rows in _sizes(max_batch):
        timed(rows)
        fastest[rows] = timed(rows)
        # Runs that are cheap, or look dear beside those of fewer rows, are timed again: one disturbance ends nothing.
        affordable = busy_ns() - started_ns + ROUNDS * fastest[rows] <= budget_ns
        if fastest[rows] < CHEAP_NS or (affordable and _by_row(fastest, rows) > WORSE_BY):
            fastest[rows] = min(fastest[rows], *(timed(rows) for _ in range(ROUNDS)))
        spent_ns = busy_ns() - started_ns
        # The next size costs about twice this one, and every size is run ROUNDS times more.
        ahead_ns = 2 * fastest[rows] + (ROUNDS - 1) * (sum(fastest.values()) + 2 * fastest[rows])
        worse = fastest[rows] >= CHEAP_NS and _by_row(fastest, rows) > WORSE_BY
        if worse or spent_ns + ahead_ns > budget_ns:
            break
    rounds_started_ns = busy_ns()
    rounds = 1
    while rounds < ROUNDS or (rounds < CHEAP_ROUNDS and busy_ns() - rounds_started_ns < CHEAP_NS):
        for rows, before in fastest.items():
            fastest[rows] = min(before, timed(rows))
        rounds += 1
    if not worse:
        _measure_least(timed, fastest, max_batch, least_rows_ns)
    return fastest


def unbatched(measured: Mapping[int, int], max_batch: int) -> str:
    """Why rows that could be put together are not, by what was measured; empty where that is not so."""
    if max_batch == 1 or set(measured) != {1}:
        return ""
    return (
        f"a run of one row takes {measured[1] / 1e9:.1f} s, so none of more was measured, and rows are put together "
        "only where preferred_batch_sizes says so"
    )


def _measure_least(
    timed: Callable[[int], int], fastest: dict[int, int], max_batch: int, most_ns: int
) -> None:
    """Adds what lacks of the sizes up to LEAST_ROWS, each the faster of two runs, while `most_ns` is foreseen to do."""
    left_ns = most_ns
    for rows in _sizes(max_batch):
        largest = max(fastest)
        if rows <= largest:
            continue
        dear = _by_row(fastest, largest) > WORSE_BY
        if rows > LEAST_ROWS or dear or left_ns < 2 * fastest[largest] * rows // largest:
            return
        first_ns, second_ns = timed(rows), timed(rows)
        fastest[rows] = min(first_ns, second_ns)
        left_ns -= first_ns + second_ns


def _by_row(fastest: dict[int, int], rows: int) -> float:
    """How much more a row costs in a run of `rows` than in the best size met."""
    return fastest[rows] / rows / min(ns / size for size, ns in fastest.items())


def _sizes(max_batch: int) -> list[int]:
    """1, 2, 4, … and `max_batch` itself."""
    sizes = [1 << power for power in range(max_batch.bit_length()) if 1 << power < max_batch]
    return [*sizes, max_batch]
