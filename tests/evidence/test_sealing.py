"""Sealing: nothing is lost or doubled, wherever it is broken off; and what is sealed is found."""

import hashlib
import json
import os
import uuid
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from steelyard.errors import EvidenceError, InvalidRequest
from steelyard.evidence import search
from steelyard.evidence.frames import Gap
from steelyard.evidence.ledger import LEDGER_FILE, SEALED_DIRECTORY, Sealed, read_ledger
from steelyard.evidence.lookup import Lookup
from steelyard.evidence.record import pack
from steelyard.evidence.retention import HOUR_NS, NS_A_DAY, remove_old
from steelyard.evidence.sealed_file import read_records
from steelyard.evidence.sealing import Sealing, Unsealed
from steelyard.evidence.search import Asked, ask, decisions, models_of
from steelyard.evidence.store import sealed_files
from tests.evidence import journals
from tests.evidence.journals import START_NS, decision, packed, write
from tests.support.recorded import everything


def seal(data: Path) -> list[Sealed | Unsealed]:
    return list(Sealing(data).all_closed())


def test_closed_files_become_one_file_a_model_in_the_order_of_the_journal(tmp_path: Path) -> None:
    prices, risks = packed(*range(9)), packed(20, 21, model="risks")
    nobody = packed(30, model="../evil", version=0, digest="", code=5)
    gap = Gap(7, 1, 2, "the ring was full")
    closed = write(tmp_path, [*prices[:5], *risks, *nobody, *prices[5:]], gaps=[gap])
    still_open = write(tmp_path, packed(40), 2, closed=False)
    (sealed,) = seal(tmp_path)
    assert isinstance(sealed, Sealed)
    assert not closed.exists()
    assert still_open.exists()
    assert {one.model: one.records for one in sealed.files.values()} == {"prices": 9, "risks": 2, "": 1}
    assert sealed.gaps == [gap]
    assert read_ledger(tmp_path).sealed == {sealed.segment: sealed}
    (path,) = (tmp_path / SEALED_DIRECTORY / "prices").glob("*.parquet")
    assert [record for part in read_records(path) for record in part.to_list()] == prices
    assert {file.path.parent.name for file in sealed_files(tmp_path)} == {"prices", "risks", ".unknown"}
    # Without us.
    assert duckdb.sql(f"SELECT count(*) FROM '{path}' WHERE version = 3").fetchall() == [(9,)]
    assert pd.read_parquet(path)["total_ns"].tolist() == [1_000_000 + number * 1000 for number in range(9)]


@pytest.mark.parametrize("step", range(12))
def test_broken_off_anywhere_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    class Killed(BaseException):
        pass

    records = [*packed(*range(6)), *packed(7, 8, model="risks")]
    write(tmp_path, records, notes=[{"note": "feedback", "decision_id": decision(1).decision_id, "label": 2}])
    left = step

    def maybe_killed(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    told: list[Sealed] = []
    with monkeypatch.context() as patched:
        for name in ("fsync", "unlink", "replace", "rename"):
            real = getattr(os, name)
            patched.setattr(os, name, lambda *a, real=real, **k: (maybe_killed(), real(*a, **k))[1])
        try:
            list(Sealing(tmp_path, committed=told.append).all_closed())
        except Killed:
            assert everything(tmp_path) == sorted(records)
    list(Sealing(tmp_path, committed=told.append).all_closed())
    assert everything(tmp_path) == sorted(records)
    assert not list((tmp_path / "journal").rglob("*.log"))
    assert not list((tmp_path / SEALED_DIRECTORY).rglob("*.tmp"))
    assert {file for sealed in told for file in sealed.files} == set(read_ledger(tmp_path).summaries)
    assert ask(tmp_path, "SELECT count(*) FROM notes", 5).rows == [(1,)]


def test_a_damaged_file_stays_and_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, packed(1))
    whole = path.read_bytes()
    path.write_bytes(whole[:70] + bytes([whole[70] ^ 1]) + whole[71:])
    (told,) = seal(tmp_path)
    assert isinstance(told, Unsealed)
    assert "damaged" in told.why
    assert path.exists()


def test_a_flipped_bit_in_a_sealed_file_is_found(tmp_path: Path) -> None:
    write(tmp_path, packed(*range(50)))
    seal(tmp_path)
    (file,) = sealed_files(tmp_path)
    whole = bytearray(file.path.read_bytes())
    whole[200] ^= 4
    file.path.write_bytes(whole)
    with pytest.raises(EvidenceError, match="cannot be read"):
        list(read_records(file.path))


