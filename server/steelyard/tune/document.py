"""What a run of `steelyard tune` found, as JSON: the evidence that is kept beside the choice."""

import datetime
import importlib.metadata
import math
import platform
from collections.abc import Mapping
from typing import Any

import onnxruntime as ort

from steelyard import __version__
from steelyard.tune.candidate import Candidate
from steelyard.tune.edit import changes
from steelyard.tune.frontier import Point, frontier
from steelyard.tune.run import Tuned
from steelyard.tune.sample import Sample

EVIDENCE_FILE = "tune.json"
PICTURE_FILE = "tune.svg"


def evidence(tuned: Tuned, made: datetime.datetime) -> dict[str, Any]:
    """The document; times are in milliseconds, rates in requests a second, `null` where nothing was answered."""
    found = tuned.found
    best = set(map(id, frontier(found.points)))
    return {
        "model": tuned.model.name,
        "version": tuned.version,
        "digest": tuned.digest,
        "made": made.isoformat(timespec="seconds"),
        "steelyard": __version__,
        "onnxruntime": ort.__version__,
        "numpy": importlib.metadata.version("numpy"),
        "host": {"machine": platform.machine(), "processor": _processor(), "threads": tuned.threads},
        "input": tuned.source,
        "p99_ms": tuned.p99_ms,
        "seconds": round(tuned.seconds, 1),
        "in_flight": found.in_flight,
        "before": serving(tuned.base),
        "chosen": None if found.chosen is None else serving(found.chosen.candidate),
        "chosen_at": None if found.chosen is None else _point(found.chosen),
        "points": [{**_point(point), "frontier": id(point) in best} for point in found.points],
        "screened": [
            {"serving": serving(candidate), **_sample(sample)} for candidate, sample in found.screened.items()
        ],
    }


def serving(candidate: Candidate) -> dict[str, Any]:
    """A candidate by the keys of model.toml."""
    return {".".join(path[1:]): value for path, value in changes(candidate).items()}


def _point(point: Point) -> dict[str, Any]:
    return {
        "serving": serving(point.candidate),
        "offered_per_s": round(point.rate_per_s, 2),
        **_sample(point.sample),
    }


def _sample(sample: Sample) -> Mapping[str, Any]:
    return {
        "answers_per_s": round(sample.answers_per_s, 2),
        "p50_ms": _finite(sample.p50_ms),
        "p99_ms": _finite(sample.p99_ms),
        "answered": sample.answered,
        "few_answers": sample.few,
        "failed": sample.failed,
    }


def _finite(ms: float) -> float | None:
    return round(ms, 3) if math.isfinite(ms) else None


def _processor() -> str:
    """What the kernel calls the processor; empty where it does not say."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(
                (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), ""
            )
    except OSError:
        return ""
