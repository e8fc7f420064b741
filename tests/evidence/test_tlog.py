"""The transparency log on disk: its formats, and what a kill, a damaged file or another process leaves of it."""

import base64
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.clock import ManualClock
from steelyard.errors import EvidenceError
from steelyard.evidence.entry import EventEntry, SegmentEntry, read_entry
from steelyard.evidence.keys import load_key, make_key, public_path, read_public
from steelyard.evidence.tlog import TransparencyLog, key_paths, open_reader
from steelyard.evidence.verifier import (
    COSIGNATURE,
    ED25519,
    VerificationError,
    check_consistency,
    check_signature,
    leaf_hash,
    open_checkpoint,
    read_checkpoint,
    read_key,
    read_note,
    root_by_path,
    root_over,
    tile_name,
)
from steelyard.evidence.witness import cosign
from tests.support.waiting import eventually

# The example of c2sp.org/tlog-checkpoint and of golang.org/x/mod/sumdb/note, signed by others than us.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)

segments = st.builds(
    SegmentEntry,
    model=st.text(min_size=1, max_size=20),
    file=st.text(min_size=1, max_size=40),
    count=st.integers(1, 1 << 40),
    first_ns=st.integers(0, 1 << 62),
    last_ns=st.integers(0, 1 << 62),
    root=st.binary(min_size=32, max_size=32),
    sha256=st.text(max_size=64),
)


def opened(data: Path, witness: Path | None = None) -> TransparencyLog:
    return TransparencyLog(data, key_paths(data, None, witness), ManualClock())


def event(sequence: int) -> EventEntry:
    return EventEntry("prices", sequence, 1_700_000_000_000 + sequence, f"{sequence:064x}")


def test_a_note_that_go_signed():
    key = read_key(GO_KEY)
    assert str(key) == GO_KEY
    assert check_signature(read_note(GO_NOTE.encode()), key) == 0
    with pytest.raises(VerificationError, match="is wrong"):
        check_signature(read_note(GO_NOTE.replace("answer", "Answer").encode()), key)


