"""Labels and feedback that come later: appended, read by decision, and refused where they cannot be kept."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from steelyard.clock import ManualClock
from steelyard.errors import EvidenceError, InvalidRequest
from steelyard.evidence import feedback
from steelyard.evidence.feedback import DIRECTORY, FEEDBACK_FILE, add_feedback, feedback_of

ONE = uuid.UUID("01976f3e-2c1b-7a41-9a55-6f1d8e0c7b22")
OTHER = uuid.UUID("01976f3e-2c1b-7a41-9a55-6f1d8e0c7b23")
CLOCK = ManualClock()

ADDING = """
import sys, uuid
from pathlib import Path
from steelyard.clock import SystemClock
from steelyard.evidence.feedback import add_feedback
for number in range(200):
    add_feedback(Path(sys.argv[1]), uuid.UUID(sys.argv[2]), number, sys.argv[3], SystemClock())
"""


def values(data: Path, decision: uuid.UUID = ONE) -> list[object]:
    return [one.value for one in feedback_of(data, str(decision)).feedback]


def test_what_was_said_of_a_decision_is_read_in_its_order(tmp_path: Path) -> None:
    assert feedback_of(tmp_path, str(ONE)).feedback == ()
    said = [True, 412.5, "fraud\n", {"label": "ü", "of": str(OTHER)}, None]
    for value in said:
        added = add_feedback(tmp_path, ONE, value, "sales", CLOCK)
        assert (added.decision_id, added.received_unix_ms) == (str(ONE), 1_700_000_000_000)
    add_feedback(tmp_path, OTHER, 1, "sales", CLOCK)
    assert values(tmp_path) == said
    assert values(tmp_path, OTHER) == [1]
    assert (tmp_path / DIRECTORY / FEEDBACK_FILE).stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_short_is_cut_off_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    for value in (1, 2):
        add_feedback(tmp_path, ONE, value, "sales", CLOCK)
    path = tmp_path / DIRECTORY / FEEDBACK_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert values(tmp_path) == [1]
    add_feedback(tmp_path, ONE, 3, "sales", CLOCK)
    assert values(tmp_path) == [1, 3]
    found = path.read_bytes()
    at = found.index(b'"sales"')
    path.write_bytes(found[: at + 1] + b"S" + found[at + 2 :])
    reading = feedback_of(tmp_path, str(ONE))
    assert ([one.value for one in reading.feedback], reading.damaged) == ([3], 1)


def test_what_cannot_be_kept_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in ("", " ", "a\nb", "x" * 129):
        with pytest.raises(InvalidRequest, match="a source of 1 to 128 printable characters"):
            add_feedback(tmp_path, ONE, 1, source, CLOCK)
    for value in (float("nan"), b"bytes"):
        with pytest.raises(InvalidRequest, match="a value that is JSON"):
            add_feedback(tmp_path, ONE, value, "sales", CLOCK)
    with pytest.raises(InvalidRequest, match="at most 4096 bytes of JSON, came 4097"):
        add_feedback(tmp_path, ONE, "x" * 4095, "sales", CLOCK)
    add_feedback(tmp_path, ONE, "\N{BELL}" * 341, "\N{BELL}" * 128, CLOCK)
    monkeypatch.setattr(feedback, "MAX_FILE_BYTES", 6000)
    with pytest.raises(EvidenceError, match="takes no more, it has"):
        add_feedback(tmp_path, ONE, "x" * 400, "sales", CLOCK)
    assert len(values(tmp_path)) == 1


def test_processes_that_append_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADDING, str(tmp_path), str(ONE)]
    both = [subprocess.Popen([*command, source]) for source in ("sales", "support")]
    assert [one.wait(60) for one in both] == [0, 0]
    reading = feedback_of(tmp_path, str(ONE))
    for source in ("sales", "support"):
        assert [one.value for one in reading.feedback if one.source == source] == list(range(200))
    assert reading.damaged == 0
