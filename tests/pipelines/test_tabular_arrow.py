"""Columns from an Arrow record batch, and the batches that are refused."""

import datetime
import io
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard import wire
from steelyard.errors import InvalidRequest
from steelyard.pipelines.tabular.arrow_source import ArrowSource
from steelyard.pipelines.tabular.columns import Columns
from steelyard.pipelines.tabular.declaration import ColumnTable
from tests.pipelines.tabular_requests import Tensor


def stream(batch: Any, *, batches: int = 1, file: bool = False, **options: Any) -> bytes:
    """A record batch, or a dictionary of arrays, as an IPC stream or file."""
    if isinstance(batch, dict):
        batch = pa.record_batch(batch)
    buffer = io.BytesIO()
    make = pa.ipc.new_file if file else pa.ipc.new_stream
    with make(buffer, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for _ in range(batches):
            writer.write_batch(batch)
    return buffer.getvalue()


def tensor(raw: bytes) -> Tensor:
    return Tensor("rows", "BYTES", (1,), memoryview(wire.encode_bytes_tensor([raw])))


def read(raw: bytes, columns: dict[str, str], **options: Any) -> Columns:
    tables = [ColumnTable(name=name, kind=kind, **options) for name, kind in columns.items()]  # type: ignore[arg-type]
    return ArrowSource(tables).read(tensor(raw))


def values(columns: Columns, name: str) -> list[object]:
    return [columns.by_name[name].value(row) for row in range(columns.rows)]


ARRAYS = {
    "g": ("number", pa.array([1.5, None, -2.0])),
    "f": ("number", pa.array([1.5, None, -2.0], pa.float32())),
    "e": ("number", pa.array([1.5, None, -2.0], pa.float16())),
    "l": ("integer", pa.array([1, None, -(2**63)], pa.int64())),
    "L": ("integer", pa.array([1, None, 2**63 - 1], pa.uint64())),
    "C": ("number", pa.array([1, None, 255], pa.uint8())),
    "b": ("boolean", pa.array([True, None, False])),
    "u": ("text", pa.array(["é", None, ""])),
    "U": ("text", pa.array(["é", None, ""], pa.large_string())),
    "tsu": ("date", pa.array([1, None, -1], pa.timestamp("us"))),
    "tsutz": ("date", pa.array([1, None, -1], pa.timestamp("us", "Europe/Berlin"))),
    "dates": ("date", pa.array([1, None, -1], pa.int64())),
}


@pytest.mark.parametrize("file", [False, True])
@pytest.mark.parametrize("name", ARRAYS)
def test_each_type(name: str, file: bool) -> None:
    kind, array = ARRAYS[name]
    expected = array.cast(pa.int64()).to_pylist() if kind == "date" else array.to_pylist()
    columns = read(stream({"c": array}, file=file), {"c": kind})
    assert values(columns, "c") == expected
    assert columns.problems == []


@pytest.mark.parametrize(
    ("type_", "count", "expected"),
    [
        (pa.timestamp("s"), 3, 3_000_000),
        (pa.timestamp("ms"), 3, 3_000),
        (pa.timestamp("ns"), -1, -1),
        (pa.timestamp("ns"), 2_999, 2),
        (pa.date32(), 2, 172_800_000_000),
        (pa.timestamp("s"), 2**62, None),
    ],
)
def test_times_become_microseconds(type_: Any, count: int, expected: int | None) -> None:
    array = pa.array([count], pa.int32() if type_ == pa.date32() else pa.int64()).cast(type_)
    columns = read(stream({"c": array}), {"c": "date"})
    assert values(columns, "c") == [expected]
    assert [problem.rule for problem in columns.problems] == ([] if expected is not None else ["range"])


def test_dates_as_text() -> None:
    columns = read(stream({"c": pa.array(["2026-11-23", "never", None])}), {"c": "date"})
    day = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
    assert values(columns, "c") == [int(day.timestamp()) * 1_000_000, None, None]
    assert [str(problem) for problem in columns.problems] == [
        "row 1, column 'c': expected a date such as 2027-03-31T08:30:00Z, came 'never'"
    ]


@pytest.mark.parametrize("first", [1, 7, 8, 9])
def test_a_slice_begins_anywhere(first: int) -> None:
    count = 20
    batch = pa.record_batch(
        {
            "n": [None if i % 3 == 0 else float(i) for i in range(count)],
            "t": [None if i % 4 == 0 else str(i) for i in range(count)],
            "b": [None if i % 5 == 0 else i % 2 == 0 for i in range(count)],
        }
    ).slice(first, 9)
    columns = read(stream(batch), {"n": "number", "t": "text", "b": "boolean"})
    for name in "ntb":
        assert values(columns, name) == batch.column(name).to_pylist()


def test_no_rows() -> None:
    batch = {"n": pa.array([], pa.float64()), "t": pa.array([], pa.string()), "b": pa.array([], pa.bool_())}
    assert read(stream(batch), {"n": "number", "t": "text", "b": "boolean"}).rows == 0


def test_a_field_that_may_be_left_out_and_texts_that_mean_nothing() -> None:
    columns = read(
        stream({"t": pa.array(["NA", "a"])}), {"t": "text", "u": "text"}, required=False, missing_texts=["NA"]
    )
    assert values(columns, "t") == [None, "a"]
    assert values(columns, "u") == [None, None]


def test_infinities_are_named() -> None:
    columns = read(stream({"c": pa.array([float("inf"), float("nan"), 1.0])}), {"c": "number"})
    assert values(columns, "c") == [None, None, 1.0]
    assert [str(problem) for problem in columns.problems] == [
        "row 0, column 'c': expected a finite number, came inf"
    ]


C = {"c": pa.array([1.0])}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "it ends before the batch"),
        (b"not arrow at all", "no message begins at byte 0"),
        (stream(C)[:-100], "is cut off"),
        (stream(C, file=True)[:200], "is cut off"),
        (stream(C, compression="zstd"), "its buffers are compressed"),
        (stream(C, compression="lz4"), "its buffers are compressed"),
        (stream(C, batches=2), "message 3 is of kind 3"),
        (stream(C, batches=0), "it ends before the batch"),
        (
            stream({"c": pa.array(["a"]).dictionary_encode()}),
            "column 'c': expected .*, came dictionary|it has a dictionary",
        ),
        (stream({"d": pa.array([1.0])}), "expected only columns, came field 'd'"),
        (
            stream(pa.record_batch([pa.array([1.0])] * 2, ["c", "c"])),
            "column 'c': expected one field, came two",
        ),
        (
            stream({"c": pa.array(["1"])}),
            "column 'c': expected a float or integer type for kind number, came string",
        ),
        (stream({"c": pa.array([[1.0]])}), "came list"),
        (stream({"c": pa.array([None])}), "came null"),
        (stream(pa.record_batch([], pa.schema([]))), "expected a field for column 'c', came none"),
        (stream({"c": pa.array([0.0] * 65_537)}), "expected at most 65536 rows of 1 columns, came 65537"),
    ],
)
def test_what_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read(raw, {"c": "number"})


