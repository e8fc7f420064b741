"""Rows to features, against scikit-learn: `python -m benchmarks tabular`.

Flights go through impute, scale and one-hot: a fitted ColumnTransformer on one side, the steps that were read from it
on the other, whose outputs are first seen to be equal bit for bit. One core, in turn. "Columns" starts from what each
side takes as it is: a DataFrame, or columns that were read; "JSON" from the bytes of a request with one object a
row, for scikit-learn by `json.loads` and a DataFrame. "Tensors" and "Arrow" are this project's from a request's
bytes, against scikit-learn's from its DataFrame. It favours scikit-learn in that its encoder was told to give
dense arrays, and this project in that scikit-learn's cost for one row is mostly that of its checks of a DataFrame.
"""

import gc
import io
import json
import os
import statistics
import time
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import tomli_w
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks import flights
from benchmarks.benchmark import Chart
from steelyard import wire
from steelyard.pipelines.tabular.arrow_source import ArrowSource
from steelyard.pipelines.tabular.columns import Columns
from steelyard.pipelines.tabular.declaration import TabularTable
from steelyard.pipelines.tabular.from_sklearn import convert
from steelyard.pipelines.tabular.json_source import JsonSource
from steelyard.pipelines.tabular.plan import TabularPlan, compile_plan
from steelyard.pipelines.tabular.tensor_source import TensorSource

ROUNDS = 9
ROUND_NS = 60_000_000
NAMES = [*flights.NUMBERS, *flights.CATEGORIES]


def fitted(frame: pd.DataFrame) -> ColumnTransformer:
    """Impute and scale numbers, one-hot categories."""
    numbers = Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    transformer = ColumnTransformer(
        [("numbers", numbers, list(flights.NUMBERS)), ("categories", categories, list(flights.CATEGORIES))]
    )
    return transformer.fit(frame)


@dataclass(frozen=True)
class Sides:
    """The same flights and the same transformation, twice."""

    frame: pd.DataFrame
    transformer: ColumnTransformer
    table: TabularTable
    plan: TabularPlan

    def request(self, rows: int) -> tuple[Any, list[Any]]:
        """The first rows as a tensor of JSON objects, and as one tensor a column."""
        part = self.frame.head(rows)
        objects = [
            json.dumps({name: None if value != value else value for name, value in row.items()})
            for row in part.to_dict("records")
        ]
        tensors = []
        for name in NAMES:
            if name in flights.CATEGORIES:
                tensors.append(tensor(name, "BYTES", rows, wire.encode_bytes_tensor(part[name].tolist())))
            else:
                tensors.append(tensor(name, "FP64", rows, part[name].to_numpy("f8").tobytes()))
        return tensor("rows", "BYTES", rows, wire.encode_bytes_tensor(objects)), tensors


def arrow_stream(frame: pd.DataFrame) -> bytes:
    """The rows as an Arrow IPC stream of one batch."""
    batch = pa.RecordBatch.from_pandas(frame[NAMES], preserve_index=False)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def tensor(name: str, datatype: str, rows: int, data: bytes) -> Any:
    return SimpleNamespace(name=name, datatype=datatype, shape=(rows,), data=memoryview(data))


def sides(rows: int = flights.ROWS) -> Sides:
    """Fitted on the first `rows` flights; raises AssertionError where the sides differ in a bit."""
    records = (row for _, row in zip(range(rows), flights.flights(), strict=False))
    frame = pd.DataFrame(list(records), columns=NAMES)
    transformer = fitted(frame)
    converted = convert(transformer, datatype="FP64", rows="json")
    table = TabularTable.model_validate(tomllib.loads(tomli_w.dumps(converted.document)))
    both = Sides(frame, transformer, table, compile_plan(table))
    # The same values in the units that a request may have: 20,000 rows a time.
    source = JsonSource(table.column)
    for start in range(0, rows, 20_000):
        part = Sides(frame.iloc[start : start + 20_000], transformer, table, both.plan)
        count = len(part.frame)
        out = made(both.plan, source.read(part.request(count)[0]))
        assert out.tobytes() == transformer.transform(part.frame).tobytes(), f"rows from {start} on differ"
    return both


def made(plan: TabularPlan, columns: Columns) -> Any:
    out = np.empty((columns.rows, plan.tensors["x"].width))
    plan.run(columns, out)
    return out


def contenders(both: Sides, rows: int) -> dict[str, Callable[[], object]]:
    """What is measured, by name, for so many rows a call."""
    frame = both.frame.head(rows)
    objects, tensors = both.request(rows)
    from_json, from_tensors = JsonSource(both.table.column), TensorSource(both.table.column)
    from_arrow = ArrowSource(both.table.column)
    stream = tensor("rows", "BYTES", 1, wire.encode_bytes_tensor([arrow_stream(frame)]))
    elements = wire.decode_bytes_tensor(objects.data)
    prepared = from_json.read(objects)
    out = np.empty((rows, both.plan.tensors["x"].width))
    run = both.plan.run
    transform = both.transformer.transform
    return {
        "columns": lambda: run(prepared, out),
        "columns, scikit-learn": lambda: transform(frame),
        "tensors": lambda: run(from_tensors.read(tensors), out),
        "Arrow": lambda: run(from_arrow.read(stream), out),
        "JSON": lambda: run(from_json.read(objects), out),
        "JSON, scikit-learn": lambda: transform(
            pd.DataFrame([json.loads(element) for element in elements], columns=NAMES)
        ),
    }


def rounds_us(runs: dict[str, Callable[[], object]], rounds: int, round_ns: int) -> dict[str, list[float]]:
    """Microseconds a call in each round, measured in turn so that what disturbs one disturbs the others."""
    counts = {}
    for name, run in runs.items():
        run()
        started = time.perf_counter_ns()
        run()
        counts[name] = max(1, round_ns // max(1, time.perf_counter_ns() - started))
    took: dict[str, list[float]] = {name: [] for name in runs}
    gc.collect()
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter_ns()
            for _ in range(counts[name]):
                run()
            took[name].append((time.perf_counter_ns() - started) / counts[name] / 1000)
    return took


def measure(quick: bool = False) -> dict[str, dict[str, list[float]]]:
    """Microseconds a call in every round, by rows and contender; pinned to one core."""
    cores = os.sched_getaffinity(0)
    both = sides(20_000 if quick else flights.ROWS)
    os.sched_setaffinity(0, {min(cores)})
    try:
        found = {}
        for rows in (1000, 1):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[f"{rows:,}"] = rounds_us(
                    contenders(both, rows), 3 if quick else ROUNDS, ROUND_NS // 10 if quick else ROUND_NS
                )
        return found
    finally:
        os.sched_setaffinity(0, cores)


def report(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """A line for each kind of input and number of rows."""
    lines = [f"{'rows':>6}  {'from':10}{'µs a call':>12}{'spread':>18}{'scikit-learn':>15}{'ratio':>8}"]
    for rows, by_name in found.items():
        for name in ("columns", "tensors", "Arrow", "JSON"):
            mine = by_name[name]
            other = by_name["JSON, scikit-learn" if name == "JSON" else "columns, scikit-learn"]
            spread = f"{min(mine):,.1f}–{max(mine):,.1f}"
            median, others = statistics.median(mine), statistics.median(other)
            lines.append(
                f"{rows:>6}  {name:10}{median:12,.1f}{spread:>18}{others:15,.0f}{others / median:8.0f}"
            )
    return lines


def charts(found: dict[str, dict[str, list[float]]]) -> list[Chart]:
    """A chart a number of rows."""
    return [Chart(f"rows to features, {rows} a call", "µs a call", took) for rows, took in found.items()]
