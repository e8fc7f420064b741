"""A repository that changes under a running server."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.generated import health as health_pb
from tests.support import models
from tests.support.asking import Asker, arrays, request
from tests.support.server import Server
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}
SERVING = health_pb.HealthCheckResponse.SERVING
NOT_SERVING = health_pb.HealthCheckResponse.NOT_SERVING
# A version that is replaced goes at once, and is not kept for a rollback.
COLD = "[rollout]\nkeep_warm_s = 0\n"
UNKNOWN = health_pb.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that looks at its repository twenty times a second. Each test uses models of its own."""
    root = tmp_path_factory.mktemp("watched")
    repository = root / "models"
    repository.mkdir()
    models.put(repository, "steady", models.scaled(1.0))
    server = Server(repository, root / "log", poll_interval_s=0.05).wait_ready()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def own(watching: Server) -> Iterator[Asker]:
    with Asker(watching.address) as asker:
        yield asker


@pytest.fixture
def repository(watching: Server) -> Path:
    return watching.repository


def answer(own: Asker, model: str, version: str = "") -> tuple[str, float]:
    """The version that answers, and its factor."""
    response = own.call("ModelInfer", request(model, ONES, version=version))
    return response.model_version, float(arrays(response)["y"][0, 0])


def entries(own: Asker, model: str) -> dict[str, tuple[str, str]]:
    """State and reason of a model's versions."""
    found = own.call("RepositoryIndex").models
    return {entry.version: (entry.state, entry.reason) for entry in found if entry.name == model}


def looks(server: Server, repository: Path) -> Callable[[], None]:
    """Gives a function that waits until the server has looked at the repository at least twice more."""

    def wait() -> None:
        for turn in range(2):
            marker = f"marker{turn}-{os.urandom(4).hex()}"
            models.put_by_rename(repository, marker, models.scaled(), 1)
            with Asker(server.address) as asker:
                eventually(lambda marker=marker: answer(asker, marker))
            shutil.rmtree(repository / marker)

    return wait


def test_a_version_that_appears_whole(own: Asker, repository: Path) -> None:
    models.put_by_rename(repository, "whole", models.scaled(2.0), 1)
    (repository / "whole" / "model.toml").write_text(COLD)
    assert eventually(lambda: answer(own, "whole")) == ("1", 2.0)
    models.put_by_rename(repository, "whole", models.scaled(3.0), 2)
    eventually(lambda: answer(own, "whole") == ("2", 3.0))
    eventually(lambda: entries(own, "whole")["1"][0] == "UNAVAILABLE")
    assert "policy" in entries(own, "whole")["1"][1]
    refusal = own.refused(request("whole", ONES, version="1"))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    for part in ("'whole'", "version 1", "policy"):
        assert part in refusal.message


def test_a_version_that_is_being_written_is_not_taken(watching: Server, own: Asker, repository: Path) -> None:
    models.put_by_rename(repository, "written", models.scaled(2.0), 1)
    eventually(lambda: answer(own, "written"))
    directory = repository / "written" / "2"
    directory.mkdir()
    content = models.scaled(3.0)
    with (directory / "model.onnx").open("wb", buffering=0) as file:
        for byte in content:
            # Each look finds other sizes or times than the last, however slow this loop is.
            file.write(bytes([byte]))
            os.utime(directory / "model.onnx")
            assert answer(own, "written") == ("1", 2.0)
    eventually(lambda: answer(own, "written") == ("2", 3.0))
    failed = [e for e in watching.events("version.failed") if e["model"] == "written"]
    assert not failed, failed


def test_a_new_version_that_cannot_be_loaded_leaves_the_old_one(own: Asker, repository: Path) -> None:
    models.put_by_rename(repository, "lasting", models.scaled(2.0), 1)
    (repository / "lasting" / "model.toml").write_text(COLD)
    eventually(lambda: answer(own, "lasting"))
    models.put_by_rename(repository, "lasting", models.scaled(3.0)[:-20], 2)
    eventually(lambda: entries(own, "lasting").get("2", ("", ""))[0] == "UNAVAILABLE")
    assert "cut off" in entries(own, "lasting")["2"][1]
    assert entries(own, "lasting")["1"][0] == "READY"
    assert answer(own, "lasting") == ("1", 2.0)
    # Once it is repaired, it takes over.
    (repository / "lasting" / "2" / "model.onnx").write_bytes(models.scaled(3.0))
    eventually(lambda: answer(own, "lasting") == ("2", 3.0))
    assert entries(own, "lasting")["2"] == ("READY", "")
    eventually(lambda: entries(own, "lasting")["1"][0] == "UNAVAILABLE")


