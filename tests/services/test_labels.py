"""Pins, labels and rollbacks, on a real server with real callers."""

import json
import os
import re
import shutil
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from steelyard.client.admin import AdminClient
from steelyard.errors import InvalidRequest, LoadFailed, ModelNotFound, SteelyardError, Unavailable
from steelyard.evidence.log import EVENTS_FILE, read_events
from steelyard.models.digest import version_digest
from steelyard.rollout.labels import fold
from steelyard.wire.admin import ADMIN_SOCKET
from steelyard.wire.generated import admin as admin_pb
from steelyard.wire.generated import grpc_service as pb
from tests.services.operator import Operator
from tests.support import models
from tests.support.asking import Asker, Refusal, arrays, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
Start = Callable[..., Server]
ONES = {"x": np.ones((1, 4), np.float32)}
NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def fill(repository: Path, name: str, *factors: float, manifest: str = "") -> None:
    """A model whose versions from 1 on multiply by these."""
    for number, factor in enumerate(factors, 1):
        models.put(repository, name, models.scaled(factor), number, manifest)


def answer(asker: Asker, model: str, version: str = "") -> tuple[str, float]:
    response = asker.call("ModelInfer", request(model, ONES, version=version))
    return response.model_version, float(arrays(response)["y"][0, 0])


ALL = "[serving]\nversions = { all = true }\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each test uses models of its own."""
    root = tmp_path_factory.mktemp("labelled")
    repository = root / "models"
    fill(repository, "pinned", 1.0, 2.0, 3.0, manifest=ALL)
    fill(repository, "moved", 1.0, 2.0, 3.0)
    fill(repository, "raced", *map(float, range(1, 6)), manifest=ALL)
    fill(repository, "twice", 1.0, 1.0, manifest=ALL)
    fill(repository, "drilled", 1.0, 2.0)
    fill(repository, "often", 1.0, 2.0, manifest="[rollout]\ndrill_every_s = 0.1\n")
    fill(repository, "listed", 1.0, 2.0, 3.0, manifest="[serving]\nversions = { list = [1] }\n")
    fill(repository, "stale", 1.0, 2.0)
    fill(repository, "cold", 1.0, 2.0, 3.0, manifest="[rollout]\nkeep_warm_s = 0.0\n")
    fill(repository, "renamed", 1.0, 2.0, manifest='[rollout]\ndefault_label = "live"\n')
    (repository / "wrong").mkdir()
    fill(repository, "wrong", 1.0, 2.0, manifest=ALL + '[serving.golden]\nat_load = "report"\n')
    golden = repository / "wrong" / "1" / "golden" / "off"
    golden.mkdir(parents=True)
    (golden / "request.pb").write_bytes(b"no request")
    server = Server(repository, root / "log", poll_interval_s=0.05).wait_ready()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def asker(server: Server) -> Iterator[Asker]:
    with Asker(server.address) as asker:
        yield asker


@pytest.fixture(scope="module")
def operator(server: Server) -> Iterator[Operator]:
    operator = Operator(server.data)
    yield operator
    operator.client.close()


def digest(server: Server, model: str, version: int) -> str:
    return version_digest(server.repository / model / str(version))


def test_a_version_by_number_label_and_digest(server: Server, asker: Asker, operator: Operator) -> None:
    operator.set("pinned", "challenger", "1")
    operator.set("pinned", "night-shift", "2")
    whole = digest(server, "pinned", 2)
    for version in ("2", "night-shift", whole, whole[: len("sha256:") + 12]):
        response = asker.call("ModelInfer", request("pinned", ONES, version=version))
        assert response.model_version == "2"
        assert arrays(response)["y"].tolist() == [[2.0] * 4]
        assert response.parameters["steelyard_model_digest"].string_param == whole
    assert answer(asker, "pinned", "challenger") == ("1", 1.0)
    assert answer(asker, "pinned") == answer(asker, "pinned", "champion") == ("3", 3.0)


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelReady", "ModelStatistics"])
def test_the_other_calls_take_what_inference_takes(
    server: Server, asker: Asker, operator: Operator, method: str
) -> None:
    if "watched" not in operator.labels("pinned"):
        operator.set("pinned", "watched", "2")
    for version in ("2", "watched", digest(server, "pinned", 2)[:20]):
        message = getattr(pb, f"{method}Request")(name="pinned", version=version)
        found = asker.call(method, message)
        if method == "ModelMetadata":
            assert found.properties["digest"] == digest(server, "pinned", 2)
            assert "watched" in found.properties["labels"].split(", ")
        elif method == "ModelReady":
            assert found.ready
        elif method == "ModelStatistics":
            assert [stats.version for stats in found.model_stats] == ["2"]


