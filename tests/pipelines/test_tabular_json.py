"""Rows of JSON objects: the native reader against its twin, and each thing that can be wrong with a row."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steelyard import wire
from steelyard._native import json_rows as native
from steelyard._native import tabular as native_tabular
from steelyard.errors import InvalidRequest
from steelyard.pipelines.plain import json_rows as plain
from steelyard.pipelines.tabular.columns import Kind
from steelyard.pipelines.tabular.declaration import ColumnTable
from steelyard.pipelines.tabular.json_source import JsonSource
from steelyard.pipelines.tabular.problems import JSON_RULES
from tests.pipelines.tabular_requests import Tensor, numbers, texts

COLUMNS = {
    "n": Kind.NUMBER,
    "i": Kind.INTEGER,
    "b": Kind.BOOLEAN,
    "t": Kind.TEXT,
    "d": Kind.DATE,
    "ü": Kind.TEXT,
}
REQUIRED = {"n", "t"}

date = st.sampled_from(
    [
        "2013-01-01T10:00:00Z",
        "2026-11-23",
        "2024-02-29 23:59",
        "2023-02-29",
        "2026-11-23T08:30:59.123456789+05:30",
        "2026-11-23T08:30:59.5-00:30",
        "2026-11-23T24:00",
        "2026-11-23T08:60",
        "2026-11-23T08:30:60",
        "0001-01-01T00:00+00:01",
        "9999-12-31T23:59:59.999999-00:01",
        "0000-01-01",
        "2026-13-01",
        "2026-11-00",
        "2026-11-23T08:30:00.",
        "2026-11-23T08:30:00.1234567890",
        "2026-11-23T08:30+05",
        "2026-11-23T08:30+24:00",
        "2026-11-23T",
        "2026-1-1",
        "",
        "２０２６-11-23",
    ]
)
# Numbers of JSON, and what is nearly one.
number = st.sampled_from(
    [
        *("0", "-0", "1", "-1", "1.0", "1.5", "-2.5e3", "1E+2", "0e999", "1e400", "-1e400", "1e-400", "0.1"),
        *("9007199254740993", "9007199254740992.0", "9007199254740994.0", "-9007199254740993e0"),
        *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"),
        *("123456789012345678901", "0.30000000000000004", "2.2250738585072011e-308", "4.9e-324"),
        *("1.7976931348623157e308", "1.7976931348623159e308", "253402300799999999", "253402300800000000"),
        *("3.141592653589793238462643383279502884", "0.00000000000000000000000000000001", "1" + "0" * 22),
    ]
)
no_number = st.sampled_from(
    [
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e+",
        "-",
        "NaN",
        "Infinity",
        "-Infinity",
        "0x10",
        "1_000",
        "١",
        "-01",
        "1.e3",
    ]
)
numeral = (
    number
    | st.integers().map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.just("null")
)
string = (
    st.text(max_size=8).map(json.dumps)
    | st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False))
    | st.sampled_from(['"\\ud83d\\ude00"', '"\\u00e9\\u20AC"', '"\\/\\b\\f\\n\\r\\t\\""', '"\\u0000"'])
)
no_string = st.sampled_from(
    [
        '"\\ud83d"',
        '"\\ude00"',
        '"\\ud83dx"',
        '"\\ud83d\\u0041"',
        '"\\x"',
        '"\\',
        '"',
        '"\t"',
        '"\\u12g4"',
        '"\\u12"',
    ]
)
word = st.sampled_from(["true", "false", "null"])
no_word = st.sampled_from(["tru", "nul", "truer", "True", "\ufeff1", "", "undefined"])
good = numeral | string | word | date.map(json.dumps)
bad = no_number | no_string | no_word


def nested(scalar: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        scalar,
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
            | st.lists(st.tuples(st.sampled_from(['"a"', '"n"']), inner), max_size=3).map(
                lambda items: "{" + ", ".join(f"{k} : {v}" for k, v in items) + "}"
            )
        ),
        max_leaves=6,
    )


FITTING = {
    '"n"': numeral,
    '"i"': numeral,
    '"b"': word,
    '"t"': string | st.just("null"),
    '"d"': date.map(json.dumps) | numeral,
    '"\\u00fc"': string,
}
key = st.sampled_from([*map(json.dumps, COLUMNS), '"ü"', '"\\u006e"', '"other"', '""', '"N"', '"n\\u0000"'])
space = st.sampled_from(["", "", " ", "\n\t\r "])


@st.composite
def fitting(draw: st.DrawFn) -> bytes:
    """An object whose values are of the columns' kinds, though some are out of range."""
    names = draw(st.lists(st.sampled_from(list(FITTING)), unique=True)) + draw(
        st.sampled_from([[], ['"n"', '"t"']])
    )
    return rendered(draw, [(name, draw(FITTING[name])) for name in dict.fromkeys(names)])


