"""Columns from one tensor each: what each datatype becomes, and what is refused."""

from typing import Any

import numpy as np
import pytest

from steelyard import wire
from steelyard.errors import InvalidRequest
from steelyard.pipelines.tabular.columns import Columns
from steelyard.pipelines.tabular.declaration import ColumnTable
from steelyard.pipelines.tabular.plan import compile_plan
from steelyard.pipelines.tabular.tensor_source import TensorSource
from steelyard.wire.generated.grpc_service import ModelInferRequest
from tests.pipelines.tabular_requests import Tensor, declared, numbers, texts


def read(kind: str, tensor: Tensor, **options: Any) -> Columns:
    return TensorSource([ColumnTable(name="c", kind=kind, **options)]).read([tensor])  # type: ignore[arg-type]


def values(columns: Columns) -> list[object]:
    return [columns.by_name["c"].value(row) for row in range(columns.rows)]


def said(columns: Columns) -> list[str]:
    return [str(problem) for problem in columns.problems]


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16"])
def test_floats_are_numbers_and_nan_is_missing(datatype: str) -> None:
    dtype = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2"}[datatype]
    columns = read("number", numbers("c", datatype, np.array([[0.5], [np.nan], [np.inf], [-0.0]], dtype)))
    assert values(columns) == [0.5, None, None, 0.0]
    assert said(columns) == ["row 2, column 'c': expected a finite number, came inf"]


@pytest.mark.parametrize(
    "datatype", ["INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8"]
)
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_integers_are_numbers_and_whole_numbers(datatype: str, kind: str) -> None:
    dtype = datatype.lower().replace("fp", "f")
    columns = read(kind, numbers("c", datatype, np.array([0, 1, 100], dtype)))
    assert values(columns) == [0, 1, 100]
    assert said(columns) == []


def test_whole_numbers_in_floats() -> None:
    came = np.array([3.0, np.nan, 1.5, np.inf, 1e300, -(2.0**53)])
    columns = read("integer", numbers("c", "FP64", came))
    assert values(columns) == [3, None, None, None, None, -(2**53)]
    assert [(problem.row, problem.rule, problem.value) for problem in columns.problems] == [
        (3, "finite", "inf"),
        (2, "whole", "1.5"),
        (4, "range", "1e+300"),
    ]


def test_uint64_beyond_int64() -> None:
    columns = read("integer", numbers("c", "UINT64", np.array([2**63 - 1, 2**63], "u8")))
    assert values(columns) == [2**63 - 1, None]
    assert said(columns) == ["row 1, column 'c': expected at most 2**63 - 1, came 9223372036854775808"]


def test_booleans_are_0_or_1() -> None:
    columns = read("boolean", Tensor("c", "BOOL", (3,), memoryview(b"\x00\x01\x02")))
    assert values(columns) == [False, True, None]
    assert said(columns) == ["row 2, column 'c': expected a byte of 0 or 1, came 2"]


def test_texts_are_utf8() -> None:
    columns = read("text", texts("c", ["", "é", b"\xff", "NA"]), missing_texts=("NA",))
    assert values(columns) == ["", "é", None, None]
    assert said(columns) == ["row 2, column 'c': expected UTF-8, came \\xff"]


def test_dates_are_texts_or_microseconds() -> None:
    columns = read("date", texts("c", ["1970-01-02", "", "1970-01-01T00:00:01Z"]))
    assert values(columns) == [86_400_000_000, None, 1_000_000]
    assert said(columns) == ["row 1, column 'c': expected a date such as 2027-03-31T08:30:00Z, came ''"]
    columns = read("date", numbers("c", "INT64", np.array([5, 2**62])))
    assert values(columns) == [5, None]
    assert said(columns) == [
        "row 1, column 'c': expected microseconds from 1970 within the years 1 to 9999, came 4611686018427387904"
    ]


def test_values_at_an_odd_address_are_moved() -> None:
    raw = bytearray(17)
    raw[1:] = np.array([1.5, 2.5]).tobytes()
    columns = read("number", Tensor("c", "FP64", (2,), memoryview(raw)[1:]))
    assert columns.by_name["c"].buffers[0].flags.aligned
    assert values(columns) == [1.5, 2.5]


def test_a_column_that_may_be_left_out() -> None:
    source = TensorSource(
        [ColumnTable(name="c", kind="number"), ColumnTable(name="t", kind="text", required=False)]
    )
    columns = source.read([numbers("c", "FP64", np.zeros(2))])
    assert [columns.by_name["t"].value(row) for row in range(2)] == [None, None]