@pytest.mark.parametrize(
    ("version", "code", "parts"),
    [
        ("4", NOT_FOUND, ["no version '4'", "ready: 1 (sha256:", "champion = 3"]),
        ("nobody", NOT_FOUND, ["no version or label 'nobody'"]),
        ("sha256:", INVALID, ["12 to 64", "'sha256:'"]),
        ("sha256:0123456789a", INVALID, ["12 to 64"]),
        ("sha256:0123456789AB", INVALID, ["lower-case"]),
        ("sha256:" + "0" * 65, INVALID, ["12 to 64"]),
        ("sha256:0123456789ab", NOT_FOUND, ["no version sha256:0123456789ab", "ready: 1 (sha256:"]),
    ],
)
def test_a_pin_that_cannot_be_honoured_is_refused(
    asker: Asker, version: str, code: grpc.StatusCode, parts: list[str]
) -> None:
    refusal = asker.refused(request("pinned", ONES, version=version))
    assert refusal.code is code, refusal.message
    for part in parts:
        assert part in refusal.message


def test_a_version_that_is_known_and_not_loaded(asker: Asker, operator: Operator) -> None:
    operator.set("cold", "champion", "2")
    operator.set("cold", "champion", "3")
    eventually(lambda: asker.refused(request("cold", ONES, version="2")))
    refusal = asker.refused(request("cold", ONES, version="2"))
    assert refusal.code is PRECONDITION
    assert "version 2 is UNLOADED" in refusal.message
    assert "ready: 3 (sha256:" in refusal.message
    # It is loaded again before the label goes back to it, and no call fails on the way.
    assert json.loads(operator.roll_back("cold").details)["to"]["version"] == 2
    assert answer(asker, "cold") == ("2", 2.0)


def test_the_same_content_under_two_numbers_has_one_digest(server: Server, asker: Asker) -> None:
    assert digest(server, "twice", 1) == digest(server, "twice", 2)
    assert answer(asker, "twice", digest(server, "twice", 1)[:25]) == ("2", 1.0)


def test_a_label_moves_and_goes_back_step_by_step(server: Server, asker: Asker, operator: Operator) -> None:
    assert operator.labels("moved") == {"champion": (3, True)}
    event = operator.set("moved", "champion", "1")
    assert (event.kind, event.actor, event.reason) == ("label.set", "ann@desk", "a test")
    assert event.digest == digest(server, "moved", 1)
    assert abs(event.unix_ms / 1000 - time.time()) < 60
    assert answer(asker, "moved") == ("1", 1.0)
    assert operator.labels("moved") == {"champion": (1, False)}
    operator.set("moved", "champion", "2", expected=1)
    assert answer(asker, "moved") == ("2", 2.0)
    operator.roll_back("moved")
    assert answer(asker, "moved") == ("1", 1.0)
    operator.roll_back("moved")
    assert answer(asker, "moved") == ("3", 3.0)
    with pytest.raises(LoadFailed, match="for nothing before it"):
        operator.roll_back("moved")
    # A set label does not follow: a new version changes nothing until somebody says so.
    models.put_by_rename(server.repository, "moved", models.scaled(4.0), 4)
    eventually(lambda: answer(asker, "moved", "4") == ("4", 4.0))
    assert answer(asker, "moved") == ("3", 3.0)
    operator.remove("moved", "champion")
    assert answer(asker, "moved") == ("4", 4.0)
    eventually(lambda: operator.labels("moved") == {"champion": (4, True)})
    kinds = [event.kind for event in operator.rollout("moved")]
    assert kinds == [
        "label.followed",
        "label.set",
        "label.set",
        "label.rolled_back",
        "label.rolled_back",
        "label.removed",
        "label.followed",
    ]


