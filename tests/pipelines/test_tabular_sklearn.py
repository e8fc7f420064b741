"""Steps that were read from scikit-learn give exactly what scikit-learn gives."""

import json
import pickle
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    StandardScaler,
)

from steelyard import wire
from steelyard.errors import ManifestError
from steelyard.pipelines.problems import Problem
from steelyard.pipelines.tabular.declaration import TabularTable
from steelyard.pipelines.tabular.from_sklearn import convert, load_estimator
from steelyard.pipelines.tabular.json_source import JsonSource
from steelyard.pipelines.tabular.plan import compile_plan
from tests.pipelines.tabular_requests import Tensor

ROWS = 500


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Numbers over many magnitudes, whole numbers, words and booleans, some missing."""
    random = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "delay": random.normal(3, 30, ROWS),
            "tiny": random.normal(0, 1e-7, ROWS),
            "huge": np.exp(random.normal(0, 20, ROWS)),
            "distance": random.integers(17, 5000, ROWS),
            "month": random.integers(1, 13, ROWS),
            "carrier": random.choice(["UA", "AA", "B6", 'é, "quoted"'], ROWS, p=[0.6, 0.3, 0.08, 0.02]),
            "origin": random.choice(["EWR", "JFK"], ROWS),
            "cancelled": random.choice([True, False], ROWS),
        }
    )
    frame.loc[random.random(ROWS) < 0.1, "delay"] = np.nan
    frame["carrier"] = frame["carrier"].astype(object)
    frame.loc[random.random(ROWS) < 0.1, "carrier"] = np.nan
    frame.loc[0, "tiny"] = -0.0
    return frame


def json_rows(frame: pd.DataFrame, names: list[str]) -> Tensor:
    """A frame's rows as a caller sends them: doubles with all their digits, null where nothing is."""
    rows = []
    for values in frame[names].itertuples(index=False):
        row = {
            name: None if value is None or value != value else getattr(value, "item", lambda v=value: v)()
            for name, value in zip(names, values, strict=True)
        }
        rows.append(json.dumps(row))
    return Tensor("rows", "BYTES", (len(rows),), memoryview(wire.encode_bytes_tensor(rows)))


def served(
    estimator: Any, frame: pd.DataFrame, directory: Path, datatype: str = "FP64"
) -> tuple[Any, list[Problem]]:
    """What the converted steps make of the frame, sent as JSON, by way of a TOML file."""
    converted = convert(estimator, datatype=datatype)
    for name, content in converted.files.items():
        (directory / name).write_text(content)
    declaration = TabularTable.model_validate(tomllib.loads(tomli_w.dumps(converted.document)))
    plan = compile_plan(declaration, directory=directory)
    columns = JsonSource(declaration.column).read(
        json_rows(frame, [column.name for column in declaration.column])
    )
    assert columns.problems == []
    tensor = plan.tensors["x"]
    out = np.empty((len(frame), tensor.width), tensor.dtype)
    return out, tensor.run(columns, out)


def dense(array: Any) -> Any:
    return np.asarray(array.toarray() if hasattr(array, "toarray") else array, np.float64)


def assert_exact(estimator: Any, frame: pd.DataFrame, directory: Path) -> None:
    expected = dense(estimator.transform(frame))
    for datatype, dtype in (("FP64", "f8"), ("FP32", "f4")):
        out, problems = served(estimator, frame, directory, datatype)
        assert problems == []
        assert out.shape == expected.shape
        with np.errstate(over="ignore"):
            wanted = expected.astype(dtype)
        differ = (out.view(f"u{out.itemsize}") != wanted.view(f"u{out.itemsize}")) & ~(
            np.isnan(out) & np.isnan(wanted)
        )
        assert not differ.any(), (out[differ][:3], wanted[differ][:3])


