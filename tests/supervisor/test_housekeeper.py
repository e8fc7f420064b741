"""The housekeeper's place without what it needs."""

import logging

import pytest

from steelyard.config import Settings
from steelyard.supervisor import housekeeper


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
