"""Training data to a profile and a first contract: figures against numpy's and pandas', rows against the contract."""

import csv
import io
import json
import math
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.errors import DataError
from steelyard.models.profile import QUANTILES, ColumnProfile, Profile, profile_text, read_profile
from steelyard.pipelines.contract.plan import ContractPlan
from steelyard.pipelines.contract.rules import compile_rules
from steelyard.pipelines.profiling import profile as profiling
from steelyard.pipelines.profiling import values
from steelyard.pipelines.profiling.contract import infer_columns, notes_on
from steelyard.pipelines.profiling.file import profile_file
from steelyard.pipelines.profiling.parquet_data import BATCH_ROWS
from steelyard.pipelines.tabular.declaration import ColumnTable
from steelyard.pipelines.tabular.json_source import JsonSource
from tests.pipelines.tabular_requests import texts

WRITTEN_ANEW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def csv_file(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def parquet_file(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def profiled(path: Path, **options: Any) -> Profile:
    return inferred(path, **options)[0]


def inferred(
    path: Path,
    *,
    left_out: tuple[str, ...] = (),
    missing_texts: tuple[str, ...] = (),
    delimiter: str = ",",
    allowed: int = 200,
    slack: float = 0.0,
) -> tuple[Profile, dict[str, ColumnTable]]:
    data, profile = profile_file(path, left_out=left_out, missing_texts=missing_texts, delimiter=delimiter)
    columns = infer_columns(profile, data.missing_texts, allowed=allowed, slack=slack)
    return profile, {column["name"]: ColumnTable.model_validate(column) for column in columns}


def column(profile: Profile, name: str = "x") -> ColumnProfile:
    return next(column for column in profile.columns if column.name == name)


def assert_accepts(columns: dict[str, ColumnTable], rows: list[dict[str, Any]]) -> None:
    """That these rows can be read, and break no rule: as a server holds the contract, and as it is written."""
    asked = texts("rows", [json.dumps(row) for row in rows])
    read = JsonSource(tuple(columns.values())).read(asked)
    assert read.problems == []
    rules = [compile_rules(c.contract, c.name, c.column_kind, None, "refuse") for c in columns.values()]
    assert ContractPlan(rules).hold(read.by_name, read.rows).problems == ()
    for name, table in columns.items():
        contract = table.contract
        for row in range(read.rows):
            value = read.by_name[name].value(row)
            if value is None:
                assert contract.missing == "null"
                continue
            bound: Any = EPOCH + pd.Timedelta(microseconds=value) if table.kind == "date" else value
            assert contract.min is None or contract.min <= bound
            assert contract.max is None or bound <= contract.max
            assert not contract.allowed or value in contract.allowed
            assert contract.max_bytes is None or len(value.encode()) <= contract.max_bytes


def assert_figures(found: ColumnProfile, present: np.ndarray[Any, Any]) -> None:
    """That the figures are numpy's of these numbers."""
    numbers = found.numbers
    assert numbers is not None
    assert numbers.sample is None
    assert (numbers.min, numbers.max) == (present.min(), present.max())
    assert numbers.mean == pytest.approx(present.mean(), rel=1e-9, abs=1e-9)
    assert numbers.std == pytest.approx(present.std(), rel=1e-6, abs=1e-6)
    assert numbers.median == pytest.approx(np.median(present))
    assert numbers.mode == pd.Series(present).mode()[0]
    assert [value for _, value in numbers.quantiles] == pytest.approx(
        np.quantile(present, QUANTILES).tolist()
    )
    histogram = numbers.histogram
    assert np.histogram(present, histogram.edges)[0].tolist() == list(histogram.counts)
    assert sum(numbers.deciles.counts) == len(present)
    binned = Counter(np.searchsorted(numbers.deciles.edges, present, side="right").tolist())
    assert [binned[bin] for bin in range(len(numbers.deciles.counts))] == list(numbers.deciles.counts)


FLOATS = st.floats(-1e6, 1e6, allow_subnormal=False)
# What no other kind could hold.
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8).map("w".__add__)
DATES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))
ROW = st.fixed_dictionaries(
    {
        "number": st.none() | FLOATS,
        "integer": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
        "boolean": st.none() | st.booleans(),
        "text": st.none() | st.sampled_from(["AA", "UA", "ä€"]) | WORDS,
        "date": st.none() | DATES,
        "whole": st.integers(-5, 5),
    }
)
TYPES = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "date": pa.timestamp("us"),
    "whole": pa.int8(),
}