def test_other_tensors_are_refused() -> None:
    raw = memoryview(wire.encode_bytes_tensor([b"", b""]))
    with pytest.raises(
        InvalidRequest, match=r"expected BYTES \[1\] of one Arrow IPC stream, came BYTES \[2\]"
    ):
        ArrowSource([ColumnTable(name="c", kind="number")]).read(Tensor("rows", "BYTES", (2,), raw))


MIXED = stream(
    {
        "n": pa.array([1.0, None, 3.0] * 3),
        "t": pa.array(["a", None, "ccc"] * 3),
        "b": pa.array([True, None, False] * 3),
        "d": pa.array([1, None, 2] * 3, pa.timestamp("s")),
    }
)


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(MIXED) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_bytes_that_were_changed_never_do_harm(changes: list[tuple[int, int]]) -> None:
    raw = bytearray(MIXED)
    for at, byte in changes:
        raw[at] = byte
    try:
        columns = read(bytes(raw), {"n": "number", "t": "text", "b": "boolean", "d": "date"})
    except InvalidRequest:
        return
    for name in columns.by_name:
        values(columns, name)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(MIXED)))
def test_a_stream_that_is_cut_off_is_refused(size: int) -> None:
    # What follows the batch only says that nothing follows.
    if size >= len(MIXED) - 8:
        return
    with pytest.raises(InvalidRequest):
        read(MIXED[:size], {"n": "number", "t": "text", "b": "boolean", "d": "date"})
