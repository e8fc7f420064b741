"""Data contracts: what values keep to, and what happens to the rows of a request that do not."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from steelyard.errors import InvalidRequest, ManifestError
from steelyard.models.contract import Contract
from steelyard.models.spec import ModelSpec, TensorSpec
from steelyard.models.version_manifest import VersionManifest
from steelyard.pipelines.answers import parameters
from steelyard.pipelines.compile import compile_pipeline
from steelyard.pipelines.contract import tensors
from steelyard.pipelines.plan import Pipeline, PreparedRequest
from steelyard.pipelines.tally import Tally
from steelyard.serving.answering import answer_tensors
from steelyard.toml import describe_problems
from steelyard.wire import decode_bytes_tensor, encode_bytes_tensor
from tests.pipelines.test_compile import request

X = TensorSpec("x", "FP32", (-1, 2))
Y = TensorSpec("y", "FP32", (-1, 1))


def compiled(
    document: dict[str, Any],
    *inputs: TensorSpec,
    outputs: tuple[TensorSpec, ...] = (Y,),
    path: Path | None = None,
) -> Pipeline:
    manifest = VersionManifest.model_validate(document)
    pipeline = compile_pipeline(manifest, ModelSpec(inputs or (X,), outputs, True), path or Path())
    assert pipeline is not None
    return pipeline


def tensor(array: Any, dtype: str = "<f4") -> tuple[str, tuple[int, ...], bytes]:
    values = np.array(array, dtype)
    names = {"<f4": "FP32", "<f8": "FP64", "<i8": "INT64", "<i4": "INT32", "<u8": "UINT64", "<f2": "FP16"}
    return names[dtype], values.shape, values.tobytes()


def texts(*given: bytes) -> tuple[str, tuple[int, ...], bytes]:
    return "BYTES", (len(given),), encode_bytes_tensor(list(given))


def prepared(pipeline: Pipeline, **tensors: Any) -> tuple[PreparedRequest, Tally]:
    tally = pipeline.tally()
    asked = request(**tensors)
    rows = next(iter(tensors.values()))[1][0] if tensors else 0
    return pipeline.prepare(asked, rows, tally), tally


def answered(pipeline: Pipeline, made: PreparedRequest, outputs: list[Any]) -> list[Any]:
    return [array for _, _, array in answer_tensors(pipeline.offered, made.request, made, outputs)]


def filled(made: PreparedRequest, place: int = 0, dtype: str = "<f4") -> Any:
    target = np.zeros(made.inputs[place].shape, dtype)
    made.inputs[place].fill(target)
    return target.tolist()


def on(contract: dict[str, Any], name: str = "x", **more: Any) -> dict[str, Any]:
    return {"input": [{"name": name, "contract": contract, **more}]}


def test_a_row_out_of_range_is_refused_with_its_value() -> None:
    pipeline = compiled(on({"min": 0, "max": 10}))
    made, _ = prepared(pipeline, x=tensor([[0, 10], [3, 4]]))
    assert filled(made) == [[0, 10], [3, 4]]
    with pytest.raises(InvalidRequest) as refused:
        prepared(pipeline, x=tensor([[0, 11], [-1, 12], [1, 1]]))
    assert str(refused.value) == (
        "2 bad rows: row 0, column 'x': expected at most 10, came 11.0 at 1 (rule 'range'); "
        "row 1, column 'x': expected at least 0, came -1.0 at 0 (rule 'range')"
    )


def test_marked_rows_do_not_reach_the_model_and_the_others_are_answered() -> None:
    pipeline = compiled({**on({"max": 10}), "on_breach": "mark"})
    assert [output.name for output in pipeline.offered.outputs] == ["y", "row_status"]
    made, tally = prepared(pipeline, x=tensor([[1, 2], [3, 40], [5, 6]]))
    assert (made.rows, made.asked_rows, made.kept) == (2, 3, [0, 2])
    assert filled(made) == [[1, 2], [5, 6]]
    y, status = answered(pipeline, made, [np.array([[3.0], [11.0]], np.float32)])
    assert y[[0, 2]].tolist() == [[3.0], [11.0]]
    assert np.isnan(y[1]).all()
    assert status.tolist() == [b"", b"range: column 'x': expected at most 10, came 40.0 at 1", b""]
    assert parameters(made.marked, made.flagged) == {"steelyard_rows_marked": 1}
    assert tally.rules == {("range", "mark"): 1}


def test_no_row_is_left() -> None:
    pipeline = compiled({**on({"max": 10}), "on_breach": "mark"})
    made, _ = prepared(pipeline, x=tensor([[11, 2], [3, 40]]))
    assert (made.rows, made.kept) == (0, [])
    y, status = answered(pipeline, made, pipeline.nothing())
    assert y.shape == (2, 1)
    assert np.isnan(y).all()
    assert all(b"range" in one for one in status)


def test_every_row_is_there_where_none_is_marked() -> None:
    pipeline = compiled({**on({"max": 10}), "on_breach": "mark"})
    made, _ = prepared(pipeline, x=tensor([[1, 2]]))
    y, status = answered(pipeline, made, [np.ones((1, 1), np.float32)])
    assert (y.tolist(), status.tolist()) == ([[1.0]], [b""])
    assert parameters(made.marked, made.flagged) == {}


def test_flagged_rows_are_served_as_they_came() -> None:
    pipeline = compiled(on({"max": 10, "on_breach": "flag"}))
    assert [output.name for output in pipeline.offered.outputs] == ["y"]
    made, tally = prepared(pipeline, x=tensor([[1, 2], [3, 40]]))
    assert (made.rows, made.kept, filled(made)) == (2, None, [[1, 2], [3, 40]])
    assert parameters(made.marked, made.flagged) == {
        "steelyard_rows_flagged": 1,
        "steelyard_flags": "row 1, column 'x': expected at most 10, came 40.0 at 1 (rule 'range')",
    }
    assert tally.rules == {("range", "flag"): 1}


def test_outputs_of_marked_rows_by_their_type() -> None:
    outputs = (
        TensorSpec("f", "FP64", (-1, 2)),
        TensorSpec("i", "INT64", (-1,)),
        TensorSpec("b", "BOOL", (-1,)),
        TensorSpec("t", "BYTES", (-1,)),
        TensorSpec("h", "BF16", (-1,)),
    )
    pipeline = compiled({**on({"max": 1}), "on_breach": "mark"}, outputs=outputs)
    made, _ = prepared(pipeline, x=tensor([[2, 2], [0, 0]]))
    answers = [
        np.ones((1, 2)),
        np.array([7]),
        np.array([True]),
        np.array([b"a"], object),
        np.array([0x3F80], np.uint16),
    ]
    f, i, b, t, h, _ = answered(pipeline, made, answers)
    assert np.isnan(f[0]).all()
    assert (i.tolist(), b.tolist(), t.tolist()) == ([0, 7], [False, True], [b"", b"a"])
    assert np.isnan((h.astype(np.uint32) << 16).view(np.float32)).tolist() == [True, False]


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_missing_numbers_are_refused_imputed_or_left(dtype: str) -> None:
    names = {"<f2": "FP16", "<f4": "FP32", "<f8": "FP64"}
    spec = TensorSpec("x", names[dtype], (-1, 2))
    holes = tensor([[np.nan, 1], [2, 3]], dtype)
    left, _ = prepared(compiled(on({"missing": "null", "max": 9}), spec), x=holes)
    assert np.isnan(filled(left, dtype=dtype)[0][0])
    made, tally = prepared(compiled(on({"missing": "impute", "value": 5}), spec), x=holes)
    assert filled(made, dtype=dtype) == [[5, 1], [2, 3]]
    assert tally.rules == {("missing", "impute"): 1}
    with pytest.raises(InvalidRequest, match="row 0, column 'x': expected a value, came null at 0"):
        prepared(compiled(on({"missing": "refuse"}), spec), x=holes)


def test_unknown_values_are_refused_imputed_or_left_out() -> None:
    spec = TensorSpec("x", "INT64", (-1,))
    given = tensor([1, 2, 3], "<i8")
    refusing = compiled(on({"allowed": [1, 2]}), spec)
    with pytest.raises(InvalidRequest, match="row 2, column 'x': expected one of 1, 2, came 3"):
        prepared(refusing, x=given)
    imputing = compiled(on({"allowed": [1, 2], "unknown": "impute", "value": 0}), spec)
    made, tally = prepared(imputing, x=given)
    assert filled(made, dtype="<i8") == [1, 2, 0]
    assert tally.rules == {("allowed", "impute"): 1}
    floats = TensorSpec("x", "FP32", (-1,))
    nulling = compiled(on({"allowed": [1, 2], "unknown": "null", "missing": "refuse"}), floats)
    with pytest.raises(InvalidRequest, match=r"row 2, column 'x': expected a value, came 3\.0"):
        prepared(nulling, x=tensor([1, 2, 3]))


def test_texts_match_a_pattern_have_a_size_and_are_among_those_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("AB\nCD\nABC\n")
    spec = TensorSpec("t", "BYTES", (-1,))
    contract = {"pattern": "[A-Z]+", "allowed": "words.txt", "max_bytes": 2}
    pipeline = compiled({**on(contract, "t"), "on_breach": "mark"}, spec, path=tmp_path)
    made, tally = prepared(pipeline, t=texts(b"AB", b"ABC", b"ab", b"\xff\xfe", b"CD"))
    assert made.kept == [0, 4]
    found = {(problem.row, problem.rule) for problem in made.marked}
    assert found == {(1, "size"), (2, "allowed"), (3, "utf8"), (3, "allowed")}
    only_pattern = compiled({**on({"pattern": "[A-Z]+"}, "t"), "on_breach": "mark"}, spec)
    made, _ = prepared(only_pattern, t=texts(b"AB", b"ab", b"\xff\xfe"))
    assert [(problem.row, problem.rule) for problem in made.marked] == [(1, "pattern"), (2, "utf8")]
    assert tally.rules == {("size", "mark"): 1, ("allowed", "mark"): 2, ("utf8", "mark"): 1}


def test_texts_are_imputed() -> None:
    spec = TensorSpec("t", "BYTES", (-1,))
    pipeline = compiled(on({"allowed": ["a", "b"], "unknown": "impute", "value": "other"}, "t"), spec)
    made, _ = prepared(pipeline, t=texts(b"a", b"zz", b"b"))
    assert decode_bytes_tensor(made.inputs[0].data) == [b"a", b"other", b"b"]  # type: ignore[attr-defined]


def test_an_input_that_is_left_out() -> None:
    factor = TensorSpec("factor", "FP32", (-1, 1))
    contract = {"missing": "impute", "value": 1.5}
    pipeline = compiled(on(contract, "factor", required=False), X, factor)
    assert pipeline.optional == {"factor"}
    made, tally = prepared(pipeline, x=tensor([[1, 2], [3, 4]]))
    assert filled(made, 1) == [[1.5], [1.5]]
    assert tally.rules == {("missing", "impute"): 2}
    nan = compiled({"input": [{"name": "factor", "required": False}]}, X, factor)
    made, _ = prepared(nan, x=tensor([[1, 2]]))
    assert np.isnan(filled(made, 1)).all()


def table(*columns: dict[str, Any], rows: str = "json", **more: Any) -> dict[str, Any]:
    numbers = [column["name"] for column in columns if column["kind"] != "text"]
    step = {
        "step": "table",
        "rows": rows,
        "column": list(columns),
        "tensor": [{"name": "x", "feature": [{"columns": numbers}]}],
    }
    return {"input": [{"name": "rows", "steps": [step]}], **more}


def json_rows(*rows: Any) -> tuple[str, tuple[int, ...], bytes]:
    return texts(*(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))


AGE = {"name": "age", "kind": "integer", "contract": {"min": 0, "max": 120, "missing": "refuse"}}
INCOME = {"name": "income", "kind": "number", "contract": {"missing": "impute", "value": -1}}


def test_columns_of_a_table_keep_to_their_contracts() -> None:
    pipeline = compiled(table(AGE, INCOME))
    made, tally = prepared(pipeline, rows=json_rows({"age": 3, "income": None}, {"age": 120, "income": 2}))
    assert filled(made) == [[3, -1], [120, 2]]
    assert tally.rules == {("missing", "impute"): 1}
    with pytest.raises(InvalidRequest) as refused:
        prepared(pipeline, rows=json_rows({"age": None, "income": 0}, {"age": 121, "income": 0}))
    assert "row 0, column 'age': expected a value, came null (rule 'missing')" in str(refused.value)
    assert "row 1, column 'age': expected at most 120, came 121 (rule 'range')" in str(refused.value)


def test_columns_each_say_what_is_done() -> None:
    income = {**INCOME, "contract": {"min": 0, "on_breach": "flag"}}
    pipeline = compiled(table(AGE, income, on_breach="mark"))
    rows = json_rows({"age": 1, "income": -5}, {"age": 121, "income": 1}, b"[1]", {"age": 2, "income": 1})
    made, tally = prepared(pipeline, rows=rows)
    assert made.kept == [0, 3]
    assert filled(made) == [[1, -5], [2, 1]]
    assert [(problem.row, problem.rule) for problem in made.flagged] == [(0, "range")]
    assert {(problem.row, problem.rule) for problem in made.marked} == {(1, "range"), (2, "json")}
    assert tally.rules == {("range", "flag"): 1, ("range", "mark"): 1, ("json", "mark"): 1}


def test_what_cannot_be_read_cannot_be_flagged() -> None:
    pipeline = compiled(table(AGE, INCOME, on_breach="flag"))
    with pytest.raises(InvalidRequest, match=r"1 bad rows: row 0, column 'age'.*\(rule 'type'\)"):
        prepared(pipeline, rows=json_rows({"age": "3", "income": 0}, {"age": 121, "income": 0}))


def test_a_cell_that_cannot_be_read_is_not_missing_as_well() -> None:
    pipeline = compiled(table(AGE, INCOME, on_breach="mark"))
    made, _ = prepared(pipeline, rows=json_rows({"age": "3", "income": 0}, {"age": 1, "income": 0}))
    assert [problem.rule for problem in made.marked] == ["type"]


def test_dates_have_bounds() -> None:
    first, last = datetime.date(2020, 1, 1), datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
    day = {"name": "day", "kind": "date", "contract": {"min": first, "max": last}}
    step = {
        "step": "table",
        "rows": "json",
        "column": [day],
        "tensor": [
            {
                "name": "x",
                "feature": [{"column": "day", "steps": [{"step": "date_parts", "parts": ["year", "month"]}]}],
            }
        ],
    }
    pipeline = compiled({"input": [{"name": "rows", "steps": [step]}], "on_breach": "mark"})
    made, _ = prepared(pipeline, rows=json_rows({"day": "2019-12-31"}, {"day": "2020-05-01"}))
    assert made.kept == [1]
    assert filled(made) == [[2020, 5]]
    (problem,) = made.marked
    assert (problem.expected, problem.value) == ("at least 2020-01-01", "2019-12-31T00:00:00+00:00")


def test_columns_that_are_left_out_of_a_request() -> None:
    income = {"name": "income", "kind": "number", "required": False, "contract": INCOME["contract"]}
    pipeline = compiled(table(AGE, income, rows="columns"))
    assert pipeline.optional == {"income"}
    made, _ = prepared(pipeline, age=tensor([4, 5], "<i8"))
    assert filled(made) == [[4, -1], [5, -1]]


def test_files_have_a_largest_size_before_they_are_looked_at() -> None:
    windows = {"step": "windows", "begin": 2, "block": 8, "pad": 0}
    document = {
        "input": [{"name": "file", "steps": [windows], "contract": {"max_bytes": 4}}],
        "on_breach": "mark",
    }
    pipeline = compiled(document)
    made, _ = prepared(pipeline, file=texts(b"abcd", b"abcde", b"", b"xy"))
    assert made.kept == [0, 2, 3]
    assert filled(made) == [[*b"ab"], [0, 0], [*b"xy"]]


def test_time_and_errors_of_each_step_are_counted() -> None:
    windows = {"step": "windows", "begin": 2, "block": 8, "pad": 0, "minimum": 2}
    document = {
        "input": [{"name": "file", "steps": [windows]}],
        "output": [{"name": "y", "steps": [{"step": "softmax"}]}],
        "on_breach": "mark",
    }
    pipeline = compiled(document)
    assert pipeline.steps == (
        ("prepare", "contract"),
        ("prepare", "file/windows"),
        ("fill", "file/windows"),
        ("finish", "y/softmax"),
    )
    _, tally = prepared(pipeline, file=texts(b"abcd", b"a"))
    pipeline.count_fill([7], tally)
    pipeline.finish([np.zeros((1, 1), np.float32)], 1, [np.zeros((1, 2), np.float32)], tally)
    assert (tally.runs, tally.errors) == ([0, 1, 1, 1], [0, 1, 0, 0])
    assert tally.ns[1] > 0
    assert tally.ns[2] == 7
    assert tally.ns[3] > 0
    assert tally.rules == {("size", "mark"): 1}


@given(
    st.lists(st.lists(st.integers(-5, 15), min_size=2, max_size=2), min_size=1, max_size=20),
    st.sampled_from(["refuse", "mark", "flag"]),
)
def test_exactly_the_rows_that_break_a_rule_are_bad(rows: list[list[int]], action: str) -> None:
    pipeline = compiled(on({"min": 0, "max": 10, "on_breach": action}))
    bad = {at for at, row in enumerate(rows) if not all(0 <= value <= 10 for value in row)}
    if bad and action == "refuse":
        with pytest.raises(InvalidRequest, match=f"{len(bad)} bad rows"):
            prepared(pipeline, x=tensor(rows))
        return
    made, _ = prepared(pipeline, x=tensor(rows))
    if action == "mark":
        assert filled(made) == [row for at, row in enumerate(rows) if at not in bad]
        assert {problem.row for problem in made.marked} == bad
    else:
        assert filled(made) == rows
        assert {problem.row for problem in made.flagged} == (bad if action == "flag" else set())


def test_a_request_has_so_many_rows_at_most() -> None:
    spec = TensorSpec("x", "UINT8", (-1, 1))
    pipeline = compiled(on({"max": 1, "on_breach": "mark"}), spec)
    rows = 65_537
    with pytest.raises(InvalidRequest, match="input 'x': expected at most 65536 rows, which has a contract"):
        prepared(pipeline, x=("UINT8", (rows, 1), bytes(rows)))


@given(st.lists(st.integers(-3, 3) | st.none(), min_size=1, max_size=24), st.integers(1, 5))
def test_some_rows_at_a_time_are_as_all_at_once(values: list[int | None], chunk: int) -> None:
    numbers = np.array([np.nan if value is None else value for value in values], "<f4").repeat(2)
    given = tensor(numbers.reshape(-1, 2))
    contract = {"min": -2, "allowed": [-2, -1, 0, 1], "unknown": "impute", "missing": "impute", "value": 9}
    pipeline = compiled({**on(contract), "on_breach": "mark"})
    whole, counted = prepared(pipeline, x=given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "CHUNK_CELLS", chunk)
        parts, counted_too = prepared(pipeline, x=given)
    assert (whole.kept, whole.marked, filled(whole)) == (parts.kept, parts.marked, filled(parts))
    assert counted.rules == counted_too.rules


def test_bounds_are_those_of_the_tensors_own_numbers() -> None:
    for dtype, name in (("<f4", "FP32"), ("<f2", "FP16"), ("<f8", "FP64")):
        pipeline = compiled(on({"max": 0.1, "allowed": [0.1]}), TensorSpec("x", name, (-1,)))
        made, _ = prepared(pipeline, x=tensor([0.1], dtype))
        assert made.rows == 1
        with pytest.raises(InvalidRequest, match=r"at most 0\.1"):
            prepared(pipeline, x=tensor([0.2], dtype))


def test_a_value_that_is_put_in_is_the_nearest_of_its_datatype() -> None:
    spec = TensorSpec("x", "BF16", (-1,))
    pipeline = compiled(on({"missing": "impute", "value": 1.005}), spec)
    made, _ = prepared(pipeline, x=("BF16", (2,), np.array([0x7FC0, 0x4000], "<u2").tobytes()))
    assert filled(made, dtype="<u2") == [0x3F81, 0x4000]
    with pytest.raises(ManifestError, match="BF16 does not hold"):
        compiled(on({"missing": "impute", "value": 3.4e38}), spec)


def test_a_marked_row_is_not_said_to_be_flagged() -> None:
    income = {**INCOME, "contract": {"min": 0, "on_breach": "flag"}}
    pipeline = compiled(table(AGE, income, on_breach="mark"))
    made, tally = prepared(pipeline, rows=json_rows({"age": 121, "income": -5}, {"age": 1, "income": -5}))
    assert [problem.row for problem in made.marked] == [0]
    assert [problem.row for problem in made.flagged] == [1]
    assert tally.rules == {("range", "mark"): 1, ("range", "flag"): 1}


def test_a_refused_request_names_and_counts_all_that_is_wrong() -> None:
    document = table(AGE, INCOME)
    document["input"][0]["contract"] = {"max_bytes": 40}
    pipeline = compiled(document)
    tally = pipeline.tally()
    asked = request(
        rows=json_rows({"age": 200, "income": None}, {"age": 1, "income": 1.0, "extra": "x" * 40}, {"age": 2})
    )
    with pytest.raises(InvalidRequest) as refused:
        pipeline.prepare(asked, 3, tally)
    for said in ("3 bad rows", "row 0, column 'age'", "row 1, column 'rows'", "row 2, column 'income'"):
        assert said in str(refused.value)
    assert {action for _, action in tally.rules} == {"refuse"}


def test_the_contract_of_what_callers_send_is_not_that_of_the_models_own_tensor() -> None:
    windows = {"step": "windows", "begin": 2, "block": 8, "pad": 0}
    document = {
        "input": [{"name": "x", "steps": [windows], "contract": {"max_bytes": 4}}],
        "model_tensors": True,
    }
    pipeline = compiled(document, TensorSpec("x", "INT32", (-1, 2)))
    tally = pipeline.tally()
    made = pipeline.pass_on(request(x=tensor([[1, 2]], "<i4")), 1, tally)
    assert filled(made, dtype="<i4") == [[1, 2]]


def test_a_tensor_that_is_left_out_is_made_in_its_own_datatype() -> None:
    wide = TensorSpec("wide", "UINT8", (-1, 1_000_000))
    contract = {"missing": "impute", "value": 7}
    pipeline = compiled(on(contract, "wide", required=False), TensorSpec("x", "FP32", (-1, 1)), wide)
    small = request(x=tensor([[1]]))
    assert not pipeline.is_inline(small, 1, False)
    made, _ = prepared(pipeline, x=tensor([[1], [2]]))
    assert made.inputs[1].shape == (2, 1_000_000)
    assert set(bytes(made.inputs[1].data)) == {7}  # type: ignore[attr-defined]
    words = TensorSpec("wide", "BYTES", (-1, 2))
    contract = {"missing": "impute", "value": "né"}
    pipeline = compiled(on(contract, "wide", required=False), TensorSpec("x", "FP32", (-1, 1)), words)
    made, _ = prepared(pipeline, x=tensor([[1]]))
    assert decode_bytes_tensor(made.inputs[1].data) == ["né".encode()] * 2  # type: ignore[attr-defined]


def test_what_a_request_holds_while_it_waits_counts_what_is_marked() -> None:
    pipeline = compiled({**on({"max": 1}), "on_breach": "mark"})
    given = request(x=tensor(np.full((100, 2), 9)))
    made = pipeline.prepare(given, 100, pipeline.tally())
    assert made.rows == 0
    assert made.held_bytes >= given.held_bytes + 100 * 200


def test_a_text_that_is_held_against_a_pattern_is_soon_too_long_for_the_loop() -> None:
    pipeline = compiled(on({"pattern": "a*"}, "t"), TensorSpec("t", "BYTES", (-1,)))
    assert pipeline.is_inline(request(t=texts(b"a" * 100)), 1, False)
    assert not pipeline.is_inline(request(t=texts(b"a" * 10_000)), 1, False)


def test_nothing_stands_beside_an_arrow_batch() -> None:
    with pytest.raises(ManifestError, match="one element holds all rows"):
        compiled(table(AGE, INCOME, rows="arrow"), X, TensorSpec("b", "FP32", (-1, 1)))


def test_rows_are_bounded_only_where_there_is_a_rule() -> None:
    spec = TensorSpec("x", "FP32", (-1,))
    pipeline = compiled({"input": [{"name": "x", "required": False}]}, spec)
    made, _ = prepared(pipeline, x=tensor(np.zeros(70_000)))
    assert made.rows == 70_000


BYTES = TensorSpec("x", "BYTES", (-1,))
INTS = TensorSpec("x", "INT32", (-1,))
BOOLS = TensorSpec("x", "BOOL", (-1,))
UNSIGNED = TensorSpec("x", "UINT64", (-1,))
OPEN = TensorSpec("x", "FP32", (-1, -1))


@pytest.mark.parametrize(
    ("contract", "spec", "said"),
    [
        ({"pattern": "a"}, X, "pattern: expected only of texts, got kind number"),
        ({"min": 1}, BYTES, "expected min and max only of numbers and dates, got kind text"),
        ({"min": 1}, BOOLS, "expected min and max only of numbers and dates, got kind boolean"),
        ({"min": datetime.date(2020, 1, 1)}, X, "expected numbers for kind number"),
        ({"allowed": ["a"]}, X, "expected numbers for a column of kind number"),
        ({"allowed": [1.5]}, INTS, "expected whole numbers"),
        ({"allowed": "gone.txt"}, BYTES, "gone.txt: cannot be read"),
        ({"pattern": "("}, BYTES, "pattern: expected one of RE2: missing )"),
        ({"missing": "impute", "value": "a"}, X, "value: expected a number for kind number, got 'a'"),
        ({"allowed": [1], "unknown": "impute", "value": 1.5}, INTS, "expected a whole number"),
        ({"allowed": [1], "unknown": "impute", "value": 2**40}, INTS, "INT32 does not hold 1099511627776"),
        ({"allowed": [1], "unknown": "impute", "value": 1}, UNSIGNED, "no value can be put into UINT64"),
        ({"allowed": [1], "unknown": "null"}, INTS, "INT32 has no value for a missing one"),
        ({"min": 0.2, "max": 0.8}, INTS, "min, max: no value is within 0.2 and 0.8"),
        ({"min": 10, "allowed": [10, 2]}, INTS, "allowed: 2 is not within min and max"),
        ({"min": 1e300}, INTS, "no whole number of 64 bits is beyond 1e+300"),
    ],
)
def test_contracts_that_do_not_fit_their_tensor(
    contract: dict[str, Any], spec: TensorSpec, said: str
) -> None:
    with pytest.raises(ManifestError, match=r"version\.toml: contract of 'x'") as refused:
        compiled(on(contract), spec)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("spec", "contract", "said"),
    [
        (X, {"missing": "refuse"}, "its contract refuses missing values"),
        (INTS, {}, "INT32 has no value for a missing one"),
        (OPEN, {}, "expected every dimension but the first to be fixed, got [-1, -1]"),
    ],
)
def test_inputs_that_cannot_be_optional(spec: TensorSpec, contract: dict[str, Any], said: str) -> None:
    with pytest.raises(ManifestError, match="required = false") as refused:
        compiled(on(contract, required=False), spec, TensorSpec("other", "FP32", (-1, 1)))
    assert said in str(refused.value)


def test_dates_that_leave_no_day() -> None:
    day = {
        "name": "day",
        "kind": "date",
        "contract": {"min": datetime.date(2020, 1, 1), "max": datetime.date(2010, 1, 1)},
    }
    with pytest.raises(ManifestError, match="no value is within 2020-01-01 and 2010-01-01"):
        compiled(table(AGE, INCOME, day), TensorSpec("x", "FP32", (-1, 3)))


def test_contracts_of_a_table_stand_at_its_columns() -> None:
    document = table(AGE, INCOME, rows="columns")
    document["input"][0]["contract"] = {"max_bytes": 4}
    with pytest.raises(ManifestError, match="expected contracts and required = false at its columns"):
        compiled(document)


def test_the_name_of_row_status_is_taken() -> None:
    with pytest.raises(ManifestError, match="'row_status'"):
        compiled({**on({"max": 1}), "on_breach": "mark"}, outputs=(TensorSpec("row_status", "FP32", (-1,)),))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"min": 2, "max": 1}, "min: expected at most max = 1, got 2"),
        ({"min": True}, "expected a number, got true"),
        ({"min": 1, "max": datetime.date(2020, 1, 1)}, "both numbers or both dates"),
        ({"max": 10**400}, "max"),
        ({"missing": "impute"}, "value: expected where missing or unknown values are imputed"),
        ({"value": 1}, "value: expected only where"),
        ({"unknown": "null"}, "expected only beside allowed"),
        ({"maximum": 1}, "unknown key 'maximum', did you mean 'max'"),
        ({"on_breach": "drop"}, "on_breach"),
        ({"pattern": "a" * 5000}, "at most 4096 characters"),
    ],
)
def test_contracts_that_contradict_themselves(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Contract.model_validate(document)
    assert said in "; ".join(describe_problems(refused.value, Contract))
