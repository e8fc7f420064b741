"""The server's own account of a load, on the load's time axis."""

from itertools import pairwise
from typing import Any

from load.scrape import Reading
from steelyard.demo.stages import STAGES, StageHistogram


def account(readings: list[Reading], start_ns: int) -> dict[str, Any]:
    """What the server counted between the first and the last reading, and between each two."""
    first, last = readings[0], readings[-1]
    pairs = list(pairwise(readings))
    seconds = [(after.at_ns - before.at_ns) / 1e9 for before, after in pairs]
    batches = last.batches - first.batches
    return {
        "received": int(last.received - first.received),
        "outcomes": _changes(first.outcomes, last.outcomes),
        "refused": _changes(first.refused, last.refused),
        "mean_batch_rows": (last.rows - first.rows) / batches if batches else None,
        "worker_cpu_s": last.worker_cpu_s - first.worker_cpu_s,
        "stages": {stage: _shown(last.since(first, stage)) for stage in STAGES},
        "series": {
            "at_s": [(after.at_ns - start_ns) / 1e9 for _, after in pairs],
            "answered_per_s": [
                (after.outcomes["answered"] - before.outcomes["answered"]) / took
                for (before, after), took in zip(pairs, seconds, strict=True)
            ],
            "in_flight": [after.in_flight for _, after in pairs],
            "queue_depth": [after.queue_depth for _, after in pairs],
            "batch_rows": [
                (after.rows - before.rows) / (after.batches - before.batches)
                if after.batches > before.batches
                else None
                for before, after in pairs
            ],
            "stages": {
                stage: [_shown(after.since(before, stage)) for before, after in pairs] for stage in STAGES
            },
        },
    }


def _changes(before: dict[str, float], after: dict[str, float]) -> dict[str, int]:
    changed = {name: int(after[name] - before.get(name, 0.0)) for name in sorted(after)}
    return {name: count for name, count in changed.items() if count}


def _shown(stage: StageHistogram) -> dict[str, float | int | None]:
    if not stage.count:
        return {"count": 0, "mean_ms": None, "p50_ms": None, "p99_ms": None}
    return {
        "count": stage.count,
        "mean_ms": stage.mean_ms,
        "p50_ms": stage.percentile_ms(50),
        "p99_ms": stage.percentile_ms(99),
    }