def test_where_nobody_has_set_it_a_rollback_goes_back_to_what_was_there_before(
    server: Server, asker: Asker, operator: Operator
) -> None:
    fill(server.repository, "fresh", 1.0)
    eventually(lambda: answer(asker, "fresh") == ("1", 1.0))
    models.put_by_rename(server.repository, "fresh", models.scaled(2.0), 2)
    eventually(lambda: operator.labels("fresh") == {"champion": (2, True)})
    assert answer(asker, "fresh") == ("2", 2.0)
    # It is still there, although the policy is the one highest version.
    assert answer(asker, "fresh", "1") == ("1", 1.0)
    operator.roll_back("fresh")
    assert answer(asker, "fresh") == ("1", 1.0)
    assert operator.labels("fresh") == {"champion": (1, False)}


def test_a_default_label_that_nobody_has_set_does_not_follow_to_what_is_loaded_for_another_label(
    asker: Asker, operator: Operator
) -> None:
    assert answer(asker, "listed") == ("1", 1.0)
    operator.set("listed", "challenger", "2")
    assert answer(asker, "listed") == ("1", 1.0)
    assert answer(asker, "listed", "challenger") == ("2", 2.0)
    with pytest.raises(LoadFailed):
        operator.set("listed", "challenger", "3", expected=1)
    assert answer(asker, "listed") == ("1", 1.0)
    assert operator.labels("listed") == {"challenger": (2, False), "champion": (1, True)}
    assert [event.kind for event in operator.rollout("listed")] == ["label.followed", "label.set"]


def test_another_default_label(asker: Asker, operator: Operator) -> None:
    assert operator.labels("renamed") == {"live": (2, True)}
    operator.set("renamed", "live", "1")
    assert answer(asker, "renamed") == answer(asker, "renamed", "live") == ("1", 1.0)
    assert asker.refused(request("renamed", ONES, version="champion")).code is NOT_FOUND
    operator.roll_back("renamed")
    assert answer(asker, "renamed") == ("2", 2.0)


@pytest.mark.parametrize(
    ("model", "label", "version", "error", "why"),
    [
        ("pinned", "Champion", "1", InvalidRequest, "expected a label"),
        ("pinned", "1", "1", InvalidRequest, "expected a label"),
        ("pinned", "a" * 64, "1", InvalidRequest, "1 to 63"),
        ("pinned", "champion", "", InvalidRequest, "expected a version"),
        ("pinned", "champion", "9", ModelNotFound, "no version '9'"),
        ("pinned", "champion", "sha256:0123456789ab", ModelNotFound, "no version"),
        ("nothing", "champion", "1", ModelNotFound, "no model 'nothing'"),
        ("../moved", "champion", "1", InvalidRequest, "slash"),
        ("wrong", "champion", "1", LoadFailed, "golden examples fail"),
    ],
)
def test_a_label_that_cannot_be_set(
    operator: Operator, model: str, label: str, version: str, error: type[SteelyardError], why: str
) -> None:
    before = operator.labels()
    with pytest.raises(error, match=why):
        operator.set(model, label, version)
    assert operator.labels() == before


def test_a_change_without_who_or_why(operator: Operator) -> None:
    for who in (
        admin_pb.Who(actor="ann"),
        admin_pb.Who(reason="why"),
        admin_pb.Who(actor="ann", reason="x" * 1001),
    ):
        message = admin_pb.SetLabelRequest(model="pinned", label="mine", version="1", who=who)
        with pytest.raises(InvalidRequest):
            operator.client.call("SetLabel", message, admin_pb.Event)
    assert "mine" not in operator.labels("pinned")