@WRITTEN_ANEW
@given(st.lists(ROW, min_size=1, max_size=40), st.sampled_from([0.0, 0.1, 3.0]))
def test_parquet_rows_keep_to_their_contract(
    tmp_path: Path, rows: list[dict[str, Any]], slack: float
) -> None:
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()}
    profile, contract = inferred(parquet_file(tmp_path / "x.parquet", **columns), slack=slack)
    assert profile.rows == len(rows)
    assert {name: table.kind for name, table in contract.items()} == {
        name: "integer" if name == "whole" else name for name in TYPES
    }
    as_json = [{**row, "date": None if row["date"] is None else row["date"].isoformat()} for row in rows]
    assert_accepts(contract, as_json)
    for name in ("number", "whole"):
        present = np.array([row[name] for row in rows if row[name] is not None], np.float64)
        assert column(profile, name).missing == len(rows) - len(present)
        if len(present):
            assert_figures(column(profile, name), present)
    counted = Counter(row["text"] for row in rows if row["text"] is not None)
    found = column(profile, "text").values
    assert ({} if found is None else dict(found.counts)) == counted


@WRITTEN_ANEW
@given(st.lists(ROW, min_size=1, max_size=40))
def test_csv_rows_keep_to_their_contract(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    def cell(value: Any) -> str:
        return "" if value is None else value.isoformat() if isinstance(value, datetime) else str(value)

    path = csv_file(tmp_path / "x.csv", list(TYPES), [[cell(row[name]) for name in TYPES] for row in rows])
    _, contract = inferred(path)
    for name, table in contract.items():
        if any(row[name] is not None for row in rows):
            assert table.kind == ("integer" if name == "whole" else name)
    assert_accepts(
        contract,
        [{**row, "date": None if row["date"] is None else row["date"].isoformat()} for row in rows],
    )


@WRITTEN_ANEW
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=50))
def test_any_floats_have_a_profile_that_can_be_read(tmp_path: Path, numbers: list[float]) -> None:
    profile = profiled(parquet_file(tmp_path / "x.parquet", x=pa.array(numbers, pa.float64())))
    found = column(profile)
    assert found.missing == sum(map(math.isnan, numbers))
    assert found.infinite == sum(map(math.isinf, numbers))
    (tmp_path / "profile.json").write_text(profile_text(profile))
    assert read_profile(tmp_path / "profile.json") == profile
    if found.numbers is not None:
        assert sum(found.numbers.histogram.counts) == len(numbers) - found.missing - found.infinite


def test_many_batches_are_as_one(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    numbers = random.normal(1e6, 3.0, 3 * BATCH_ROWS + 17)
    letters = random.choice(["a", "b", "c"], len(numbers), p=[0.7, 0.2, 0.1])
    frame = pd.DataFrame({"x": numbers, "t": letters})
    frame.loc[::10, "x"] = np.nan
    present = frame["x"].dropna().to_numpy()
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=50_000)
    frame.to_csv(tmp_path / "x.csv", index=False)
    for name in ("x.parquet", "x.csv"):
        profile = profiled(tmp_path / name)
        found = column(profile)
        assert_figures(found, present)
        assert found.missing == frame["x"].isna().sum()
        assert found.missing_share == pytest.approx(0.1, abs=1e-4)
        assert column(profile, "t").values.counts == tuple(frame["t"].value_counts().items())  # type: ignore[union-attr]


def test_more_numbers_than_are_kept_are_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "MAX_SAMPLE", 20_000)
    numbers = np.arange(300_000) / 1000.0
    found = column(profiled(parquet_file(tmp_path / "x.parquet", x=numbers))).numbers
    assert found is not None
    assert found.sample == 20_000
    # Exact whatever the sample: it is for what needs the numbers in order.
    assert (found.min, found.max) == (0.0, 299.999)
    assert found.mean == pytest.approx(numbers.mean())
    assert sum(found.histogram.counts) == 300_000
    assert found.median == pytest.approx(150.0, abs=4.0)
    assert sum(found.deciles.counts) == 20_000
    assert max(found.deciles.counts) - min(found.deciles.counts) <= 2


