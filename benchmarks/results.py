"""Where figures are kept: a JSON file and a picture for each benchmark, under one directory."""

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.benchmark import Benchmark, Chart
from benchmarks.plots import draw


def keep(
    directory: Path,
    benchmark: Benchmark,
    quick: bool,
    given: Mapping[str, Any],
    host: dict[str, Any],
    found: Any,
    charts: list[Chart],
) -> list[Path]:
    """Writes `results/NAME.json` and, where there is something to draw, `plots/NAME.svg`; gives what it wrote.

    given: what was measured with otherwise than the benchmark says itself.
    """
    document = {
        "name": benchmark.name,
        "title": benchmark.title,
        "quick": quick,
        "given": dict(given),
        "host": host,
        "found": found,
    }
    result = directory / "results" / f"{benchmark.name}.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(document, indent=1, default=_plain) + "\n")
    written = [result]
    if charts:
        picture = directory / "plots" / f"{benchmark.name}.svg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(charts, picture)
        written.append(picture)
    return written


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a result holds numbers, text, lists, dictionaries and dataclasses, not {type(value)}")
