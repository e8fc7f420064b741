"""docs/profiles.md names every key of profile.json, and its example is one that can be read."""

import re
from pathlib import Path

import pytest

from steelyard.models.profile import (
    ByteLengths,
    ColumnProfile,
    NumberProfile,
    Profile,
    ValueCounts,
    read_profile,
)
from steelyard.models.table import Table

PAGE = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("## The file", Profile),
        ("## A column", ColumnProfile),
        ("## Its `numbers`", NumberProfile),
        ("## Its `values`", ValueCounts),
        ("## Its `bytes`", ByteLengths),
    ],
)
def test_every_key_is_there_and_no_other(heading: str, table: type[Table]) -> None:
    section = PAGE.split(f"\n{heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(table.model_fields)


def test_the_example_is_a_profile(tmp_path: Path) -> None:
    (example,) = re.findall(r"```json profile.json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "profile.json").write_text(example)
    profile = read_profile(tmp_path / "profile.json")
    assert profile is not None
    assert [column.name for column in profile.columns] == ["carrier", "seats"]
