"""Places of values in Parquet files, whether a footer tells of them or not."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steelyard.errors import EvidenceError
from steelyard.evidence.places import places_of, rows_at

IDS = [bytes([number]) * 16 for number in (0, 1, 2, 127, 128, 255, 3, 1)]
TEXTS = ["", "a", None, "b", "a", "é", "z", None]
NUMBERS = [0, 5, None, -3, 5, 1 << 62, 7, None]


@pytest.fixture(params=[True, False])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    storage = pa.array(IDS, pa.binary(16))
    table = pa.table(
        {
            "id": pa.ExtensionArray.from_storage(pa.uuid(), storage),
            "text": pa.array(TEXTS),
            "number": pa.array(NUMBERS, pa.int64()),
        }
    )
    path = tmp_path / "file.parquet"
    pq.write_table(table, path, row_group_size=3, store_schema=False, write_statistics=request.param)
    return path


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("id", [bytes([1]) * 16]),
        ("id", [bytes([0]) * 16, bytes([128]) * 16, bytes([255]) * 16]),
        ("id", [bytes([200]) * 16]),
        ("id", []),
        ("text", ["a"]),
        ("text", ["", "é"]),
        ("text", ["none"]),
        ("number", [5]),
        ("number", [-3, 6, 1 << 62]),
        ("number", [8]),
    ],
)
def test_all_places_are_found_and_no_others(path: Path, column: str, values: list[bytes]) -> None:
    content = {"id": IDS, "text": TEXTS, "number": NUMBERS}[column]
    expected = [place for place, value in enumerate(content) if value in values]
    found = list(places_of(path, column, values))
    assert [group * 3 + place for group, places in found for place in places] == expected
    for group, places in found:
        rows = rows_at(path, group, places, ["number"])["number"].to_pylist()
        assert rows == [NUMBERS[group * 3 + place] for place in places]


def test_what_is_no_file_of_that_kind_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(EvidenceError, match=r"file\.parquet: cannot be read"):
        list(places_of(path, "id", [bytes(16)]))
    with pytest.raises(EvidenceError, match=r"file\.parquet: cannot be read"):
        rows_at(path, 0, [0])