def test_a_million_categories_are_bounded(tmp_path: Path) -> None:
    rare = [f"id-{n}" for n in range(1_000_000)]
    frequent = ["frequent"] * 100_000
    path = parquet_file(tmp_path / "x.parquet", x=pa.array(rare[:500_000] + frequent + rare[500_000:]))
    profile, contract = inferred(path)
    found = column(profile).values
    assert found is not None
    assert not found.exact
    assert found.distinct >= values.MAX_TRACKED
    assert len(found.counts) <= 1000
    text, count = found.counts[0]
    assert text == "frequent"
    assert count <= 100_000 <= count + found.short_by
    assert found.short_by <= 1_100_000 / values.MAX_TRACKED
    assert sum(count for _, count in found.counts) + found.rest == 1_100_000
    assert contract["x"].contract.allowed == ()
    assert contract["x"].contract.max_bytes == len("id-999999")


def test_long_texts_are_not_categories(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "x.parquet", x=["a", "a", "b" * 5000, "b" * 5000])
    profile, contract = inferred(path)
    found = column(profile).values
    assert found is not None
    assert (found.exact, found.counts, found.rest) == (False, (("a", 2),), 2)
    assert contract["x"].contract.allowed == ()
    assert contract["x"].contract.max_bytes == 5000


def test_few_texts_are_allowed_and_many_are_not(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path / "x.csv", ["x", "free"], [["b", "one"], ["a", "two"], ["b", "three"], ["a", ""]]
    )
    _, contract = inferred(path)
    assert contract["x"].contract.allowed == ("a", "b")
    assert contract["x"].contract.missing == "refuse"
    # Each of them was seen once.
    assert contract["free"].contract.allowed == ()
    assert contract["free"].contract.max_bytes == 5
    assert (contract["free"].missing_texts, contract["free"].contract.missing) == (("",), "null")
    assert inferred(path, allowed=1)[1]["x"].contract.allowed == ()


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", "NA", ""], "integer"),
        (["1", "2.5"], "number"),
        (["1e3", "-.5", "NaN"], "number"),
        (["true", "False", "NA"], "boolean"),
        (["2013-01-01", "2013-01-01T05:00:00Z", "2013-01-01 05:00"], "date"),
        (["1", "one"], "text"),
        (["1", "true"], "text"),
        (["1", "2013-01-01"], "text"),
        (["007", "123"], "text"),
        (["+4912", "+4930"], "text"),
        (["NA", "DE"], "text"),
        (["", ""], "text"),
        (["9223372036854775807", "-9223372036854775808"], "integer"),
        (["9223372036854775808"], "number"),
        (["1" * 400], "number"),
        ([" 1", "2\t"], "integer"),
        (["2013-02-30"], "text"),
        (["1_000"], "text"),
    ],
)
def test_kinds_of_csv(tmp_path: Path, cells: list[str], kind: str) -> None:
    path = csv_file(tmp_path / "x.csv", ["x", "row"], [[cell, "1"] for cell in cells])
    assert column(profiled(path)).kind == kind


def test_kinds_are_seen_from_the_whole_file(tmp_path: Path) -> None:
    rows = [["1", "a"]] * 2_000_000
    path = csv_file(tmp_path / "x.csv", ["x", "t"], [*rows, ["2.5", "b"]])
    found = column(profiled(path))
    assert found.kind == "number"
    assert found.numbers is not None
    assert found.numbers.max == 2.5


def test_na_is_missing_in_numbers_and_a_text_among_texts(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "x.csv", ["n", "t"], [["1", "NA"], ["NA", "DE"]])
    profile, contract = inferred(path)
    assert (column(profile, "n").missing, column(profile, "t").missing) == (1, 0)
    assert contract["t"].missing_texts == ()
    profile, contract = inferred(path, missing_texts=("NA",))
    assert column(profile, "t").missing == 1
    assert contract["t"].missing_texts == ("NA",)


