"""Who answers for models and until when, on real servers with real callers and a receiver of the webhook."""

import datetime
import http.server
import io
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import icalendar
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from spdx_python_model.bindings import v3_0_1 as spdx

from steelyard.cli.main import main
from steelyard.evidence.log import EVENTS_FILE, read_events
from tests.services.operator import Operator, details
from tests.support import models
from tests.support.asking import SERVICE, Asker, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
TODAY = datetime.datetime.now(datetime.UTC).date()
ALL = "[serving]\nversions = { all = true }\n"


def in_days(days: int) -> str:
    return (TODAY + datetime.timedelta(days=days)).isoformat()


def owned(days: int, more: str = "") -> str:
    """[governance] with all that production asks for."""
    return (
        '[governance]\nowner = "Pricing"\ndeveloped_by = "Science"\nvalidated_by = "Risk"\npurpose = "prices"\n'
        f"retire_on = {in_days(days)}\n{more}"
    )


def fill(repository: Path, name: str, manifest: str, versions: int = 1) -> None:
    for number in range(1, versions + 1):
        models.put(repository, name, models.scaled(float(number)), number, manifest)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes what is posted; the first post is refused, so that it has to come again."""

    posts: list[dict[str, Any]]
    refused: list[int]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.refused:
            self.refused.append(1)
            self.send_error(503)
            return
        self.posts.append(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def posts() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    received: list[dict[str, Any]] = []
    handler = type("Handler", (Receiver,), {"posts": received, "refused": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook?token=secret", received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private key and the file of public ones."""
    root = tmp_path_factory.mktemp("keys")
    key = Ed25519PrivateKey.generate()
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (root / "private.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (root / "public.pem").write_bytes(public)
    return root / "private.pem", root / "public.pem"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, posts: Any, keys: Any) -> Iterator[Server]:
    """In profile production, over models that differ in what is declared of them."""
    root = tmp_path_factory.mktemp("governed")
    repository = root / "models"
    fill(repository, "far", owned(300))
    fill(repository, "near", owned(10, 'replacement = "far"\n'))
    fill(repository, "over", owned(-1, 'replacement = "far"\n'))
    fill(repository, "late", owned(-2))
    fill(repository, "nobodys", '[governance]\nowner = "Pricing"\n')
    fill(repository, "merged", owned(300))
    fill(repository, "ended", owned(300))
    fill(repository, "stepwise", ALL + owned(300), versions=3)
    settings = {"webhook_url": posts[0], "retirement_keys": str(keys[1])}
    server = Server(repository, root / "log", profile="production", workers=2, **settings).wait_ready()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def asker(server: Server) -> Iterator[Asker]:
    with Asker(server.address) as asker:
        yield asker


