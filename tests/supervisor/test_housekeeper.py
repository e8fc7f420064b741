"""The housekeeper's place without what it needs, and that there is one at a time."""

import asyncio
import logging
import signal
import uuid
from pathlib import Path

import psutil
import pytest

from steelyard.clock import ManualClock, SystemClock
from steelyard.config import Settings
from steelyard.errors import EvidenceError
from steelyard.evidence.feedback import add_feedback, feedback_of
from steelyard.supervisor import housekeeper
from steelyard.supervisor.housekeeper_main import Housekeeping
from tests.support.waiting import until


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


def started() -> psutil.Process | None:
    """The housekeeper that this process has started."""
    for child in psutil.Process().children():
        if housekeeper.MODULE in child.cmdline():
            return child
    return None


async def test_one_that_has_begun_nothing_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(housekeeper, "STOP_WITHIN_S", 3600.0)
    place = housekeeper.Housekeeper(Settings(repository=tmp_path, data=tmp_path / "data"), tuple)
    running = asyncio.ensure_future(place.run())
    process = await until(started)
    assert process is not None
    # It cannot come to work, however long one waits.
    process.send_signal(signal.SIGSTOP)
    await place.stop()
    await running
    assert place.restarts == 0
    assert not process.is_running()


async def test_feedback_that_is_too_old_is_removed(tmp_path: Path) -> None:
    one = uuid.UUID("01976f3e-2c1b-7a41-9a55-6f1d8e0c7b22")
    data = tmp_path / "data"
    data.mkdir()
    # As long ago as the clock of tests, and just now.
    add_feedback(data, one, "old", "sales", ManualClock())
    add_feedback(data, one, "new", "sales", SystemClock())
    work = Housekeeping(Settings(repository=tmp_path, data=data, feedback_retention_days=30.0), [])
    running = asyncio.ensure_future(asyncio.to_thread(work.run))
    try:
        await until(lambda: [said.value for said in feedback_of(data, str(one)).feedback] == ["new"])
    finally:
        work.stopped.set()
        await running
    work.close()


def test_two_never_work_on_one_directory(tmp_path: Path) -> None:
    given = Settings(repository=tmp_path, data=tmp_path / "data")
    first = Housekeeping(given, [])
    with pytest.raises(EvidenceError, match="another housekeeper is at work"):
        Housekeeping(given, [])
    first.close()
    Housekeeping(given, []).close()
