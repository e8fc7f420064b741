"""Commands over sealed files that are damaged, or that nobody sealed: none ends otherwise than with a clear error."""

import json
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.main import main
from steelyard.clock import ManualClock
from steelyard.errors import EvidenceError
from steelyard.evidence import parquet_segments
from steelyard.evidence.feedback import DIRECTORY, FEEDBACK_FILE
from steelyard.evidence.logging_segments import SegmentLogging
from steelyard.evidence.notes_file import write_notes
from steelyard.evidence.parquet_segments import ParquetSegments
from steelyard.evidence.sealing import Sealing
from steelyard.evidence.store import sealed_files, unlisted
from steelyard.evidence.tlog import TransparencyLog, key_paths
from tests.evidence.journals import decision, packed, write

ID = decision(5).decision_id

# Where in the footer one flipped bit damages what is said of one column (how long its histogram of levels is). With
# pyarrow 26.0.1 a read of all columns raises an error over it, and a read of another column alone ends the process.
ABORTS = 647


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path, packed(*range(200)))
    log = TransparencyLog(tmp_path, key_paths(tmp_path, None, None), ManualClock())
    list(Sealing(tmp_path, SegmentLogging(tmp_path, log).commit).all_closed())
    return tmp_path


def run(capfd: Any, *arguments: str) -> tuple[int, Any, str]:
    code = main([*arguments, "--json"])
    captured = capfd.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


def footer(whole: bytes) -> int:
    """Where it begins: its length and a magic number are the last eight bytes."""
    return len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")


def test_a_damaged_footer_is_an_error_and_not_the_end(data: Path, tmp_path: Path, capfd) -> None:
    (path,) = (file.path for file in sealed_files(data))
    whole = path.read_bytes()
    places = [ABORTS, 0, 1, 13, 101, 333, 1001, 2000, 3000, -9, -8, -5, -1]
    for number, place in enumerate(places):
        at = footer(whole) + place if place >= 0 else len(whole) + place
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 32]) + whole[at + 1 :])
        asked = [
            ["explain", ID],
            ["decisions"],
            ["audit", "prove", ID],
            ["sql", "SELECT count(*) FROM decisions"],
            ["feedback", "add", ID, "--value", "1", "--source", "sales"],
        ]
        for arguments in asked if number < 2 else asked[:1]:
            output = ["--output", str(tmp_path / f"{number}.tlog-proof")] if "prove" in arguments else []
            code, _, error = run(capfd, *arguments, *output, "--data", str(data))
            told = "" if code == 0 else json.loads(error)["error"]
            assert code == 0 or "cannot be read" in told or "cannot be answered" in told, (place, error)
            # DuckDB does not read what this is about.
            assert code == 1 or place != ABORTS or arguments[0] in ("decisions", "sql")
        bundle = tmp_path / f"{number}.zip"
        named = ["--model", "prices", "--output", str(bundle), "--repository", str(tmp_path)]
        code, _, error = run(capfd, "audit", "bundle", *named, "--data", str(data))
        assert code == 1
        assert f"{path}: expected the file that was sealed" in json.loads(error)["error"]
        if number < 2:
            code, found, _ = run(capfd, "audit", "verify", "--data", str(data))
            (fault,) = found["faults"]
            assert (code, fault["where"]) == (1, str(path))
            assert "; damaged: " in fault["what"]
    path.write_bytes(whole)
    assert run(capfd, "explain", ID, "--data", str(data))[0] == 0


def test_a_file_over_which_its_reader_ends_or_stays_is_damaged(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = (file.path for file in sealed_files(data))
    whole = path.read_bytes()
    at = footer(whole) + ABORTS
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 32]) + whole[at + 1 :])
    name = str(path.relative_to(data / "sealed"))
    with pytest.raises(EvidenceError, match=f"^{path}: damaged: "):
        ParquetSegments(data).examined(name)
    monkeypatch.setattr(parquet_segments, "EXAMINED_WITHIN_S", 0.001)
    path.write_bytes(whole)
    with pytest.raises(EvidenceError, match=rf"^{path}: damaged: .* or keeps it for more than 0\.001 s$"):
        ParquetSegments(data).examined(name)