def test_a_label_that_is_not_as_its_mover_thought(operator: Operator) -> None:
    operator.set("pinned", "checked", "1")
    with pytest.raises(
        LoadFailed, match="expected label checked to stand for version 2, it stands for version 1"
    ):
        operator.set("pinned", "checked", "3", expected=2)
    with pytest.raises(LoadFailed, match="already stands for version 1"):
        operator.set("pinned", "checked", "1")
    assert operator.labels("pinned")["checked"] == (1, False)


def test_moves_of_many_people_at_once_are_made_one_after_the_other(
    server: Server, asker: Asker, operator: Operator
) -> None:
    def move(number: int) -> Any:
        one = Operator(server.data)
        try:
            return one.set("raced", "champion", str(number % 5 + 1))
        except LoadFailed as refusal:
            return str(refusal)
        finally:
            one.client.close()

    with ThreadPoolExecutor(8) as people:
        done = list(people.map(move, range(40)))
    moved = [event for event in done if not isinstance(event, str)]
    assert len(moved) > 1
    assert all("already stands" in refusal for refusal in done if isinstance(refusal, str))
    at = 5
    for event in sorted(moved, key=lambda event: event.sequence):
        details = json.loads(event.details)
        assert details["from"]["version"] == at
        at = details["to"]["version"]
    assert operator.labels("raced")["champion"] == (at, False)
    assert answer(asker, "raced")[0] == str(at)


def test_a_drill_goes_there_and_comes_back(server: Server, asker: Asker, operator: Operator) -> None:
    operator.set("drilled", "champion", "1")
    stop = threading.Event()
    seen: list[str] = []

    def ask() -> None:
        while not stop.is_set():
            seen.append(answer(asker, "drilled")[0])

    caller = threading.Thread(target=ask)
    caller.start()
    event = operator.roll_back("drilled", drill=True, stay_ms=200)
    stop.set()
    caller.join()
    details = json.loads(event.details)
    assert event.kind == "rollback.drilled"
    assert details["outcome"] == "passed"
    assert details["failed"] == 0
    assert details["answered"] == seen.count("2") > 0
    assert answer(asker, "drilled") == ("1", 1.0)
    assert operator.labels("drilled") == {"champion": (1, False)}
    age = metrics(server, model="drilled")["steelyard_rollback_drill_age_seconds"]
    assert 0 <= age < 60


def test_a_rollback_does_not_wait_for_a_drill(server: Server, asker: Asker, operator: Operator) -> None:
    operator.set("stale", "champion", "1")
    other = Operator(server.data)
    with ThreadPoolExecutor(1) as pool:
        drill = pool.submit(other.roll_back, "stale", drill=True, stay_ms=60_000)
        eventually(lambda: answer(asker, "stale") == ("2", 2.0))
        began = time.monotonic()
        operator.roll_back("stale")
        assert time.monotonic() - began < 10
        assert answer(asker, "stale") == ("2", 2.0)
        assert json.loads(drill.result().details)["outcome"] == "passed"
    other.client.close()


def test_drills_by_themselves(operator: Operator) -> None:
    assert not [event for event in operator.events("often") if event.kind == "rollback.drilled"]
    operator.set("often", "champion", "1")

    def drilled() -> list[Any]:
        return [event for event in operator.events("often") if event.kind == "rollback.drilled"]

    assert eventually(lambda: len(drilled()) > 1)
    assert {event.actor for event in drilled()} == {"server"}


def test_labels_in_the_metrics(server: Server, operator: Operator) -> None:
    operator.set("pinned", "metered", "2")
    found = metrics(server, model="pinned", label="metered")
    assert found["steelyard_label_version"] == 2
    assert abs(found["steelyard_label_moved_timestamp_seconds"] - time.time()) < 60