NUMBERS = ["delay", "tiny", "huge", "distance"]
TRANSFORMERS: dict[str, tuple[Any, list[str]]] = {
    "standard": (StandardScaler(), NUMBERS),
    "standard without mean": (StandardScaler(with_mean=False), NUMBERS),
    "standard without std": (StandardScaler(with_std=False), NUMBERS),
    "standard with neither": (StandardScaler(with_mean=False, with_std=False), NUMBERS),
    "minmax": (MinMaxScaler(), NUMBERS),
    "minmax clipped": (MinMaxScaler((-1.0, 0.5), clip=True), NUMBERS),
    "impute mean": (SimpleImputer(), NUMBERS),
    "impute median": (SimpleImputer(strategy="median", add_indicator=True), NUMBERS),
    "impute mode": (SimpleImputer(strategy="most_frequent"), NUMBERS),
    "impute constant": (SimpleImputer(strategy="constant", fill_value=-1.5), NUMBERS),
    "onehot": (OneHotEncoder(), ["carrier", "origin", "month", "cancelled"]),
    "onehot of numbers": (OneHotEncoder(), ["delay"]),
    "onehot ignoring": (OneHotEncoder(handle_unknown="ignore"), ["carrier", "month"]),
    "onehot without the first": (OneHotEncoder(drop="first"), ["carrier", "month"]),
    "onehot of two": (OneHotEncoder(drop="if_binary", sparse_output=False), ["origin", "month"]),
    "onehot with infrequent": (
        OneHotEncoder(min_frequency=30, handle_unknown="infrequent_if_exist"),
        ["carrier", "month", "origin"],
    ),
    "onehot of at most three": (
        OneHotEncoder(max_categories=3, handle_unknown="ignore"),
        ["carrier", "month"],
    ),
    "ordinal": (OrdinalEncoder(), ["carrier", "origin", "month", "cancelled"]),
    "ordinal with values": (
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
        ["carrier", "month"],
    ),
    "ordinal with infrequent": (
        OrdinalEncoder(min_frequency=30, handle_unknown="use_encoded_value", unknown_value=np.nan),
        ["carrier", "month"],
    ),
    "bins": (KBinsDiscretizer(7), ["tiny", "huge", "distance"]),
    "bins, ordinal": (KBinsDiscretizer(5, encode="ordinal", strategy="uniform"), ["tiny", "distance"]),
    "bins, dense": (KBinsDiscretizer(3, encode="onehot-dense", strategy="kmeans"), ["tiny", "distance"]),
    "impute, then scale": (
        Pipeline([("impute", SimpleImputer(strategy="median")), ("scale", StandardScaler())]),
        NUMBERS,
    ),
    "impute, then encode": (
        Pipeline([("impute", SimpleImputer(strategy="most_frequent")), ("encode", OneHotEncoder())]),
        ["carrier"],
    ),
    "impute a word": (
        Pipeline(
            [("impute", SimpleImputer(strategy="constant", fill_value="none")), ("encode", OneHotEncoder())]
        ),
        ["carrier"],
    ),
    "impute, then bins": (
        Pipeline([("impute", SimpleImputer()), ("nothing", "passthrough"), ("bins", KBinsDiscretizer(4))]),
        ["delay"],
    ),
    "nothing": (FunctionTransformer(), NUMBERS),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_each_transformer_exactly(name: str, table: pd.DataFrame, tmp_path: Path) -> None:
    transformer, columns = TRANSFORMERS[name]
    assert_exact(transformer.fit(table[columns]), table[columns], tmp_path)


@pytest.mark.parametrize("remainder", ["drop", "passthrough", StandardScaler()])
def test_a_column_transformer_exactly(remainder: Any, table: pd.DataFrame, tmp_path: Path) -> None:
    frame = table[["tiny", "delay", "carrier", "month", "distance", "huge"]]
    transformer = ColumnTransformer(
        [
            (
                "numbers",
                Pipeline([("impute", SimpleImputer()), ("scale", StandardScaler())]),
                ["delay", "distance"],
            ),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
            ("bins", KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"), [0]),
            ("out", "drop", ["month"]),
            ("again", MinMaxScaler(), lambda frame: [4]),
        ],
        remainder=remainder,
    )
    assert_exact(transformer.fit(frame), frame, tmp_path)


def test_a_pipeline_around_a_column_transformer(table: pd.DataFrame, tmp_path: Path) -> None:
    frame = table[["delay", "distance"]]
    inner = ColumnTransformer([("impute", SimpleImputer(), ["delay"])], remainder="passthrough")
    pipeline = Pipeline([("columns", inner), ("scale", StandardScaler()), ("model", LogisticRegression())])
    pipeline.fit(frame, table["cancelled"])
    converted = convert(pipeline)
    assert converted.skipped == ("model (LogisticRegression)",)
    assert_exact(pipeline[:-1], frame, tmp_path)


def test_many_categories_go_into_a_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"tail number/é": [f"N{i}\n" for i in range(3000)]}, dtype=object)
    encoder = OrdinalEncoder().fit(frame)
    converted = convert(encoder)
    assert list(converted.files) == ["categories-0-tail_number__.json"]
    assert_exact(encoder, frame, tmp_path)


