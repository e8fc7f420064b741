"""Bundles and proofs: verified offline by the one file, and refused once anything in them was changed."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.clock import ManualClock
from steelyard.errors import EvidenceError, InvalidRequest
from steelyard.evidence import verifier
from steelyard.evidence.bundle import write_bundle
from steelyard.evidence.log import EVENTS_FILE, read_events
from steelyard.evidence.proof import prove_decision, prove_event
from steelyard.evidence.record import Decision, Outcome, pack
from steelyard.evidence.tlog import LogReader, TransparencyLog, key_paths, open_reader
from steelyard.evidence.verifier import VerificationError, check_bundle, check_proof, read_proof
from tests.evidence.sealed import MINUTE_NS, START_NS, FramedSegments, filled, seal


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("bundle") / "data"
    filled(data, 3)
    return data


def log_of(data: Path) -> LogReader:
    return open_reader(data, key_paths(data, None, None))


def bundled(data: Path, path: Path, from_ns: int = 0, to_ns: int = 1 << 63):
    events = read_events(data / EVENTS_FILE).events
    manifests = {"prices/model.toml": b"[serving]\n"}
    return write_bundle(
        path, data, log_of(data), FramedSegments(data), events, manifests, "prices", from_ns, to_ns
    )


@pytest.fixture(scope="module")
def bundle(data: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("bundle") / "prices.zip"
    bundled(data, path)
    return path.read_bytes()


def rewritten(content: bytes, name: str, change) -> bytes:
    """A zip file with one member changed, or left out where `change` gives None; its checksums are right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            kept = change(old.read(member)) if member == name else old.read(member)
            if kept is not None:
                new.writestr(member, kept)
    return out.getvalue()


def verified(data: Path, content: bytes) -> verifier.Report:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return check_bundle(opened, log_of(data).key)


