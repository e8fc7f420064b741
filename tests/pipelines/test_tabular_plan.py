"""Declarations: what each step makes of a column, and each wrong one by its name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from steelyard.errors import ManifestError
from steelyard.pipelines.plain import tabular as plain
from steelyard.pipelines.plain.xxh64 import xxh64
from steelyard.pipelines.problems import describe
from steelyard.pipelines.tabular.columns import Columns
from steelyard.pipelines.tabular.declaration import TabularTable
from steelyard.pipelines.tabular.json_source import JsonSource
from steelyard.pipelines.tabular.plan import TabularPlan, compile_plan
from steelyard.toml import describe_problems
from tests.pipelines.tabular_requests import declared, texts

NAN = float("nan")
COLUMNS = {"n": "number", "i": "integer", "b": "boolean", "t": "text", "d": "date"}
ROWS = [
    '{"n": 1.5, "i": 3, "b": true, "t": "UA", "d": "2026-11-23T08:30:00Z"}',
    '{"n": -2, "i": -1, "b": false, "t": "ZZ", "d": "1969-12-31T23:59:59Z"}',
    '{"n": null, "i": null, "b": null, "t": null, "d": null}',
]


def read(rows: list[str]) -> Columns:
    return JsonSource(declared(COLUMNS, [{"column": "n"}]).column).read(texts("rows", rows))


def plan(
    column: str, steps: list[dict[str, Any]], datatype: str = "FP64", profile: Any = None, **options: Any
) -> TabularPlan:
    table = declared(COLUMNS, [{"column": column, "steps": steps}], datatype=datatype)
    return compile_plan(table, profile, **options)


def made(column: str, *steps: dict[str, Any], rows: list[str] = ROWS, **options: Any) -> Any:
    """What steps make of the rows, native and by the twin; a list for one feature."""
    results = []
    for twin in ({}, {"program": plain.Program, "vocabulary": plain.Vocabulary}):
        compiled = plan(column, list(steps), **options, **twin)
        tensor = compiled.tensors["x"]
        out = np.empty((len(rows), tensor.width), tensor.dtype)
        tensor.run(read(rows), out)
        results.append(out)
    assert results[0].tobytes() == results[1].tobytes()
    return results[0][:, 0].tolist() if results[0].shape[1] == 1 else results[0].tolist()


def step(name: str, **options: Any) -> dict[str, Any]:
    return {"step": name, **options}


PROFILE = {
    "n": {"mean": 0.5, "std": 2.0, "median": 7, "min": -2.0, "max": 2.0, "mode": 1.0},
    "t": {"mode": "AA", "categories": ["AA", "UA"]},
}


@pytest.mark.parametrize(
    ("column", "steps", "expected"),
    [
        ("n", [], [1.5, -2.0, NAN]),
        ("i", [], [3.0, -1.0, NAN]),
        ("b", [], [1.0, 0.0, NAN]),
        ("n", [step("impute", value=9)], [1.5, -2.0, 9.0]),
        ("i", [step("impute", value=9)], [3.0, -1.0, 9.0]),
        ("i", [step("impute", value=0.5)], [3.0, -1.0, 0.5]),
        ("b", [step("impute", value=True)], [1.0, 0.0, 1.0]),
        ("n", [step("impute", strategy="median")], [1.5, -2.0, 7.0]),
        ("n", [step("impute", strategy="mean")], [1.5, -2.0, 0.5]),
        ("n", [step("clip", min=-1.0, max=1.0)], [1.0, -1.0, NAN]),
        ("n", [step("clip", max=1.0)], [1.0, -2.0, NAN]),
        ("n", [step("scale", mean=0.5, std=2.0)], [0.5, -1.25, NAN]),
        ("n", [step("scale")], [0.5, -1.25, NAN]),
        ("n", [step("scale", method="minmax")], [0.875, 0.0, NAN]),
        ("n", [step("scale", method="minmax", min=-2.0, max=2.0, range=[-1, 1])], [0.75, -1.0, NAN]),
        ("n", [step("scale", method="linear", subtract=1, divide=2, multiply=3, add=4)], [4.75, -0.5, NAN]),
        ("n", [step("log", offset=1.5)], [np.log1p(3.0), np.log(0.5), NAN]),
        ("n", [step("log", method="log", offset=2)], [np.log(3.5), -np.inf, NAN]),
        ("n", [step("bucketize", edges=[-2, 0, 2])], [2.0, 1.0, NAN]),
        ("n", [step("bucketize", edges=[0], output="onehot")], [[0, 1], [1, 0], [0, 0]]),
        ("n", [step("missing_indicator")], [0.0, 0.0, 1.0]),
        ("t", [step("missing_indicator")], [0.0, 0.0, 1.0]),
        ("t", [step("vocabulary", categories=["UA", "AA"], unknown="missing")], [0.0, NAN, NAN]),
        ("t", [step("vocabulary", categories=["UA"], unknown=5, missing=-2)], [0.0, 5.0, -2.0]),
        ("t", [step("vocabulary", categories=["UA", "ZZ"], indices=[7, 7])], [7.0, 7.0, NAN]),
        ("t", [step("vocabulary", unknown=9)], [1.0, 9.0, NAN]),
        ("t", [step("impute", strategy="mode"), step("vocabulary", unknown=9)], [1.0, 9.0, 0.0]),
        ("i", [step("vocabulary", categories=[3, -1])], [0.0, 1.0, NAN]),
        ("n", [step("vocabulary", categories=[1.5, -2])], [0.0, 1.0, NAN]),
        ("b", [step("vocabulary", categories=[True, False])], [0.0, 1.0, NAN]),
        ("t", [step("onehot", categories=["UA", "ZZ"])], [[1, 0], [0, 1], [0, 0]]),
        ("t", [step("onehot", categories=["UA"], missing="category")], [[1, 0], [0, 0], [0, 1]]),
        ("t", [step("onehot", categories=["AA", "UA", "ZZ"], drop="UA")], [[0, 0], [0, 1], [0, 0]]),
        (
            "t",
            [
                step(
                    "onehot", categories=["UA"], infrequent=["ZZ"], missing="infrequent", unknown="infrequent"
                )
            ],
            [[1, 0], [0, 1], [0, 1]],
        ),
        ("t", [step("hash", buckets=1000)], [xxh64(b"UA") % 1000, xxh64(b"ZZ") % 1000, NAN]),
        (
            "i",
            [step("hash", buckets=9, seed=5)],
            [xxh64(b"\3" + bytes(7), 5) % 9, xxh64(b"\xff" * 8, 5) % 9, NAN],
        ),
        ("t", [step("hash", buckets=1, output="onehot")], [1.0, 1.0, 0.0]),
        (
            "d",
            [step("date_parts", parts=["year", "month", "day", "weekday", "hour", "minute"])],
            [[2026, 11, 23, 0, 8, 30], [1969, 12, 31, 2, 23, 59], [NAN] * 6],
        ),
        (
            "d",
            [
                step("date_parts", parts=["hour", "minute"]),
                step("impute", value=0),
                step("scale", mean=0, std=10),
            ],
            [[0.8, 3.0], [2.3, 5.9], [0, 0]],
        ),
    ],
)
def test_what_steps_make(column: str, steps: list[dict[str, Any]], expected: list[Any]) -> None:
    np.testing.assert_array_equal(made(column, *steps, profile=PROFILE), expected)


def test_whole_numbers_for_int64() -> None:
    assert made("i", step("impute", value=2**62 + 1), datatype="INT64") == [3, -1, 2**62 + 1]
    assert made("t", step("onehot", categories=["UA"]), datatype="INT64") == [1, 0, 0]


def test_features_side_by_side_and_their_names() -> None:
    table = declared(
        COLUMNS,
        [
            {"columns": ["n", "i"], "steps": [step("impute", value=0)]},
            {"column": "t", "steps": [step("onehot", categories=["UA", "ZZ"])]},
            {"column": "n", "steps": [step("missing_indicator")]},
            {"column": "d", "steps": [step("date_parts", parts=["hour"])]},
            {"column": "n", "steps": [step("bucketize", edges=[0], output="onehot")]},
        ],
    )
    tensor = compile_plan(table).tensors["x"]
    assert tensor.feature_names == ("n", "i", "t=UA", "t=ZZ", "n is missing", "d hour", "n=0", "n=1")
    out = np.full((3, tensor.width), 9, "f4")
    assert tensor.run(read(ROWS), out) == []
    np.testing.assert_array_equal(out[0], np.array([1.5, 3, 1, 0, 0, 8, 0, 1], "f4"))


def test_a_part_of_the_rows_into_a_slice_of_the_batch() -> None:
    tensor = plan("i", [step("impute", value=0)], "FP32").tensors["x"]
    batch = np.full((4, 1), 9, "f4")
    tensor.run(read(ROWS), batch[1:3], start=1, rows=2)
    assert batch[:, 0].tolist() == [9, -1, 0, 9]


def test_problems_before_and_while_rows_are_made() -> None:
    compiled = plan("t", [step("vocabulary", categories=["UA"], missing="refuse")])
    columns = read(ROWS)
    problems = compiled.find_problems(columns)
    assert [str(problem) for problem in problems] == [
        "row 1, column 't': expected a known category, came 'ZZ'",
        "row 2, column 't': expected a value, came null",
    ]
    assert compiled.run(columns, np.empty((3, 1))) == problems
    assert compiled.tensors["x"].run(columns, np.empty((1, 1)), start=2, rows=1) == problems[1:]
    assert describe(problems).startswith(
        "2 bad rows: row 1, column 't': expected a known category, came 'ZZ' (rule 'unknown_category'); "
    )


def test_a_refusal_names_many_rows_within_bounds() -> None:
    columns = read(["{}"] * 100)
    message = describe(columns.problems)
    assert message.startswith(
        "100 bad rows: row 0, column 'n': expected the key to be there, came {} (rule 'missing_key'); "
    )
    assert message.endswith("; and 84 rows more")
    assert len(message) < 8192


def test_a_buffer_of_another_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a buffer of float64, came float32"):
        plan("n", []).run(read(ROWS), np.empty((3, 1), "f4"))


def test_categories_from_files(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("UA\nZZ\n", encoding="utf-8")
    (tmp_path / "numbers.json").write_text("[3, -1]")
    words = made("t", step("vocabulary", categories="words.txt"), directory=tmp_path)
    np.testing.assert_array_equal(words, [0.0, 1.0, NAN])
    numbers = made("i", step("vocabulary", categories="numbers.json"), directory=tmp_path)
    np.testing.assert_array_equal(numbers, [0.0, 1.0, NAN])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("../words.txt", None, "expected a list, or a file in the version's directory"),
        ("/etc/hosts", None, "expected a list, or a file in the version's directory"),
        ("gone.txt", None, "gone.txt: cannot be read: No such file"),
        ("bad.txt", b"\xff", "expected UTF-8 text"),
        ("bad.json", b"[1", "or JSON"),
        ("deep.json", b"[" * 100_000, "or JSON"),
        ("dict.json", b"{}", "expected one list of texts or numbers"),
        ("twice.txt", b"a\na", "expected each once"),
    ],
)
def test_files_that_hold_no_categories(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        plan("t", [step("vocabulary", categories=name)], directory=tmp_path)


@pytest.mark.parametrize(
    ("column", "steps", "message"),
    [
        ("m", [], "tensor 'x', feature 1 ('m'): unknown column 'm'"),
        ("t", [], "feature 1 ('t'): ends in text; expected a step that makes numbers of it"),
        ("t", [step("scale", mean=0, std=1)], "step 1 (scale): cannot work on text"),
        ("t", [step("impute", value=1)], "step 1 (impute): value: expected text, got 1"),
        ("n", [step("impute", value="1")], "step 1 (impute): value: expected a number, got '1'"),
        ("n", [step("impute", value=True)], "value: expected a number, got True"),
        ("b", [step("impute", value=1)], "value: expected true or false, got 1"),
        (
            "n",
            [step("impute", strategy="mean")],
            "step 1 (impute): mean: not given, and the profile has none",
        ),
        ("n", [step("scale", mean=0)], "step 1 (scale): std: not given, and the profile has none"),
        ("n", [step("scale", method="minmax", min=1, max=1)], "min: expected less than max = 1.0, got 1.0"),
        ("t", [step("onehot")], "step 1 (onehot): categories: not given, and the profile has none"),
        ("t", [step("onehot", categories=["a", "a"])], "categories: expected each once"),
        ("t", [step("onehot", categories=["a"], infrequent=["a"])], "categories: expected each once"),
        ("t", [step("onehot", categories=["a", 1])], "expected texts for a column of kind text, got 1"),
        ("i", [step("onehot", categories=[1.5])], "expected whole numbers of 64 bits, got 1.5"),
        ("i", [step("onehot", categories=[True])], "expected numbers for a column of kind integer, got True"),
        ("b", [step("onehot", categories=[0, 1])], "expected true and false for a column of kind boolean"),
        ("i", [step("onehot", categories=[2**70])], "expected whole numbers of 64 bits"),
        ("t", [step("onehot", categories=["a"], drop="b")], "drop: expected one of the categories, got 'b'"),
        ("t", [step("onehot", categories=[])], "expected 1 to 16777216 columns, got 0"),
        (
            "t",
            [step("onehot", categories=["a"]), step("scale", mean=0, std=1)],
            "step 2 (scale): cannot follow a step that made several columns",
        ),
        ("t", [step("vocabulary", categories=["a"], indices=[1, 2])], "indices: expected one for each of 1"),
        ("n", [step("hash", buckets=3)], "step 1 (hash): cannot work on numbers"),
        (
            "n",
            [step("date_parts", parts=["day"])],
            "step 1 (date_parts): expected a column of kind date, got number",
        ),
    ],
)
def test_steps_that_do_not_fit_are_named(column: str, steps: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ManifestError) as failed:
        plan(column, steps)
    assert message in str(failed.value)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "ends in numbers; an INT64 tensor takes whole numbers"),
        ([step("missing_indicator"), step("scale", mean=0, std=1)], "ends in numbers"),
        ([step("bucketize", edges=[1])], "may be missing, which INT64 cannot hold; expected an impute step"),
    ],
)
def test_steps_that_do_not_end_in_int64(steps: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ManifestError) as failed:
        plan("n", steps, "INT64")
    assert message in str(failed.value)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            [{"stp": "impute"}],
            '[tensor 1.feature 1.steps] step 1: expected its name as step = "...", one of:',
        ),
        ([step("imput")], "step 1: unknown step 'imput', did you mean 'impute'?"),
        (["impute"], "step 1: expected a table such as { step ="),
        ([step("impute", vlaue=1)], "step 1 (impute): unknown key 'vlaue', did you mean 'value'?"),
        ([step("impute")], "step 1 (impute): value: expected for strategy constant, but not given"),
        ([step("clip", min=0), step("clip")], "step 2 (clip): expected min, max or both"),
        ([step("clip", min=1, max=0)], "step 1 (clip): min: expected at most max = 0.0, got 1.0"),
        ([step("clip", min=float("nan"))], "min: expected a finite number, got nan"),
        ([step("scale", mean="0")], "step 1 (scale): mean: expected a number, got '0'"),
        ([step("scale", std=0)], "step 1 (scale): expected a divisor other than 0"),
        (
            [step("scale", method="linear")],
            "method linear expects at least one of add, divide, multiply, subtract",
        ),
        ([step("scale", divide=2)], "divide: method standard has only mean, std"),
        ([step("bucketize", edges=[2, 1])], "edges: expected ascending numbers"),
        ([step("onehot", missing="infrequent")], "infrequent: expected the categories that share its column"),
        ([step("hash", buckets=0)], "step 1 (hash): buckets: expected at least 1, got 0"),
        ([step("date_parts", parts=["second"])], "step 1 (date_parts): parts"),
    ],
)
def test_wrong_options_are_named(steps: list[Any], message: str) -> None:
    with pytest.raises(ValidationError) as failed:
        declared(COLUMNS, [{"column": "n", "steps": steps}])
    lines = describe_problems(failed.value, TabularTable)
    assert len(lines) == 1
    assert message in lines[0]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"tensor": []}, "column"),
        ({"column": [], "tensor": []}, "column: expected at least one"),
        ({"column": [{"name": "a", "kind": "number"}] * 2, "tensor": []}, "column 'a' is described twice"),
        (
            {"column": [{"name": "a", "kind": "float"}], "tensor": []},
            "[column 1] kind: expected 'number', 'integer'",
        ),
        (
            {"column": [{"name": "a", "kind": "number", "missing_texts": [""]}], "tensor": []},
            "missing_texts: expected only of kind text, got kind number",
        ),
        (
            {"column": [{"name": "a", "kind": "number"}], "tensor": [{"name": "x", "feature": []}]},
            "feature: expected at least one",
        ),
        (
            {"column": [{"name": "a", "kind": "number"}], "tensor": [{"name": "x", "feature": [{}]}]},
            "expected either column or columns",
        ),
    ],
)
def test_declarations_that_are_wrong(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as failed:
        TabularTable.model_validate(document)
    assert message in "; ".join(describe_problems(failed.value, TabularTable))


def test_a_million_categories_from_a_file(tmp_path: Path) -> None:
    words = [f"category {i}" for i in range(1_000_000)]
    (tmp_path / "words.txt").write_text("\n".join(words) + "\n")
    tensor = plan("t", [step("vocabulary", categories="words.txt", unknown=-1)], directory=tmp_path).tensors[
        "x"
    ]
    out = np.empty((3, 1))
    rows = [
        f'{{"n": 0, "i": 0, "b": true, "t": "{t}", "d": 0}}' for t in (words[0], words[-1], "category -1")
    ]
    assert tensor.run(read(rows), out) == []
    assert out[:, 0].tolist() == [0, 999_999, -1]