def test_the_checkpoint_of_the_specification():
    root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    text = f"example.com/behind-the-sofa\n20852163\n{root}\n"
    checkpoint = read_checkpoint(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root == base64.b64decode(root)
    assert str(checkpoint) == text
    for wrong in ("a\n01\n", "a\n1\n" + root[:-4] + "\n", f"a\n-1\n{root}\n", f"a\n1\n{root}\n\n", ""):
        with pytest.raises(VerificationError):
            read_checkpoint(wrong)


@pytest.mark.parametrize(
    ("number", "width", "name"),
    [(1234067, 256, "x001/x234/067"), (0, 256, "000"), (5, 17, "005.p/17"), (1000, 256, "x001/000")],
)
def test_the_names_of_tiles(number: int, width: int, name: str):
    assert tile_name(number, width) == name


@given(st.lists(st.integers(0, 400), min_size=1, max_size=4))
@settings(max_examples=12, deadline=None)
def test_what_is_appended_is_proven_and_every_tree_begins_with_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
):
    data = tmp_path_factory.mktemp("log")
    entries: list[EventEntry] = []
    seen = [(0, root_over(()))]
    for count in sizes:
        fresh = [event(len(entries) + number) for number in range(count)]
        checkpoint = opened(data).append(fresh)
        entries += fresh
        seen.append((checkpoint.size, checkpoint.root))
    reader = open_reader(data, key_paths(data, None, None))
    size, root = seen[-1]
    assert (reader.checkpoint().size, size) == (len(entries), len(entries))
    assert list(reader.entries()) == entries
    assert root == root_over(leaf_hash(entry.pack()) for entry in entries)
    for index in {0, size // 2, size - 1} if size else ():
        path = reader.inclusion(index, size)
        assert root_by_path(leaf_hash(entries[index].pack()), index, size, path) == root
    for old in seen:
        check_consistency(old, (size, root), reader.consistency(old[0], size))
    assert reader.last_event() == (entries[-1] if entries else None)
    partial = [path for path in data.rglob("*.p") if path.is_dir()]
    assert len(partial) <= 4, "what is full has no partial tiles any more"


@given(segments)
@settings(deadline=None)
def test_an_entry_is_read_again(entry: SegmentEntry):
    assert read_entry(entry.pack()) == entry


def test_a_witness_signs_as_well(tmp_path: Path):
    witness = make_key(tmp_path / "witness.key", COSIGNATURE, "witness.example/w1")
    log = opened(tmp_path, tmp_path / "witness.key")
    log.append([event(1)])
    note = log.note()
    assert open_checkpoint(note, log.key, [witness.key]).size == 1
    assert check_signature(read_note(note), witness.key) == 1_700_000_000
    alone = note[: note.rindex("— witness".encode())]
    with pytest.raises(VerificationError, match="not signed by witness"):
        open_checkpoint(alone, log.key, [witness.key])


def test_a_witness_elsewhere_signs_only_what_has_grown(tmp_path: Path):
    witness = make_key(tmp_path / "witness.key", COSIGNATURE, "witness.example/w1")
    log, seen = opened(tmp_path / "data"), tmp_path / "seen"
    for number in range(3):
        log.append([event(number)])
        assert cosign(log, witness, seen, ManualClock()).size == number + 1
        assert open_checkpoint(seen.read_bytes(), log.key, [witness.key]).size == number + 1
    kept = seen.read_bytes()
    shutil.rmtree(tmp_path / "data" / "tlog")
    again = opened(tmp_path / "data")
    for number in range(10, 15):
        again.append([event(number)])
        with pytest.raises(EvidenceError, match="not signed: "):
            cosign(again, witness, seen, ManualClock())
    assert seen.read_bytes() == kept
    seen.write_bytes(again.note())
    with pytest.raises(EvidenceError, match=r"expected the last checkpoint that witness\.example/w1 signed"):
        cosign(again, witness, seen, ManualClock())


def test_a_key_is_its_owners_alone(tmp_path: Path):
    log = opened(tmp_path)
    key = tmp_path / "keys" / "log.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    assert read_public(public_path(key)) == log.key == load_key(key, ED25519).key
    key.chmod(0o640)
    with pytest.raises(EvidenceError, match=r"only its owner can read \(mode 0600\), came 0640"):
        opened(tmp_path)
    key.chmod(0o600)
    key.write_text(key.read_text()[:-5])
    with pytest.raises(EvidenceError, match="expected the Ed25519 key of a log"):
        opened(tmp_path)


def test_the_key_of_a_log_that_was_begun_must_be_there(tmp_path: Path):
    opened(tmp_path).append([event(1)])
    (tmp_path / "keys" / "log.key").unlink()
    with pytest.raises(EvidenceError, match="the key is missing that signs the log"):
        opened(tmp_path)


def test_a_checkpoint_that_is_gone_or_is_anothers(tmp_path: Path):
    opened(tmp_path / "a").append([event(1)])
    opened(tmp_path / "b").append([event(2)])
    checkpoint = tmp_path / "a" / "tlog" / "checkpoint"
    checkpoint.write_bytes((tmp_path / "b" / "tlog" / "checkpoint").read_bytes())
    with pytest.raises(EvidenceError, match="not signed by"):
        opened(tmp_path / "a")
    checkpoint.unlink()
    with pytest.raises(EvidenceError, match="missing, and the log has entries"):
        opened(tmp_path / "a")


@pytest.mark.parametrize("file", ["tile/0/000.p/3", "tile/entries/000.p/3"])
def test_what_was_damaged_is_not_signed_over(tmp_path: Path, file: str):
    log = opened(tmp_path)
    log.append([event(number) for number in range(3)])
    before = log.note()
    path = tmp_path / "tlog" / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(EvidenceError, match="not those that the checkpoint was signed over"):
        log.append([event(4)])
    assert log.note() == before


APPENDER = """
import sys
from pathlib import Path
from steelyard.clock import SystemClock
from steelyard.evidence.entry import EventEntry
from steelyard.evidence.tlog import TransparencyLog, key_paths
data = Path(sys.argv[1])
log = TransparencyLog(data, key_paths(data, None, None), SystemClock())
last = log.last_event()
count = last.sequence if last else 0
while True:
    batch = [EventEntry("m", count + n, 1, "00") for n in range(1, 1 + count % 7 + 1)]
    log.append(batch)
    count += len(batch)
    print(count, flush=True)
"""


def test_killed_anywhere_it_goes_on_where_it_was(tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    acknowledged = 0
    checkpoints = []
    dice = random.Random(7)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(data)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(dice.randint(1, 25)):
            acknowledged = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        rest = process.communicate()[0].split()
        acknowledged = int(rest[-1]) if rest else acknowledged
        log = opened(data)
        checkpoint = log.checkpoint()
        assert acknowledged <= checkpoint.size
        assert [entry.sequence for entry in log.entries()] == list(range(1, checkpoint.size + 1))
        checkpoints.append((checkpoint.size, checkpoint.root))
    for old in checkpoints:
        check_consistency(old, checkpoints[-1], log.consistency(old[0], checkpoints[-1][0]))


def test_two_processes_append_one_after_the_other(tmp_path: Path):
    log = opened(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: log.checkpoint().size > 0)
        ours = 0
        while ours < 20:
            log.append([SegmentEntry("m", f"{ours}", 1, 1, 1, bytes(32), "00")])
            ours += 1
    finally:
        process.kill()
        process.wait()
    entries = list(log.entries())
    assert sum(isinstance(entry, SegmentEntry) for entry in entries) == 20
    checkpoint = log.checkpoint()
    assert checkpoint.root == root_over(leaf_hash(entry.pack()) for entry in entries)
