"""The limits of the http2 front: each has a setting, and docs/front.md says what it stops and which test holds it."""

import dataclasses
import re
from pathlib import Path

import pytest

from steelyard.config import Settings, resolve
from steelyard.supervisor.front import limits, patience, total_limits

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "front.md").read_text(encoding="utf-8")
TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE[PAGE.index("## Limits") :].splitlines()
    if line.startswith("|")
][2:]


def bounds(settings: Settings) -> dict[str, int]:
    """Every limit that the front is made with."""
    return {
        f"{type(made).__name__}.{name}": value
        for made in (limits(settings), total_limits(settings), patience(settings))
        for name, value in dataclasses.asdict(made).items()
    }


def set_by() -> dict[str, set[str]]:
    """The limits that each setting changes, without the settings that change none."""
    usual = Settings()
    found = {}
    for name in Settings.model_fields:
        value = getattr(usual, name)
        if isinstance(value, int):
            other = bounds(usual.model_copy(update={name: value + 1}))
            found[name] = {bound for bound, was in bounds(usual).items() if other[bound] != was}
    return {name: changed for name, changed in found.items() if changed}


def shown() -> dict[str, str]:
    """The settings of the table, and what it says is their default."""
    found = {}
    for names, defaults, *_ in TABLE:
        settings = re.findall("`(.+?)`", names)
        found.update(zip(settings, defaults.split(", "), strict=True) if settings else {})
    return found


def test_every_limit_has_one_setting() -> None:
    settings = Settings()
    assert sorted(bound for changed in set_by().values() for bound in changed) == sorted(bounds(settings))


def test_every_limit_is_in_the_table_and_no_other() -> None:
    assert set(shown()) == set(set_by())


def test_the_defaults_are_those_of_the_settings() -> None:
    for name, text in shown().items():
        written = int(text) if text.isdigit() else text
        assert getattr(resolve({name: written}, {}).settings, name) == getattr(Settings(), name), name


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_every_limit_is_held_by_a_test_that_is_there(row: list[str]) -> None:
    tests = re.findall("`(.+?)`", row[3])
    assert tests
    for test in tests:
        assert (ROOT / "tests" / f"{test}.py").is_file()