@pytest.mark.parametrize(
    ("kind", "tensors", "message"),
    [
        ("number", [], "expected a tensor for column 'c', came none"),
        ("number", [numbers("cc", "FP64", np.zeros(1))], "came tensor 'cc', did you mean 'c'"),
        ("number", [numbers("c", "FP64", np.zeros(1))] * 2, "column 'c': expected one tensor, came two"),
        (
            "number",
            [numbers("c", "FP64", np.zeros((1, 2)))],
            r"expected shape \[rows\] or \[rows, 1\], came \[1, 2\]",
        ),
        ("number", [texts("c", ["1"])], "expected FP64 or .* for kind number, came BYTES"),
        ("text", [numbers("c", "FP64", np.zeros(1))], "expected BYTES for kind text, came FP64"),
        ("boolean", [numbers("c", "INT64", np.zeros(1, int))], "expected BOOL for kind boolean, came INT64"),
        ("number", [numbers("c", "BF16", np.zeros(1, "u2"))], "for kind number, came BF16"),
        (
            "number",
            [numbers("c", "FP64", np.zeros(65_537))],
            "expected at most 65536 rows of 1 columns, came 65537",
        ),
    ],
)
def test_requests_that_do_not_fit_are_refused(kind: str, tensors: list[Tensor], message: str) -> None:
    source = TensorSource([ColumnTable(name="c", kind=kind)])  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=message):
        source.read(tensors)


def test_columns_of_different_rows_are_refused() -> None:
    source = TensorSource([ColumnTable(name=name, kind="number") for name in "ab"])
    with pytest.raises(InvalidRequest, match="column 'b': expected 2 rows, came 3"):
        source.read([numbers("a", "FP64", np.zeros(2)), numbers("b", "FP64", np.zeros(3))])


def test_problems_are_bounded_and_name_each_row() -> None:
    source = TensorSource([ColumnTable(name=name, kind="number") for name in "ab"])
    infinite = np.full(20_000, np.inf)
    columns = source.read([numbers(name, "FP64", infinite) for name in "ab"])
    assert {problem.row for problem in columns.problems} == set(range(20_000))
    assert len(columns.problems) == 20_000


def test_a_selection_of_rows() -> None:
    source = TensorSource([ColumnTable(name="a", kind="integer"), ColumnTable(name="t", kind="text")])
    columns = source.read([numbers("a", "INT64", np.arange(4)), texts("t", ["w", "x", "y", "z"])])
    chosen = columns.select(np.array([3, 1]))
    assert chosen.rows == 2
    assert [chosen.by_name["a"].value(i) for i in range(2)] == [3, 1]
    assert [chosen.by_name["t"].value(i) for i in range(2)] == ["z", "x"]


def test_a_request_as_the_codec_decodes_it() -> None:
    """Elements stand at odd addresses of the body, and are read there."""
    message = ModelInferRequest(model_name="m", id="odd")
    columns = {"n": np.array([1.5, np.nan]), "i": np.array([1, -1]), "f": np.array([0.5, 0.25], "f4")}
    for name, array in columns.items():
        datatype = {"n": "FP64", "i": "INT64", "f": "FP32"}[name]
        message.inputs.add(name=name, datatype=datatype, shape=(2,))
        message.raw_input_contents.append(array.tobytes())
    message.inputs.add(name="t", datatype="BYTES", shape=(2, 1))
    message.raw_input_contents.append(wire.encode_bytes_tensor(["", "é"]))
    request = wire.decode_request(message.SerializeToString())
    kinds = {"n": "number", "i": "integer", "f": "number", "t": "text"}
    source = TensorSource([ColumnTable(name=name, kind=kind) for name, kind in kinds.items()])  # type: ignore[arg-type]
    read_ = source.read(request.inputs)
    found = {name: [read_.by_name[name].value(row) for row in range(2)] for name in kinds}
    assert found == {"n": [1.5, None], "i": [1, -1], "f": [0.5, 0.25], "t": ["", "é"]}
    plan = compile_plan(declared(kinds, [{"columns": ["n", "i", "f"]}]))
    out = np.empty((2, 3), "f4")
    assert plan.run(read_, out) == []
    np.testing.assert_array_equal(out, [[1.5, 1, 0.5], [np.nan, -1, 0.25]])
