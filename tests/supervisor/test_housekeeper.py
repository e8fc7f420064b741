"""The housekeeper's place without what it needs, and that there is one at a time."""

import logging
from pathlib import Path

import pytest

from steelyard.config import Settings
from steelyard.errors import EvidenceError
from steelyard.supervisor import housekeeper
from steelyard.supervisor.housekeeper_main import Housekeeping


async def test_without_its_extra_it_is_absent_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(housekeeper, "NEEDED", ("no_such_package",))
    place = housekeeper.Housekeeper(Settings(), tuple)
    with caplog.at_level(logging.WARNING):
        await place.run()
    await place.stop()
    assert place.restarts == 0
    assert [record.getMessage() for record in caplog.records] == ["housekeeper.absent"]


def test_two_never_work_on_one_directory(tmp_path: Path) -> None:
    given = Settings(repository=tmp_path, data=tmp_path / "data")
    first = Housekeeping(given, [])
    with pytest.raises(EvidenceError, match="another housekeeper is at work"):
        Housekeeping(given, [])
    first.close()
    Housekeeping(given, []).close()