def test_damaged_lines_of_feedback_are_told(data: Path, capfd) -> None:
    for value in ("1", "2"):
        said = ["--value", value, "--source", "sales", "--data", str(data)]
        assert run(capfd, "feedback", "add", ID, *said)[0] == 0
    path = data / DIRECTORY / FEEDBACK_FILE
    path.write_bytes(path.read_bytes().replace(b'"value":1', b'"value":7'))
    code, found, _ = run(capfd, "explain", ID, "--data", str(data))
    assert (code, [one["value"] for one in found["feedback"]], found["feedback_damaged"]) == (0, [2], 1)
    assert main(["explain", ID, "--data", str(data)]) == 0
    assert "feedback      1 lines of this decision are damaged" in capfd.readouterr().out


def test_feedback_is_erased_by_its_decision_and_told_where_records_cannot_say_whose_it_is(
    data: Path, capfd
) -> None:
    said = ["--source", "sales", "--data", str(data)]
    assert run(capfd, "feedback", "add", ID, "--value", "1", *said)[0] == 0
    (path,) = (file.path for file in sealed_files(data))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    why = ["--reason", "asked for", "--data", str(data)]
    for wanted in (["--key", "customer-17"], ["--decision", "order-7"]):
        code, _, error = run(capfd, "journal", "erase", *wanted, *why)
        assert code == 1
        assert "0 erased, but not all could be read or overwritten: feedback: " in json.loads(error)["error"]
    assert run(capfd, "journal", "erase", "--decision", ID, *why)[:2] == (0, {"erased": [ID]})
    code, _, error = run(capfd, "journal", "erase", "--decision", ID, *why)
    assert (code, "no payload of decision" in error) == (1, True)
    # Nothing is left that could be anybody's.
    assert run(capfd, "journal", "erase", "--key", "customer-17", *why)[:2] == (0, {"erased": []})


def test_files_that_the_ledger_does_not_name_are_told_and_not_proven(
    data: Path, tmp_path: Path, capfd
) -> None:
    assert unlisted(data) == []
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, packed(500, 501))
    list(Sealing(elsewhere).all_closed())
    (planted,) = (file.path for file in sealed_files(elsewhere))
    planted.rename(data / "sealed" / "prices" / "worker-7-1.parquet")
    (data / "sealed" / ".notes").mkdir()
    note = {"note": "feedback", "decision_id": ID, "label": 9}
    write_notes(data / "sealed" / ".notes" / "worker-7-1.parquet", [note])
    names = ["sealed/.notes/worker-7-1.parquet", "sealed/prices/worker-7-1.parquet"]
    assert unlisted(data) == names
    planted_one = decision(500).decision_id
    proof = ("--output", str(tmp_path / "proof"))
    at = ("--data", str(data))
    for arguments in (
        ["decisions"],
        ["sql", "SELECT count(*) FROM notes"],
        ["explain", ID],
        ["explain", planted_one],
        ["feedback", "add", ID, "--value", "1", "--source", "sales"],
        ["audit", "prove", ID, *proof],
    ):
        code, _, error = run(capfd, *arguments, *at)
        assert (code, error.startswith(f"not in the ledger of sealed files: {', '.join(names)}: ")) == (
            0,
            True,
        )
    code, _, error = run(capfd, "audit", "prove", planted_one, *proof, *at)
    assert (code, "sealed, and not in the log yet" in error) == (1, True)
    code, found, _ = run(capfd, "audit", "verify", *at)
    assert (code, found["unlogged_notes"]) == (1, 1)
    assert found["faults"] == [
        {"where": "prices/worker-7-1.parquet", "what": "no entry of the log is about this file"}
    ]
    # One that is being sealed has its file of the journal still.
    write(data, packed(600), 1, worker=7).rename(data / "journal" / "worker-7" / "1.log")
    assert unlisted(data) == []
