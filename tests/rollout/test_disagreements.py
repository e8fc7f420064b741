"""The store of disagreements: what is kept of many, within which bounds, and what becomes of files that are not its."""

import json
import math
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.errors import DataError
from steelyard.rollout import disagreement_file
from steelyard.rollout.disagreement_file import DisagreementsReader, erase_disagreements
from steelyard.rollout.disagreements import MAX_ROLLOUTS, Disagreements, shares

SEVERITIES = {"small": 0.5, "medium": 1.5, "large": 2.5, "worst": math.inf}


def keep(
    store: Disagreements, decision: object, severity: float = 2.5, rollout: str = "r", size: int = 10
) -> bool:
    return store.keep(
        str(decision), rollout, severity, ["close x"], b"q" * size, b"", "", {"number": str(decision)}
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "disagreements.sqlite"


def test_a_disagreement_comes_back_as_it_was_kept(path):
    about = {"rows": 3, "why": {"close x": "2 values"}}
    with Disagreements(path, 8, 1 << 20) as store:
        assert store.keep(
            "d1", "r", math.inf, ["close x", "top_1 x"], b"\0request", b"answer", "it hung", about
        )
        assert not store.keep("d1", "r", 1.0, [], b"again", b"", b"", {})
        assert store.keep("d2", "r", 0.5, ["close x"], b"request", "refused", b"", {})
        (worst, small) = store.list("r")
        assert (worst.decision_id, worst.severity, worst.grade) == ("d1", math.inf, "worst")
        assert worst.broken == ("close x", "top_1 x")
        assert worst.about == about
        assert worst.bytes == len(b"\0request" + b"answer" + b"it hung")
        assert small.grade == "small"
        found = store.get("d1")
        assert (found.listed, found.request, found.primary, found.candidate) == (
            worst,
            b"\0request",
            b"answer",
            "it hung",
        )
        assert store.get("d2", "r").primary == "refused"
        assert store.get("d2", "r").candidate == b""
        assert store.get("d1", "another") is None
        assert store.get("d3") is None
    with Disagreements(path, 8, 1 << 20) as store:
        assert [listed.decision_id for listed in store.list("r")] == ["d1", "d2"]
        assert store.problem is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_each_grade_has_its_share_and_is_sampled_evenly_over_time(path):
    assert shares(64) == dict.fromkeys(SEVERITIES, 16)
    assert shares(3) == {"small": 0, "medium": 1, "large": 1, "worst": 1}
    with Disagreements(path, 64, 1 << 20) as store:
        for number in range(400):
            for grade, severity in SEVERITIES.items():
                keep(store, f"{grade}-{number}", severity)
        kept = store.list("r")
        assert Counter(listed.grade for listed in kept) == dict.fromkeys(SEVERITIES, 16)
        numbers = sorted(int(listed.decision_id.split("-")[1]) for listed in kept)
        # 64 even draws from 0 to 399: their mean is 200 with a deviation of 14.
        assert 130 < sum(numbers) / 64 < 270
        assert [listed.severity for listed in kept] == sorted(
            (listed.severity for listed in kept), reverse=True
        )


def test_where_bytes_run_out_the_least_severe_go_first_and_of_those_the_oldest(path):
    with Disagreements(path, 64, 100) as store:
        assert not keep(store, "too large", size=101)
        assert keep(store, "a", 0.5, size=40)
        assert keep(store, "b", 0.5, size=40)
        assert keep(store, "c", 2.5, size=40)
        assert {listed.decision_id for listed in store.list("r")} == {"b", "c"}
        assert not keep(store, "d", 0.4, size=40)
        assert {listed.decision_id for listed in store.list("r")} == {"b", "c"}
        assert keep(store, "e", math.inf, size=90)
        assert {listed.decision_id for listed in store.list("r")} == {"e"}


def test_a_kept_one_is_not_given_up_for_one_that_does_not_fit(path):
    with Disagreements(path, 4, 100) as store:
        keep(store, "worst", math.inf, size=60)
        keep(store, "large", 2.5, size=40)
        for number in range(50):
            assert not keep(store, number, 2.4, size=90)
        assert {listed.decision_id for listed in store.list("r")} == {"worst", "large"}


def test_nothing_is_kept_where_nothing_may_be(path):
    with Disagreements(path, 0, 1 << 20) as store:
        assert not keep(store, "a")
        assert store.list("r") == []


def test_the_oldest_rollouts_make_room_and_one_can_be_forgotten(path):
    with Disagreements(path, 8, 1 << 20) as store:
        for number in range(MAX_ROLLOUTS + 2):
            keep(store, "d", rollout=f"r{number}")
        assert [bool(store.list(f"r{number}")) for number in range(4)] == [False, False, True, True]
        store.keep("secret", "r5", 2.5, [], b"what nobody is to find", b"", b"", {})
        assert store.forget("r5") == 2
        assert store.list("r5") == []
        assert store.list("r6")
        assert store.get("secret") is None
        for file in path.parent.iterdir():
            assert b"what nobody is to find" not in file.read_bytes()


def test_another_process_reads_while_the_writer_writes(path):
    code = (
        "import sys, json; from pathlib import Path\n"
        "from steelyard.rollout.disagreement_file import DisagreementsReader\n"
        "with DisagreementsReader(Path(sys.argv[1])) as reader:\n"
        "    for line in sys.stdin:\n"
        "        print(json.dumps([listed.decision_id for listed in reader.list('r')]), flush=True)\n"
    )
    with Disagreements(path, 8, 1 << 20) as store:
        keep(store, "before")
        reader = subprocess.Popen(
            [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with reader:

            def seen() -> list[str]:
                reader.stdin.write("\n")
                reader.stdin.flush()
                return json.loads(reader.stdout.readline())

            assert seen() == ["before"]
            unfinished = sqlite3.connect(path)
            unfinished.execute("DELETE FROM disagreements")
            assert seen() == ["before"]
            unfinished.commit()
            unfinished.close()
            keep(store, "after")
            assert seen() == ["after"]
    assert reader.returncode == 0
    with DisagreementsReader(path) as closed:
        assert [listed.decision_id for listed in closed.list("r")] == ["after"]


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def of_another_version(path: Path) -> None:
    Disagreements(path, 8, 100).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()


def torn(path: Path) -> None:
    with Disagreements(path, 64, 1 << 20) as store:
        for number in range(40):
            keep(store, number, size=2000)
    content = bytearray(path.read_bytes())
    content[4096:20000] = b"\xff" * (20000 - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_bytes(b"no database at all, " * 100), "corrupt"),
        (foreign, "something else made it"),
        (of_another_version, "came version 7"),
        (torn, "corrupt"),
    ],
    ids=["text", "foreign", "version", "torn"],
)
def test_a_file_that_cannot_be_used_is_set_aside_and_says_why(path, spoil, says):
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=says):
        DisagreementsReader(path)
    with Disagreements(path, 8, 1 << 20) as store:
        assert says in store.problem
        assert "set aside as disagreements.sqlite.unreadable" in store.problem
        assert keep(store, "new")
        assert [listed.decision_id for listed in store.list("r")] == ["new"]
    assert path.with_name("disagreements.sqlite.unreadable").read_bytes() == before


