"""Files in the place of sealed ones that the ledger does not name and that are damaged: the keeper's work goes on."""

import asyncio
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from steelyard.clock import ManualClock
from steelyard.config import Settings
from steelyard.errors import EvidenceError
from steelyard.evidence.audited import last_audit
from steelyard.evidence.footers import Footers
from steelyard.evidence.ledger import Sealed
from steelyard.evidence.notes_file import notes_path
from steelyard.evidence.retention import NS_A_DAY, remove_old
from steelyard.evidence.sealed_file import HOURS_KEY, SUMMARY_KEY, read_hours, read_summary
from steelyard.evidence.sealing import Sealing
from steelyard.evidence.store import sealed_files, sealed_notes
from steelyard.evidence.tlog import TransparencyLog, key_paths
from steelyard.supervisor.housekeeper_main import Housekeeping
from tests.evidence.journals import START_NS, decision, packed, write
from tests.support.waiting import until


def with_footer(path: Path, source: Path, **said: bytes) -> None:
    """Writes `source` with other words in its footer."""
    table = pq.read_table(source).replace_schema_metadata(None)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({name.replace("_", "."): value for name, value in said.items()})


def sealed(data: Path, repository: Path) -> Sealing:
    """Files of three models, of 200 decisions so that footers have what is damaged below, kept for a day."""
    for worker, model in enumerate(("prices", "a-first", "z-last")):
        (repository / model).mkdir(parents=True)
        (repository / model / "model.toml").write_text("[evidence]\nretention_days = 1\n")
        write(data, packed(*range(200), model=model), worker=worker)
    sealing = Sealing(data)
    list(sealing.all_closed())
    return sealing


def planted(data: Path) -> list[Path]:
    """Damaged files beside the good one of "prices"."""
    (good,) = (data / "sealed" / "prices").glob("worker-0-*.parquet")
    whole = good.read_bytes()
    names = ["cut", "empty", "other", "truncated", "words"]
    bad = [good.with_name(f"worker-9-{name}.parquet") for name in names]
    bad[0].write_bytes(whole[:-20])
    bad[1].write_bytes(b"")
    with_footer(
        bad[2], good, steelyard=json.dumps({**read_summary(good).to_json(), "to_unix_ns": "x"}).encode()
    )
    with_footer(bad[3], good, steelyard=b'{"model', steelyard_hours=b"[1")
    with_footer(bad[4], good, steelyard=b"[1]", steelyard_hours=b"[1]")
    return bad


def test_what_a_footer_says_is_an_error_with_the_name_of_the_file(tmp_path: Path) -> None:
    sealed(tmp_path, tmp_path / "models")
    for path in planted(tmp_path):
        with pytest.raises(EvidenceError, match=f"^{path}: "):
            read_summary(path)
        with pytest.raises(EvidenceError, match=f"^{path}: "):
            read_hours(path)
    assert (SUMMARY_KEY, HOURS_KEY) == (b"steelyard", b"steelyard.hours")


def test_retention_goes_on_behind_damaged_files(tmp_path: Path) -> None:
    sealing = sealed(tmp_path, tmp_path / "models")
    (good,) = (file.path for file in sealed_files(tmp_path, "prices"))
    # Of no entry of the ledger either, and whole: it goes as others do.
    shutil.copy(good, good.with_name("worker-8-whole.parquet"))
    bad = planted(tmp_path)
    told: list[Path] = []
    footers = Footers(lambda path, why: told.append(path))
    where = tmp_path, tmp_path / "models", sealing.ledger
    assert list(remove_old(*where, START_NS, footers=footers)) == []
    assert sorted(told) == bad
    removed = list(remove_old(*where, START_NS + 3 * NS_A_DAY, footers=footers))
    assert [(gone.file.split("/")[0], gone.records) for gone in removed] == [
        ("a-first", 200),
        ("prices", 200),
        ("prices", 200),
        ("z-last", 200),
    ]
    assert sorted(good.parent.glob("*.parquet")) == bad
    # Once, and again where one is another than it was.
    assert len(told) == len(bad)
    bad[1].write_bytes(b"PAR1")
    list(remove_old(*where, START_NS + 3 * NS_A_DAY, footers=footers))
    assert told[len(bad) :] == [bad[1]]


def test_what_stands_where_a_file_is_to_be_sealed_does_not_stop_sealing(tmp_path: Path) -> None:
    note = {"note": "feedback", "decision_id": decision(5).decision_id, "label": 9}
    elsewhere, data = tmp_path / "elsewhere", tmp_path / "data"
    for one in elsewhere, data:
        write(one, packed(*range(200)), notes=[note])
    list(Sealing(elsewhere).all_closed())
    (decisions,), (notes,) = (file.path for file in sealed_files(elsewhere)), sealed_notes(elsewhere)
    for path, content in (decisions, decisions.read_bytes()[:-20]), (notes, notes.read_bytes()[:-20]):
        there = data / path.relative_to(elsewhere)
        there.parent.mkdir(parents=True)
        there.write_bytes(content)
    (done,) = Sealing(data).all_closed()
    assert isinstance(done, Sealed)
    assert read_summary(sealed_files(data)[0].path).records == 200
    assert notes_path(data / "sealed", done.segment).read_bytes() == notes.read_bytes()


async def test_the_scheduled_audit_runs_behind_damaged_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sealed(tmp_path, tmp_path / "models")
    bad = planted(tmp_path)
    TransparencyLog(tmp_path, key_paths(tmp_path, None, None), ManualClock())
    settings: dict[str, Any] = {"repository": tmp_path / "models", "data": tmp_path}
    work = Housekeeping(Settings(**settings), [])
    with caplog.at_level(logging.INFO):
        running = asyncio.ensure_future(asyncio.to_thread(work.run))
        try:
            found = await until(lambda: last_audit(tmp_path))
        finally:
            work.stopped.set()
            await running
    work.close()
    told = [record for record in caplog.records if record.getMessage() == "sealed.unreadable"]
    assert len(told) == len(bad)
    assert found.faults
