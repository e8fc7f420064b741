"""Golden examples of a running server: a wrong answer in production is seen by who watches, and nobody is refused."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard.models.golden import write_golden
from steelyard.wire import encode_response
from steelyard.wire.generated import grpc_service as pb
from steelyard.wire.generated import health as health_pb
from tests.support import models
from tests.support.asking import Asker, arrays, request
from tests.support.metrics import metrics
from tests.support.server import Server
from tests.support.waiting import eventually

ONES = {"x": np.ones((1, 4), np.float32)}
SERVING = health_pb.HealthCheckResponse.SERVING
NOT_SERVING = health_pb.HealthCheckResponse.NOT_SERVING
OFTEN = "[serving.golden]\ninterval_s = 0.05\n"


def put_example(version: Path, name: str, model: str, value: float) -> None:
    answer = encode_response(model, "1", "", {}, [("y", "FP32", (1, 4), np.full(4, value, "<f4").tobytes())])
    write_golden(version, name, request(model, ONES).SerializeToString(), answer)


@pytest.fixture
def watched(start: Callable[..., Server], tmp_path: Path) -> Iterator[tuple[Server, Asker]]:
    repository = tmp_path / "models"
    for name, manifest in (("strict", OFTEN + 'while_failing = "not_serving"\n'), ("lenient", OFTEN)):
        put_example(models.put(repository, name, models.scaled(), manifest=manifest), "right", name, 2.0)
    server = start(repository).wait_ready()
    with Asker(server.address) as asker:
        yield server, asker


def health(asker: Asker, model: str) -> Any:
    """Statuses as Health's Watch tells them."""
    call = asker.channel.unary_stream("/grpc.health.v1.Health/Watch")
    watch = call(health_pb.HealthCheckRequest(service=model).SerializeToString(), timeout=60)
    return (health_pb.HealthCheckResponse.FromString(body).status for body in watch)


def test_a_wrong_answer_turns_health_and_a_right_one_turns_it_back(watched: tuple[Server, Asker]) -> None:
    server, asker = watched
    strict = server.repository / "strict" / "1"
    statuses = health(asker, "strict")
    ready = pb.ModelReadyRequest(name="strict")
    assert next(statuses) == SERVING
    put_example(strict, "wrong", "strict", 2.5)
    assert next(statuses) == NOT_SERVING
    assert not asker.call("ModelReady", ready).ready
    assert asker.call("ServerReady").ready
    assert asker.infer("strict", ONES)["y"].tolist() == [[2.0] * 4]
    (entry,) = [m for m in asker.call("RepositoryIndex").models if m.name == "strict"]
    assert (entry.state, entry.reason) == (
        "READY",
        "golden examples fail: 'wrong': output 'y' differs by 0.5",
    )
    shutil.rmtree(strict / "golden" / "wrong")
    assert next(statuses) == SERVING
    assert asker.call("ModelReady", ready).ready


def test_health_turns_and_turns_back_where_the_repository_is_watched_too(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    """The wrong example also keeps the version from being loaded anew, and the right state of it is loaded."""
    manifest = OFTEN + 'while_failing = "not_serving"\n'
    version = models.put(tmp_path / "models", "strict", models.scaled(), manifest=manifest)
    server = start(tmp_path / "models", poll_interval_s=0.05).wait_ready()
    with Asker(server.address) as asker:
        statuses = health(asker, "strict")
        assert next(statuses) == SERVING
        put_example(version, "wrong", "strict", 2.5)
        assert next(statuses) == NOT_SERVING
        eventually(lambda: server.events("version.failed"))
        assert asker.infer("strict", ONES)["y"].tolist() == [[2.0] * 4]
        shutil.rmtree(version / "golden")
        assert next(statuses) == SERVING
        eventually(lambda: len(server.events("version.ready")) == 2)


def test_the_metric_and_the_log_tell_of_a_failure_that_health_does_not_show(
    watched: tuple[Server, Asker],
) -> None:
    server, asker = watched
    lenient = server.repository / "lenient" / "1"
    put_example(lenient, "wrong", "lenient", 2.5)
    found = eventually(
        lambda: (m := metrics(server, model="lenient"))["steelyard_golden_failing"] == 1 and m,
    )
    assert found["steelyard_golden_runs_total"] > 0
    eventually(lambda: metrics(server, model="lenient", outcome="failed")["steelyard_golden_runs_total"] > 3)
    assert asker.call("ModelReady", pb.ModelReadyRequest(name="lenient")).ready
    (line,) = server.events("golden.failing")
    assert (line["example"], line["problem"]) == ("wrong", "output 'y' differs by 0.5")
    assert metrics(server, model="lenient")["steelyard_requests_received_total"] == 0
    shutil.rmtree(lenient / "golden" / "wrong")
    eventually(lambda: metrics(server, model="lenient")["steelyard_golden_failing"] == 0)


def test_requests_swaps_and_the_end_beside_examples(watched: tuple[Server, Asker]) -> None:
    """Every request is answered, every one is counted once, and a server that is told to stop does."""
    server, asker = watched
    version = server.repository / "lenient" / "1"
    load = pb.RepositoryModelLoadRequest(model_name="lenient")
    unload = pb.RepositoryModelUnloadRequest(model_name="strict")
    before = metrics(server, model="lenient", outcome="passed")["steelyard_golden_runs_total"]
    for turn in range(5):
        put_example(version, f"more-{turn}", "lenient", 2.0)
        calls = [asker.start(request("lenient", ONES)) for _ in range(40)]
        asker.call("RepositoryModelLoad", load)
        for call in calls:
            response = pb.ModelInferResponse.FromString(call.result())
            assert arrays(response)["y"].tolist() == [[2.0] * 4]
    asker.call("RepositoryModelUnload", unload)
    eventually(
        lambda: (
            metrics(server, model="lenient", outcome="passed")["steelyard_golden_runs_total"] > before + 30
        )
    )
    found = metrics(server, model="lenient")
    assert found["steelyard_requests_received_total"] == found.outcome("answered") == 200
    assert found["steelyard_golden_failing"] == found["steelyard_in_flight"] == 0
    assert server.stop() == 0
    assert not server.events("golden.fault")
    assert not server.events("golden.failing")
