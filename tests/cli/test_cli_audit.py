"""`steelyard audit` with a real server, running and stopped."""

import io
import json
import os
import pwd
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steelyard.cli.main import main
from steelyard.client.admin import AdminClient
from steelyard.evidence import verifier
from steelyard.evidence.keys import make_key
from steelyard.wire.generated import admin as pb
from tests.support import models
from tests.support.server import Server
from tests.support.waiting import eventually


def run(capsys: Any, *arguments: str) -> tuple[int, Any]:
    code = main([*arguments, "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out or captured.err)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    for number in (1, 2):
        models.put(tmp_path / "models", "prices", models.scaled(number), number)
    server = Server(tmp_path / "models", tmp_path / "log")
    try:
        yield server.wait_ready()
    finally:
        server.stop()


def test_what_a_server_did_is_verified_proven_and_bundled(server: Server, tmp_path: Path, capsys) -> None:
    data = ["--data", str(server.data)]
    assert main(["label", "set", "prices", "champion", "1", "--reason", "to be safe", *data]) == 0
    assert main(["rollback", "prices", "--reason", "not so", *data]) == 0
    capsys.readouterr()

    def verified() -> dict[str, Any]:
        code, found = run(capsys, "audit", "verify", *data)
        assert (code, found["ok"]) == (3, True), found
        return found

    found = eventually(lambda: (found := verified())["waiting_events"] == 0 and found)
    metrics = server.get("/metrics")[1]
    assert f"steelyard_tlog_entries {found['size']}.0" in metrics
    assert "steelyard_audit_age_seconds" in metrics
    seen = tmp_path / "seen"
    seen.write_bytes((server.data / "tlog" / "checkpoint").read_bytes())
    assert main(["label", "set", "prices", "night", "1", "--reason", "at night", *data]) == 0
    assert server.stop() == 0
    capsys.readouterr()
    code, found = run(capsys, "audit", "verify", "--seen", str(seen), *data)
    told = run(capsys, "history", "--limit", "10000", *data)[1]["events"]
    count = len(told)
    (safe,) = [event["sequence"] for event in told if event["reason"] == "to be safe"]
    assert (code, found["events"], found["size"], found["waiting_events"]) == (3, count, count, 0)
    # By the key that lies there, anybody may have signed.
    assert found["outcome"] == "consistent; signer unknown"
    code, known = run(capsys, "audit", "verify", "--key", found["key"], *data)
    assert (code, known["outcome"]) == (0, "verified")
    other = str(make_key(tmp_path / "other.key", verifier.ED25519, known["key"].partition("+")[0]).key)
    code, unknown = run(capsys, "audit", "verify", "--key", other, *data)
    assert (code, unknown["outcome"], unknown["key"]) == (1, "wrong", other)
    assert "is not signed by" in unknown["faults"][0]["what"]
    assert run(capsys, "audit", "verify", "--key", "no-key", *data)[0] == 2

    proof = tmp_path / "event.tlog-proof"
    assert run(capsys, "audit", "prove", f"event:{safe}", "--output", str(proof), *data)[0] == 0
    bundle = tmp_path / "prices.zip"
    code, made = run(
        capsys,
        *("audit", "bundle", "--model", "prices", "--output", str(bundle)),
        *("--repository", str(tmp_path / "models"), *data),
    )
    assert (code, made["events"]) == (0, count)
    with zipfile.ZipFile(bundle) as opened:
        assert b'"to be safe"' in opened.read(f"events/{safe}.json")
    for file in (proof, bundle):
        command = [sys.executable, verifier.__file__, str(file), "--key", found["key"]]
        assert subprocess.run(command, capture_output=True).returncode == 0
    assert run(capsys, "audit", "prove", f"event:{count + 1}", *data)[0] == 1
    code, error = run(capsys, "audit", "prove", "no-such-decision", *data)
    assert (code, "no sealed segment has a decision" in error["error"]) == (1, True)

    key = tmp_path / "witness.key"
    assert run(capsys, "audit", "key", str(key), "--name", "w1")[0] == 0
    signed = run(capsys, "audit", "witness", "--witness-key", str(key), "--seen", str(tmp_path / "w"), *data)
    assert (signed[0], signed[1]["size"]) == (0, count)
    known_key = ["--key", found["key"]]
    assert run(capsys, "audit", "verify", "--seen", str(tmp_path / "w"), *known_key, *data)[0] == 0

    events = server.data / "events.log"
    content = events.read_bytes()
    events.write_bytes(content.replace(b"to be safe", b"to be sage"))
    code, found = run(capsys, "audit", "verify", *data)
    assert code == 1
    assert found["faults"][0]["where"].startswith(f"{events}: record {safe} (byte ")
    assert main(["audit", "verify", *data]) == 1
    assert "WRONG" in capsys.readouterr().out
    # What was cut off at the end leaves a whole log: only the transparency log knows of it.
    lines = content.splitlines(keepends=True)
    events.write_bytes(b"".join(lines[:-1]))
    assert "missing" in run(capsys, "audit", "verify", *data)[1]["faults"][0]["what"]
    refused = Server(tmp_path / "models", tmp_path / "log2", data=server.data)
    eventually(lambda: refused.process.poll() is not None)
    assert refused.stop() == 1
    assert "some were removed" in refused.output()
    events.write_bytes(content)
    (server.data / "keys" / "log.key").chmod(0o644)
    refused = Server(tmp_path / "models", tmp_path / "log3", data=server.data)
    eventually(lambda: refused.process.poll() is not None)
    assert refused.stop() == 1
    assert "only its owner can read" in refused.output()


def ended(*command: str) -> tuple[int, str]:
    """The exit code and the outcome of a process; empty where it was used wrongly."""
    done = subprocess.run([sys.executable, *command, "--json"], capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)["outcome"] if done.stdout else ""


def test_audit_and_verifier_end_alike_where_they_find_the_same(server: Server, tmp_path: Path) -> None:
    data = ["--data", str(server.data)]
    bundle = str(tmp_path / "prices.zip")
    repository = ["--repository", str(tmp_path / "models")]
    assert main(["audit", "bundle", "--model", "prices", "--output", bundle, *repository, *data]) == 0
    assert server.stop() == 0
    key = (server.data / "keys" / "log.key.pub").read_text().strip()
    other = str(make_key(tmp_path / "other.key", verifier.ED25519, key.partition("+")[0]).key)
    audit = ["-m", "steelyard.cli.main", "audit", "verify", *data]
    auditor = [str(verifier.__file__), bundle]
    for options, expected in (
        (["--key", key], (0, "verified")),
        ([], (3, "consistent; signer unknown")),
        (["--key", other], (1, "wrong")),
        (["--key", "no-key"], (2, "")),
    ):
        assert ended(*audit, *options) == ended(*auditor, *options) == expected
    # What was changed is wrong, whoever signed it.
    events = server.data / "events.log"
    events.write_bytes(events.read_bytes().replace(b'"reason"', b'"season"', 1))
    whole = zipfile.ZipFile(io.BytesIO(Path(bundle).read_bytes()))
    with zipfile.ZipFile(bundle, "w") as changed:
        for name in whole.namelist():
            content = whole.read(name)
            is_event = name.startswith("events/")
            changed.writestr(name, content.replace(b'"reason"', b'"season"') if is_event else content)
    for options in (["--key", key], []):
        assert ended(*audit, *options) == ended(*auditor, *options) == (1, "wrong")


def test_who_acts_is_what_the_kernel_says_beside_what_they_say(server: Server, capsys) -> None:
    data = ["--data", str(server.data)]
    user = {"peer_uid": os.getuid(), "peer_user": pwd.getpwuid(os.getuid()).pw_name}

    def newest(kind: str) -> dict[str, Any]:
        capsys.readouterr()
        events = run(capsys, "history", "prices", *data)[1]["events"]
        return [event for event in events if event["kind"] == kind][-1]

    assert main(["label", "set", "prices", "night", "1", "--reason", "at night", *data]) == 0
    event = newest("label.set")
    assert event["actor"].endswith(f"@{socket.gethostname()}")
    assert {name: event["details"].get(name) for name in user} == user
    for said, recorded in (("bob@elsewhere", "bob@elsewhere"), ("server", "server (says the caller)")):
        who = pb.Who(actor=said, reason="says so")
        with AdminClient(server.data, 30.0) as admin:
            request = pb.SetOwnerRequest(model="prices", owner=f"owner of {said}", who=who)
            admin.call("SetOwner", request, pb.Event)
        event = newest("owner.changed")
        assert event["actor"] == recorded
        assert {name: event["details"].get(name) for name in user} == user
    # What the server did by itself is nobody's, also where a call was under way.
    assert main(["retire", "prices/2", "--grace-s", "0", "--replacement", "1", "--reason", "old", *data]) == 0
    capsys.readouterr()
    events = run(capsys, "history", "prices", *data)[1]["events"]
    peers = {event["kind"]: event["details"].get("peer_uid") for event in events}
    assert peers["retirement.announced"] == os.getuid()
    assert (peers["version.registered"], peers["retirement.completed"]) == (None, None)
    assert server.stop() == 0
    assert main(["history", "prices", *data]) == 0
    shown = capsys.readouterr().out
    assert f"bob@elsewhere ({user['peer_user']}, uid {os.getuid()}): says so" in shown


def test_a_directory_without_a_log(tmp_path: Path, capsys) -> None:
    code, error = run(capsys, "audit", "verify", "--data", str(tmp_path))
    assert (code, "no transparency log is there" in error["error"]) == (1, True)