def test_an_empty_file_is_begun_and_a_missing_one_is_not_read(path):
    with pytest.raises(DataError, match="there is none"):
        DisagreementsReader(path)
    assert not path.exists()
    path.touch()
    with Disagreements(path, 8, 100) as store:
        assert store.problem is None
    with pytest.raises(DataError, match="cannot be opened"):
        Disagreements(path / "beneath", 8, 100)
    path.with_name("folder").mkdir()
    with pytest.raises(DataError, match="cannot be opened"):
        Disagreements(path.with_name("folder"), 8, 100)


def test_a_file_that_breaks_while_it_is_open_is_set_aside(path):
    with Disagreements(path, 4000, 1 << 24) as store:
        for number in range(300):
            keep(store, number, size=5000)
        # The store's own pages are stale after somebody else's write, so that it has to read again.
        other = sqlite3.connect(path)
        other.execute("UPDATE rollouts SET place = place + 1")
        other.commit()
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        kept = [keep(store, f"after-{number}") for number in range(5)]
        assert not kept[0]
        assert all(kept[1:])
        assert "corrupt" in store.problem


def test_what_cannot_be_kept_is_refused(path):
    with Disagreements(path, 8, 100) as store:
        for severity in (0.0, -1.0, math.nan):
            with pytest.raises(ValueError, match="a severity above 0"):
                keep(store, "a", severity)
        with pytest.raises(ValueError, match="at most 65536 bytes"):
            store.keep("a", "r", 1.0, [], b"", b"", b"", {"x": "y" * 70_000})


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    kept=st.integers(0, 12),
    kept_bytes=st.integers(0, 200),
    given=st.lists(
        st.tuples(st.floats(0, math.inf, exclude_min=True), st.integers(0, 80), st.sampled_from("rs")),
        max_size=40,
    ),
)
def test_whatever_comes_the_bounds_hold(tmp_path_factory, kept, kept_bytes, given):
    with Disagreements(tmp_path_factory.mktemp("store") / "d", kept, kept_bytes) as store:
        for number, (severity, size, rollout) in enumerate(given):
            was_kept = keep(store, number, severity, rollout, size)
            assert was_kept == (store.get(str(number)) is not None)
            for listed in (store.list("r"), store.list("s")):
                assert sum(item.bytes for item in listed) <= kept_bytes
                grades = Counter(item.grade for item in listed)
                assert all(grades[grade] <= share for grade, share in shares(kept).items())


def beside(path: Path) -> bytes:
    """All that is on the disk of a store."""
    return b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))


def test_what_is_emptied_is_named_also_where_a_reader_keeps_a_copy_of_it(path, monkeypatch):
    monkeypatch.setattr(disagreement_file, "BUSY_S", 0.01)
    with Disagreements(path, 8, 1 << 20) as store:
        for one in ("secret", "other"):
            store.keep(one, "r", 2.5, [], f"asked of {one}".encode(), b"", b"", {})
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM disagreements").fetchone() == (2,)
        first = erase_disagreements(path, lambda decision, request: decision == "secret")
        assert (first.found, first.before) == ([("secret", b"asked of secret")], set())
        assert "its log cannot be emptied while others read it: erase again" in first.problem
        assert b"asked of secret" in beside(path)
        again = erase_disagreements(path, lambda decision, request: decision == "secret")
        assert (again.found, again.before, bool(again.problem)) == ([], {"secret"}, True)
        reader.close()
        last = erase_disagreements(path, lambda decision, request: False)
        assert (last.found, last.before, last.problem) == ([], {"secret"}, "")
        assert b"asked of secret" not in beside(path)
        assert store.get("other").request == b"asked of other"
        assert store.get("secret").request == b""