def test_unknown_categories_are_refused_as_they_were(table: pd.DataFrame, tmp_path: Path) -> None:
    encoder = OneHotEncoder().fit(table[["origin"]])
    frame = pd.DataFrame({"origin": ["EWR", "XXX", None]}, dtype=object)
    out, problems = served(encoder, frame, tmp_path)
    assert [str(problem) for problem in problems] == [
        "row 1, column 'origin': expected a known category, came 'XXX'",
        "row 2, column 'origin': expected a value, came null",
    ]
    assert out.tolist() == [[1, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("transformer", "message"),
    [
        (PowerTransformer(), "cannot write PowerTransformer as steps; known are: ColumnTransformer, "),
        (FunctionTransformer(np.log1p), "cannot write a function as steps"),
        (SimpleImputer(missing_values=-1), "expected NaN or None for missing_values, came -1"),
        (
            Pipeline([("bins", KBinsDiscretizer(3)), ("scale", StandardScaler(with_mean=False))]),
            "Pipeline > scale: cannot work on what a one-hot encoding of 'distance' made",
        ),
        (
            OneHotEncoder(drop="first", min_frequency=2),
            "OneHotEncoder: cannot write drop together with infrequent categories",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_cannot_be_written_is_named(transformer: Any, message: str, table: pd.DataFrame) -> None:
    frame = table[["distance"]].replace(int(table["distance"][0]), 17)
    with pytest.raises(ManifestError, match=message):
        convert(transformer.fit(frame))


def test_what_is_not_fitted_is_refused() -> None:
    with pytest.raises(
        ManifestError, match="expected a fitted transformer of scikit-learn, came StandardScaler"
    ):
        convert(StandardScaler())


def test_names_for_what_was_fitted_on_an_array() -> None:
    scaler = StandardScaler().fit(np.arange(6.0).reshape(3, 2))
    assert [column["name"] for column in convert(scaler).document["column"]] == ["x0", "x1"]
    assert [column["name"] for column in convert(scaler, columns=["a", "b"]).document["column"]] == ["a", "b"]
    with pytest.raises(ManifestError, match="expected 2 names of columns, came 1"):
        convert(scaler, columns=["a"])


def test_a_column_used_in_two_ways_is_refused(table: pd.DataFrame) -> None:
    frame = table[["carrier"]].fillna("1")
    both = ColumnTransformer([("words", OneHotEncoder(), ["carrier"]), ("again", "passthrough", ["carrier"])])
    document = convert(both.fit(frame)).document
    with pytest.raises(ManifestError, match=r"feature 2 \('carrier'\): ends in text"):
        compile_plan(TabularTable.model_validate(document))


def test_loading_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "scaler.pkl"
    path.write_bytes(pickle.dumps(StandardScaler().fit([[1.0], [2.0]])))
    assert load_estimator(path).mean_[0] == 1.5
    path.write_bytes(b"not a pickle")
    with pytest.raises(ManifestError, match="expected a joblib or pickle file"):
        load_estimator(path)