@pytest.mark.parametrize(
    ("array", "kind", "low", "high"),
    [
        (pa.array([1, 2], pa.uint8()), "integer", 1, 2),
        (pa.array([1, (1 << 63) - 1], pa.uint64()), "integer", 1, (1 << 63) - 1),
        (pa.array([1, 1 << 63], pa.uint64()), "number", 1.0, 2.0**63),
        (pa.array([np.float16(0.5), None], pa.float16()), "number", 0.5, 0.5),
        (pa.array([Decimal("0.1"), Decimal("123.45")]), "number", 0.1, 123.45),
        (pa.array([date(2013, 1, 1), date(1960, 1, 1)]), "date", datetime(1960, 1, 1), datetime(2013, 1, 1)),
        (pa.array([86_400_000], pa.date64()), "date", datetime(1970, 1, 2), datetime(1970, 1, 2)),
        (
            pa.array([datetime(2013, 1, 1, 5)], pa.timestamp("ns")),
            "date",
            datetime(2013, 1, 1, 5),
            datetime(2013, 1, 1, 5),
        ),
        (
            pa.array([datetime(2013, 1, 1, 5)], pa.timestamp("s", "America/New_York")),
            "date",
            datetime(2013, 1, 1, 5),
            datetime(2013, 1, 1, 5),
        ),
    ],
)
def test_kinds_of_arrow(tmp_path: Path, array: pa.Array, kind: str, low: Any, high: Any) -> None:
    _, contract = inferred(parquet_file(tmp_path / "x.parquet", x=array))
    assert contract["x"].kind == kind
    rules = contract["x"].contract
    if kind == "date":
        low, high = low.replace(tzinfo=UTC), high.replace(tzinfo=UTC)
    assert (rules.min, rules.max) == (low, high)
    assert type(rules.min) is type(low)


def test_dictionaries_are_what_they_stand_for(tmp_path: Path) -> None:
    words = pa.array(["a", "b", "a", None]).dictionary_encode()
    numbers = pa.array([1.5, 2.5, 1.5, 1.5]).dictionary_encode()
    profile, contract = inferred(parquet_file(tmp_path / "x.parquet", words=words, numbers=numbers))
    assert column(profile, "words").values.counts == (("a", 2), ("b", 1))  # type: ignore[union-attr]
    assert column(profile, "words").missing == 1
    assert (contract["numbers"].kind, contract["numbers"].contract.max) == ("number", 2.5)


def test_what_has_no_value(tmp_path: Path) -> None:
    path = parquet_file(
        tmp_path / "x.parquet", x=pa.nulls(3), y=pa.array([None, math.nan, None]), z=[1.0, math.inf, 2.0]
    )
    profile, contract = inferred(path)
    assert column(profile, "x").missing_share == 1.0
    assert (contract["x"].kind, contract["x"].required, contract["x"].contract.missing) == (
        "text",
        False,
        "null",
    )
    assert (contract["y"].kind, contract["y"].contract.min) == ("number", None)
    assert column(profile, "z").infinite == 1
    assert contract["z"].contract.max == 2.0
    assert notes_on(profile) == [
        "column 'x': has no value, so its kind text is a guess",
        "column 'y': has no value, so its kind number is a guess",
        "column 'z': 1 infinities, which no request may hold",
    ]


def test_slack_widens(tmp_path: Path) -> None:
    path = parquet_file(
        tmp_path / "x.parquet",
        n=[0.0, 10.0],
        i=[0, 5],
        t=["a" * 10, "b"],
        d=[date(2013, 1, 1), date(2013, 1, 11)],
    )
    _, contract = inferred(path, slack=0.1)
    assert (contract["n"].contract.min, contract["n"].contract.max) == (-1.0, 11.0)
    assert (contract["i"].contract.min, contract["i"].contract.max) == (-1, 6)
    assert contract["t"].contract.max_bytes == 11
    assert contract["d"].contract.max == datetime(2013, 1, 12, tzinfo=UTC)


