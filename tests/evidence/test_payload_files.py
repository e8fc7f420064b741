"""Captured payloads on the disk: written, found, erased, expired, and what damage does."""

import dataclasses
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native.decision import new_ids
from steelyard.clock import Clock, ManualClock
from steelyard.errors import EvidenceError
from steelyard.evidence.erasing import Erasure, erase_decision, erase_key
from steelyard.evidence.payload import HEAD_BYTES, Payload, pack, read_head, read_payload, salted
from steelyard.evidence.payload_files import (
    MAX_FILE_AGE_MS,
    MAX_FILE_BYTES,
    MAX_OPEN,
    PayloadWriter,
    all_entries,
    entries,
    expire,
    find,
)
from steelyard.evidence.payload_retention import remove_old_payloads

HOUR_NS = 3_600_000_000_000
SALT = b"s" * 32


def payload(clock: Clock, model: str = "m", request: bytes = b"asked", **fields: object) -> Payload:
    made = Payload(
        decision_id=new_ids(1, clock.unix_ns() // 1_000_000)[0],
        model=model,
        version=1,
        digest="sha256:" + "0" * 64,
        status=0,
        reasons=("rate",),
        masked=(),
        request_id="",
        key="",
        salt=SALT,
        input_digest=salted(SALT, request),
        output_digest=salted(SALT, b"answered"),
        kept=True,
        request=request,
        answer=b"answered",
    )
    return dataclasses.replace(made, **fields)  # type: ignore[arg-type]


texts = st.text(max_size=20)


@given(
    request=st.binary(max_size=200),
    answer=st.binary(max_size=200),
    masked=st.lists(texts, max_size=3).map(tuple),
    key=texts,
    status=st.integers(0, 16),
    tensors=st.dictionaries(texts, texts, max_size=3),
)
def test_an_entry_says_what_was_packed(**fields: object) -> None:
    given = payload(ManualClock(), **fields)  # type: ignore[arg-type]
    raw = pack(given)
    assert read_payload(read_head(raw[:HEAD_BYTES]), raw[HEAD_BYTES:]) == given


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(place: int, bit: int) -> None:
    raw = bytearray(pack(payload(ManualClock())))
    raw[place % len(raw)] ^= 1 << bit
    with pytest.raises(EvidenceError):
        read_payload(read_head(bytes(raw[:HEAD_BYTES])), bytes(raw[HEAD_BYTES:]))


def test_a_payload_is_found_by_its_decision_and_by_its_request(tmp_path: Path) -> None:
    clock = ManualClock()
    writer = PayloadWriter(tmp_path, "worker-0", clock)
    given = [payload(clock, model=f"m{number % 3}", request_id=f"r{number}") for number in range(10)]
    places = [writer.append(one) for one in given]
    for one, (file, offset) in zip(given, places, strict=True):
        entry = find(tmp_path, one.decision_id)
        assert entry.read() == one
        assert (entry.path, entry.offset) == (tmp_path / "payloads" / file, offset)
        assert find(tmp_path, one.request_id).read() == one
    with pytest.raises(EvidenceError, match="no payload of decision"):
        find(tmp_path, payload(clock).decision_id)
    assert sum(1 for _ in all_entries(tmp_path, model="m1")) == 3


def test_more_models_than_files_may_be_open(tmp_path: Path) -> None:
    clock = ManualClock()
    writer = PayloadWriter(tmp_path, "worker-0", clock)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3 * MAX_OPEN):
        writer.append(payload(clock, model=f"m{number}"))
    assert len(os.listdir("/proc/self/fd")) - before <= MAX_OPEN
    for number in range(3 * MAX_OPEN):
        writer.append(payload(clock, model=f"m{number}"))
    writer.close()
    assert len(os.listdir("/proc/self/fd")) == before
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "payloads").rglob("*.payloads")}
    directories = [tmp_path / "payloads", tmp_path / "payloads" / "m0"]
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in directories} == {0o700}
    assert sum(1 for _ in all_entries(tmp_path)) == 6 * MAX_OPEN