def test_a_ledger_that_is_gone_or_cut_short_is_no_loss(tmp_path: Path) -> None:
    write(tmp_path, packed(*range(5)))
    seal(tmp_path)
    ledger = tmp_path / SEALED_DIRECTORY / LEDGER_FILE
    with ledger.open("ab") as file:
        file.write(b'{"segment": "worker-0/0000')
    write(tmp_path, packed(6), 2)
    seal(tmp_path)
    assert len(read_ledger(tmp_path).sealed) == 2
    ledger.unlink()
    assert everything(tmp_path) == sorted([*packed(*range(5)), *packed(6)])


def test_sealed_and_open_are_searched_together(tmp_path: Path) -> None:
    write(tmp_path, packed(*range(8)))
    notes = [{"note": "flags", "decision_id": decision(3).decision_id, "flags": ["age", "income"]}]
    write(tmp_path, packed(20, model="risks"), 2, notes=notes)
    seal(tmp_path)
    write(tmp_path, packed(8, 9), 3, closed=False, torn=b"half a fra")
    found = decisions(tmp_path, Asked("prices", where="version=3 and total_ms>1.0065"), 2)
    ids = found.columns.index("decision_id")
    assert [str(row[ids]) for row in found.rows] == [decision(9).decision_id, decision(8).decision_id]
    assert found.more
    flagged = decisions(tmp_path, Asked(where="version=3 and flag='age'"), 5).rows
    assert [str(row[ids]) for row in flagged] == [decision(3).decision_id]
    late = Asked("prices", since_unix_ns=START_NS + 5 * 10**6, until_unix_ns=START_NS + 9 * 10**6)
    assert len(decisions(tmp_path, late, 10).rows) == 4
    assert ask(tmp_path, "SELECT model, count(*) FROM decisions GROUP BY 1 ORDER BY 1", 5).rows == [
        ("prices", 10),
        ("risks", 1),
    ]


@pytest.mark.parametrize(
    "query",
    [
        "COPY decisions TO 'stolen.csv'",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        "ATTACH 'other.db'",
        "SET memory_limit = '1TB'",
        "INSTALL httpfs",
        "SELECT nothing FROM decisions",
        "",
    ],
)
def test_sql_reads_what_is_recorded_and_nothing_else(tmp_path: Path, query: str) -> None:
    write(tmp_path, packed(1))
    with pytest.raises(InvalidRequest):
        ask(tmp_path, query, 5)


def test_queries_have_an_end_and_conditions_are_conditions(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"longer than 0\.2 s"):
        ask(
            tmp_path, "SELECT count(*) FROM range(10000000000) a, range(1000) b WHERE a.range % 7 = 9", 5, 0.2
        )
    with pytest.raises(InvalidRequest, match="expression"):
        decisions(tmp_path, Asked(where="true) UNION ALL SELECT * FROM decisions WHERE (true"), 5)


def test_one_decision_is_found_with_its_batch_notes_and_hour(tmp_path: Path) -> None:
    note = {"note": "feedback", "decision_id": decision(5).decision_id, "label": 1}
    write(tmp_path, packed(*range(6), **journals.TRACED))
    seal(tmp_path)
    # Its batch reaches into the next file.
    write(tmp_path, packed(6, 7, 8), 2, notes=[note], closed=False)
    lookup = Lookup(tmp_path)
    found = lookup.decision(uuid.UUID(decision(5).decision_id))
    assert found is not None
    assert found.record == packed(5, **journals.TRACED)[0]
    assert [mate.position for mate in lookup.mates(found)] == [0, 2, 3]
    assert lookup.notes(found) == [note]
    times = lookup.hour(found.decision)
    assert times.stages["total_ns"].count == 9
    assert times.stages["total_ns"].quantile_ns(0.5) == pytest.approx(1_004_000, rel=0.07)
    assert lookup.decision(uuid.UUID(decision(99).decision_id)) is None
    for number in (2, 8):
        (named,) = lookup.requests(f"order-{number}")
        assert named.decision.decision_id == decision(number).decision_id
    assert lookup.requests("order-99") == []


