"""Requests that wait: cancelled, expired, too many, overtaken, and their callers gone."""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from steelyard.wire.generated import grpc_service as pb
from tests.support.asking import Asker, arrays, request
from tests.support.metrics import Metrics, metrics
from tests.support.server import Server
from tests.support.waiting import eventually

STALL = {"model": "stall", "version": "1"}

# A second on a quiet machine, several on a busy one.
LONG = 1_000_000


def turns(count: int, **how: object) -> object:
    return request("stall", {"turns": np.array([count], np.int64)}, **how)  # type: ignore[arg-type]


def counted(server: Server) -> Metrics:
    return metrics(server, **STALL)


def in_flight(server: Server, running_and_waiting: int) -> bool:
    return counted(server)["steelyard_in_flight"] == running_and_waiting


@pytest.fixture
def busy(server: Server) -> Iterator[tuple[Asker, grpc.Future]]:
    """A caller whose request occupies the model's only instance."""
    with Asker(server.address) as own:
        # The first run of a model that was measured as fast is on the event loop; from the second it is not.
        own.call("ModelInfer", turns(200_000))
        eventually(lambda: in_flight(server, 0))
        call = own.start(turns(LONG))
        eventually(lambda: in_flight(server, 1))
        yield own, call
        call.cancel()
    eventually(lambda: in_flight(server, 0))


def test_cancelled_while_it_waits(server: Server, busy: tuple[Asker, grpc.Future]) -> None:
    own, running = busy
    before = counted(server)
    waiting = own.start(turns(1))
    eventually(lambda: in_flight(server, 2))
    waiting.cancel()
    eventually(lambda: in_flight(server, 1))
    after = counted(server)
    assert after.outcome("cancelled") == before.outcome("cancelled") + 1
    assert after["steelyard_queue_depth"] == 0
    assert after["steelyard_queue_bytes"] == 0
    assert arrays(pb.ModelInferResponse.FromString(running.result()))["count"].tolist() == [LONG]


def test_cancelled_while_it_runs(server: Server, busy: tuple[Asker, grpc.Future]) -> None:
    own, running = busy
    before = counted(server)
    behind = own.start(turns(7))
    eventually(lambda: in_flight(server, 2))
    running.cancel()
    assert arrays(pb.ModelInferResponse.FromString(behind.result()))["count"].tolist() == [7]
    eventually(lambda: in_flight(server, 0))
    after = counted(server)
    assert after.outcome("cancelled") == before.outcome("cancelled") + 1
    assert after.outcome("answered") == before.outcome("answered") + 1


def test_a_client_that_goes_away(server: Server, busy: tuple[Asker, grpc.Future]) -> None:
    before = counted(server)
    with Asker(server.address) as gone:
        calls = [gone.start(turns(1)) for _ in range(3)]
        eventually(lambda: in_flight(server, 4))
    eventually(lambda: all(call.done() for call in calls))
    eventually(lambda: in_flight(server, 1))
    assert counted(server).outcome("cancelled") == before.outcome("cancelled") + 3


def test_the_deadline_passes_in_the_queue(server: Server, busy: tuple[Asker, grpc.Future]) -> None:
    own, _ = busy
    before = counted(server)
    refusal = own.refused(turns(1), timeout=0.15)
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: in_flight(server, 1))
    after = counted(server)
    # Whether the server's clock or the client's was first, it is counted once.
    ended = after.refused("deadline") + after.outcome("cancelled")
    assert ended == before.refused("deadline") + before.outcome("cancelled") + 1


def test_the_timeout_parameter_passes_in_the_queue(server: Server, busy: tuple[Asker, grpc.Future]) -> None:
    own, running = busy
    before = counted(server)
    refusal = own.refused(turns(1, parameters={"timeout": 50_000}))
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "'stall'" in refusal.message
    assert " ms in the queue" in refusal.message
    assert "steelyard-decision-id" in refusal.trailing
    assert counted(server).refused("deadline") == before.refused("deadline") + 1
    assert running.result()


def test_a_full_queue(server: Server, busy: tuple[Asker, grpc.Future]) -> None:
    own, running = busy
    before = counted(server)
    waiting = [own.start(turns(n)) for n in range(4)]
    eventually(lambda: in_flight(server, 5))
    refusal = own.refused(turns(99))
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    for part in ("'stall'", "4 requests", "max_queue_requests = 4"):
        assert part in refusal.message
    assert int(refusal.trailing["grpc-retry-pushback-ms"]) >= 1
    assert counted(server).refused("queue_full") == before.refused("queue_full") + 1
    assert own.infer("double", {"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[2.0] * 4]
    for n, call in enumerate(waiting):
        assert arrays(pb.ModelInferResponse.FromString(call.result()))["count"].tolist() == [n]
    assert running.result()


def test_priorities_overtake(server: Server, busy: tuple[Asker, grpc.Future]) -> None:
    own, running = busy
    ended: list[str] = []
    calls = []
    for depth, (name, priority) in enumerate([("last", 15), ("default", 0), ("first", 1)], 2):
        call = own.start(turns(30_000, parameters={"priority": priority}))
        call.add_done_callback(lambda _, name=name: ended.append(name))
        calls.append(call)
        eventually(lambda depth=depth: in_flight(server, depth))
    assert running.result()
    assert all(call.result() for call in calls)
    eventually(lambda: len(ended) == 3)
    assert ended == ["first", "default", "last"]