@st.composite
def valid(draw: st.DrawFn) -> bytes:
    """An object of any keys and values."""
    return rendered(draw, draw(st.lists(st.tuples(key, nested(good)), max_size=6)))


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """An object, nearly."""
    kind = draw(st.integers(0, 4))
    if kind == 0:
        return draw(st.binary(max_size=20))
    if kind == 1:
        return draw(nested(good | bad)).encode("utf-8", "surrogatepass")
    if kind == 2:
        raw = draw(fitting() | valid())
        return raw[: draw(st.integers(0, len(raw)))]
    if kind == 3:
        pair = st.tuples(key | st.sampled_from(["n", "'n'", '"n', "1"]), nested(good | bad))
        return rendered(draw, draw(st.lists(pair, min_size=1, max_size=3)))
    return draw(fitting()) + draw(st.sampled_from([b"x", b",", b"{}", b"\xc2\xa0", b"\x0b", b"\0"]))


def rendered(draw: st.DrawFn, pairs: list[tuple[str, str]]) -> bytes:
    body = ",".join(f"{draw(space)}{k}{draw(space)}:{draw(space)}{v}{draw(space)}" for k, v in pairs)
    return f"{draw(space)}{{{body}}}{draw(space)}".encode("utf-8", "surrogatepass")


def rows() -> st.SearchStrategy[bytes]:
    """Rows of which about a third is good."""
    return fitting() | valid() | broken()


def read(module: Any, elements: list[bytes]) -> tuple[dict[str, list[Any]], list[tuple[Any, ...]], Any]:
    """Cells by column, breaches with names of rules, and the raw breaches."""
    reader = module.RowReader(
        [name.encode() for name in COLUMNS],
        [int(k) for k in COLUMNS.values()],
        [n in REQUIRED for n in COLUMNS],
    )
    data = wire.encode_bytes_tensor(elements)
    shape = (len(COLUMNS), len(elements))
    values, lengths = np.full(shape, 9, "i8"), np.full(shape, 9, "i8")
    missing, arena = np.zeros(shape, bool), np.zeros(len(data), "u1")
    breaches = reader.read(data, len(elements), values, lengths, missing, arena)
    cells = {}
    for i, (name, kind) in enumerate(COLUMNS.items()):
        if kind is Kind.TEXT:
            pairs = zip(values[i].tolist(), lengths[i].tolist(), strict=True)
            column: list[Any] = [arena[start : start + size].tobytes() for start, size in pairs]
        else:
            column = values[i].tolist()
        cells[name] = [None if gone else cell for cell, gone in zip(column, missing[i], strict=True)]
    if module is native:
        named = [(row, column, JSON_RULES[rule][0]) for row, column, rule, _, _ in breaches]
    else:
        named = [breach[:3] for breach in breaches]
    return cells, named, breaches


