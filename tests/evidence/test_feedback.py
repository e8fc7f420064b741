"""Labels and feedback that come later: appended, read by decision, and refused where they cannot be kept."""

import errno
import fcntl
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from steelyard.clock import ManualClock
from steelyard.errors import EvidenceError, InvalidRequest
from steelyard.evidence import feedback, feedback_removal
from steelyard.evidence.feedback import DIRECTORY, FEEDBACK_FILE, FeedbackHeld, add_feedback, feedback_of
from steelyard.evidence.feedback_removal import (
    MS_A_DAY,
    decisions_with_feedback,
    erase_feedback,
    expire_feedback,
)
from tests.support.waiting import eventually

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

REPLACING = """
import sys, uuid
from pathlib import Path
from steelyard.clock import SystemClock
from steelyard.evidence.feedback import add_feedback
from steelyard.evidence.feedback_removal import erase_feedback
while True:
    add_feedback(Path(sys.argv[1]), uuid.UUID(sys.argv[2]), 0, "sales", SystemClock())
    erase_feedback(Path(sys.argv[1]), {sys.argv[2]})
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


@pytest.mark.parametrize("last", [b"", b"\x0b", b"J"])
def test_a_line_whose_newline_alone_is_lost_stays(tmp_path: Path, last: bytes) -> None:
    for value in (1, 2):
        add_feedback(tmp_path, ONE, value, "sales", CLOCK)
    path = tmp_path / DIRECTORY / FEEDBACK_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + last)
    assert values(tmp_path) == [1, 2]
    add_feedback(tmp_path, ONE, 3, "sales", CLOCK)
    assert values(tmp_path) == [1, 2, 3]
    assert path.read_bytes().startswith(whole)
    assert feedback_of(tmp_path, str(ONE)).damaged == 0


def test_what_is_longer_than_any_line_is_not_cut_off(tmp_path: Path) -> None:
    add_feedback(tmp_path, ONE, 1, "sales", CLOCK)
    path = tmp_path / DIRECTORY / FEEDBACK_FILE
    damaged = path.read_bytes() + b"?" * 10_000
    path.write_bytes(damaged)
    add_feedback(tmp_path, ONE, 2, "sales", CLOCK)
    assert values(tmp_path) == [1, 2]
    assert path.read_bytes().startswith(damaged + b"\n")


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


def test_a_line_is_on_disk_with_the_name_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    refused: set[int] = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        if inode in refused:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)
        synced.append(inode)

    monkeypatch.setattr(os, "fsync", fsync)
    path = aged(tmp_path, 0)
    names = [path.parent.stat().st_ino, tmp_path.stat().st_ino]
    assert synced == [path.stat().st_ino, *names]
    # Another has put it there, and may have been killed before it synced that.
    path.rename(path.with_name("before"))
    path.with_name("before").rename(path)
    synced.clear()
    aged(tmp_path, 0)
    assert synced == [path.stat().st_ino, *names]
    refused.add(names[0])
    with pytest.raises(EvidenceError, match="cannot be written: Input/output error"):
        aged(tmp_path, 0)
    assert values(tmp_path) == [0, 0]


def test_one_that_keeps_the_lock_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = aged(tmp_path, 0, 20)
    monkeypatch.setattr(feedback, "LOCK_WITHIN_S", 0.02)
    # As a command that was stopped while it appended.
    other = os.open(path, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    for work in (lambda: add_feedback(tmp_path, ONE, 1, "sales", CLOCK), lambda: values(tmp_path)):
        with pytest.raises(FeedbackHeld, match="another process has its lock, also after"):
            work()
    # Retention comes again, also where it is the file before this one that another is still at.
    assert expire_feedback(tmp_path, 5, on_day(20)) == 0
    os.close(other)
    before = path.with_name(f"{FEEDBACK_FILE}.old")
    before.write_bytes(b"what is to be overwritten")
    other = os.open(before, os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert expire_feedback(tmp_path, 5, on_day(20)) == 0
    os.close(other)
    assert values(tmp_path) == [0, 1]
    assert expire_feedback(tmp_path, 5, on_day(20)) == 1
    assert values(tmp_path) == [1]


def aged(data: Path, *days: float) -> Path:
    """A line of each day, whose value is its number from 0 on."""
    for number, day in enumerate(days):
        at = ManualClock()
        at.advance(int(day * MS_A_DAY * 1_000_000))
        add_feedback(data, ONE, number, "sales", at)
    return data / DIRECTORY / FEEDBACK_FILE


def on_day(day: float) -> int:
    return CLOCK.unix_ns() // 1_000_000 + int(day * MS_A_DAY)


def test_what_is_too_old_is_removed_and_the_rest_stays_as_it_is(tmp_path: Path) -> None:
    assert expire_feedback(tmp_path, 30, on_day(0)) == 0
    path = aged(tmp_path, 0, 1, 10, 20)
    whole = path.read_bytes()
    assert expire_feedback(tmp_path, 30, on_day(30)) == 0
    # Within the hour it is not written anew again.
    assert expire_feedback(tmp_path, 30, on_day(30.03)) == 0
    assert path.read_bytes() == whole
    assert expire_feedback(tmp_path, 30, on_day(32)) == 2
    assert values(tmp_path) == [2, 3]
    assert whole.endswith(path.read_bytes())
    assert path.stat().st_mode & 0o777 == 0o600
    assert expire_feedback(tmp_path, 30, on_day(90)) == 2
    assert (values(tmp_path), path.read_bytes()) == ([], b"")
    add_feedback(tmp_path, ONE, "new", "sales", CLOCK)
    assert values(tmp_path) == ["new"]


def test_damaged_lines_go_with_older_ones_and_a_time_to_come_keeps_what_is_behind_it(tmp_path: Path) -> None:
    path = aged(tmp_path, 0, 1, 2, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[0] = lines[0].replace(b"sales", b"Sales")
    lines[2] = lines[2].replace(b"sales", b"Sales")
    path.write_bytes(b"".join(lines))
    assert expire_feedback(tmp_path, 30, on_day(32.5)) == 2
    assert (values(tmp_path), feedback_of(tmp_path, str(ONE)).damaged) == ([3], 1)
    path.unlink()
    aged(tmp_path, 0, 1000, 1)
    assert expire_feedback(tmp_path, 30, on_day(50)) == 1
    assert values(tmp_path) == [1, 2]


def test_what_is_erased_is_overwritten_and_what_names_it_elsewhere_stays(tmp_path: Path) -> None:
    assert erase_feedback(tmp_path, {str(ONE)}) == []
    path = aged(tmp_path, 0, 0)
    add_feedback(tmp_path, OTHER, {"see": str(ONE)}, "sales", CLOCK)
    add_feedback(tmp_path, ONE, "damaged", "sales", CLOCK)
    path.write_bytes(path.read_bytes().replace(b'"damaged"', b'"demaged"'))
    assert decisions_with_feedback(tmp_path) == {str(ONE), str(OTHER)}
    left = path.with_name(f"{FEEDBACK_FILE}.new")
    left.write_bytes(path.read_bytes())
    size = path.stat().st_size
    with path.open("rb") as before, left.open("rb") as beside:
        assert erase_feedback(tmp_path, {str(ONE)}) == [str(ONE)]
        content = before.read()
        assert beside.read().strip(b"\0") == b""
    # All of it: what is kept may have to be erased from the new one.
    assert (len(content), content.strip(b"\0")) == (size, b"")
    assert not left.exists()
    assert feedback_of(tmp_path, str(ONE)).damaged == 0
    assert (values(tmp_path), values(tmp_path, OTHER)) == ([], [{"see": str(ONE)}])
    assert erase_feedback(tmp_path, {str(ONE)}) == []


def test_what_is_appended_while_the_file_is_replaced_is_not_lost(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADDING, str(tmp_path), str(ONE)]
    both = [subprocess.Popen([*command, source]) for source in ("sales", "support")]
    replaced = 0
    while any(one.poll() is None for one in both):
        add_feedback(tmp_path, OTHER, "to be erased", "sales", CLOCK)
        replaced += len(erase_feedback(tmp_path, {str(OTHER)}))
    assert replaced
    assert [one.returncode for one in both] == [0, 0]
    reading = feedback_of(tmp_path, str(ONE))
    for source in ("sales", "support"):
        assert [one.value for one in reading.feedback if one.source == source] == list(range(200))
    assert (reading.damaged, values(tmp_path, OTHER)) == (0, [])


def test_one_that_is_killed_while_it_replaces_the_file_leaves_it_whole(tmp_path: Path) -> None:
    path = aged(tmp_path, *range(50))
    for _ in range(5):
        before = path.stat().st_ino
        process = subprocess.Popen([sys.executable, "-c", REPLACING, str(tmp_path), str(OTHER)])
        eventually(lambda before=before: path.stat().st_ino != before)
        process.kill()
        process.wait()
        assert (values(tmp_path), feedback_of(tmp_path, str(ONE)).damaged) == (list(range(50)), 0)
    assert erase_feedback(tmp_path, {str(OTHER)}) in ([], [str(OTHER)])
    assert [one.name for one in path.parent.iterdir()] == [FEEDBACK_FILE]
    add_feedback(tmp_path, ONE, 50, "sales", CLOCK)
    assert values(tmp_path) == list(range(51))


@pytest.mark.parametrize("remove", ["erase", "expire"])
def test_what_one_that_was_killed_has_not_overwritten_the_next_one_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remove: str
) -> None:
    path = aged(tmp_path, 0, 1)
    whole = path.read_bytes()
    old = path.with_name(f"{FEEDBACK_FILE}.old")

    def removed() -> None:
        if remove == "erase":
            erase_feedback(tmp_path, {str(ONE)})
        else:
            expire_feedback(tmp_path, 30, on_day(40))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    # Before the new file has the name: the old one is left as it is.
    with monkeypatch.context() as patched:
        patched.setattr(feedback_removal, "replace_file", killed)
        with pytest.raises(KeyboardInterrupt):
            removed()
    assert old.samefile(path)
    assert decisions_with_feedback(tmp_path) == {str(ONE)}
    assert (path.read_bytes(), old.exists()) == (whole, False)
    # After it: what is there is no one's any more.
    replace_file = feedback_removal.replace_file

    def replaced(path: Path, content: bytes) -> None:
        replace_file(path, content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(feedback_removal, "replace_file", replaced)
        with pytest.raises(KeyboardInterrupt):
            removed()
    with old.open("rb", buffering=0) as left:
        assert left.read() == whole
        left.seek(0)
        assert decisions_with_feedback(tmp_path) == set()
        assert left.read() == bytes(len(whole))
    assert [one.name for one in path.parent.iterdir()] == [FEEDBACK_FILE]


def test_a_file_that_is_another_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = aged(tmp_path, 0, 1)
    whole = path.read_bytes()
    monkeypatch.setattr(feedback_removal, "MAX_FILE_BYTES", 100)
    for remove in (
        lambda: expire_feedback(tmp_path, 1, on_day(9)),
        lambda: erase_feedback(tmp_path, {str(ONE)}),
    ):
        with pytest.raises(EvidenceError, match=f"expected at most 100 bytes, it has {len(whole)}"):
            remove()
    assert path.read_bytes() == whole
