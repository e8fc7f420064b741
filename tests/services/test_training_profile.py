"""From training data to a served version: a contract inferred, steps that take their figures from the profile."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd
import tomli_w

from steelyard.cli.main import main
from steelyard.models.digest import version_digest
from tests.support import models
from tests.support.asking import Asker, request
from tests.support.server import Server


def test_steps_of_a_served_version_take_their_figures_from_its_profile(
    tmp_path: Path, start: Callable[..., Server]
) -> None:
    random = np.random.default_rng(3)
    frame = pd.DataFrame({"delay": random.normal(10, 5, 500), "carrier": random.choice(["UA", "AA"], 500)})
    frame.loc[::7, "delay"] = np.nan
    frame.to_parquet(tmp_path / "training.parquet")
    version = models.put(tmp_path / "models", "flights", models.identity("FP32", ("batch", 3)))
    before = version_digest(version)
    options = ["--rows", "json", "--version", str(version)]
    assert main(["contract", "infer", str(tmp_path / "training.parquet"), *options]) == 0
    manifest = tomllib.loads((version / "version.toml").read_text())
    impute = {"step": "impute", "strategy": "median"}
    manifest["input"][0]["steps"][0]["tensor"] = [
        {
            "name": "x",
            "feature": [
                {"column": "delay", "steps": [impute, {"step": "scale"}]},
                {"column": "carrier", "steps": [{"step": "onehot"}]},
            ],
        }
    ]
    (version / "version.toml").write_text(tomli_w.dumps(manifest))
    assert version_digest(version) != before

    served = start(tmp_path / "models").wait_ready()

    def rows(*given: dict[str, object]) -> np.ndarray[Any, Any]:
        return np.array([json.dumps(row).encode() for row in given], dtype=object)

    with Asker(served.address) as ask:
        answer = ask.infer(
            "flights", {"rows": rows({"delay": 12.5, "carrier": "UA"}, {"delay": None, "carrier": "AA"})}
        )["y"]
        strange = rows({"delay": 1e6, "carrier": "UA"}, {"delay": 0.0, "carrier": None})
        refusal = ask.refused(request("flights", {"rows": strange}))
    delays = frame["delay"]
    scaled = (np.array([12.5, delays.median()]) - delays.mean()) / delays.std(ddof=0)
    np.testing.assert_allclose(answer, np.column_stack([scaled, [0, 1], [1, 0]]), rtol=1e-5)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert f"row 0, column 'delay': expected at most {delays.max()}, came 1000000.0" in refusal.message
    assert "row 1, column 'carrier': expected a value, came null" in refusal.message