def test_every_metric_of_a_server_is_documented(server: Server, operator: Operator) -> None:
    page = server.get("/metrics")[1]
    kinds = dict(re.findall(r"^# TYPE (steelyard_\w+) (\w+)$", page, re.MULTILINE))
    rows = re.findall(r"^\| `(steelyard_\w+)` \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = {name.removesuffix("_info") if kind == "info" else name: kind for name, kind in rows}
    missing = [
        name for name in kinds if name not in documented and name.removesuffix("_info") not in documented
    ]
    assert missing == []


def test_the_socket_is_its_owners_alone(server: Server) -> None:
    mode = (server.data / ADMIN_SOCKET).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_nobody_answers_where_no_server_runs(tmp_path: Path) -> None:
    with pytest.raises(Unavailable), AdminClient(tmp_path / "nowhere", 5.0):
        pass
    client = AdminClient(tmp_path, 5.0)
    with pytest.raises(Unavailable):
        client.call("ListLabels", admin_pb.ListLabelsRequest(), admin_pb.ListLabelsResponse)
    client.close()


def test_a_rollback_under_load_fails_nobody_and_is_in_force_when_it_is_acknowledged(
    server: Server, operator: Operator
) -> None:
    fill(server.repository, "loaded", 1.0)
    with Asker(server.address) as asker:
        eventually(lambda: answer(asker, "loaded"))
    models.put_by_rename(server.repository, "loaded", models.scaled(2.0), 2)
    eventually(lambda: operator.labels("loaded") == {"champion": (2, True)})
    stop = threading.Event()
    # When the last acknowledged move was acknowledged, and what it was to.
    acknowledged: list[tuple[int, str]] = [(time.monotonic_ns(), "2")]
    moving = threading.Event()
    wrong: list[str] = []

    def call() -> None:
        with Asker(server.address) as asker:
            while not stop.is_set():
                before = None if moving.is_set() else acknowledged[-1]
                refusal: Refusal | None = None
                try:
                    version, _ = answer(asker, "loaded")
                except grpc.RpcError as error:
                    wrong.append(f"a call failed: {error}")
                    return
                if (
                    before is not None
                    and not moving.is_set()
                    and acknowledged[-1] == before
                    and version != before[1]
                ):
                    wrong.append(f"{version} answered after {before[1]} was acknowledged, {refusal}")

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for _ in range(20):
        for move, to in (
            (operator.roll_back, "1"),
            (lambda model: operator.set(model, "champion", "2"), "2"),
        ):
            moving.set()
            move("loaded")
            acknowledged.append((time.monotonic_ns(), to))
            moving.clear()
    stop.set()
    for caller in callers:
        caller.join()
    assert not wrong, wrong[:3]


@pytest.fixture
def own(start: Start, tmp_path: Path) -> Server:
    repository = tmp_path / "models"
    fill(repository, "m", 1.0, 2.0, 3.0)
    return start(repository, poll_interval_s=0.05).wait_ready()


def again(start: Start, server: Server) -> Server:
    return start(server.repository, data=str(server.data), poll_interval_s=0.05).wait_ready()


def test_labels_outlive_the_server_and_the_worker(own: Server, start: Start) -> None:
    operator = Operator(own.data)
    operator.set("m", "champion", "1")
    operator.set("m", "challenger", "2")
    os.kill(own.worker_pid(), signal.SIGKILL)
    with Asker(own.address) as asker:
        eventually(lambda: answer(asker, "m") == ("1", 1.0))
        eventually(lambda: answer(asker, "m", "challenger") == ("2", 2.0))
    operator.client.close()
    own.process.kill()
    own.process.wait()
    assert (own.data / ADMIN_SOCKET).exists(), "what a killed server leaves behind"
    second = again(start, own)
    with Asker(second.address) as asker:
        assert answer(asker, "m") == ("1", 1.0)
        assert answer(asker, "m", "challenger") == ("2", 2.0)
        # What it stood for before is warm, too: a rollback does not have to load it.
        assert eventually(lambda: answer(asker, "m", "3")) == ("3", 3.0)
    operator = Operator(second.data)
    operator.roll_back("m")
    assert operator.labels("m") == {"champion": (3, False), "challenger": (2, False)}
    operator.client.close()


def test_a_server_that_is_killed_in_the_middle_of_moves_comes_back_as_acknowledged(
    start: Start, tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    fill(repository, "m", 1.0, 2.0, manifest=ALL)
    for _ in range(3):
        server = start(repository, data=str(tmp_path / "data"), poll_interval_s=0).wait_ready()
        operator = Operator(server.data)
        last: list[int] = []

        def move(operator: Operator = operator, last: list[int] = last) -> None:
            number = 0
            while True:
                number += 1
                try:
                    operator.set("m", "champion", str(number % 2 + 1))
                except LoadFailed:
                    continue
                except SteelyardError:
                    return
                last.append(number % 2 + 1)

        mover = threading.Thread(target=move)
        mover.start()
        eventually(lambda last=last: len(last) > 20)
        server.process.kill()
        server.process.wait()
        mover.join()
        operator.client.close()
        found = fold(read_events(server.data / EVENTS_FILE).events)["m"].labels["champion"].holder.number
        # The move that was under way was not acknowledged: it has happened or it has not.
        assert found in (last[-1], last[-1] % 2 + 1)
        server = start(repository, data=str(tmp_path / "data"), poll_interval_s=0).wait_ready()
        with Asker(server.address) as asker:
            assert answer(asker, "m") == (str(found), float(found))
        server.stop()


def test_a_log_that_is_damaged_keeps_the_server_from_starting(own: Server, start: Start) -> None:
    operator = Operator(own.data)
    operator.set("m", "champion", "1")
    operator.client.close()
    own.stop()
    path = own.data / EVENTS_FILE
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    refused = start(own.repository, data=str(own.data))
    assert refused.process.wait(30) != 0
    assert "record 1 is damaged" in refused.output()
    assert "Traceback" not in refused.output()
    content[40] ^= 1
    path.write_bytes(content + b"0123abcd {half a rec")
    again(start, own)


def test_content_that_changes_under_a_label_is_not_taken(own: Server, start: Start) -> None:
    operator = Operator(own.data)
    operator.set("m", "champion", "1")
    graph = own.repository / "m" / "1" / "model.onnx"
    graph.with_name("new").write_bytes(models.scaled(9.0))
    graph.with_name("new").rename(graph)
    eventually(lambda: own.events("version.failed"))
    with Asker(own.address) as asker:
        assert answer(asker, "m") == ("1", 1.0)
        index = {entry.version: entry for entry in asker.call("RepositoryIndex").models}
        assert index["1"].state == "READY"
        assert "give new content a new number" in index["1"].reason
    operator.client.close()
    own.stop()
    second = again(start, own)
    with Asker(second.address) as asker:
        refusal = asker.refused(request("m", ONES))
        assert refusal.code is UNAVAILABLE
        assert "label champion: version 1" in refusal.message
        assert "has other content now" in refusal.message
        assert asker.refused(request("m", ONES, version="champion")).code is PRECONDITION
        assert not asker.call("ModelReady", pb.ModelReadyRequest(name="m")).ready
        operator = Operator(second.data)
        operator.set("m", "champion", "1")
        assert answer(asker, "m") == ("1", 9.0)
        operator.client.close()


def test_a_labelled_version_whose_files_are_removed_goes_on(own: Server) -> None:
    operator = Operator(own.data)
    operator.set("m", "champion", "1")
    shutil.rmtree(own.repository / "m" / "1")
    eventually(lambda: own.events("version.gone"))
    with Asker(own.address) as asker:
        assert answer(asker, "m") == ("1", 1.0)
        operator.set("m", "champion", "2")
        assert answer(asker, "m") == ("2", 2.0)
        # Kept warm, it can be gone back to; without files it cannot be loaded again.
        operator.roll_back("m")
        assert answer(asker, "m") == ("1", 1.0)
    operator.client.close()


def test_what_is_no_longer_kept_warm_goes(start: Start, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    fill(repository, "m", 1.0, 2.0, manifest="[rollout]\nkeep_warm_s = 1.0\n")
    server = start(repository).wait_ready()
    operator = Operator(server.data)
    with Asker(server.address) as asker:
        operator.set("m", "champion", "1")
        operator.set("m", "champion", "2")
        assert answer(asker, "m", "1") == ("1", 1.0)
        refusal = eventually(lambda: asker.outcome(request("m", ONES, version="1")))
        assert refusal.code is PRECONDITION
        assert answer(asker, "m") == ("2", 2.0)
    operator.client.close()