def test_an_entry_that_is_not_whole_ends_its_file(tmp_path: Path) -> None:
    clock = ManualClock()
    writer = PayloadWriter(tmp_path, "worker-0", clock)
    file, _ = writer.append(payload(clock))
    _, offset = writer.append(payload(clock))
    path = tmp_path / "payloads" / file
    size = path.stat().st_size
    for length in range(size - 1, offset - 1, -1):
        os.truncate(path, length)
        assert [entry.offset for entry in entries(path)] == [0]
    # What a machine that lost its power had not written is noughts.
    os.truncate(path, size)
    assert [entry.offset for entry in entries(path)] == [0]


def test_damage_in_one_file_hides_nothing_of_the_others(tmp_path: Path) -> None:
    clock = ManualClock()
    writer = PayloadWriter(tmp_path, "worker-0", clock)
    given = [payload(clock, model=model) for model in ("a", "b", "c")]
    places = [writer.append(one) for one in given]
    path = tmp_path / "payloads" / places[1][0]
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    for one in (given[0], given[2]):
        assert find(tmp_path, one.decision_id).read() == one
    with pytest.raises(EvidenceError, match=rf"damaged: {path}: byte 0"):
        find(tmp_path, given[1].decision_id)


def test_what_is_erased_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    clock = ManualClock()
    writer = PayloadWriter(tmp_path, "worker-0", clock)
    secret, other = payload(clock, request=b"a secret"), payload(clock)
    file, _ = writer.append(secret)
    writer.append(other)
    path = tmp_path / "payloads" / file
    size = path.stat().st_size
    find(tmp_path, secret.decision_id).erase()
    writer.append(payload(clock))
    content = path.read_bytes()[:size]
    assert len(content) == size
    assert b"a secret" not in content
    assert content.count(SALT.hex().encode()) == 1
    erased = find(tmp_path, secret.decision_id)
    assert erased.head.erased
    with pytest.raises(EvidenceError, match="was erased"):
        erased.read()
    assert find(tmp_path, other.decision_id).read() == other
    assert sum(1 for _ in entries(path)) == 3


def written(data: Path, payloads: list[Payload]) -> tuple[Path, list[int]]:
    """Payloads in one file, and where each begins."""
    writer = PayloadWriter(data, "worker-0", ManualClock())
    places = [writer.append(one) for one in payloads]
    writer.close()
    return data / "payloads" / places[0][0], [offset for _, offset in places]


@pytest.mark.parametrize("place", ["head", "content"])
@pytest.mark.parametrize("by", ["decision", "request", "key"])
def test_a_damaged_copy_is_erased_with_the_others(tmp_path: Path, place: str, by: str) -> None:
    clock = ManualClock()
    secret = payload(clock, request=b"a secret", request_id="order 7", key="cüstomer")
    others = [payload(clock), payload(clock)]
    path, (_, at, _) = written(tmp_path, [others[0], secret, others[1]])
    # The same decision, kept by a second process.
    copy = PayloadWriter(tmp_path, "shadow-1", clock).append(secret)[0]
    content = bytearray(path.read_bytes())
    content[at + (8 if place == "head" else HEAD_BYTES)] ^= 1
    path.write_bytes(content)
    found = Erasure()
    if by == "key":
        assert erase_key(tmp_path, "cüstomer", found)
    else:
        assert erase_decision(tmp_path, secret.decision_id if by == "decision" else "order 7", found)
    assert (found.decisions, found.failures) == ({"m": [secret.decision_id]}, [])
    for one in (path, tmp_path / "payloads" / copy):
        assert b"a secret" not in one.read_bytes()
        assert b"order 7" not in one.read_bytes()
    # What was damaged hides nothing that stands behind it any more.
    assert path.stat().st_size == len(content)
    assert [entry.head.erased for entry in entries(path)] == [False, True, False]
    for other in others:
        assert find(tmp_path, other.decision_id).read() == other


def test_damage_of_which_nobody_knows_whose_it_is_is_told(tmp_path: Path) -> None:
    clock = ManualClock()
    wanted, other = payload(clock, key="wanted"), payload(clock, key="other")
    path, (at, _) = written(tmp_path, [other, wanted])
    content = bytearray(path.read_bytes())
    content[at + 8] ^= 1
    path.write_bytes(content)
    found = Erasure()
    erase_key(tmp_path, "wanted", found)
    assert found.decisions == {"m": [wanted.decision_id]}
    (failure,) = found.failures
    assert failure == f"{path}: byte 0: damaged, and whose that is cannot be told"
    assert path.read_bytes()[: len(pack(other))] == content[: len(pack(other))]