def test_garbage_in_the_place_of_a_version_leaves_it_served(own: Asker, repository: Path) -> None:
    directory = models.put_by_rename(repository, "garbled", models.scaled(2.0), 1)
    eventually(lambda: answer(own, "garbled"))
    digest = own.call("ModelMetadata", pb.ModelMetadataRequest(name="garbled")).properties["digest"]
    (directory / "model.onnx").write_bytes(b"not a model at all")
    eventually(lambda: entries(own, "garbled")["1"][1])
    state, reason = entries(own, "garbled")["1"]
    assert state == "READY"
    assert "expected an ONNX model" in reason
    assert answer(own, "garbled") == ("1", 2.0)
    metadata = own.call("ModelMetadata", pb.ModelMetadataRequest(name="garbled"))
    assert metadata.properties["digest"] == digest
    (directory / "model.onnx").write_bytes(models.scaled(5.0))
    eventually(lambda: answer(own, "garbled") == ("1", 5.0))
    assert entries(own, "garbled")["1"] == ("READY", "")


def test_a_version_modified_in_place_is_swapped_without_a_failure(own: Asker, repository: Path) -> None:
    directory = models.put_by_rename(repository, "swapped", models.scaled(2.0), 1)
    eventually(lambda: answer(own, "swapped"))
    for factor in (3.0, 4.0, 5.0):
        other = directory / ".new"
        other.write_bytes(models.scaled(factor))
        other.rename(directory / "model.onnx")
        # Every answer on the way is one of the two.
        eventually(lambda factor=factor: answer(own, "swapped") == ("1", factor))


def test_a_broken_manifest_leaves_what_is_served(own: Asker, repository: Path) -> None:
    models.put_by_rename(repository, "governed", models.scaled(2.0), 1)
    eventually(lambda: answer(own, "governed"))
    (repository / "governed" / "model.toml").write_text("[serving]\nmax_bacth = 3\n")
    eventually(lambda: "max_batch" in entries(own, "governed")["1"][1])
    assert answer(own, "governed") == ("1", 2.0)
    (repository / "governed" / "model.toml").write_text("[serving]\nmax_batch = 3\n")
    config = pb.ModelConfigRequest(name="governed")
    eventually(lambda: own.call("ModelConfig", config).config.max_batch_size == 3)
    assert entries(own, "governed")["1"] == ("READY", "")


def test_removal_of_versions_and_of_the_model(own: Asker, repository: Path) -> None:
    models.put_by_rename(repository, "leaving", models.scaled(2.0), 1)
    (repository / "leaving" / "model.toml").write_text("[serving]\nversions = { all = true }\n")
    eventually(lambda: answer(own, "leaving"))
    models.put_by_rename(repository, "leaving", models.scaled(3.0), 2)
    eventually(lambda: answer(own, "leaving") == ("2", 3.0))
    shutil.rmtree(repository / "leaving" / "2")
    eventually(lambda: answer(own, "leaving") == ("1", 2.0))
    # While it is let go of it is refused as one that is not loaded.
    gone = request("leaving", ONES, version="2")
    eventually(lambda: own.refused(gone).code is grpc.StatusCode.NOT_FOUND)
    shutil.rmtree(repository / "leaving")
    eventually(lambda: not entries(own, "leaving"))
    assert own.refused(request("leaving", ONES)).code is grpc.StatusCode.NOT_FOUND


def test_a_model_that_was_never_served_disappears_too(own: Asker, repository: Path) -> None:
    models.put(repository, "hopeless", models.scaled(), manifest="[serving]\nmax_bacth = 3\n")
    eventually(lambda: entries(own, "hopeless"))
    assert own.refused(request("hopeless", ONES)).code is grpc.StatusCode.UNAVAILABLE
    shutil.rmtree(repository / "hopeless")
    eventually(lambda: not entries(own, "hopeless"))
    assert own.refused(request("hopeless", ONES)).code is grpc.StatusCode.NOT_FOUND


def test_unloaded_by_request_until_loaded_by_request(watching: Server, own: Asker, repository: Path) -> None:
    models.put_by_rename(repository, "kept", models.scaled(2.0), 1)
    eventually(lambda: answer(own, "kept"))
    own.call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="kept"))
    refusal = own.refused(request("kept", ONES))
    assert refusal.code is grpc.StatusCode.UNAVAILABLE
    for part in ("'kept'", "unloaded by request"):
        assert part in refusal.message
    assert not own.call("ModelReady", pb.ModelReadyRequest(name="kept")).ready
    models.put_by_rename(repository, "kept", models.scaled(3.0), 2)
    looks(watching, repository)()
    assert own.refused(request("kept", ONES)).code is grpc.StatusCode.UNAVAILABLE
    own.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="kept"))
    assert answer(own, "kept") == ("2", 3.0)
    # Loading what is loaded is no error, although version 1 is not wanted.
    own.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="kept"))


def test_loads_and_unloads_at_the_same_time(own: Asker, repository: Path) -> None:
    models.put_by_rename(repository, "contested", models.scaled(2.0), 1)
    eventually(lambda: answer(own, "contested"))
    load = pb.RepositoryModelLoadRequest(model_name="contested").SerializeToString()
    calls = []
    for _ in range(8):
        for method in ("RepositoryModelUnload", "RepositoryModelLoad"):
            call = own.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            calls.append(call.future(load, timeout=30))
    # A load that was overtaken by an unload may say so; nothing else may go wrong.
    assert {call.code() for call in calls} <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    own.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="contested"))
    assert answer(own, "contested") == ("1", 2.0)
    assert entries(own, "contested") == {"1": ("READY", "")}


