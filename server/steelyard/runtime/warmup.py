"""Warm-up: the first runs of a version, which also show what its batches cost."""

import time
from collections.abc import Callable

# Runs of each size; the fastest counts, since whatever disturbs a run can only slow it. A size whose runs are cheap
# gets more of them, up to this much time: it is there that a disturbance would weigh most.
RUNS = 3
CHEAP_RUNS = 20
CHEAP_NS = 400_000

# A version's measurements end when they have taken this long, however far they came: a heavy model's first sizes say
# enough, and a server of many models must become ready.
BUDGET_NS = 600_000_000

# Sizes past one that costs this much more by the row than the best are not tried.
WORSE_BY = 1.08


def measure(
    run: Callable[[int], object],
    max_batch: int,
    extra_runs: int = 0,
    now_ns: Callable[[], int] = time.monotonic_ns,
) -> dict[int, int]:
    """Runs batches of 1, 2, 4, … up to `max_batch` rows and returns rows to nanoseconds of one run.

    run: runs a batch of so many rows to its end.
    extra_runs: further runs of one row that are not measured, first.
    """
    started = now_ns()
    for _ in range(extra_runs):
        run(1)
    measured: dict[int, int] = {}
    rows = 1
    while rows <= max_batch:
        measured[rows] = best = _fastest(run, rows, now_ns)
        cheapest = min(ns / size for size, ns in measured.items())
        if best / rows > cheapest * WORSE_BY:
            break
        spent = now_ns() - started
        if spent + 2 * best * (RUNS + 1) > BUDGET_NS:
            break
        if rows < max_batch < rows * 2:
            rows = max_batch
        else:
            rows *= 2
    return measured


def _fastest(run: Callable[[int], object], rows: int, now_ns: Callable[[], int]) -> int:
    """Nanoseconds of the fastest of some runs, after one that does not count."""
    run(rows)
    taken: list[int] = []
    while len(taken) < RUNS or (len(taken) < CHEAP_RUNS and sum(taken) < CHEAP_NS):
        before = now_ns()
        run(rows)
        taken.append(now_ns() - before)
    return min(taken)