def test_what_looks_like_an_entry_inside_of_a_damaged_one_is_none(tmp_path: Path) -> None:
    """A caller sends the head of an entry that would reach over those of others."""
    clock = ManualClock()
    other = payload(clock, request=b"another's" * 99)
    forged = pack(dataclasses.replace(other, decision_id=payload(clock).decision_id))[:HEAD_BYTES]
    bad = payload(clock, request=b"x" * 50 + forged)
    path, (at, _) = written(tmp_path, [bad, other])
    content = bytearray(path.read_bytes())
    content[at + 8] ^= 1
    path.write_bytes(content)
    erase_decision(tmp_path, read_head(forged).decision_id, Erasure())
    assert other.request in path.read_bytes()


@pytest.mark.parametrize("by", ["decision", "key"])
def test_the_last_entry_of_a_file_that_was_cut_off_is_erased(tmp_path: Path, by: str) -> None:
    secret = payload(ManualClock(), request=b"a secret" * 10, key="customer")
    path, _ = written(tmp_path, [secret])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 20)
    found = Erasure()
    if by == "decision":
        assert erase_decision(tmp_path, secret.decision_id, found)
    else:
        assert erase_key(tmp_path, "customer", found)
    assert (found.decisions, found.failures) == ({"m": [secret.decision_id]}, [])
    assert b"a secret" not in path.read_bytes()


def test_old_files_expire_and_the_oldest_where_there_are_too_many_bytes(tmp_path: Path) -> None:
    clock = ManualClock()
    writer = PayloadWriter(tmp_path, "worker-0", clock)
    paths = []
    for _ in range(5):
        file, _ = writer.append(payload(clock, request=bytes(1000)))
        paths.append(tmp_path / "payloads" / file)
        os.utime(paths[-1], ns=(clock.unix_ns(), clock.unix_ns()))
        clock.advance((MAX_FILE_AGE_MS + 1) * 1_000_000)
    now_ms = clock.unix_ns() // 1_000_000
    size = paths[0].stat().st_size
    assert expire(tmp_path, "m", 0, 1 << 30, now_ms) == 0
    assert expire(tmp_path, "m", 0, 4 * size, now_ms) == 1
    assert [path.exists() for path in paths] == [False, True, True, True, True]
    oldest_ms = paths[2].stat().st_mtime_ns // 1_000_000
    assert expire(tmp_path, "m", oldest_ms, 1 << 30, now_ms) == 1
    # What may still be written stays, whatever it takes.
    assert expire(tmp_path, "m", now_ms, 0, now_ms) == 2
    assert [path.exists() for path in paths] == [False, False, False, False, True]


def test_payloads_of_a_model_that_left_are_kept_as_its_manifest_said_last(tmp_path: Path) -> None:
    clock = ManualClock()
    writer = PayloadWriter(tmp_path, "worker-0", clock)
    file, _ = writer.append(payload(clock))
    os.utime(tmp_path / "payloads" / file, ns=(clock.unix_ns(), clock.unix_ns()))
    model = tmp_path / "models" / "m"
    model.mkdir(parents=True)
    (model / "model.toml").write_text("[evidence.capture]\nretention_days = 3\n")

    def removed(days: int) -> list[tuple[str, int]]:
        now_ns = clock.unix_ns() + days * 24 * HOUR_NS
        return list(remove_old_payloads(tmp_path, tmp_path / "models", now_ns))

    assert removed(2) == []
    (model / "model.toml").unlink()
    model.rmdir()
    assert removed(2) == []
    assert removed(4) == [("m", 1)]
    assert list(all_entries(tmp_path)) == []


def test_a_file_is_full_at_its_bound(tmp_path: Path) -> None:
    clock = ManualClock()
    writer = PayloadWriter(tmp_path, "worker-0", clock)
    whole = bytes(MAX_FILE_BYTES // 4)
    files = {writer.append(payload(clock, request=whole))[0] for _ in range(5)}
    assert len(files) == 2