@settings(deadline=None, max_examples=300)
@given(st.lists(rows(), max_size=5))
@example([b'{"n":' + b"[" * 31 + b"]" * 31 + b"}"])
@example([b'{"n":' + b"[" * 32 + b"]" * 32 + b"}"])
@example([b"[" * 100_000])
@example([b'{"n":' * 100_000])
@example([b'{"n":1' + b"0" * 1023 + b"}", b'{"n":1' + b"0" * 1024 + b"}", b'{"i":0.' + b"0" * 2000 + b"}"])
def test_native_and_twin_agree(elements: list[bytes]) -> None:
    mine, twin = read(native, elements), read(plain, elements)
    assert mine[:2] == twin[:2]


@settings(deadline=None, max_examples=1000)
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["{!r}", "{:.17e}", "{:.25f}", "{:.6g}"]),
)
def test_numbers_are_the_nearest_doubles(number: float, form: str) -> None:
    text = form.format(number)
    expected = float(text)
    cells, breaches, _ = read(native, [f'{{"n":{text},"t":""}}'.encode()])
    if np.isinf(expected) or len(text) > 1024:
        assert breaches == [(0, 0, "range")]
    else:
        assert np.array(cells["n"][0], "i8").tobytes() == np.array(expected).tobytes()


@settings(deadline=None)
@given(st.binary(max_size=30), st.integers(0, 4))
def test_utf8_is_what_python_takes(raw: bytes, cut: int) -> None:
    elements = [raw, "aé€😀z".encode()[cut:], b"abcdefgh" + raw]
    tensor = texts("t", elements)
    starts, lengths = np.zeros(3, "i8"), np.zeros(3, "i8")
    missing = np.zeros(3, bool)
    wrong = native_tabular.split_texts(tensor.data, starts, lengths, missing)
    assert wrong == [i for i, element in enumerate(elements) if not is_utf8(element)]
    assert [bytes(tensor.data[s : s + n]) for s, n in zip(starts, lengths, strict=True)] == elements


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(deadline=None)
@given(st.lists(date | st.text(max_size=30), min_size=1))
def test_dates_of_texts_agree(values: list[str]) -> None:
    tensor = texts("d", [value.encode("utf-8", "replace") for value in values])
    count = len(values)
    starts, lengths, dates = np.zeros(count, "i8"), np.zeros(count, "i8"), np.zeros(count, "i8")
    missing = np.zeros(count, bool)
    native_tabular.split_texts(tensor.data, starts, lengths, missing)
    wrong = native_tabular.read_dates(tensor.data, starts, lengths, missing, dates)
    expected = [plain.microseconds(value.encode("utf-8", "replace").decode()) for value in values]
    assert wrong == [i for i, us in enumerate(expected) if us is None]
    assert [None if gone else us for us, gone in zip(dates.tolist(), missing, strict=True)] == expected


def source(**options: Any) -> JsonSource:
    kinds = {"n": "number", "i": "integer", "b": "boolean", "t": "text", "d": "date"}
    return JsonSource(
        [ColumnTable(name=name, kind=kind, required=False) for name, kind in kinds.items()], **options
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b'{"n": 1, "n": 2}', "row 0, column 'n': expected the key once, came 2"),
        (b'{"n": "1"}', "row 0, column 'n': expected a number, came \"1\""),
        (b'{"i": "1"}', "row 0, column 'i': expected a whole number, came \"1\""),
        (b'{"i": 1.5}', "row 0, column 'i': expected a whole number, came 1.5"),
        (b'{"i": 1e30}', "row 0, column 'i': expected a whole number of 64 bits, exact, came 1e30"),
        (b'{"n": true}', "row 0, column 'n': expected a number, came true"),
        (b'{"b": 1}', "row 0, column 'b': expected true or false, came 1"),
        (b'{"t": 1}', "row 0, column 't': expected text, came 1"),
        (b'{"t": ["a"]}', "row 0, column 't': expected text, came [\"a\"]"),
        (
            b'{"d": "23.11.2026"}',
            'expected a date such as 2027-03-31 or 2027-03-31T08:30:00Z, came "23.11.2026"',
        ),
        (b'{"d": 1e17}', "row 0, column 'd': expected a whole number of 64 bits"),
        (b'{"n": 1e999}', "row 0, column 'n': expected a number that a double can hold"),
        (b'{"other": 1}', 'row 0: expected only keys that are columns, came "other"'),
        (b'{"n": NaN}', "row 0: expected one JSON object, with no NaN or infinity"),
        (b'{"n": -Infinity}', "row 0: expected one JSON object, with no NaN or infinity"),
        (b'{"n": 1', "row 0: expected one JSON object"),
        (b'{"n": ' + b"[" * 40 + b"]" * 40 + b"}", "row 0: expected one JSON object"),
        (b'"\xc3("', 'row 0: expected UTF-8, came "\\xc3("'),
        (b"", "row 0: expected one JSON object"),
    ],
)
def test_each_wrong_row_says_why(row: bytes, said: str) -> None:
    columns = source().read(texts("rows", [row, b'{"n": 2.5}']))
    assert len(columns.problems) == 1
    problem = str(columns.problems[0])
    assert said.replace("date of", "") in problem or "microseconds" in problem
    assert columns.by_name["n"].value(0) is None
    assert columns.by_name["n"].value(1) == 2.5