def test_slack_stays_within_what_a_column_holds(tmp_path: Path) -> None:
    least, greatest = -(1 << 63), (1 << 63) - 1
    path = parquet_file(
        tmp_path / "x.parquet",
        n=[-1.7e308, 1.7e308],
        i=[least, greatest],
        d=[date(1, 1, 1), date(9999, 12, 31)],
    )
    _, contract = inferred(path, slack=1000.0)
    assert contract["n"].contract.max == np.finfo(np.float64).max
    assert (contract["i"].contract.min, contract["i"].contract.max) == (least, greatest)
    assert contract["d"].contract.min == datetime(1, 1, 1, tzinfo=UTC)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as raised:
        inferred(path, **options)
    assert str(path) in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Empty CSV"),
        (b"\n\n", "Empty CSV"),
        (b"a,b", "Empty CSV"),
        (b"a,b\n", "expected at least one row, came none"),
        (b"a,b\n1\n", "Expected 2 columns, got 1"),
        (b"a,b,a\n1,2,3\n", "expected every column's name once, came 'a' 2 times"),
        (b",a\n0,1\n", "column 1: expected a name, came none; leave it out with --target ''"),
        (b"a,b\n1,\xff\n", "invalid UTF8"),
        (b"\xff\xfea,b\n1,2\n", "utf-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "expected CSV in UTF-8 or Parquet, came neither"),
        (b"PAR1 and no more", "cannot be read as CSV in UTF-8 or Parquet"),
        (b"PAR1", "cannot be read as CSV in UTF-8 or Parquet"),
        (b"a" * 2000 + b"\n1\n", "expected at most 1024 characters in its name"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    assert said in refusal(path)


def profiled_or_refused(path: Path) -> None:
    try:
        profile = profiled(path)
    except DataError:
        return
    assert profile.rows > 0
    assert all(column.missing <= profile.rows for column in profile.columns)


@WRITTEN_ANEW
@given(st.binary(max_size=200) | st.text('ab01-.eE,"\n\r\t NAinf:TZ', max_size=200).map(str.encode))
def test_any_bytes_are_profiled_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    profiled_or_refused(tmp_path / "x")


@WRITTEN_ANEW
@given(st.data())
def test_any_damage_to_parquet_is_profiled_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = parquet_file(tmp_path / "x", x=[1.5, None, 2.5] * 20, t=["a", "b", None] * 20, i=range(60))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    profiled_or_refused(path)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    assert "expected a regular file" in refusal(tmp_path)
    assert "expected a regular file" in refusal(tmp_path / "nowhere")


def test_columns_that_no_request_could_have(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "x.parquet", x=[1], point=[{"lat": 1.0}], tags=[["a"]], raw=[b"\xff"])
    assert "column 'point': expected numbers, texts, booleans or dates, came struct" in refusal(path)
    assert "column 'tags': " in refusal(path, left_out=("point",))
    assert "column 'raw': expected numbers, texts, booleans or dates, came binary" in refusal(
        path, left_out=("point", "tags")
    )
    assert [column.name for column in profiled(path, left_out=("point", "tags", "raw")).columns] == ["x"]
    assert "no column 'pint' to leave out, did you mean 'point'?" in refusal(path, left_out=("pint",))
    assert "expected 1 to 65536 columns, came 0" in refusal(path, left_out=("x", "point", "tags", "raw"))


def test_names_with_dots_are_names(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "x.parquet", **{"a.b": [1, 2], "c": [True, False], "y": [0, 1]})
    assert [column.name for column in profiled(path, left_out=("y",)).columns] == ["a.b", "c"]


def test_no_rows_of_parquet(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "x.parquet", x=pa.array([], pa.float64()), t=pa.array([], pa.string()))
    assert "expected at least one row, came none" in refusal(path)


def test_dates_beyond_the_years_of_a_request(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "x.parquet", x=pa.array([10**10 * 86_400], pa.timestamp("s")))
    assert "column 'x': expected dates within the years 1 to 9999" in refusal(path)


def test_a_parquet_file_that_ends_too_early(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "x.parquet", x=np.arange(100_000))
    whole = path.read_bytes()
    path.write_bytes(whole[:2000] + bytes(len(whole) - 4000) + whole[-2000:])
    assert "cannot be read as CSV in UTF-8 or Parquet" in refusal(path)


def test_other_delimiters_and_values_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=";").writerows([["a", "b"], ["1,5", "two\nlines"], ["2,5", 'a "b"']])
    path.write_text(stream.getvalue(), newline="")
    found = profiled(path, delimiter=";")
    assert column(found, "b").values.counts == (('a "b"', 1), ("two\nlines", 1))  # type: ignore[union-attr]
    assert column(found, "a").kind == "text"


def test_the_same_file_has_the_same_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiling, "MAX_SAMPLE", 100)
    path = parquet_file(tmp_path / "x.parquet", x=np.random.default_rng(1).normal(size=5000))
    assert profile_text(profiled(path)) == profile_text(profiled(path))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    columns = {f"x{n}": np.random.default_rng(n).normal(size=1_000_000) for n in range(8)}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet", row_group_size=50_000, use_dictionary=False)
    program = (
        "import sys, pathlib, pyarrow; from steelyard.pipelines.profiling.file import profile_file; "
        "profile_file(pathlib.Path(sys.argv[1]), left_out=(), missing_texts=(), delimiter=','); "
        "print(pyarrow.default_memory_pool().max_memory())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x.parquet")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < (tmp_path / "x.parquet").stat().st_size / 2