def test_unloading_a_model_whose_manifest_is_broken(own: Asker, repository: Path) -> None:
    models.put_by_rename(repository, "stubborn", models.scaled(2.0), 1)
    eventually(lambda: answer(own, "stubborn"))
    (repository / "stubborn" / "model.toml").write_text("nonsense")
    own.call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="stubborn"))
    assert own.refused(request("stubborn", ONES)).code is grpc.StatusCode.UNAVAILABLE


def test_loading_one_model_by_request_does_not_hide_what_changed_of_others(
    own: Asker, repository: Path
) -> None:
    models.put_by_rename(repository, "hurried", models.scaled(2.0), 1)
    eventually(lambda: answer(own, "hurried"))
    for number in range(2, 7):
        models.put_by_rename(repository, "hurried", models.scaled(float(number)), number)
        own.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="steady"))
        eventually(lambda number=number: answer(own, "hurried") == (str(number), float(number)))


def test_health_watch_follows_a_model(own: Asker, repository: Path) -> None:
    call = own.channel.unary_stream("/grpc.health.v1.Health/Watch")
    watch = call(health_pb.HealthCheckRequest(service="followed").SerializeToString(), timeout=60)

    def status() -> Any:
        return health_pb.HealthCheckResponse.FromString(next(watch)).status

    assert status() == UNKNOWN
    models.put_by_rename(repository, "followed", models.scaled(), 1)
    assert eventually(lambda: status() == SERVING)
    own.call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="followed"))
    assert status() == NOT_SERVING
    own.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="followed"))
    assert status() == SERVING
    shutil.rmtree(repository / "followed")
    assert eventually(lambda: status() == UNKNOWN)
    watch.cancel()


def test_a_model_that_no_one_could_have_foreseen_does_not_end_the_watching(
    watching: Server, own: Asker, repository: Path
) -> None:
    """A shape of more dimensions, and more tensors, than the protocol's bounds."""
    models.put_by_rename(repository, "deep", models.identity("FP32", ("batch", *(1,) * 39)), 1)
    nodes, inputs, outputs = [], [], []
    for n in range(1100):
        nodes.append(models.helper.make_node("Identity", [f"x{n}"], [f"y{n}"]))
        inputs.append(models.value(f"x{n}", "FP32", ("batch", 1)))
        outputs.append(models.value(f"y{n}", "FP32", ("batch", 1)))
    models.put_by_rename(repository, "wide", models.model(nodes, inputs, outputs), 1)
    for name in ("deep", "wide"):
        eventually(lambda name=name: entries(own, name)["1"][0] == "UNAVAILABLE")
        assert entries(own, name)["1"][1]
        assert own.refused(request(name, ONES)).code is grpc.StatusCode.UNAVAILABLE
    looks(watching, repository)()
    assert not watching.events("worker.died")


def test_requests_during_swaps_are_all_answered(own: Asker, repository: Path) -> None:
    models.put_by_rename(repository, "busy", models.scaled(1.0), 1)
    eventually(lambda: answer(own, "busy"))
    for number in range(2, 6):
        models.put_by_rename(repository, "busy", models.scaled(float(number)), number)
        while True:
            calls = [own.start(request("busy", ONES)) for _ in range(20)]
            versions = set()
            for call in calls:
                response = pb.ModelInferResponse.FromString(call.result())
                assert float(arrays(response)["y"][0, 0]) == float(response.model_version)
                versions.add(response.model_version)
            if versions == {str(number)}:
                break


def test_where_the_highest_version_cannot_be_loaded_the_next_one_answers(
    own: Asker, repository: Path
) -> None:
    """Nothing was served before, as after a restart; the policy is the default, the one highest version."""
    hidden = repository / ".preparing"
    for number, content in ((1, models.scaled(1.5)), (2, models.scaled(2.0)), (3, models.scaled(3.0)[:-20])):
        models.put(hidden, "falling", content, number, COLD)
    (hidden / "falling").rename(repository / "falling")
    assert eventually(lambda: answer(own, "falling")) == ("2", 2.0)
    assert entries(own, "falling")["3"][0] == "UNAVAILABLE"
    assert str(repository) not in entries(own, "falling")["3"][1], (
        "callers are not told where the server lies"
    )
    assert "1" not in entries(own, "falling")
    (repository / "falling" / "3" / "model.onnx").write_bytes(models.scaled(3.0))
    eventually(lambda: answer(own, "falling") == ("3", 3.0))
    eventually(lambda: entries(own, "falling")["2"][0] == "UNAVAILABLE")


def test_a_version_that_was_loaded_by_request_and_removed_at_once(own: Asker, repository: Path) -> None:
    models.put_by_rename(repository, "brief", models.scaled(2.0), 1)
    own.call("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="brief"))
    shutil.rmtree(repository / "brief")
    eventually(lambda: own.refused(request("brief", ONES)).code is grpc.StatusCode.NOT_FOUND)