def test_missing_and_null() -> None:
    reader = JsonSource(
        [ColumnTable(name="n", kind="number"), ColumnTable(name="t", kind="text", missing_texts=("", "NA"))]
    )
    columns = reader.read(texts("rows", ['{"n": null, "t": ""}', '{"t": "NA"}', '{"n": 0, "t": "a"}']))
    assert [str(problem) for problem in columns.problems] == [
        'row 1, column \'n\': expected the key to be there, came {"t": "NA"}'
    ]
    assert [columns.by_name["n"].value(row) for row in range(3)] == [None, None, 0.0]
    assert [columns.by_name["t"].value(row) for row in range(3)] == [None, None, "a"]


@pytest.mark.parametrize(
    "tensor",
    [
        numbers("rows", "FP32", np.zeros(3, "f4")),
        Tensor("rows", "BYTES", (1, 2), memoryview(wire.encode_bytes_tensor([b"{}", b"{}"]))),
        Tensor("rows", "BYTES", (), memoryview(wire.encode_bytes_tensor([b"{}"]))),
        texts("rows", [b"{}"] * 4),
    ],
)
def test_tensors_that_hold_no_rows_are_refused(tensor: Tensor) -> None:
    with pytest.raises(
        InvalidRequest, match=r"expected (BYTES \[rows\] of JSON objects|at most 3 rows of 5 columns), came"
    ):
        source(max_rows=3).read(tensor)


@pytest.mark.parametrize("data", [b"\x01", b"\x05\0\0\0ab", b"\x02\0\0\0{}\x02\0\0\0{}", b"\xff\xff\xff\xff"])
def test_data_that_is_not_so_many_elements(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected 1 elements"):
        source().read(Tensor("rows", "BYTES", (1,), memoryview(data)))


def test_breaches_are_bounded_and_name_each_row() -> None:
    columns = JsonSource([ColumnTable(name=f"c{i}", kind="number") for i in range(100)]).read(
        texts("rows", [b"{}"] * 1000)
    )
    assert {problem.row for problem in columns.problems} == set(range(1000))
    assert len(columns.problems) < 16_384 + 1000


def test_an_escaped_text_is_longer_escaped_than_not() -> None:
    """The arena has as many bytes as the rows: nothing that is unescaped can need more."""
    row = b'{"t": "' + b"\\u20ac" * 1000 + b'"}'
    columns = source().read(texts("rows", [row] * 3))
    assert [columns.by_name["t"].value(i) for i in range(3)] == ["€" * 1000] * 3


def test_cells_are_bounded_before_there_is_memory_for_them() -> None:
    wide = JsonSource([ColumnTable(name=f"c{i}", kind="number") for i in range(10_000)])
    with pytest.raises(InvalidRequest, match="expected at most 1677 rows of 10000 columns, came 1678"):
        wide.read(texts("rows", [b"{}"] * 1678))