@pytest.fixture(scope="module")
def operator(server: Server) -> Iterator[Operator]:
    with Operator(server.data) as operator:
        yield operator


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """Runs a command with --json; gives its code and what it prints."""

    def run(*arguments: str) -> tuple[int, Any]:
        code = main([*arguments, "--data", str(server.data), "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out or captured.err)

    return run


def trailers(asker: Asker, model: str, version: str = "") -> dict[str, str]:
    """What comes behind an answer."""
    call = asker.channel.unary_unary(f"{SERVICE}ModelInfer")
    _, ended = call.with_call(request(model, ONES, version=version).SerializeToString(), timeout=30)
    return {str(key): str(value) for key, value in ended.trailing_metadata()}


def test_production_serves_what_is_owned_and_says_what_is_missing(asker: Asker) -> None:
    assert "steelyard-retires" not in trailers(asker, "far")
    refusal = asker.refused(request("nobodys", ONES, version="1"))
    assert refusal.code is PRECONDITION
    assert "[governance] lacks developed_by, validated_by, purpose, retire_on" in refusal.message


def test_a_last_day_that_is_over_is_refused_with_what_to_do(asker: Asker) -> None:
    refusal = asker.refused(request("over", ONES, version="1"))
    assert refusal.code is PRECONDITION
    for part in (f"its last day of service was {in_days(-1)}", "ask far", "steelyard retire --extend"):
        assert part in refusal.message


def test_a_last_day_that_is_near_is_warned_of_everywhere(
    server: Server, asker: Asker, operator: Operator, posts: Any
) -> None:
    def warned() -> bool:
        told = trailers(asker, "near")
        return (told.get("steelyard-retires"), told.get("steelyard-replacement")) == (in_days(10), "far")

    eventually(warned)
    said = asker.call("ModelInfer", request("near", ONES)).parameters
    assert said["steelyard_retires"].string_param == in_days(10)
    assert said["steelyard_replacement"].string_param == "far"
    assert len(operator.events("near", "retirement.warned")) == 1
    assert metrics(server, model="near")["steelyard_retirement_warning"] == 1
    end = metrics(server, model="near")["steelyard_retirement_timestamp_seconds"]
    assert end == datetime.datetime.fromisoformat(f"{in_days(11)}T00:00:00Z").timestamp()
    assert eventually(lambda: server.events("retirement.warned"))
    post = eventually(lambda: [post for post in posts[1] if post["model"] == "near"])[0]
    assert (post["kind"], post["details"]["retire_on"]) == ("retirement.warned", in_days(10))
    assert metrics(server, outcome="taken")["steelyard_webhook_posts_total"] >= 1


def test_an_extension_is_signed_and_brings_the_model_back(
    server: Server, asker: Asker, operator: Operator, keys: Any, run: Any, tmp_path: Path
) -> None:
    eventually(lambda: operator.events("late", "retirement.reached"))
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    extend = ("retire", "late", "--extend", in_days(60), "--reason", "successor is late", "--key")
    code, error = run(*extend, str(stranger))
    assert (code, "by none of them" in error["error"]) == (1, True)
    code, event = run(*extend, str(keys[0]))
    assert code == 0
    assert event["kind"] == "retirement.extended"
    assert event["details"]["from"] == in_days(-2)
    eventually(lambda: asker.outcome(request("late", ONES)) is None)
    assert run("owner", "late")[1]["retire_on"] == in_days(60)


def test_a_whole_model_retires(server: Server, asker: Asker, operator: Operator, run: Any) -> None:
    say = ("--replacement", "far", "--reason", "merged into far")
    assert run("retire", "merged", *say)[0] == 0
    eventually(lambda: trailers(asker, "merged").get("steelyard-replacement") == "far")
    assert run("retire", "merged", "--cancel", "--reason", "not yet")[0] == 0
    assert "steelyard-retires" not in trailers(asker, "merged")
    assert run("retire", "merged", "--grace-s", "0", *say)[1]["kind"] == "retirement.announced"
    for version in ("", "1", "champion"):
        refusal = asker.refused(request("merged", ONES, version=version))
        assert refusal.code is PRECONDITION
        assert "ask far in its place" in refusal.message
    archived = details(eventually(lambda: operator.events("merged", "retirement.archived"))[0])
    index = json.loads((server.data / archived["path"] / "archive.json").read_text())
    assert set(index["files"]) == {"decisions.json", "events.jsonl", "model.toml"}
    decisions = json.loads((server.data / archived["path"] / "decisions.json").read_text())
    assert (decisions["problem"], decisions["sealed"]) == ("", [])
    assert all(one["file"].startswith("merged/") for one in decisions["unsealed"])
    assert sum(one["decisions"] for one in decisions["unsealed"]) >= 3
    assert metrics(server, model="merged")["steelyard_retired"] == 1


def test_a_version_retires_while_it_is_asked(asker: Asker, operator: Operator, run: Any) -> None:
    operator.set("stepwise", "champion", "2")
    operator.set("stepwise", "night", "2")
    stop = threading.Event()
    failed: list[str] = []
    answered = set()

    def ask() -> None:
        while not stop.is_set():
            try:
                answered.add(asker.call("ModelInfer", request("stepwise", ONES)).model_version)
            except grpc.RpcError as error:
                failed.append(error.details() or "")

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: answered)
    code, error = run("retire", "stepwise/2", "--reason", "x", "--replacement", "far")
    assert (code, "champion, night stands for it" in error["error"]) == (1, True)
    assert run("retire", "stepwise/2", "--reason", "old", "--replacement", "3", "--grace-s", "0")[0] == 0
    eventually(lambda: "3" in answered)
    stop.set()
    thread.join()
    assert not failed
    assert operator.labels("stepwise") == {"champion": (3, False), "night": (3, False)}
    refusal = asker.refused(request("stepwise", ONES, version="2"))
    assert (refusal.code, "ask 3 in its place" in refusal.message) == (PRECONDITION, True)
    code, error = run("label", "set", "stepwise", "night", "2", "--reason", "x")
    assert (code, "retired on" in error["error"]) == (1, True)


def test_owners_and_approvals_are_told_in_the_history(operator: Operator, run: Any) -> None:
    assert run("approve", "far/1", "--reason", "report 14")[1]["kind"] == "version.approved"
    assert run("approve", "far/1", "--reason", "report 14")[0] == 1
    assert run("owner", "far", "--set", "Costs", "--reason", "reorganisation")[1]["kind"] == "owner.changed"
    found = run("owner", "far")[1]
    assert (found["owner"], found["validated_by"]) == ("Costs", "Risk")
    kinds = [event["kind"] for event in run("history", "far")[1]["events"]]
    for kind in (
        "version.registered",
        "version.loaded",
        "label.followed",
        "validation.changed",
        "owner.changed",
    ):
        assert kind in kinds
    assert run("owner", "none")[0] == 1


def test_the_inventory_in_every_form(server: Server, run: Any, capsys: Any, tmp_path: Path) -> None:
    retired = run("retire", "ended", "--replacement", "far", "--grace-s", "0", "--reason", "merged into far")
    assert retired[0] == 0

    def states() -> dict[str, str]:
        return {one["model"]: one["state"] for one in run("inventory")[1]["versions"]}

    eventually(lambda: states()["ended"] == "retired")
    code, found = run("inventory")
    assert code == 0
    entry = next(one for one in found["versions"] if one["model"] == "far")
    assert (entry["state"], entry["labels"], entry["missing"]) == ("serving", "champion", "")
    assert run("inventory", "--at", in_days(-400))[1]["versions"] == []
    data = ["--data", str(server.data)]
    assert main(["inventory", *data]) == 0
    assert "Risk" in capsys.readouterr().out
    assert main(["inventory", "--format", "csv", *data]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("model,version,digest")
    assert len(lines) == len(found["versions"]) + 1
    assert main(["inventory", "--format", "spdx", *data]) == 0
    objects = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(io.BytesIO(capsys.readouterr().out.encode()), objects)
    packages = list(objects.foreach_type(spdx.ai_AIPackage))
    assert len(packages) == len(found["versions"])
    now = states()
    assert (now["nobodys"], now["near"], now["ended"]) == ("refused", "retiring", "retired")
    assert not objects.missing_ids
    far = next(package for package in packages if package.name == "far")
    assert far.verifiedUsing[0].hashValue == entry["digest"].removeprefix("sha256:")
    ics = tmp_path / "last.ics"
    code, dues = run("retirements", "--ical", str(ics), "--within-days", "45")
    assert code == 0
    # The last day of "late" is extended by another test, earlier or later.
    last_days = [in_days(-2), in_days(-1), in_days(10)][-len(dues["retirements"]) :]
    assert [due["model"] for due in dues["retirements"]][-2:] == ["over", "near"]
    events = icalendar.Calendar.from_ical(ics.read_bytes()).walk("VEVENT")
    assert [event["dtstart"].dt.isoformat() for event in events] == last_days
    assert events[0].walk("VALARM")[0]["trigger"].dt == datetime.timedelta(days=-30)


def test_after_a_kill_everything_stands_as_the_events_say(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    fill(repository, "m", ALL, versions=2)
    fill(repository, "whole", "")
    server = Server(repository, tmp_path / "log").wait_ready()
    with Operator(server.data) as operator:
        data = ["--data", str(server.data)]
        assert main(["retire", "m/1", "--grace-s", "0", "--reason", "old", "--replacement", "2", *data]) == 0
        assert main(["retire", "whole", "--reason", "old", "--replacement", "m", *data]) == 0
        assert main(["retire", "whole", "--cancel", "--reason", "x", *data]) == 0
        assert (
            main(["retire", "whole", "--grace-s", "0", "--reason", "old", "--replacement", "m", *data]) == 0
        )
        for model in ("m", "whole"):
            eventually(lambda model=model: operator.events(model, "version.unloaded"))
    os.kill(server.process.pid, signal.SIGKILL)
    server.stop()
    before = read_events(server.data / EVENTS_FILE).events
    server = Server(repository, tmp_path / "log-2").wait_ready()
    with Asker(server.address) as asker:
        assert asker.outcome(request("m", ONES)) is None
        for model, version in (("m", "1"), ("whole", ""), ("whole", "1")):
            assert asker.refused(request(model, ONES, version=version)).code is PRECONDITION
        index = asker.call("RepositoryIndex")
        assert next(one.reason for one in index.models if one.name == "whole").startswith(
            "model 'whole' was retired"
        )
    server.stop()
    after = read_events(server.data / EVENTS_FILE).events
    assert [event.kind for event in after[len(before) :]] == ["server.started"]