def test_the_one_file_verifies_a_bundle_by_itself(data: Path, tmp_path: Path):
    written = bundled(data, tmp_path / "prices.zip", START_NS + MINUTE_NS, START_NS + 2 * MINUTE_NS)
    assert (written.segments, written.events) == (1, 6)
    with zipfile.ZipFile(tmp_path / "prices.zip") as opened:
        opened.extract("verifier.py", tmp_path)
    # Nothing of ours can be imported there: what it says it needs is all that it has.
    code = "import runpy, sys; sys.modules['steelyard'] = None; runpy.run_path('verifier.py', run_name='__main__')"
    key = str(log_of(data).key)
    for arguments, code_wanted, said in (
        (["prices.zip", "--key", key], 0, "verified: 6 events and"),
        (["prices.zip"], 3, "consistent; signer unknown: 6 events and"),
        (["prices.zip", "--key", "other+00000000+" + key.split("+", 2)[2]], 2, "expected the key id"),
        (["verifier.py", "--key", key], 1, "WRONG"),
    ):
        run = subprocess.run(
            [sys.executable, "-I", "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert run.returncode == code_wanted, run.stderr
        assert said in run.stdout + run.stderr
        assert ("verified" in run.stdout) == (run.returncode == 0)


def told(capsys: Any, *arguments: str) -> tuple[int, dict[str, Any]]:
    """What the verifier says with --json, and its exit code."""
    code = verifier.main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_nobody_is_told_that_a_bundle_is_verified_by_its_own_key(data: Path, bundle: bytes, tmp_path, capsys):
    path = tmp_path / "prices.zip"
    path.write_bytes(bundle)
    key = str(log_of(data).key)
    code, found = told(capsys, str(path), "--key", key)
    assert (code, found["outcome"], found["model"]) == (0, "verified", "prices")
    # Somebody else's log, signed as well as ours.
    other = filled(tmp_path / "other")
    forged = tmp_path / "forged.zip"
    bundled(tmp_path / "other", forged)
    code, found = told(capsys, str(forged))
    assert (code, found["outcome"], found["key"]) == (3, "consistent; signer unknown", str(other.key))
    code, found = told(capsys, str(forged), "--key", key)
    assert (code, found["outcome"]) == (1, "wrong")
    assert "is not signed by" in found["problem"]


def test_a_bundle_of_another_question_is_refused(data: Path, tmp_path: Path, capsys):
    path = tmp_path / "prices.zip"
    bundled(data, path, START_NS, START_NS + 2 * MINUTE_NS)
    first = verifier.time_text(START_NS)
    last = verifier.time_text(START_NS + 2 * MINUTE_NS)
    segments = FramedSegments(data)
    inside, outside = (
        verifier.decision_of(
            next(one for one in segments.records(f"prices/{number}.records") if len(one) > 32)
        )
        for number in (1, 2)
    )
    asked = ["--model", "prices", "--from", first, "--to", last, "--decision", inside]
    for arguments, problem in (
        (asked, None),
        ([*asked, "--model", "faces"], "the bundle is about model 'prices', asked for was 'faces'"),
        ([*asked, "--from", "2023-11-14T22:13:19Z"], "the bundle begins at 2023-11-14T22:13:20Z"),
        ([*asked, "--to", "2023-11-14T22:15:20.000001Z"], "the bundle ends at 2023-11-14T22:15:20Z"),
        ([*asked, "--decision", outside], f"decision {outside} is in none of the bundle's segments"),
    ):
        code, found = told(capsys, str(path), "--key", str(log_of(data).key), *arguments)
        assert (code, found["outcome"]) == ((0, "verified") if problem is None else (1, "wrong"))
        assert problem is None or problem in found["problem"]
    assert verifier.main([str(path), *asked]) == 3
    assert "is that what you asked for?" not in capsys.readouterr().out


def test_a_proof_of_another_question_is_refused(data: Path, tmp_path: Path, capsys):
    log, event = log_of(data), read_events(data / EVENTS_FILE).events[3]
    record = pack(
        Decision("0198f2a4-7c11-7bd2-9a35-3d1f0c9b8a77", Outcome.ANSWERED, 0, START_NS, 1000, "prices")
    )
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    writer = TransparencyLog(copy, key_paths(copy, None, None), ManualClock(unix_ns=START_NS))
    writer.append([seal(copy, "prices", 9, [record])])
    (tmp_path / "decision").write_bytes(prove_decision(writer, FramedSegments(copy), record[:16].hex()))
    (tmp_path / "event").write_bytes(prove_event(log, event))
    decision = "0198f2a4-7c11-7bd2-9a35-3d1f0c9b8a77"
    for file, arguments, problem in (
        ("decision", ["--decision", decision, "--model", "prices", "--from", "2023-11-14"], None),
        ("decision", ["--decision", decision.replace("77", "78")], "the proof is about decision 0198f2a4"),
        ("decision", ["--model", "faces"], "the proof is about model 'prices', asked for was 'faces'"),
        ("decision", ["--from", "2023-11-15"], "2023-11-14T22:13:20Z, which is not in the time asked for"),
        ("decision", ["--to", "2023-11-14T22:13:20Z"], "which is not in the time asked for"),
        ("event", ["--model", event.model, "--to", "2023-11-15"], None),
        ("event", ["--decision", decision], f"the proof is about event {event.sequence}"),
        ("event", ["--to", "2023-11-14"], "which is not in the time asked for"),
    ):
        code, found = told(capsys, str(tmp_path / file), "--key", str(log.key), *arguments)
        assert (code, problem is None) in ((0, True), (1, False)), found
        assert problem is None or problem in found["problem"]


def test_every_record_of_the_model_is_in_it(data: Path, bundle: bytes):
    report = verified(data, bundle)
    records = sum(len(list(FramedSegments(data).records(f"prices/{number}.records"))) for number in range(3))
    assert (report.events, report.segments, report.records, report.expired) == (6, 3, records, 0)
    with zipfile.ZipFile(io.BytesIO(bundle)) as opened:
        assert opened.read("manifests/prices/model.toml") == b"[serving]\n"
        assert not any(
            "faces" in opened.read(name).decode() for name in opened.namelist() if "events/" in name
        )


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_changed_in_a_bundle_is_seen(data: Path, bundle: bytes, draw: st.DataObject):
    with zipfile.ZipFile(io.BytesIO(bundle)) as opened:
        names = [name for name in opened.namelist() if name != verifier.KEY_FILE]
    name = draw.draw(st.sampled_from(names))

    def flip(content: bytes) -> bytes:
        at = draw.draw(st.integers(0, len(content) - 1))
        return content[:at] + bytes([content[at] ^ draw.draw(st.integers(1, 255))]) + content[at + 1 :]

    kind = draw.draw(st.sampled_from([flip, lambda content: None, lambda content: content[:-1]]))
    if name == verifier.BUNDLE_FILE and kind is flip:
        # It says what the bundle is about: another model or time than was asked for is another question.
        return
    with pytest.raises(VerificationError):
        verified(data, rewritten(bundle, name, kind))


def test_what_nothing_vouches_for_may_not_be_in_it(data: Path, bundle: bytes):
    out = io.BytesIO(bundle)
    with zipfile.ZipFile(out, "a") as opened:
        opened.writestr("segments/999.records", b"")
    with pytest.raises(VerificationError, match="nothing vouches for it"):
        verified(data, out.getvalue())


def test_a_bundle_is_not_made_of_what_was_changed(data: Path, tmp_path: Path):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    path = copy / "sealed" / "prices" / "1.records"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(EvidenceError, match=r"1\.records"):
        bundled(copy, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()
    bundled(data, tmp_path / "out.zip")
    with pytest.raises(EvidenceError, match="a file is there already"):
        bundled(data, tmp_path / "out.zip")


def test_one_decision_is_proven_by_one_file(data: Path, tmp_path: Path):
    segments, log = FramedSegments(data), log_of(data)
    record = list(segments.records("prices/1.records"))[-1]
    proof = prove_decision(log, segments, record[:16].hex())
    proven = check_proof(proof, log.key)
    assert proven["record"] == record
    assert proven["entry"]["file"] == "prices/1.records"
    (tmp_path / "d.tlog-proof").write_bytes(proof)
    arguments = [str(tmp_path / "d.tlog-proof"), "--key", str(log.key)]
    run = subprocess.run([sys.executable, verifier.__file__, *arguments], capture_output=True, text=True)
    assert (run.returncode, run.stdout[:9]) == (0, "verified:"), run.stderr
    with pytest.raises(InvalidRequest, match="no sealed segment has a decision 'other'"):
        prove_decision(log, segments, "other")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_proof_that_was_changed_proves_nothing(data: Path, draw: st.DataObject):
    log = log_of(data)
    event = read_events(data / EVENTS_FILE).events[3]
    proof = prove_event(log, event)
    assert check_proof(proof, log.key)["record"] == event.record()
    assert bytes(read_proof(proof)) == proof
    at = draw.draw(st.integers(0, len(proof) - 1))
    flipped = proof[:at] + bytes([proof[at] ^ draw.draw(st.integers(1, 255))]) + proof[at + 1 :]
    try:
        proven = check_proof(flipped, log.key)
    except VerificationError:
        return
    # Text after the log's own signature, such as another signature's name, is nobody's concern.
    assert (proven["record"], proven["entry"]["sequence"]) == (event.record(), event.sequence)
