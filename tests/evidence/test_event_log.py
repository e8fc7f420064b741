"""The event log: what is appended is there, what is torn is cut off, and what is damaged is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.clock import ManualClock
from steelyard.errors import EvidenceError, InvalidRequest
from steelyard.evidence.event import MAX_REASON_CHARS, NOTHING_BEFORE, Draft, digest_of, read_record
from steelyard.evidence.log import EVENTS_FILE, EventLog, read_events

texts = st.builds(str.__add__, st.sampled_from("aé漢"), st.text(max_size=40))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
drafts = st.builds(
    Draft,
    kind=st.sampled_from(["label.set", "label.removed"]),
    model=texts,
    actor=texts,
    reason=texts,
    details=st.dictionaries(st.text(), values, max_size=3),
)


def opened(directory: Path) -> EventLog:
    return EventLog(directory, ManualClock())


def draft(reason: str = "because") -> Draft:
    return Draft("label.set", "prices", "ann@desk", reason, details={"label": "champion"})


@given(st.lists(st.lists(drafts, min_size=1, max_size=4), max_size=4))
@settings(max_examples=50, deadline=None)
def test_what_is_appended_is_read_again(tmp_path_factory: pytest.TempPathFactory, batches: list[list[Draft]]):
    directory = tmp_path_factory.mktemp("log")
    told = []
    for batch in batches:
        log = opened(directory)
        told += log.append(batch)
        log.close()
    found = read_events(directory / EVENTS_FILE)
    assert list(found.events) == told
    assert found.torn_bytes == 0
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))
    before = NOTHING_BEFORE
    for event in told:
        assert event.previous == before
        before = digest_of(event.record())
        assert read_record(event.record()) == event


@given(st.integers(min_value=1))
@settings(max_examples=60, deadline=None)
def test_a_torn_tail_is_cut_off_and_what_was_there_before_is_kept(
    tmp_path_factory: pytest.TempPathFactory, cut: int
):
    directory = tmp_path_factory.mktemp("log")
    path = directory / EVENTS_FILE
    log = opened(directory)
    kept = log.append([draft("first"), draft("second")])
    whole = path.stat().st_size
    log.append([draft("third")])
    log.close()
    content = path.read_bytes()
    torn = content[: whole + cut % (len(content) - whole)]
    path.write_bytes(torn)
    assert list(read_events(path).events) == kept
    log = opened(directory)
    assert log.torn_bytes == len(torn) - whole
    assert path.stat().st_size == whole
    again = log.append([draft("fourth")])
    log.close()
    assert list(read_events(path).events) == [*kept, *again]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_before_the_last_record_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    directory = tmp_path_factory.mktemp("log")
    path = directory / EVENTS_FILE
    log = opened(directory)
    log.append([draft("first"), draft("second")])
    before_last = path.stat().st_size
    log.append([draft("third")])
    log.close()
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, before_last - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(EvidenceError, match="record"):
        opened(directory)
    assert path.read_bytes() == content, "what is damaged is left as it is"


def test_a_record_that_was_taken_out_is_missed(tmp_path: Path):
    log = opened(tmp_path)
    log.append([draft(str(number)) for number in range(4)])
    log.close()
    lines = (tmp_path / EVENTS_FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / EVENTS_FILE).write_bytes(b"".join([lines[0], *lines[2:]]))
    with pytest.raises(EvidenceError, match="record 2 does not follow"):
        opened(tmp_path)


def test_a_record_that_was_forged_with_its_checksum_breaks_the_chain(tmp_path: Path):
    from steelyard.evidence.event import frame

    log = opened(tmp_path)
    log.append([draft("first"), draft("second")])
    log.close()
    path = tmp_path / EVENTS_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    fields = json.loads(lines[0][9:])
    fields["actor"] = "bob@desk"
    forged = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    path.write_bytes(frame(forged) + lines[1])
    with pytest.raises(EvidenceError, match="record 2 does not follow"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Draft("label.set", "m", "", "why"), "expected actor, came none"),
        (Draft("label.set", "m", "ann", "  "), "expected reason, came none"),
        (Draft("label.set", "m", "ann", "x" * (MAX_REASON_CHARS + 1)), "a reason of at most 1000"),
        (Draft("label.set", "m", "ann", "why", details={"x": "y" * (1 << 18)}), "bytes, expected at most"),
    ],
)
def test_what_cannot_be_recorded_leaves_the_log_as_it_was(tmp_path: Path, wrong: Draft, why: str):
    log = opened(tmp_path)
    log.append([draft()])
    before = log.path.read_bytes()
    with pytest.raises(InvalidRequest, match=why):
        log.append([draft(), wrong])
    assert log.path.read_bytes() == before
    assert log.append([draft("next")])[0].sequence == 2
    log.close()
    assert len(read_events(log.path).events) == 2


def test_the_log_is_its_owners_alone(tmp_path: Path):
    log = opened(tmp_path)
    log.close()
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_a_directory_in_its_place(tmp_path: Path):
    (tmp_path / EVENTS_FILE).mkdir()
    with pytest.raises(EvidenceError, match="cannot be"):
        opened(tmp_path)