def test_what_was_sealed_while_as_many_files_went_is_found(tmp_path: Path) -> None:
    write(tmp_path, packed(1))
    seal(tmp_path)
    write(tmp_path, packed(7), 2)
    lookup = Lookup(tmp_path)
    (before,) = sealed_files(tmp_path)
    seal(tmp_path)
    before.path.unlink()
    found = lookup.decision(uuid.UUID(decision(7).decision_id))
    assert found is not None
    assert found.record == packed(7)[0]


def test_retention_by_age_and_by_bytes_also_while_someone_reads(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    for model, table in (("prices", "retention_days = 2"), ("risks", "retention_bytes = 1")):
        (repository / model).mkdir(parents=True)
        (repository / model / "model.toml").write_text(f"[evidence]\n{table}\n")
    for number in range(3):
        write(
            tmp_path, [*packed(number), *packed(number, model="risks"), *packed(number, model="gone")], number
        )
    day = NS_A_DAY // 10**6
    write(tmp_path, packed(2 * day), 9)
    sealing = Sealing(tmp_path)
    list(sealing.all_closed())
    reader = read_records(sealed_files(tmp_path, "prices")[0].path)
    first = next(reader)
    removed = list(remove_old(tmp_path, repository, sealing.ledger, START_NS + 3 * NS_A_DAY))
    assert (
        sorted((gone.file.split("/")[0], gone.why) for gone in removed)
        == [("prices", "age")] * 3 + [("risks", "bytes")] * 3
    )
    assert first.to_list() == packed(0)
    assert list(reader) == []
    left = {(file.summary.model, file.summary.from_unix_ns) for file in sealed_files(tmp_path)}
    assert left == {("prices", START_NS + 2 * NS_A_DAY), *(("gone", START_NS + n * 10**6) for n in range(3))}
    assert set(read_ledger(tmp_path).removed) == {gone.file for gone in removed}
    # A model that left the repository keeps its evidence for as long as was wanted.
    (repository / "prices" / "model.toml").unlink()
    (repository / "prices").rmdir()
    assert len(list(remove_old(tmp_path, repository, sealing.ledger, START_NS + 5 * NS_A_DAY))) == 1


def test_what_became_too_old_within_an_hour_goes_together_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "models" / "prices").mkdir(parents=True)
    (tmp_path / "models" / "prices" / "model.toml").write_text("[evidence]\nretention_days = 1\n")
    hour = -(-START_NS // HOUR_NS) * HOUR_NS
    minute = 60 * 10**9
    for number in range(6):
        at_ns = hour + number * 20 * minute
        write(tmp_path, [pack(decision(number, received_unix_ns=at_ns))], number)
    sealing = Sealing(tmp_path)
    list(sealing.all_closed())
    told: list[int] = []
    for look in range(0, 180, 5):
        now_ns = hour + NS_A_DAY + look * minute
        list(
            remove_old(
                tmp_path,
                tmp_path / "models",
                sealing.ledger,
                now_ns,
                expiring=lambda model, files: told.append(len(files)),
            )
        )
    assert told == [3, 3]


def test_the_leaf_hash_is_over_the_record_that_was_written(tmp_path: Path) -> None:
    records = packed(*range(3))
    write(tmp_path, records)
    (sealed,) = seal(tmp_path)
    (path,) = (file.path for file in sealed_files(tmp_path))
    leaves = [hashlib.sha256(b"\0" + one).digest() for part in read_records(path) for one in part.to_list()]
    assert leaves == [hashlib.sha256(b"\0" + record).digest() for record in records]
    assert json.loads(json.dumps(sealed.to_json() if isinstance(sealed, Sealed) else {}))["notes"] == 0


def test_decisions_of_a_key_are_found_among_others_page_by_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_PAGE_ROWS", 30)
    key = "Ann's"
    write(tmp_path, packed(*range(100), key=key) + packed(*range(100, 150)))
    list(Sealing(tmp_path).all_closed())
    write(tmp_path, packed(*range(200, 220), key=key, model="loans"), 2)
    ids = [decision(number).decision_id for number in (0, 5, 30, 99, 120, 210)]
    found = models_of(tmp_path, "key", key, set(ids))
    assert found == {**dict.fromkeys(ids[:4], "prices"), ids[5]: "loans"}
    assert models_of(tmp_path, "decision_id", ids[4], set(ids)) == {ids[4]: "prices"}
    assert models_of(tmp_path, "request_id", "order-5", set(ids)) == {ids[1]: "prices"}
    assert models_of(tmp_path, "request_id", "order-5", set()) == {}
